#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Tries the daemon on a FreeBSD host, as root.
#
#   tests/freebsd/daemon.sh BOOTSTRAP TESTS [FILTER]
#
# BOOTSTRAP is the program, TESTS that of tests/daemon (`cross/freebsd.sh tests' makes it on Debian): a client that
# adds, builds in jails, asks, collects, and kills. FILTER names some of its tests. The host's cc compiles the builder
# of the tests. BOOTSTRAP_DAEMON_SESSIONS and BOOTSTRAP_TEST_KILLS set how many malformed sessions and kills there are:
# under emulation the usual 10,000 and 20 take long.
#
# Everything is made under ${TMPDIR:-/var/tmp}, and removed again. Prints TAP, as run.sh does.
set -u

usage() {
    echo "usage: $0 BOOTSTRAP TESTS [FILTER]" >&2
    exit 2
}
case $# in
    2 | 3) ;;
    *) usage ;;
esac
tool=$(realpath "$1") || usage
tests=$(realpath "$2") || usage
filter=${3:-}
here=$(realpath "$(dirname "$0")/../..") || exit 1
# shellcheck source=SCRIPTDIR/tap.sh
. "$here/tests/freebsd/tap.sh"

umask 022
work=$(mktemp -d "${TMPDIR:-/var/tmp}/daemon-test.XXXXXX") || exit 1
work=$(realpath "$work")
root=$work/root
socket=$root/var/guix/daemon-socket/socket

# Mounts and jails below the directory of this test.
mounts_left() {
    mount -p | awk -v place="$work/" 'index($2, place) == 1'
}
jails_left() {
    jls name path | awk -v place="$work/" 'index($2, place) == 1'
}
nothing_left() {
    left=$(mounts_left && jails_left)
    [ -z "$left" ] || {
        echo "$left"
        return 1
    }
}

service_script() {
    env guix_daemon_args="--root $root" guix_daemon_log="$work/service.log" sh "$work/guix_daemon" "$@"
}
daemon_runs() {
    pgrep -f "daemon --root $root"
}

clean_up() {
    service_script onestop >/dev/null 2>&1
    undo_mounts
    nothing_left && {
        chmod -R u+w "$work"
        rm -rf "$work"
    }
}
trap 'clean_up' EXIT
trap 'exit 1' HUP INT TERM

: >"$work/seen"
echo "# $(uname -srm), $("$tool" --version)"

check 'this is root on FreeBSD' is_fit
[ "$failures" -eq 0 ] || exit 1

# The tests, one after the other: each is a line of TAP.
mkdir "$work/tests"
names=$("$tests" --list --format terse | sed -n 's/: test$//p' | grep -e "$filter")
for name in $names; do
    # The user of the untrusted client must reach the directories.
    chmod 755 "$work" "$work/tests"
    check "$name" env TMPDIR="$work/tests" BOOTSTRAP_TEST_PROGRAM="$tool" "$tests" --exact "$name" --nocapture
done
check 'no mount and no jail is left after the tests' nothing_left

# The service.
sed "s,@BIN@,$(dirname "$tool")," "$here/services/guix_daemon.in" >"$work/guix_daemon"
if [ "$(basename "$tool")" != bootstrap ]; then
    report 1 'the program is called bootstrap, as the script says'
else
    check 'rc.d: onestart' service_script onestart
    check 'rc.d: the daemon listens' wait_for 30 [ -S "$socket" ]
    check 'rc.d: onestatus says that it runs' service_script onestatus
    check 'rc.d: a client reaches it' wait_for 10 "$tool" --root "$root" --json top
    check 'rc.d: onereload' service_script onereload
    check 'rc.d: and says so in its log' wait_for 10 grep -q reloaded "$work/service.log"
    check 'rc.d: onestop' service_script onestop
    check 'rc.d: the socket is gone' not [ -e "$socket" ]
    check 'rc.d: no process is left' not daemon_runs
    check 'rc.d: onestatus says that it does not run' not service_script onestatus
fi

conclude
