# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What the scripts of this folder share. They set `work', a directory whose file `seen' gets what a check printed, and
# define mounts_left and jails_left.
#
# shellcheck disable=SC2154 # the script that sources it sets what is not assigned here

count=0
failures=0

# report STATUS WHAT: one line of TAP; what was seen goes before it, as a comment.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failures=$((failures + 1))
        [ ! -s "$work/seen" ] || tail -n 40 "$work/seen" | sed 's/^/# /'
    fi
    : >"$work/seen"
}

# check WHAT COMMAND...: whether COMMAND succeeds.
check() {
    what=$1
    shift
    "$@" >>"$work/seen" 2>&1
    report $? "$what"
}

not() {
    ! "$@"
}

# wait_for SECONDS COMMAND...: waits until COMMAND succeeds.
wait_for() {
    tries=$1
    shift
    while [ "$tries" -gt 0 ]; do
        "$@" >/dev/null 2>&1 && return 0
        sleep 1
        tries=$((tries - 1))
    done
    "$@"
}

is_fit() {
    [ "$(id -u)" -eq 0 ] && [ "$(uname -s)" = FreeBSD ]
}

# undo_mounts: removes the jails of a test and unmounts its mounts, the last one first.
undo_mounts() {
    jails_left | while read -r name _; do jail -R "$name"; done
    mounts_left | awk '{ place[NR] = $2 } END { for (i = NR; i > 0; i--) print place[i] }' |
        while read -r mounted; do umount -f "$mounted"; done
}

# conclude: the plan; succeeds where every check passed.
conclude() {
    echo "1..$count"
    [ "$failures" -eq 0 ] || echo "# $failures of $count failed"
    [ "$failures" -eq 0 ]
}
