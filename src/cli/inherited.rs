// SPDX-License-Identifier: GPL-3.0-or-later
//! What a parent may leave to this process, set right or named: signals, umask, limits, an empty environment variable.
//!
//! Descriptors 0 to 2 are open by the time this runs: the standard library opens `/dev/null` for those that are closed.

use std::ffi::OsString;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use crate::sandbox::inherited::set_signals_right;

/// Limits that are too low for builds, with what is enough and their names in messages.
const LIMITS: [(Resource, u64, &str); 3] = [
    (Resource::Nofile, 256, "open files (`ulimit -n`)"),
    (Resource::Nproc, 256, "processes and threads (`ulimit -u`)"),
    (Resource::Fsize, 16 << 30, "the size of files (`ulimit -f`)"),
];

/// Sets right what can be. Must run before anything else.
pub(super) fn set_right() {
    set_signals_right();
    // With the owner's bits masked, the process that makes a directory could not enter it.
    let mask = umask(Mode::empty());
    umask(mask - Mode::RWXU);
    for (resource, enough, _) in LIMITS {
        raise(resource, enough);
    }
}

/// The directory for temporary files where `TMPDIR`, whose value is `given`, is set to nothing; `None` elsewhere.
pub(super) fn temporary(given: Option<OsString>) -> Option<PathBuf> {
    given
        .filter(|given| given.is_empty())
        .map(|_| PathBuf::from("/tmp"))
}

/// The limits that are still too low for builds, in words.
pub(super) fn low_limits() -> Vec<String> {
    let low = LIMITS.iter().filter_map(|(resource, enough, what)| {
        let now = getrlimit(*resource).current?;
        (now < *enough).then(|| {
            format!("the parent's limit on {what} is {now}, and builds may need {enough}; raise it")
        })
    });
    low.collect()
}

/// Whether a run's threads can be started: they are, for a moment.
///
/// # Errors
/// The error of the system.
pub(super) fn try_threads() -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let mut started = Vec::new();
        for _ in 0..8 {
            let thread = std::thread::Builder::new().spawn_scoped(scope, std::thread::park);
            match thread {
                Ok(thread) => started.push(thread),
                Err(error) => {
                    started.iter().for_each(|thread| thread.thread().unpark());
                    return Err(error);
                }
            }
        }
        started.iter().for_each(|thread| thread.thread().unpark());
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_for_temporary_files_is_none() {
        assert_eq!(temporary(None), None);
        assert_eq!(temporary(Some("/var/tmp".into())), None);
        assert_eq!(temporary(Some("".into())), Some(PathBuf::from("/tmp")));
    }
}
