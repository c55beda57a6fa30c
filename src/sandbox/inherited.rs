// SPDX-License-Identifier: GPL-3.0-or-later
//! What a process inherits from its parent and can only be asked of the system: which signals are ignored.

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
