#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Tries the tool on a FreeBSD host, as root: what no other system can show.
#
#   tests/freebsd/run.sh BOOTSTRAP SEED [SOURCES]
#
# BOOTSTRAP is the program, SEED what --seed-file takes, a base.txz no newer than the kernel or a directory it was
# unpacked into; or `host', for the host's own base. SOURCES is a directory of source archives, where there is no
# network to fetch those of make and sed from. Needs nothing but FreeBSD's base.
#
# Everything is made in a new directory under ${TMPDIR:-/var/tmp}, and removed again. Prints TAP: lines `ok N - what'
# and `not ok N - what', and the plan at the end; ends with 0 where all went well.
set -u

usage() {
    echo "usage: $0 BOOTSTRAP SEED [SOURCES]" >&2
    exit 2
}
case $# in
    2 | 3) ;;
    *) usage ;;
esac
tool=$(realpath "$1") || usage
# The options that choose the seed; paths here have no blanks.
if [ "$2" = host ]; then
    seed=
    seed_options='--seed host'
else
    seed=$(realpath "$2") || usage
    seed_options="--seed-file $seed"
fi
sources=${3:-}
# shellcheck source=SCRIPTDIR/tap.sh
. "$(dirname "$0")/tap.sh"

umask 022
work=$(mktemp -d "${TMPDIR:-/var/tmp}/bootstrap-test.XXXXXX") || exit 1
work=$(realpath "$work")
root=$work/root
jails=$root/var/guix/bootstrap/jails
# A process that must not outlive its build is known by this number of seconds that it sleeps.
mark=3141592
# The memory disk that is there for a while.
disk=

# status EXPECTED COMMAND...: succeeds if COMMAND ends with that status.
status() {
    expected=$1
    shift
    "$@"
    actual=$?
    [ "$actual" -eq "$expected" ] || {
        echo "status $actual, expected $expected: $*"
        return 1
    }
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# sha256_of FILE. FreeBSD's command; GNU's too, so that this script can be tried elsewhere.
sha256_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        sha256 -q "$1"
    fi
}

bootstrap() {
    # shellcheck disable=SC2086 # words
    "$tool" --root "$root" $seed_options --progress plain "$@"
}

# try_probe NAME OPTION...: builds stage0/make of the recipes of probe NAME.
try_probe() {
    probe=$1
    shift
    bootstrap --recipes "$work/$probe/recipes" --offline -v "$@" build stage0/make
}

# probe NAME: makes recipes of one package, whose only phase is standard input, run by the seed's shell.
probe() {
    mkdir -p "$work/$1/recipes/make" "$work/$1/stage0"
    {
        echo "PATH=/sbin:/bin:/usr/sbin:/usr/bin"
        echo "mark=$mark"
        # Each probe is a derivation of its own.
        echo "# $1"
        # What a probe calls that the host is to look at meanwhile. It goes on by itself when the host does not answer.
        cat <<'END'
wait_for_host() {
    echo 'waiting for the host'
    waited=0
    while [ ! -s /tmp/go ] && [ "$waited" -lt 300 ]; do
        sleep 1
        waited=$((waited + 1))
    done
    [ -s /tmp/go ]
}
END
        cat
    } >"$work/$1/stage0/gnu-build-system.sh"
    echo "the source of $1" >"$work/$1.source"
    digest=$(sha256_of "$work/$1.source")
    mkdir -p "$root/var/cache/bootstrap/files"
    cp "$work/$1.source" "$root/var/cache/bootstrap/files/$digest"
    cat >"$work/$1/recipes/make/recipe.toml" <<END
name = "make"
version = "1.0"
synopsis = "A probe of the sandbox"
home-page = "https://www.gnu.org/software/make/"
license = "GPL-3.0-or-later"

[source.upstream]
file = "$1.source"
sha256 = "$digest"
urls = ["https://ftp.gnu.org/gnu/make/$1.source"]

[stage0]
END
}

