// SPDX-License-Identifier: GPL-3.0-or-later
//! The system calls that no build may make, refused by a seccomp filter.
//!
//! Namespaces do not separate everything. These calls reach what the machine's users share (terminals, keyrings, the
//! hypervisor's sockets), give privileges back inside a user namespace, or open large parts of the kernel to a build:
//!
//! - `EPERM`: `ioctl` with `TIOCSTI` and `TIOCLINUX`, and `clone` and `unshare` with `CLONE_NEWUSER`;
//! - `ENOSYS`, as in a kernel without them: `keyctl`, `add_key`, `request_key`, `io_uring_*`, `userfaultfd`,
//!   `perf_event_open`, `bpf`, and `clone3`, whose flags a filter cannot read (C libraries then call `clone`);
//! - `EAFNOSUPPORT`: sockets of `AF_VSOCK`. A build with the machine's network gets sockets of IPv4, IPv6 and netlink
//!   only: abstract Unix sockets belong to the network namespace, so it could reach the machine's. Pairs of connected
//!   Unix sockets still work, but for datagrams, which can be sent to any address.
//!
//! Everything else is allowed, on every kernel alike: whether a build may do something must not depend on the kernel's
//! version. On x86-64 the same list holds for i386 calls, but for `socketcall`, whose arguments a filter cannot read:
//! it makes sockets only in a 32-bit build without the machine's network, since glibc has no other way there when it is
//! built for old kernels, as Guix's is. Those may be of `AF_VSOCK`, too. The x32
//! calls are refused as a kernel without them does.
//!
//! Sources: seccomp(2), ioctl_tty(2), `arch/x86/entry/syscalls/syscall_32.tbl` and `<linux/audit.h>` of Linux.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen,
    SeccompCmpOp::{self, Eq, MaskedEq, Ne},
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// The numbers of one architecture's calls that the filter looks at.
struct Numbers {
    ioctl: i64,
    clone: i64,
    clone3: i64,
    unshare: i64,
    socket: i64,
    socketpair: i64,
    /// i386's one call for all of sockets.
    socketcall: Option<i64>,
    /// Refused whatever the arguments.
    whole: [i64; 9],
}

const NATIVE: Numbers = Numbers {
    ioctl: libc::SYS_ioctl,
    clone: libc::SYS_clone,
    clone3: libc::SYS_clone3,
    unshare: libc::SYS_unshare,
    socket: libc::SYS_socket,
    socketpair: libc::SYS_socketpair,
    socketcall: None,
    whole: [
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_bpf,
    ],
};

#[cfg(target_arch = "x86_64")]
const I386: Numbers = Numbers {
    ioctl: 54,
    clone: 120,
    clone3: 435,
    unshare: 310,
    socket: 359,
    socketpair: 360,
    socketcall: Some(102),
    whole: [288, 286, 287, 425, 426, 427, 374, 336, 357],
};

/// `SYS_SOCKET` and `SYS_SOCKETPAIR` of `<linux/net.h>`: what `socketcall` is to do.
const MAKE_SOCKET: u64 = 1;
const MAKE_PAIR: u64 = 8;
/// The bits of a socket's type that are not flags: `SOCK_TYPE_MASK`.
const TYPE: u64 = 0xf;

/// What a call's 32-bit argument must be for a rule to hold. The kernel ignores the upper half of these arguments.
fn argument(number: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, value)
}

type Error = seccompiler::BackendError;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Rules for `calls`, each refused when any of its conditions holds.
fn any<const N: usize>(
    rules: &mut Rules,
    call: i64,
    conditions: [SeccompCondition; N],
) -> Result<(), Error> {
    for condition in conditions {
        let rule = SeccompRule::new(vec![condition])?;
        rules.entry(call).or_default().push(rule);
    }
    Ok(())
}

/// What a build is, as far as the filter depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FilteredBuild {
    /// Whether it shares the machine's network.
    pub(super) network: bool,
    /// Whether it is one for the 32-bit sibling of this machine.
    pub(super) thirty_two_bit: bool,
}

/// What makes the calls that get one error.
type MakeRules = fn(&Numbers, FilteredBuild) -> Result<Rules, Error>;

/// Calls that reach further than a build may.
fn forbidden(calls: &Numbers, _build: FilteredBuild) -> Result<Rules, Error> {
    let mut forbidden = Rules::new();
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX];
    let [sti, linux] = terminal.map(|request| argument(1, Eq, request));
    any(&mut forbidden, calls.ioctl, [sti?, linux?])?;
    let user = libc::CLONE_NEWUSER as u64;
    for call in [calls.clone, calls.unshare] {
        any(&mut forbidden, call, [argument(0, MaskedEq(user), user)?])?;
    }
    Ok(forbidden)
}

