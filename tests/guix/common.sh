# SPDX-License-Identifier: GPL-3.0-or-later
# What the scripts of this folder share. Sourced, with `here' set to the folder.
#
# shellcheck shell=sh disable=SC2154 # the script that sources it sets what is not assigned here

# need_guix: sets `root'. Where there is nothing to test with, says so and ends with 0.
need_guix() {
    root=${BOOTSTRAP_GUIX_ROOT:-}
    if [ -z "$root" ] || [ ! -x "$root/usr/bin/guix" ]; then
        echo "skipped: BOOTSTRAP_GUIX_ROOT names no root with Guix; \`tools/guix-root.sh DIR' makes one"
        exit 0
    fi
    if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
        echo "skipped: a private mount namespace needs root"
        exit 0
    fi
}

# The rest is for scripts that ask guix-daemon and `bootstrap daemon' for the same things.

# own_mounts SCRIPT ARGUMENT...: runs the script again in a mount namespace of its own.
own_mounts() {
    [ "${MOUNTS_ARE_OWN:-}" = yes ] || MOUNTS_ARE_OWN=yes exec unshare --mount --propagation private -- "$@"
}

# serve_site: sets `place', a directory that goes with the script, and `port', of a server on this machine that has
# what is in $place/site. What is put into $place/test, both daemons' roots have as /test.
serve_site() {
    place=$(mktemp -d)
    server=
    trap stop EXIT
    mkdir "$place/site" "$place/test" "$place/mounts"
    mount -t tmpfs none "$place/mounts"
    : >"$place/server.log"
    python3 -u -m http.server --bind 127.0.0.1 --directory "$place/site" 0 >"$place/server.log" 2>&1 &
    server=$!
    until port=$(sed -n 's/^Serving HTTP on .* port \([0-9]*\) .*/\1/p' "$place/server.log") && [ -n "$port" ]; do sleep 0.1; done
}

stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    for name in guix bootstrap; do
        [ ! -f "$place/$name.pid" ] || kill "$(cat "$place/$name.pid")" 2>/dev/null || true
    done
    sleep 1
    # `unshare --fork' ignores SIGTERM; killed, it takes its child with it.
    for name in guix bootstrap; do
        [ ! -f "$place/$name.pid" ] || kill -KILL "$(cat "$place/$name.pid")" 2>/dev/null || true
    done
    remove_place
}

# remove_place: removes $place, and nothing that is mounted in it.
remove_place() {
    # What still runs there must not keep it mounted; and what is mounted must never be removed.
    umount -R "$place/mounts" 2>/dev/null || umount -R -l "$place/mounts" 2>/dev/null || true
    if grep -q -F " $place/" /proc/self/mountinfo; then
        echo "$place stays: something is mounted in it" >&2
    else
        rm -rf --one-file-system "$place"
    fi
}