# What is mounted for builds of this test, and their jails.
mounts_left() {
    mount -p | awk -v jails="$jails/" 'index($2, jails) == 1'
}
jails_left() {
    jls name path | awk -v jails="$jails/" 'index($2, jails) == 1'
}
no_mounts() {
    left=$(mounts_left)
    [ -z "$left" ] || {
        echo "$left"
        return 1
    }
}
no_jails() {
    left=$(jails_left)
    [ -z "$left" ] || {
        echo "$left"
        return 1
    }
}
no_records() {
    [ ! -d "$jails" ] || [ -z "$(ls -A "$jails")" ] || {
        ls -la "$jails"
        return 1
    }
}
# no_mounts_of PLACE: nothing is mounted at PLACE or below.
no_mounts_of() {
    left=$(mount -p | awk -v place="$1" '$2 == place || index($2, place "/") == 1')
    [ -z "$left" ] || {
        echo "$left"
        return 1
    }
}
no_process() {
    not pgrep -lf "sleep $mark"
}

# start_build NAME OPTION...: builds probe NAME in the background, and waits until it waits for the host. Its process is
# $build, its jail $jail at $place.
start_build() {
    build_log=$work/$1.log
    try_probe "$@" >"$build_log" 2>&1 &
    build=$!
    wait_for 120 grep -q 'waiting for the host' "$build_log"
    find_jail
}

# The first jail of this test's.
find_jail() {
    jail=$(jails_left | awk 'NR == 1 { print $1 }')
    place=$(jails_left | awk 'NR == 1 { print $2 }')
}

# end_build WORD: tells the probe to go on, and WORD; succeeds if it does.
end_build() {
    [ -z "$place" ] || echo "$1" >"$place/tmp/go"
    wait "$build" || {
        cat "$build_log" >>"$work/seen"
        return 1
    }
}

clean_up() {
    [ -z "$disk" ] || mdconfig -d -u "$disk"
    for process in $(jobs -p); do
        kill "$process" 2>/dev/null
    done
    wait
    undo_mounts
    no_mounts && {
        chmod -R u+w "$work"
        rm -rf "$work"
    }
}
trap 'clean_up' EXIT
trap 'exit 1' HUP INT TERM

: >"$work/seen"
echo "# $(uname -srm), $("$tool" --version), $seed_options"

# The machine.
check 'this is root on FreeBSD' is_fit
[ "$failures" -eq 0 ] || exit 1
check 'the program runs' "$tool" --version

# Seeds.
seed_has_hash() {
    bootstrap seed show | tee "$work/seed" | grep -E '^archive: [0-9a-f]{64} '
}
check 'the seed is known by its hash' seed_has_hash
if [ -z "$seed" ]; then
    check 'the host as a seed is marked as impure' grep '^impure: ' "$work/seed"
fi
check 'a directory without a shell is refused as a seed' \
    status 2 "$tool" --root "$root" --seed-file "$work" seed show
check 'a missing seed is refused' status 2 "$tool" --root "$root" --seed-file "$work/none" seed show

# The store.
probe round-trip <<'END'
mkdir "$out" "$out/bin"
echo 'a file' >"$out/file"
printf '#!/bin/sh\necho ran\n' >"$out/bin/program"
chmod 4755 "$out/bin/program"
ln -s file "$out/link"
ln "$out/file" "$out/hard"
END
check 'a package is built in a jail' try_probe round-trip
item=$(bootstrap --recipes "$work/round-trip/recipes" path stage0/make 2>>"$work/seen")
check 'its output is in the store' [ "$(cat "$root$item/file" 2>&1)" = 'a file' ]
check 'links are kept' [ "$(readlink "$root$item/link" 2>&1)" = file ]
modes() {
    # %Lp alone is the permissions, without set-user-ID bits.
    seen=$(stat -f '%Mp%Lp %m %Su' "$root$item/file" "$root$item/bin/program" "$root$item" | tr '\n' ' ')
    [ "$seen" = '0444 1 root 0555 1 root 0555 1 root ' ] || {
        echo "$seen"
        return 1
    }
}
check 'modes, times and owner are canonical, set-user-ID bits gone' modes

# What a mode does not show.
probe hidden <<'END'
mkdir "$out"
echo 'a file' >"$out/file"
setextattr user note hidden "$out/file" && echo 'an attribute is set'
chmod 444 "$out/file"
{ setfacl -m u:1001:w::allow "$out/file" || setfacl -m u:1001:rw "$out/file"; } && echo 'an ACL is set'
chmod 444 "$out/file"
getfacl "$out/file"
chflags uchg "$out/file" && echo 'a flag is set'
true
END
check 'a package hides metadata in its output' try_probe hidden
hidden=$root$(bootstrap --recipes "$work/hidden/recipes" path stage0/make 2>>"$work/seen")
set_in_build() {
    bootstrap --recipes "$work/hidden/recipes" log stage0/make 2>>"$work/seen" | grep -q "$1"
}
if set_in_build 'an attribute is set'; then
    check 'no extended attribute is left' [ -z "$(lsextattr -q user "$hidden/file" 2>&1)" ]
