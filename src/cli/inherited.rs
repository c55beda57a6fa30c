// SPDX-License-Identifier: GPL-3.0-or-later
//! What a parent may leave to a command line: an empty environment variable, a limit on threads. The rest is set right
//! or named by [`sandbox::inherited`](crate::sandbox::inherited).
//!
//! Descriptors 0 to 2 are open by the time this runs: the standard library opens `/dev/null` for those that are closed.

use std::ffi::OsString;
use std::path::PathBuf;

/// The directory for temporary files where `TMPDIR`, whose value is `given`, is set to nothing; `None` elsewhere.
pub(super) fn temporary(given: Option<OsString>) -> Option<PathBuf> {
    given
        .filter(|given| given.is_empty())
        .map(|_| PathBuf::from("/tmp"))
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
