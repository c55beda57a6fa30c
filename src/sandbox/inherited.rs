// SPDX-License-Identifier: GPL-3.0-or-later
//! What a process inherits from its parent, set right or named: signals, the umask, limits.

use std::mem::MaybeUninit;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Limits that are too low for builds, with what is enough and their names in messages.
const LIMITS: [(Resource, u64, &str); 7] = [
    (Resource::Nofile, 256, "open files (`ulimit -n`)"),
    (Resource::Nproc, 256, "processes and threads (`ulimit -u`)"),
    (Resource::Fsize, 16 << 30, "the size of files (`ulimit -f`)"),
    (Resource::Stack, 8 << 20, "the stack (`ulimit -s`)"),
    (Resource::Data, 16 << 30, "data (`ulimit -d`)"),
    (Resource::As, 16 << 30, "address space (`ulimit -v`)"),
    (Resource::Cpu, 7 * 24 * 3600, "processor time (`ulimit -t`)"),
];

/// The least stack that a command line is read with, in bytes.
const SMALLEST_STACK: u64 = 1 << 20;

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

/// Sets right what can be: signals, the umask, limits. Must run before anything else, while there is one thread.
pub fn set_right() {
    set_signals_right();
    // With the owner's bits masked, the process that makes a directory could not enter it.
    let mask = umask(Mode::empty());
    umask(mask - Mode::RWXU);
    for (resource, enough, _) in LIMITS {
        raise(resource, enough);
    }
}

/// Sets signals right that a parent may have left in a state that this program cannot work with: blocked ones are
/// delivered again, the end of a child is reported (a parent that ignores `SIGCHLD` would have its status dropped), and
/// a file that grows beyond `ulimit -f` is an error of `write` instead of the process' death.
///
/// Must be called while there is one thread.
fn set_signals_right() {
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

/// The limits that are still too low for builds, in words.
pub fn low_limits() -> Vec<String> {
    let low = LIMITS.iter().filter_map(|(resource, enough, what)| {
        let now = getrlimit(*resource).current?;
        (now < *enough).then(|| {
            format!("the parent's limit on {what} is {now}, and builds may need {enough}; raise it")
        })
    });
    low.collect()
}

/// Why nothing can be done with the stack that the parent allows; `None` where it is large enough.
pub fn stack_too_small() -> Option<String> {
    let stack = getrlimit(Resource::Stack).current?;
    (stack < SMALLEST_STACK).then(|| {
        format!(
            "the parent's limit on the stack is {stack} bytes, expected at least {SMALLEST_STACK}"
        )
    })
}

/// Raises the limit on `resource` to what is `enough`, or as far as the system lets it.
fn raise(resource: Resource, enough: u64) {
    let limit = getrlimit(resource);
    if limit.current.is_none_or(|current| current >= enough) {
        return;
    }
    let enough_for_both = Rlimit {
        current: Some(enough),
        maximum: limit.maximum.map(|most| most.max(enough)),
    };
    let as_far_as_possible = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(resource, enough_for_both).is_err() {
        // What is left too low is named before a run.
        let _ = setrlimit(resource, as_far_as_possible);
    }
}
