// SPDX-License-Identifier: GPL-3.0-or-later
//! Which system calls the filter refuses, and which it does not.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use crate::guest::Guest;

/// What the probe says of `commands`.
fn answers(network: bool, commands: &[&str]) -> String {
    let mut guest = Guest::new();
    guest.network = network;
    guest.ask(commands)
}

#[test]
fn calls_that_reach_what_users_share_are_refused() {
    // Numbers of x86-64: keyctl, add_key, request_key, io_uring_*, userfaultfd, perf_event_open, bpf, clone3.
    let missing = [250, 248, 249, 425, 426, 427, 323, 298, 321, 435];
    let mut commands = missing
        .map(|number| format!("call native {number}"))
        .to_vec();
    let mut expected = missing
        .map(|number| format!("native {number}: ENOSYS\n"))
        .concat();
    for (command, answer) in [
        // TIOCSTI, also with bits that the kernel does not look at, and TIOCLINUX.
        ("call native 16 0 0x5412", "native 16: EPERM"),
        ("call native 16 0 0x100005412", "native 16: EPERM"),
        ("call native 16 0 0x541c", "native 16: EPERM"),
        // TCGETS is for terminals, which this is not: it reaches the kernel.
        ("call native 16 0 0x5401", "native 16: ENOTTY"),
        ("new-user-namespace", "new-user-namespace: EPERM"),
        // CLONE_NEWUSER, alone and with CLONE_NEWNS.
        ("clone 0x10000000", "clone: EPERM"),
        ("clone 0x10020000", "clone: EPERM"),
        ("clone 0", "clone: ok"),
        // AF_VSOCK: the hypervisor's.
        ("call native 41 40 1 0", "native 41: EAFNOSUPPORT"),
        ("call native 41 1 1 0", "native 41: ok"),
        ("call native 41 2 1 0", "native 41: ok"),
        ("pair 1", "pair: ok"),
        ("pair 2", "pair: ok"),
    ] {
        commands.push(command.to_owned());
        expected += answer;
        expected.push('\n');
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert_eq!(answers(false, &commands), expected);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_other_tables_are_no_way_around_it() {
    let missing = [288, 286, 287, 425, 426, 427, 374, 336, 357, 435];
    let mut commands = missing.map(|number| format!("call i386 {number}")).to_vec();
    let mut expected = missing
        .map(|number| format!("i386 {number}: ENOSYS\n"))
        .concat();
    for (command, answer) in [
        ("call i386 54 0 0x5412", "i386 54: EPERM"),
        ("call i386 54 0 0x541c", "i386 54: EPERM"),
        ("call i386 54 0 0x5401", "i386 54: ENOTTY"),
        ("call i386 310 0x10000000", "i386 310: EPERM"),
        ("call i386 120 0x10000011", "i386 120: EPERM"),
        ("call i386 359 40 1 0", "i386 359: EAFNOSUPPORT"),
        ("call i386 359 2 1 0", "i386 359: ok"),
        // Its arguments cannot be read: no sockets by this way, but in 32-bit builds.
        ("call i386 102 1 0", "i386 102: EAFNOSUPPORT"),
        // getpid
        ("call i386 20", "i386 20: ok"),
        ("call native 39", "native 39: ok"),
        ("call x32 39", "x32 39: ENOSYS"),
        ("call x32 514 0 0x5412", "x32 514: ENOSYS"),
    ] {
        commands.push(command.to_owned());
        expected += answer;
        expected.push('\n');
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert_eq!(answers(false, &commands), expected);
    // The kernel looks at the arguments, and they are nowhere.
    let answers = |network: bool| {
        let mut guest = Guest::new();
        (guest.network, guest.thirty_two_bit) = (network, true);
        guest.ask(&["call i386 102 1 0"])
    };
    assert_eq!(answers(false), "i386 102: EFAULT\n");
    assert_eq!(answers(true), "i386 102: EAFNOSUPPORT\n");
}

#[test]
fn a_build_with_the_network_cannot_reach_abstract_sockets_of_the_machine() {
    let name = format!("bootstrap-test-{}", std::process::id());
    let address = |kind: &str| SocketAddr::from_abstract_name(format!("{name}-{kind}")).unwrap();
    let _stream = UnixListener::bind_addr(&address("stream")).unwrap();
    let _datagrams = UnixDatagram::bind_addr(&address("datagrams")).unwrap();
    let stream = format!("abstract {name}-stream 1");
    let datagrams = format!("abstract {name}-datagrams 2");
    let others = [
        "pair 1",
        "pair 5",
        "pair 2",
        "pair 3",
        // AF_VSOCK, AF_PACKET, AF_NETLINK
        "call native 41 40 1 0",
        "call native 41 17 3 0",
        "call native 41 16 3 0",
    ];
    let commands = [[&*stream, &*datagrams].as_slice(), &others].concat();
    assert_eq!(
        answers(true, &commands),
        "abstract: EAFNOSUPPORT\nabstract: EAFNOSUPPORT\n\
         pair: ok\npair: ok\npair: EAFNOSUPPORT\npair: EAFNOSUPPORT\n\
         native 41: EAFNOSUPPORT\nnative 41: EAFNOSUPPORT\nnative 41: ok\n"
    );
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        answers(
            true,
            &[
                "call i386 359 1 1 0",
                "call i386 360 1 2 0",
                "call i386 102 8 0"
            ]
        ),
        "i386 359: EAFNOSUPPORT\ni386 360: EAFNOSUPPORT\ni386 102: EAFNOSUPPORT\n"
    );
    // Without the machine's network there is nothing to be reached, and Unix sockets work.
    assert_eq!(
        answers(false, &[&stream, &datagrams]),
        "abstract: ECONNREFUSED\nabstract: ECONNREFUSED\n"
    );
}
