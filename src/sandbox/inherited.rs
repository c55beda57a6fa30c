// SPDX-License-Identifier: GPL-3.0-or-later
//! What a process inherits from its parent: the state of signals.

use std::mem::MaybeUninit;

/// Whether the parent has had `signal` ignored, as `nohup` does. Must be asked before a handler is installed.
///
/// A signal that does not exist counts as not ignored.
pub fn is_ignored(signal: i32) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, sigaction changes nothing. It writes to `current`, which is large enough and is
    // read only where the call succeeded.
    let current = unsafe {
        match libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) {
            0 => current.assume_init(),
            _ => return false,
        }
    };
    current.sa_sigaction == libc::SIG_IGN
}

/// Sets signals right that a parent may have left in a state that this program cannot work with: blocked ones are
/// delivered again, the end of a child is reported (a parent that ignores `SIGCHLD` would have its status dropped), and
/// a file that grows beyond `ulimit -f` is an error of `write` instead of the process' death.
///
/// Must be called while there is one thread.
pub fn set_signals_right() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is initialised by sigemptyset before it is read. The dispositions are the default one and
    // "ignore", so that no handler is involved.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
