// SPDX-License-Identifier: GPL-3.0-or-later
//! Linux's system calls that the libraries we use have no safe form of. All `unsafe` code of the sandbox is here and
//! in `process`.
//!
//! Everything in this file is meant for the helper process, which has one thread.

use std::ffi::{c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::Pid;

use crate::sandbox::process::checked;

/// Mount attributes of `mount_setattr(2)` that a sandbox uses.
pub(super) mod attribute {
    pub(in super::super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    pub(in super::super) const NO_SET_USER_ID: u64 = libc::MOUNT_ATTR_NOSUID;
    pub(in super::super) const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
}

/// The namespaces of a sandbox that shares nothing with the machine.
pub(super) const ALL_NAMESPACES: c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The network namespace's bit of [`ALL_NAMESPACES`].
pub(super) const NETWORK_NAMESPACE: c_int = libc::CLONE_NEWNET;

/// Makes the new process a child of this process's parent, where [`clone_into`] gets it.
pub(super) const SIBLING: c_int = libc::CLONE_PARENT;

/// Makes a child process in new `namespaces`; gives its number in the parent, `None` in the child.
pub(super) fn clone_into(namespaces: c_int) -> io::Result<Option<Pid>> {
    let flags = c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is fork(2): the child gets a copy of all memory, no stack is given, and no
    // other pointer. The helper has one thread, so no lock can be held by a thread that the child lacks.
    let child = checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(c_int::try_from(child).ok().and_then(Pid::from_raw))
}

/// Kills every process that this one may kill: in a process namespace, all but its first process.
pub(super) fn kill_all() {
    // SAFETY: kill(2) has no requirements. ESRCH means that no process is left, which is as good.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Sets and clears attributes of the mount `tree`, and of those under it when `recursive`; with `separate` it
/// neither sends nor receives mounts any more.
pub(super) fn change_mount(
    tree: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
    separate: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: if separate { libc::MS_PRIVATE } else { 0 },
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the attributes a live variable of the size given.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Brings up the loopback interface of this process's network namespace.
pub(super) fn bring_up_loopback() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain numbers, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which this is.
    checked(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    })?;
    Ok(())
}

/// Sets the host name, and the domain name to none, of this process's namespace.
pub(super) fn name_host(name: &str) -> io::Result<()> {
    let set = |name: &str, domain: bool| {
        let (start, length) = (name.as_ptr().cast::<c_char>(), name.len());
        // SAFETY: the pointer is to `length` readable bytes; both calls read no more.
        checked(unsafe {
            if domain {
                libc::setdomainname(start, length)
            } else {
                libc::sethostname(start, length)
            }
        })
    };
    set(name, false)?;
    // What the kernel itself says when none was ever set.
    set("(none)", true)?;
    Ok(())
}

/// Gives up the keys that the caller's session holds: otherwise a build could read them.
pub(super) fn leave_keyring() {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for a new, nameless keyring; nothing is read or written. A kernel without
    // keyrings refuses, and has none to leave.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<c_char>(),
        )
    };
}

/// Whether a filter refuses `clone3` with `EPERM`, as those of some containers do.
pub(super) fn is_clone3_refused() -> bool {
    // SAFETY: without arguments the call makes no process: the size 0 is not that of its structure.
    let made = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u64>(), 0) };
    made < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Whether the system lets this process switch off address-space randomisation.
pub(super) fn can_fix_addresses() -> bool {
    // SAFETY: personality(2) has no requirements.
    let Ok(before) = checked(unsafe { libc::personality(0xffff_ffff) }) else {
        return false;
    };
    let fixed = fix_addresses().is_ok();
    // SAFETY: as above.
    unsafe { libc::personality(before as libc::c_ulong) };
    fixed
}

/// Switches off address-space randomisation for the program executed next.
pub(super) fn fix_addresses() -> io::Result<()> {
    // SAFETY: personality(2) has no requirements.
    let now = checked(unsafe { libc::personality(0xffff_ffff) })?;
    let wanted = now as libc::c_ulong | libc::ADDR_NO_RANDOMIZE as libc::c_ulong;
    // SAFETY: as above.
    checked(unsafe { libc::personality(wanted) })?;
    Ok(())
}

/// `PER_LINUX32` of `<linux/personality.h>`.
const PER_LINUX32: libc::c_ulong = 8;

/// Has `uname` name the 32-bit machine, for the program executed next.
pub(super) fn be_thirty_two_bit() -> io::Result<()> {
    // SAFETY: personality(2) has no requirements.
    checked(unsafe { libc::personality(PER_LINUX32) })?;
    Ok(())
}

/// Gives every signal its default action and unblocks them all: execution would pass on what is ignored or
/// blocked, as under nohup(1).
pub(super) fn reset_signals() {
    // The kernel's own sigaction, in which all zeros is the default action: at most these 32 bytes. The C
    // library's call would leave out the signals that the library keeps for itself.
    let default = [0u64; 4];
    let size_of_set = size_of::<u64>();
    for signal in 1..=64 {
        // SAFETY: the pointer is to enough readable bytes, and the action they mean runs no code of ours. The
        // calls that fail are for signals that cannot be changed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                size_of_set,
            )
        };
    }
    let none = 0u64;
    // SAFETY: the pointer is to a set of the size given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null::<u64>(),
            size_of_set,
        )
    };
}

/// Closes every descriptor from 3 on that the parent left open.
pub(super) fn close_inherited() {
    // SAFETY: called before this process owns any descriptor but the standard streams.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Linux before 5.9.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<c_int> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|&number| number >= 3) {
        // SAFETY: as above; the directory's own descriptor is closed by now, and failing to close it again
        // is harmless.
        unsafe { libc::close(number) };
    }
}