/// Calls that look as if the kernel lacked them.
fn missing(calls: &Numbers, _build: FilteredBuild) -> Result<Rules, Error> {
    let missing = calls.whole.iter().chain([&calls.clone3]);
    Ok(missing.map(|&call| (call, Vec::new())).collect())
}

/// Sockets of families that a build may not use.
fn families(calls: &Numbers, build: FilteredBuild) -> Result<Rules, Error> {
    let mut families = Rules::new();
    if build.network {
        let others = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let others = others.map(|family| argument(0, Ne, family as u64));
        let others: Result<Vec<_>, _> = others.into_iter().collect();
        families.insert(calls.socket, vec![SeccompRule::new(others?)?]);
        // The kernel takes a raw Unix socket for one of datagrams.
        let [datagrams, raw] =
            [libc::SOCK_DGRAM, libc::SOCK_RAW].map(|kind| argument(1, MaskedEq(TYPE), kind as u64));
        any(&mut families, calls.socketpair, [datagrams?, raw?])?;
    } else {
        let machine = argument(0, Eq, libc::AF_VSOCK as u64)?;
        any(&mut families, calls.socket, [machine])?;
    }
    if let Some(call) = calls.socketcall {
        if build.network || !build.thirty_two_bit {
            any(&mut families, call, [argument(0, Eq, MAKE_SOCKET)?])?;
        }
        if build.network {
            any(&mut families, call, [argument(0, Eq, MAKE_PAIR)?])?;
        }
    }
    Ok(families)
}

/// The program that gives `errno` for calls that match `rules`.
fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?.try_into()
}

/// Opcodes of `<linux/bpf_common.h>`: load a word of the call's data, jump always, jump if equal or if at least,
/// return.
#[cfg(target_arch = "x86_64")]
mod opcode {
    pub(super) const LOAD: u16 = 0x20;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const IF_EQUAL: u16 = 0x15;
    pub(super) const IF_AT_LEAST: u16 = 0x35;
    pub(super) const RETURN: u16 = 0x06;
}

#[cfg(target_arch = "x86_64")]
const AUDIT_X86_64: u32 = 0xc000_003e;
#[cfg(target_arch = "x86_64")]
const AUDIT_I386: u32 = 0x4000_0003;
/// The bit that x32 calls have in their number.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// One program of two: `native` for x86-64 calls and `other` for i386 ones. `seccompiler` does not know i386, but its
/// programs depend on the architecture only by the number that they begin by comparing.
#[cfg(target_arch = "x86_64")]
fn join(native: BpfProgram, mut other: BpfProgram) -> BpfProgram {
    for step in &mut other {
        if step.code == opcode::IF_EQUAL && step.k == AUDIT_X86_64 {
            step.k = AUDIT_I386;
        }
    }
    let step = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // The offsets of the call's number and architecture in `struct seccomp_data` are 0 and 4.
    let mut program = vec![
        step(opcode::LOAD, 0, 0, 4),
        step(opcode::IF_EQUAL, 0, 1, AUDIT_I386),
        step(opcode::JUMP, 0, 0, native.len() as u32 + 3),
        step(opcode::LOAD, 0, 0, 0),
        step(opcode::IF_AT_LEAST, 0, 1, X32),
        step(opcode::RETURN, 0, 0, refuse),
    ];
    program.extend(native);
    program.extend(other);
    program
}

/// The program for what `rules` makes of the numbers of each architecture.
fn program(
    errno: i32,
    rules: impl Fn(&Numbers) -> Result<Rules, Error>,
) -> Result<BpfProgram, Error> {
    let native = compile(rules(&NATIVE)?, errno)?;
    #[cfg(target_arch = "x86_64")]
    let native = join(native, compile(rules(&I386)?, errno)?);
    Ok(native)
}

/// Lets this process make threads where a filter that it has inherited refuses `clone3` with `EPERM`. C libraries call
/// `clone` instead only where `clone3` is missing; of two filters that refuse a call, the one that came last names the
/// error.
pub(super) fn allow_threads() -> io::Result<()> {
    let missing = |calls: &Numbers| Ok([(calls.clone3, Vec::new())].into());
    apply(&program(libc::ENOSYS, missing).map_err(io::Error::other)?)
}

/// Refuses the calls for this process and all that it starts, which are `build`, for good. It must not gain privileges
/// any more.
pub(super) fn install(build: FilteredBuild) -> io::Result<()> {
    for (errno, rules) in [
        (libc::EPERM, forbidden as MakeRules),
        (libc::ENOSYS, missing),
        (libc::EAFNOSUPPORT, families),
    ] {
        let program = program(errno, |calls| rules(calls, build));
        apply(&program.map_err(io::Error::other)?)?;
    }
    Ok(())
}

fn apply(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other => io::Error::other(other),
    })
}