else
    skip 'no extended attribute is left' 'the file system or the seed has none'
fi
no_acl() {
    getfacl "$hidden/file" | not grep 1001
}
if set_in_build 'an ACL is set'; then
    check 'no ACL is left' no_acl
    setfacl -m u:1001:w::allow "$hidden/file" 2>/dev/null || setfacl -m u:1001:rw "$hidden/file"
    check 'an ACL of a store item is found' status 3 bootstrap --recipes "$work/hidden/recipes" verify stage0/make
    check 'and removed' bootstrap --recipes "$work/hidden/recipes" build --repair stage0/make
    check 'so that none is left' no_acl
else
    skip 'no ACL is left' 'the file system has none: mount it with the option acls or nfsv4acls'
fi
again() {
    try_probe round-trip >"$work/again" 2>&1 && not grep ': building' "$work/again"
}
check 'a second build has nothing to do' again
if [ -z "$seed" ]; then
    shown_as_impure() {
        bootstrap --recipes "$work/round-trip/recipes" "$@" 2>&1 | grep 'impure: made from the seed .host., and'
    }
    check 'what is made from the host is shown as impure' shown_as_impure show stage0/make
    check 'and listed so' shown_as_impure list
    check 'and so is a run that makes nothing' shown_as_impure build stage0/make
    check 'and one that is only thought of' shown_as_impure build --dry-run stage0/make
    # It fails for want of the other packages, but says that first.
    check 'and what others are to get' shown_as_impure export --guix "$work/module.scm"
fi
check 'no mounts are left' no_mounts
check 'no jails are left' no_jails
check 'no records are left' no_records

