// SPDX-License-Identifier: GPL-3.0-or-later
//! What a process inherits from its parent, set right or named: signals, the umask, limits.

use std::mem::MaybeUninit;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

use crate::process_limit::limit_of;

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

/// As many files as this process may have open at a time, where its parent's hard limit allows: archives that are
/// restored on many cores hold many directories open. Builds get a limit of their own.
const OPEN_FILES: u64 = 65_536;

/// What a command line takes at least, in bytes. With less, memory ends anywhere, and the process dies without a word.
const SMALLEST: [(Resource, u64, &str); 3] = [
    (Resource::Stack, 1 << 20, "the stack (`ulimit -s`)"),
    (Resource::Data, 64 << 20, "data (`ulimit -d`)"),
    (Resource::As, 256 << 20, "address space (`ulimit -v`)"),
];

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
    // SAFETY: there is one thread. The standard library reads the variable when the first other one is made, and a
    // stack of the parent's choice would overflow, or could not be had.
    unsafe { std::env::remove_var("RUST_MIN_STACK") };
    // With the owner's bits masked, the process that makes a directory could not enter it.
    let mask = umask(Mode::empty());
    umask(mask - Mode::RWXU);
    for (resource, enough, _) in LIMITS {
        raise(resource, enough);
    }
    raise_open_files();
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
        let now = limit_of(*resource)?.current?;
        (now < *enough)
            .then(|| format!("the parent's limit on {what} is {now}, and builds may need {enough}"))
    });
    low.collect()
}

/// Why nothing can be done with the memory that the parent allows; `None` where it is enough.
pub fn memory_too_small() -> Option<String> {
    SMALLEST.iter().find_map(|(resource, smallest, what)| {
        let now = limit_of(*resource)?.current?;
        (now < *smallest).then(|| {
            format!("the parent's limit on {what} is {now} bytes, expected at least {smallest}")
        })
    })
}

/// Raises the limit on `resource` to what is `enough`, or as far as the system lets it.
fn raise(resource: Resource, enough: u64) {
    let Some(limit) = limit_of(resource) else {
        return;
    };
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

/// Raises the soft limit on open files to the hard one, at most [`OPEN_FILES`].
fn raise_open_files() {
    let Some(limit) = limit_of(Resource::Nofile) else {
        return;
    };
    let most = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        // The usual 1024 do where the system refuses.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Not a test: the other process of the test below, which runs it by its name.
    #[test]
    fn other_process() {
        if std::env::var_os("BOOTSTRAP_TEST_OPEN_FILES").is_none() {
            return;
        }
        let limit = |current, maximum| {
            let limit = Rlimit {
                current: Some(current),
                maximum: Some(maximum),
            };
            setrlimit(Resource::Nofile, limit).unwrap();
            raise_open_files();
            assert_eq!(limit_of(Resource::Nofile).unwrap().maximum, Some(maximum));
            limit_of(Resource::Nofile).unwrap().current
        };
        assert_eq!(limit(300, 900), Some(900));
        assert_eq!(limit(300, 300), Some(300));
        println!("\nraised");
    }

    #[test]
    fn the_soft_limit_on_open_files_becomes_the_hard_one() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sandbox::inherited::tests::other_process",
                "--nocapture",
            ])
            .env("BOOTSTRAP_TEST_OPEN_FILES", "")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("\nraised\n"), "{text}");
    }
}
