// SPDX-License-Identifier: GPL-3.0-or-later
//! Processes of a helper: the POSIX calls that the libraries we use have no safe form of.
//!
//! Everything in this file is meant for the helper process, which has one thread.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;

use super::{ExitStatusKind, Finished};

/// `0` or more of a call that gives a negative number on failure.
pub(super) fn checked<T: PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    if result < T::from(0) {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Makes a child process; gives its number in the parent, `None` in the child.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the helper has one thread, so the child may do whatever the parent may.
    let child = checked(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(child))
}

/// Ends this process at once, without destructors or exit handlers.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no requirements.
    unsafe { libc::_exit(status) }
}

/// The machine's memory in bytes; `None` where the system does not report it.
pub(super) fn physical_memory() -> Option<u64> {
    // SAFETY: sysconf(3) has no requirements.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    u64::try_from(pages).ok()?.checked_mul(page)
}

/// Waits for `child`, or any child when `None`; returns how it ended, and what it and its own children used.
pub(super) fn wait(child: Option<Pid>) -> io::Result<(Pid, Finished)> {
    let ended = wait_with(child, 0)?;
    Ok(ended.ok_or(io::ErrorKind::NotFound)?)
}

/// As [`wait`] for any child, but `None` where none has ended yet.
#[cfg(target_os = "freebsd")]
pub(super) fn wait_without_blocking() -> io::Result<Option<(Pid, Finished)>> {
    wait_with(None, libc::WNOHANG)
}

fn wait_with(child: Option<Pid>, flags: c_int) -> io::Result<Option<(Pid, Finished)>> {
    let number = child.map_or(-1, |child| child.as_raw_pid());
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let ended = loop {
        // SAFETY: both pointers are to live variables of the right types.
        match checked(unsafe { libc::wait4(number, &mut status, flags, &mut usage) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    // 0 is the answer of a wait that does not block.
    let Some(ended) = Pid::from_raw(ended) else {
        return Ok(None);
    };
    let status = if libc::WIFEXITED(status) {
        ExitStatusKind::Exited(libc::WEXITSTATUS(status))
    } else {
        ExitStatusKind::Signaled(libc::WTERMSIG(status))
    };
    Ok(Some((ended, finished(status, &usage))))
}

/// What all children waited for have used up, as of a program that ended with `status`.
pub(super) fn usage_of_children(status: ExitStatusKind) -> Finished {
    // SAFETY: rusage is plain numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live variable of the right type. The call cannot fail with these arguments.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    finished(status, &usage)
}

fn finished(status: ExitStatusKind, usage: &libc::rusage) -> Finished {
    let time = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let microseconds = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(microseconds)
    };
    Finished {
        status,
        user_time: time(usage.ru_utime),
        system_time: time(usage.ru_stime),
        // Linux and FreeBSD count in KiB.
        max_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

/// Makes this process ignore `signals`.
pub(super) fn ignore_signals(signals: &[c_int]) {
    for &signal in signals {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes `number` the same as `descriptor`, open across execution.
pub(super) fn place(descriptor: &OwnedFd, number: c_int) -> io::Result<()> {
    // SAFETY: the caller has moved every descriptor that it still needs to another number.
    checked(unsafe { libc::dup2(descriptor.as_raw_fd(), number) })?;
    Ok(())
}

/// Becomes `program`; returns only on failure.
pub(super) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and point to C strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}