# Isolation. The probe says `good WHAT' or `bad WHAT', and never fails itself.
echo secret >"$work/secret"
nc -k -l 127.0.0.1 31415 </dev/null >/dev/null 2>&1 &
listener=$!
check 'a program listens on the host' wait_for 10 nc -z 127.0.0.1 31415
# A terminal of the host's, which is a device.
script -q /dev/null sleep 600 </dev/null >/dev/null 2>&1 &
terminal=$!
check 'a terminal is open on the host' wait_for 10 sh -c '[ -n "$(ls /dev/pts)" ]'
if [ "$(sysctl -n kern.features.vimage 2>/dev/null)" = 1 ]; then vimage=1; else vimage=0; fi
hostname=$(hostname)
probe isolation <<END
host_file='$work/secret'
host_name='$hostname'
vimage=$vimage
END
cat >>"$work/isolation/stage0/gnu-build-system.sh" <<'END'
say() {
    if [ "$1" -eq 0 ]; then echo "good $2"; else echo "bad $2"; fi
}
yes() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then say 0 "$what"; else say 1 "$what"; fi
}
no() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then say 1 "$what"; else say 0 "$what"; fi
}
write() { echo x >"$1"; }
# What belongs to root cannot be written to anyhow; that nothing can be is another error, and comes first.
read_only() {
    what=$1
    shift
    if answer=$("$@" 2>&1); then
        say 1 "$what"
        return
    fi
    case $answer in
        *'Read-only file system'*) say 0 "$what" ;;
        *)
            echo "$answer"
            say 1 "$what"
            ;;
    esac
}
yes 'it runs as the build user' [ "$(id -u) $(id -g)" = '30001 30000' ]
# On FreeBSD 15, id lists supplementary groups alone, and setgroups(2) as FreeBSD 14 has it takes the first of its
# groups for the process's own: a program for 14 leaves none there.
no_other_groups() { groups=$(id -G) && { [ -z "$groups" ] || [ "$groups" = 30000 ]; }; }
yes 'it has no other groups' no_other_groups
yes 'it starts in its build directory' [ "$PWD" = /tmp/guix-build-make-1.0.drv-0 ]
yes 'it can write there' write here
yes 'it can write to /tmp' write /tmp/there
# Files that are there: whether one may be made is the file system's below to say, which knows of no mount.
read_only 'its root is read-only' write /file
read_only 'the seed is read-only' write /bin/sh
read_only 'an input that is a file is read-only' write "$source"
read_only 'an input that is a directory is read-only' write "$phasesDirectory/gnu-build-system.sh"
read_only 'it cannot remove an input' rm -f "$phasesDirectory/gnu-build-system.sh"
no 'it does not see files of the host' [ -e "$host_file" ]
no "it does not see the host's passwords" [ -e /etc/master.passwd ]
yes 'of the store it sees its two inputs' [ "$(find /gnu/store -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
yes 'its host name is localhost' [ "$(hostname)" = localhost ]
yes 'its login name is the build user'"'"'s' [ "$(logname 2>&1)" = nixbld ]
yes 'it is in a jail' [ "$(sysctl -n security.jail.jailed)" = 1 ]
yes 'its securelevel is 3' [ "$(sysctl -n kern.securelevel)" -eq 3 ]
yes 'it sees one mount' [ "$(mount | wc -l)" -eq 1 ]
yes 'it sees its own processes only' [ "$(ps ax -o pid= | wc -l)" -le 8 ]
no 'it cannot connect to the host' nc -w 3 -z 127.0.0.1 31415
if [ "$vimage" = 1 ]; then
    yes 'its only interface is lo0' [ "$(ifconfig -l | tr -d ' ')" = lo0 ]
    addresses=$(ifconfig lo0 | awk '$1 ~ /^inet/ && $2 !~ /^fe80:/ { print $2 }' | sort | tr '\n' ' ')
    yes "its addresses are those of loopback: $addresses" [ "$addresses" = '127.0.0.1 127.0.0.2 ::1 ' ]
    no 'it has no other route' route -n get default
    for address in 127.0.0.1 127.0.0.2 ::1; do
        (echo hello | nc -l "$address" 7777 >/dev/null) &
        sleep 2
        yes "it can talk to itself at $address" [ "$(nc -w 5 "$address" 7777 </dev/null)" = hello ]
    done
    no 'it cannot change its interface' ifconfig lo0 inet 10.0.0.1/8 alias
else
    no 'it has no addresses' sh -c "ifconfig | grep -E 'inet6? '"
fi
yes 'programs know the name of the build user' [ "$(id -un)" = nixbld ]
yes 'and that of nobody' [ "$(id -u nobody)" = 65534 ]
no 'and no other' id root
no 'no terminal of the host is seen' sh -c 'ls /dev/pts | grep .'
# Its standard input ends at once, which script(1) shows before all else.
yes 'it can open a terminal' sh -c "script -q typescript tty </dev/null | grep '/dev/pts/'"
yes 'randomisation of addresses is off' sh -c 'proccontrol -m aslr -q -p $$ | grep "force disabled"'
# pts is there while the machine has terminals.
devices=$(ls /dev | grep -vx pts | sort | tr '\n' ' ')
yes "its devices are these: $devices" [ "$devices" = 'fd full null random stderr stdin stdout urandom zero ' ]
yes '/dev/null takes everything' write /dev/null
yes 'standard input is empty' [ -z "$(cat)" ]
yes 'its environment is its own' [ "$HOME" = /homeless-shelter ]
# Left behind, deaf to all signals that can be ignored.
(trap '' HUP INT TERM; exec sleep "$mark") >/dev/null 2>&1 &
(trap '' HUP INT TERM; exec sleep "$mark") &
mkdir "$out"
echo done
END
check 'the probe of the jail ends' try_probe isolation
if [ -z "$(bootstrap --recipes "$work/isolation/recipes" log stage0/make 2>/dev/null)" ]; then
    report 1 'the log of the probe can be read'
else
    bootstrap --recipes "$work/isolation/recipes" log stage0/make 2>/dev/null |
        grep -E '^(good|bad) ' >"$work/verdicts"
    while read -r verdict what; do
        case $verdict in
            good) report 0 "in the jail: $what" ;;
            *) report 1 "in the jail: $what" ;;
        esac
    done <"$work/verdicts"
    came_to_its_end() {
        bootstrap --recipes "$work/isolation/recipes" log stage0/make | grep '^done$'
    }
    check 'the probe came to its end' came_to_its_end
fi
kill "$listener" "$terminal" 2>/dev/null
check 'a process left behind is dead' no_process
check 'no mounts are left after it' no_mounts