# make_root NAME: a root for the daemon NAME, which sees $root as it is and keeps what it writes apart. Sets `inside'.
make_root() {
    name=$1
    inside=$place/mounts/$name/root
    mkdir -p "$place/mounts/$name/upper" "$place/mounts/$name/work" "$inside"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$place/mounts/$name/upper,workdir=$place/mounts/$name/work" "$inside"
    mkdir -p "$inside/gnu/store" "$inside/var/guix" "$inside/var/log/guix" "$inside/proc" "$inside/old"
    mount -t proc none "$inside/proc"
    # Its own: nothing that happens in the root may reach the machine's.
    mount -t tmpfs -o mode=755 none "$inside/dev"
    for device in null:3 zero:5 full:7 random:8 urandom:9; do
        mknod -m 666 "$inside/dev/${device%:*}" c 1 "${device#*:}"
    done
    mknod -m 666 "$inside/dev/tty" c 5 0
    mkdir "$inside/dev/pts" "$inside/dev/shm"
    chmod 1777 "$inside/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 none "$inside/dev/pts"
    ln -s pts/ptmx "$inside/dev/ptmx"
    ln -s /proc/self/fd "$inside/dev/fd"
    # guix-daemon binds each of these into builds of fixed outputs.
    for file in resolv.conf nsswitch.conf services hosts; do [ -e "$inside/etc/$file" ] || : >"$inside/etc/$file"; done
    chmod 1775 "$inside/gnu/store"
    grep -q '^guixbuild:' "$inside/etc/group" || echo 'guixbuild:x:30000:guixbuilder1' >>"$inside/etc/group"
    grep -q '^guixbuilder1:' "$inside/etc/passwd" ||
        echo 'guixbuilder1:x:30001:30000::/var/empty:/usr/sbin/nologin' >>"$inside/etc/passwd"
    chown root:30000 "$inside/gnu/store"
    # Guile looks for this name, which only libgcrypt's development package has.
    for library in "$inside"/usr/lib/*/libgcrypt.so.20; do
        [ -e "${library%.20}" ] || ln -s libgcrypt.so.20 "${library%.20}"
    done
    cp "$program" "$inside/usr/bin/bootstrap-under-test"
    cp -r "$place/test" "$inside/test"
}

# What both daemons are started with. With this one, a daemon takes no substitutes, whatever its client asks for.
substitutes=--no-substitutes

# start_guix: starts guix-daemon in the root that make_root made last.
start_guix() {
    # In a process namespace: guix-daemon kills all processes of its build user, which another program may have, too.
    # shellcheck disable=SC2086 # an option or none
    unshare --pid --fork --kill-child --mount-proc="$inside/proc" \
        chroot "$inside" guix-daemon --build-users-group=guixbuild $substitutes >"$place/guix.log" 2>&1 &
    echo $! >"$place/guix.pid"
}

# start_bootstrap: starts `bootstrap daemon' in the root that make_root made last.
start_bootstrap() {
    # Not chroot: in one, builds could make no namespaces.
    # shellcheck disable=SC2016,SC2086 # the shell inside expands it; an option or none
    unshare --mount sh -euc 'cd "$0"; shift; pivot_root . old; umount -l /old; exec /usr/bin/bootstrap-under-test daemon "$@"' \
        "$inside" -- $substitutes >"$place/bootstrap.log" 2>&1 &
    echo $! >"$place/bootstrap.pid"
}

# await NAME: waits until the daemon NAME listens.
await() {
    until [ -S "$place/mounts/$1/root/var/guix/daemon-socket/socket" ]; do
        kill -0 "$(cat "$place/$1.pid")" || { cat "$place/$1.log"; exit 1; }
        sleep 0.2
    done
}

# client NAME COMMAND...: runs a command of Guix's in the root NAME.
client() {
    name=$1
    shift
    chroot "$place/mounts/$name/root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 GUILE_AUTO_COMPILE=0 \
        GUILE_WARN_DEPRECATED=no "$@"
}

# tree_of NAME: where the root NAME is on this machine.
tree_of() { echo "$place/mounts/$1/root"; }

# shellcheck disable=SC2034 # the script that sources this ends with it
failed=0
# check WHAT COMMAND...: prints whether the command succeeds. Its output is in $place/said, and that of the check before
# in $place/last.
check() {
    what=$1
    shift
    [ ! -f "$place/said" ] || mv "$place/said" "$place/last"
    if "$@" >"$place/said" 2>&1; then
        echo "pass: $what"
    else
        echo "FAIL: $what"
        sed 's/^/    /' "$place/said"
        # shellcheck disable=SC2034 # as above
        failed=1
    fi
}

# make_builder: puts a program that builds, and a script that prints the derivation of a name and a text, into
# $place/test. Of the text `chance', each build makes something else.
make_builder() {
    cat >"$place/builder.c" <<'BUILDER'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(void)
{
  const char *text = getenv("text");
  FILE *out = fopen(getenv("out"), "w");
  struct timespec now = {0, 0};
  puts("building");
  if (strcmp(text, "chance") == 0)
    clock_gettime(CLOCK_MONOTONIC, &now);
  return out == NULL || fprintf(out, "made of %s\n", text) < 0
    || (now.tv_nsec != 0 && fprintf(out, "%ld.%09ld\n", (long) now.tv_sec, now.tv_nsec) < 0) || fclose(out) != 0;
}
BUILDER
    cc -static -O1 -o "$place/test/builder" "$place/builder.c"
    cat >"$place/test/derivation.scm" <<'SCHEME'
(use-modules (guix) (guix derivations) (ice-9 match))
(match (command-line)
  ((_ name text)
   (with-store store
     (let ((builder (add-to-store store "builder" #t "sha256" "/test/builder")))
       (format #t "~a~%"
               (derivation-file-name
                (derivation store name builder '() #:sources (list builder)
                            #:env-vars `(("text" . ,text)))))))))
SCHEME
}

# ask NAME ARGUMENT...: has the client ask the daemon NAME, as `guix repl' with these arguments does.
ask() {
    name=$1
    shift
    await "$name"
    client "$name" guix repl -- "$@" >"$place/$name.out" 2>"$place/$name.err" || { cat "$place/$name.err" "$place/$name.log"; exit 1; }
}

# ask_both ARGUMENT...: starts both daemons, each in its root, and asks them.
ask_both() {
    make_root guix
    start_guix
    ask guix "$@"
    make_root bootstrap
    start_bootstrap
    ask bootstrap "$@"
}

# compare: shows the version of Guix and the answers; ends with 1 where they differ.
compare() {
    chroot "$place/mounts/guix/root" guix --version 2>/dev/null | head -n 1
    cat "$place/bootstrap.out"
    [ -s "$place/guix.out" ] || { echo 'FAIL: guix-daemon was asked for nothing'; exit 1; }
    if ! diff "$place/guix.out" "$place/bootstrap.out" >"$place/difference"; then
        echo 'guix-daemon (<) and bootstrap daemon (>) differ:'
        cat "$place/difference"
        [ -z "${VERBOSE:-}" ] || cat "$place/guix.err" "$place/bootstrap.err" "$place/bootstrap.log"
        exit 1
    fi
}

# The rest is for scripts that build with the inputs and Guile of a store: `bootstrap all` and `bootstrap build guile`
# came before. They set `program', and `store_root' to the directory of --root, or to / for the machine's own store.

rooted() {
    if [ "$store_root" = / ]; then "$program" "$@"; else "$program" --root "$store_root" "$@"; fi
}

# In place of the shell that runs it, so that a signal reaches it.
rooted_exec() {
    if [ "$store_root" = / ]; then exec "$program" "$@"; else exec "$program" --root "$store_root" "$@"; fi
}

# need_guile OPTION...: where that store has no Guile, says so and ends with 0. The options are global ones of the
# program, here and below.
need_guile() {
    if ! rooted "$@" path guile >/dev/null 2>&1; then
        echo "skipped: guile is not in the store; \`bootstrap build guile' makes it"
        exit 0
    fi
}

# prepare_inputs: sets `scratch', a directory that goes with the script and that clients see as /scratch.
prepare_inputs() {
    scratch=$(mktemp -d)
    daemon=
    trap stop_serving EXIT
    trap 'exit 1' HUP INT TERM
    # enter.sh binds what these name.
    mkdir -p "$scratch/gnu" "$scratch/var/log" "$scratch/etc/guix" "${store_root%/}/var/log/guix"
    ln -s "${store_root%/}/gnu/store" "$scratch/gnu/store"
    ln -s "${store_root%/}/var/guix" "$scratch/var/guix"
    ln -s "${store_root%/}/var/log/guix" "$scratch/var/log/guix"
}

# serve_inputs OPTION...: as prepare_inputs; writes the module to $scratch/channel, and starts a daemon.
serve_inputs() {
    prepare_inputs
    mkdir "$scratch/channel"
    rooted "$@" export --guix "$scratch/channel/bootstrap-inputs.scm"
    # A socket of its own: the machine may have a daemon.
    rooted_exec daemon --listen "$scratch/socket" 2>"$scratch/daemon.log" &
    daemon=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -S "$scratch/socket" ] && return
        sleep 0.1
    done
    cat "$scratch/daemon.log"
    exit 1
}

stop_serving() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}

# inside COMMAND...: runs it in the root with Guix, with the store and the daemon of serve_inputs. `variables' may hold
# more of the environment.
variables=
inside() {
    # shellcheck disable=SC2086 # a list
    unshare --mount sh "$here/enter.sh" "$root" "$scratch" env GUIX_DAEMON_SOCKET=/scratch/socket \
        GUIX_BUILD_OPTIONS=--no-substitutes $variables "$@"
}
