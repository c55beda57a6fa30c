#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The installed service under a real systemd: socket activation, reload, stop, and what follows a crash.
#
#   tests/systemd.sh BOOTSTRAP [ROOT]
#
# Boots a root of the machine's own Debian release in systemd-nspawn; debootstrap makes it in ROOT, where it stays for
# the next time, or else in a directory that goes with the script. Needs root, debootstrap and Debian's
# systemd-container. Prints a line a check. Ends with 0 where each passed, or where something that it needs is missing,
# and says so.
set -eu

program=$(realpath "$1")
top=$(dirname "$(dirname "$(realpath "$0")")")
for needed in debootstrap systemd-nspawn; do
    command -v "$needed" >/dev/null || { echo "skipped: $needed is not installed"; exit 0; }
done
if [ "$(id -u)" -ne 0 ]; then
    echo 'skipped: systemd-nspawn needs root'
    exit 0
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM
root=${2:-$place/root}
if [ ! -x "$root/lib/systemd/systemd" ]; then
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    mirror=$(sh "$top/tools/debian-mirror.sh")
    debootstrap --variant=minbase --include=systemd,systemd-sysv "$release" "$root" "$mirror" >"$place/log" 2>&1 || {
        tail -n 20 "$place/log"
        exit 1
    }
fi
make -s -C "$top" install "TOOL=$program" "DESTDIR=$root" PREFIX=/usr/local

cat >"$root/ask.pl" <<'PERL'
# Greets the daemon, and asks for the validity of a path: prints the answer.
use strict;
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => '/var/guix/daemon-socket/socket') or die "cannot connect: $!\n";
my $long = sub { read($socket, my $bytes, 8) == 8 or die "the connection ended\n"; unpack('Q<', $bytes) };
my $send = sub { print $socket @_; $socket->flush };
my $done = sub { my $word = $long->(); $word == 0x616c7473 or die sprintf("unexpected word %#x\n", $word) };
$send->(pack('Q<', 0x6e697863));
$long->() == 0x6478696f or die "this is not a daemon\n";
$long->();
$send->(pack('Q<3', 0x163, 0, 0));
$done->();
my $path = '/gnu/store/' . '0' x 32 . '-x';
$send->(pack('Q<2', 1, length $path), $path, "\0" x (-length($path) % 8));
$done->();
print 'valid: ', $long->(), "\n";
# Until the daemon ends.
if (@ARGV) { local $| = 1; print "waiting\n"; read($socket, my $rest, 1); print "the daemon ended\n" }
PERL
cat >"$root/try.sh" <<'SCRIPT'
passed=0 failed=0
check() {
    name=$1
    shift
    if "$@" >/output 2>&1; then
        passed=$((passed + 1))
        echo "pass: $name"
    else
        failed=$((failed + 1))
        echo "FAIL: $name"
        sed 's/^/    /' /output
    fi
}
is() { test "$(systemctl show --value -p "$1" "$2")" = "$3"; }
answers() { perl /ask.pl | grep -x 'valid: 0'; }
says() { for _ in 1 2 3 4 5 6 7 8 9 10; do ! journalctl -b -u guix-daemon.service | grep "$1" || return 0; sleep 0.5; done; return 1; }
becomes() { for _ in $(seq 40); do ! is "$@" || return 0; sleep 0.5; done; systemctl status "$2"; return 1; }

systemctl start systemd-journald
check 'the units are valid' systemd-analyze verify --man=no guix-daemon.service guix-daemon.socket
check 'enable' systemctl enable guix-daemon.socket guix-daemon.service
check 'the socket starts' systemctl start guix-daemon.socket
check 'every user may connect' test "$(stat -c %a /var/guix/daemon-socket/socket)" = 666
check 'no service runs yet' is ActiveState guix-daemon.service inactive
check 'a client starts the service, and is answered' answers
check 'the service runs' is ActiveState guix-daemon.service active
check 'a user without privileges is answered' setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "perl /ask.pl | grep -x 'valid: 0'"
check 'reload' systemctl reload guix-daemon.service
check 'it says so' says 'reloaded the configuration'
first=$(systemctl show --value -p MainPID guix-daemon.service)
check 'a crash' kill -KILL "$first"
check 'the service is started again' becomes ActiveState guix-daemon.service active
check 'as another process' test "$(systemctl show --value -p MainPID guix-daemon.service)" != "$first"
check 'a client is answered again' answers
perl /ask.pl wait >/waiting 2>&1 &
waiting=$!
for _ in $(seq 40); do grep -q waiting /waiting && break; sleep 0.2; done
check 'a session is idle' grep -x waiting /waiting
check 'stop' systemctl stop guix-daemon.socket guix-daemon.service
wait "$waiting"
check 'the session has ended with it' grep -x 'the daemon ended' /waiting
check 'the service has succeeded' is Result guix-daemon.service success
check 'no process is left' sh -c '! pgrep -x guix-daemon'
check 'it starts without the socket' systemctl start guix-daemon.service
check 'and answers' answers
check 'disable' systemctl disable guix-daemon.socket guix-daemon.service
echo "$passed passed, $failed failed"
SCRIPT
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
Description=The checks of tests/systemd.sh
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /try.sh >/result 2>&1; systemctl poweroff --no-block'
UNIT
rm -rf "$root/result" "$root/var/guix"
# Of no machine manager: the machine may have another init.
timeout 300 systemd-nspawn --quiet --register=no --keep-unit --directory "$root" --boot systemd.unit=multi-user.target \
    systemd.wants=try.service </dev/null >"$place/console" 2>&1 || true
if [ ! -s "$root/result" ]; then
    tail -n 20 "$place/console"
    if grep -q 'running in system mode' "$place/console"; then
        echo 'FAIL: systemd started, and did not come to the checks within 300 s'
        exit 1
    fi
    echo 'skipped: systemd does not start here in systemd-nspawn'
    exit 0
fi
cat "$root/result"
grep -q ', 0 failed$' "$root/result"