# A build that asks for it sees its processes in /proc.
probe processes <<'END'
[ -d /proc/curproc ]
[ "$(cut -d ' ' -f 1 /proc/curproc/status)" = cut ]
[ "$(ls /proc | grep -c '^[0-9]')" -le 8 ]
[ ! -d /proc/1 ]
mkdir "$out"
END
echo 'system-features = ["procfs"]' >>"$work/processes/recipes/make/recipe.toml"
check 'a build that asks for /proc has it, with its own processes' try_probe processes
check 'no mounts are left after it, either' no_mounts

# What the host sees of a build.
probe watched <<'END'
devices=$(ls /dev)
wait_for_host
disk=$(cat /tmp/go)
[ "$(ls /dev | grep -vx pts)" = "$(echo "$devices" | grep -vx pts)" ]
[ ! -e "/dev/$disk" ]
mkdir "$out"
END
start_build watched
# Root's rights: the build user has none of them anyhow.
has_no_rights() {
    if [ "$vimage" = 1 ]; then network=vnet; else network='ip4 ip6'; fi
    # shellcheck disable=SC2086 # words
    seen=$(jls -j "$jail" -n allow.mount allow.raw_sockets allow.set_hostname allow.sysvipc children.max enforce_statfs $network)
    echo "$seen"
    if [ "$vimage" = 1 ]; then network=vnet=new; else network='ip4=disable ip6=disable'; fi
    [ "$seen" = "allow.nomount allow.noraw_sockets allow.noset_hostname allow.nosysvipc children.max=0 enforce_statfs=2 \
$network" ]
}
check 'a jail has none of the rights that jails can have' has_no_rights
own_ipc() {
    seen=$(jls -j "$jail" -n sysvmsg sysvsem sysvshm)
    echo "$seen"
    [ "$seen" = 'sysvmsg=new sysvsem=new sysvshm=new' ]
}
if [ "$(sysctl -n kern.features.sysv_msg kern.features.sysv_sem kern.features.sysv_shm 2>/dev/null | tr -d '\n')" = 111 ]; then
    check 'a jail has System V IPC of its own' own_ipc
else
    skip 'a jail has System V IPC of its own' 'this kernel is built without it'
fi
if disk=$(mdconfig -a -t malloc -s 1m 2>/dev/null); then
    check 'a new device is there on the host' [ -e "/dev/$disk" ]
    end_build "$disk"
    report $? 'a device that appears during a build is not seen in it'
    mdconfig -d -u "$disk"
else
    skip 'a device that appears during a build is not seen in it' 'there are no memory disks (mdconfig)'
    end_build none
fi
disk=

# Twenty processes, and no more than are left of them.
probe limited <<'END'
wait_for_host
# From here on, only what the shell does itself: there may be no process left.
(
    started=0
    while [ "$started" -lt 60 ]; do
        sleep 60 &
        started=$((started + 1))
        echo "$started" >started
    done
) || :
read -r started <started
[ "$started" -lt 20 ]
echo "$started" >"$out"
END
start_build limited --max-processes 20
if [ "$(sysctl -n kern.racct.enable 2>/dev/null)" = 1 ]; then
    check 'the limit is a rule for the jail' sh -c "rctl 'jail:$jail:' | grep -x 'jail:$jail:maxproc:deny=20'"
else
    skip 'the limit is a rule for the jail' 'the kernel keeps no accounts (kern.racct.enable)'
fi
end_build go
report $? 'a build has no more processes than it may'
check 'and no rule is left' [ -z "$(rctl "jail:$jail:" 2>/dev/null)" ]

# Failures.
probe failing <<'END'
echo 'the last words'
exit 3
END
check 'a build that fails ends with status 1' status 1 try_probe failing
check 'no mounts are left after a failure' no_mounts
probe stray <<'END'
mkdir "$out"
echo x >"${out%/*}/stray"
END
check 'a build that writes beside its outputs fails' status 1 try_probe stray
probe silent <<END
sleep $mark
END
check 'a build that says nothing is stopped' status 1 try_probe silent --max-silent-time 3
check 'and its processes with it' no_process
check 'and its mounts' no_mounts

# Killed. The build waits for its end; its helper processes are its children.
probe killed <<END
echo waiting
sleep $mark
mkdir "\$out"
END
start_killed() {
    try_probe killed >"$work/killed.log" 2>&1 &
    # The shell's own number is not that of the program it started.
    wait_for 60 pgrep -f "sleep $mark"
    victim=$(pgrep -f "$work/killed/recipes" | head -n 1)
    find_jail
}
start_killed
kill -9 "$victim"
wait 2>/dev/null
check 'kill -9 of the program ends its build' wait_for 30 no_process
check 'its mounts are undone' wait_for 30 no_mounts
check 'its jail is removed' wait_for 30 no_jails

start_killed
helpers=$(pgrep -P "$victim")
# The helpers first: they would clean up.
# shellcheck disable=SC2086 # a list
kill -9 $helpers "$victim"
wait 2>/dev/null
check 'kill -9 of the program and its helpers leaves mounts' not no_mounts_of "$place"
left_jail=$jail
left_place=$place
# Another build goes on while the leftovers are cleaned up; it is not touched.
probe living <<'END'
wait_for_host
mkdir "$out"
END
start_build living
check 'the next run ends the processes that a killed one left' no_process
check 'and undoes its mounts' no_mounts_of "$left_place"
check 'and removes its jail' not jls -j "$left_jail"
probe after <<'END'
mkdir "$out"
END
check 'and builds' try_probe after
check 'a build that goes on meanwhile keeps its mounts' not no_mounts_of "$place"
end_build go
report $? 'and comes to its end'
check 'no mounts are left in the end' no_mounts
check 'no jails are left in the end' no_jails
check 'no records are left in the end' no_records

# Where mounting is not allowed: in a jail, even to root.
jailed() {
    # jail(8) has a status of its own.
    # shellcheck disable=SC2086 # words
    jail -c path=/ command=/bin/sh -c '"$@"; echo "status $?"' sh "$tool" --root "$root" $seed_options \
        --recipes "$work/nowhere/recipes" --offline build stage0/make >"$work/jailed.log" 2>&1
    cat "$work/jailed.log"
    grep '^status 5$' "$work/jailed.log" && grep 'runs in a jail already.*on the host' "$work/jailed.log"
}
probe nowhere <<'END'
mkdir "$out"
END
check 'in a jail, it says in one line that it must run on the host' jailed
check 'no records are left after that' no_records

# A base that the kernel is too old for.
if [ "$(uname -K)" -lt 1403000 ]; then
    newer=freebsd-14.3-amd64
elif [ "$(uname -K)" -lt 1500000 ]; then
    newer=freebsd-15.0-amd64
else
    newer=
fi
too_new() {
    status 5 "$tool" --root "$root" --seed "$newer" --recipes "$work/nowhere/recipes" --offline build stage0/make \
        >"$work/newer" 2>&1
    result=$?
    cat "$work/newer"
    [ "$result" -eq 0 ] && [ "$(wc -l <"$work/newer")" -eq 1 ] && grep -q "seed $newer is FreeBSD" "$work/newer"
}
foreseen() {
    status 5 "$tool" --root "$root" --seed "$newer" --offline doctor >"$work/doctor" 2>&1
    result=$?
    cat "$work/doctor"
    [ "$result" -eq 0 ] && grep -q "^BAD .*$newer is FreeBSD" "$work/doctor"
}
if [ -n "$newer" ]; then
    check 'a seed newer than the kernel is refused in one line' too_new
    check 'and doctor says so before' foreseen
else
    skip 'a seed newer than the kernel is refused in one line, and doctor says so before' 'no seed is newer than this kernel'
fi

# In parallel, each in a jail of its own.
for number in 1 2 3; do
    probe "parallel$number" <<END
id
sleep 30 &
sleep 10
[ "\$(ps ax -o command= | grep -c '[s]leep 30')" -eq 1 ]
mkdir "\$out"
END
    try_probe "parallel$number" >"$work/parallel$number.log" 2>&1 &
    eval "parallel$number=$!"
done
# Builds that run, each known by the jail that its process is in; not jails that only find out whether the machine is
# fit.
several_builds() {
    [ "$(ps ax -o jid= -o command= | awk '$1 > 0 && $2 == "sleep" && $3 == 30 && !seen[$1]++' | wc -l)" -ge 2 ]
}
check 'several builds run at a time' wait_for 60 several_builds
for number in 1 2 3; do
    eval "wait \$parallel$number"
    report $? "parallel build $number of 3"
done
check 'no mounts are left after parallel builds' no_mounts

# A process that has its own descriptor is waited for in no other way than by that.
probe descriptor <<'END'
cat >/tmp/own.c <<'C'
#include <sys/types.h>
#include <sys/procdesc.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words)
{
    int pair[2], descriptor = -1;
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof descriptor)];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    if (count != 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    pid_t child = pdfork(&descriptor, 0);
    if (child < 0)
        return 2;
    if (child == 0) {
        if (recvmsg(pair[1], &message, 0) == 1)
            execl("/bin/sleep", "sleep", words[1], (char *)0);
        _exit(3);
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(pair[0], &message, 0) == 1 ? 0 : 4;
}
C
cc -o /tmp/own /tmp/own.c
/tmp/own "$mark"
sleep 1
ps ax -o command= | grep "[s]leep $mark"
mkdir "$out"
END
check 'a build leaves a process that has its own descriptor' try_probe descriptor
check 'and it has ended with the build' no_process

# Privileges.
# A directory that a user without privileges can reach.
chmod 755 "$work"
mkdir "$work/plain-user"
cp "$tool" "$work/plain-user/tool"
# Whatever the seed was given as, it is an archive in the cache by now.
cp "$root/var/cache/bootstrap/files/$(sed -n 's/^archive: \([0-9a-f]*\) .*/\1/p' "$work/seed")" "$work/plain-user/base"
mkdir -p "$work/plain-user/top/var/cache/bootstrap/files"
cp "$work/after.source" "$work/plain-user/top/var/cache/bootstrap/files/$(sha256_of "$work/after.source")"
chown -R 'nobody' "$work/plain-user"
unprivileged() {
    status 5 su -m 'nobody' -c "'$work/plain-user/tool' --root '$work/plain-user/top' --seed-file '$work/plain-user/base' \
        --recipes '$work/after/recipes' --offline build stage0/make" >"$work/unprivileged" 2>&1
    result=$?
    cat "$work/unprivileged"
    [ "$result" -eq 0 ] && grep -q '^bootstrap: .*only root' "$work/unprivileged" &&
        grep -q '^hint: .*as root' "$work/unprivileged"
}
check 'without privileges, it says so with a hint and ends with status 5' unprivileged

# Looking after the store.
probe kept <<'END'
mkdir "$out"
echo kept >"$out/file"
END
check 'one more build' try_probe kept
kept=$(bootstrap --recipes "$work/kept/recipes" path stage0/make 2>>"$work/seen")
if "$tool" verify --help >/dev/null 2>&1; then
    check 'the store still holds what was built' bootstrap --recipes "$work/kept/recipes" verify stage0/make
    # write_kept WORD: puts WORD into the item's only file.
    write_kept() {
        chmod u+w "$root$kept/file" && echo "$1" >"$root$kept/file" && chmod a-w "$root$kept/file"
    }
    check 'an item can be damaged' write_kept damaged
    check 'a damaged item is found, status 3' status 3 bootstrap --recipes "$work/kept/recipes" verify stage0/make
    write_kept kept
else
    skip 'the store still holds what was built' 'this program has no verify'
fi
check 'garbage is collected' bootstrap gc --keep-generations 1
check 'what is not needed is gone' [ ! -e "$root$item" ]
check 'what a root keeps alive is there' [ -d "$root$kept" ]

# The beginning of the bootstrap.
if [ -n "$sources" ]; then
    for file in "$sources"/*; do
        cp "$file" "$root/var/cache/bootstrap/files/$(sha256_of "$file")"
    done
fi
if bootstrap fetch stage0/make stage0/sed >>"$work/seen" 2>&1; then
    check 'stage0/make is built by the seed' bootstrap build stage0/make
    check 'stage0/sed is built by the seed' bootstrap build stage0/sed
    make=$root$(bootstrap path stage0/make 2>/dev/null)/bin/make
    sed=$root$(bootstrap path stage0/sed 2>/dev/null)/bin/sed
    check 'stage0/make runs' sh -c "'$make' --version | grep '^GNU Make'"
    check 'stage0/sed runs' [ "$(echo seed | "$sed" s/seed/sed/ 2>&1)" = sed ]
    check 'stage0/sed is static' sh -c "file -L '$sed' | grep 'statically linked'"
else
    : >"$work/seen"
    skip 'stage0/make and stage0/sed' 'their sources cannot be fetched; give a directory that has them'
fi

check 'no mounts are left at the very end' no_mounts

conclude
