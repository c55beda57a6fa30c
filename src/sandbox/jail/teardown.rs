// SPDX-License-Identifier: GPL-3.0-or-later
//! Undoing a build's jail: by the helper that made it, or after one that was killed.

use std::io;
use std::path::{Path, PathBuf};

use super::parameters::rules_of;
use super::record::{JailRecord, Records};
use super::system;
use crate::sandbox::protocol::{During, StepFailure};
use crate::sandbox::{SandboxError, SandboxStep, process};

/// How often what is mounted is looked at before giving up: what a dying process holds is let go a moment later.
const TRIES: u32 = 50;
/// How long to wait in between.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Removes the jail `name` with all its processes, its resource rules, and everything mounted on `root`. What is gone
/// already is fine.
pub(super) fn undo(name: &str, root: &Path) -> Result<(), StepFailure> {
    if let Some(jail) = system::find_jail(name).during(SandboxStep::RemoveJail)? {
        system::remove_jail(jail).during(SandboxStep::RemoveJail)?;
    }
    system::remove_rules(&rules_of(name));
    let mut tries = 0;
    loop {
        let mounted = mounted_in(root).during(SandboxStep::Unmount)?;
        if mounted.is_empty() {
            return Ok(());
        }
        // What was mounted last goes first: the others are under it.
        let mut failed = None;
        for path in mounted.iter().rev() {
            if let Err(error) = system::unmount(path) {
                failed.get_or_insert((path.clone(), error));
            }
        }
        let Some((path, error)) = failed else {
            continue;
        };
        tries += 1;
        if tries == TRIES {
            return Err(error).during_on(SandboxStep::Unmount, path);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills and reaps every descendant of this process, a reaper.
///
/// Those that pdfork(2) has made are not waited for with the others as long as a process has their descriptor, be it
/// they themselves: they are seen among the reaper's descendants.
///
/// # Errors
/// Where some do not end.
pub(super) fn end_descendants() -> io::Result<()> {
    let mut tries = 0;
    loop {
        system::kill_descendants();
        if process::wait(None).is_ok() {
            continue;
        }
        let left = system::descendants()?;
        if left == 0 {
            return Ok(());
        }
        tries += 1;
        if tries == TRIES {
            let waited = PAUSE * TRIES;
            let problem = format!(
                "expected no process of the build after {} s, saw {left} that SIGKILL has not ended",
                waited.as_secs()
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Undoes the build that `record` names, and forgets it.
pub(super) fn clean(record: &JailRecord) -> Result<(), SandboxError> {
    let failed = |step, path: Option<PathBuf>, source| SandboxError::Setup {
        step,
        path,
        source,
        remedy: None,
    };
    undo(record.name(), record.root()).map_err(|failure| {
        let source = io::Error::from_raw_os_error(failure.errno);
        failed(failure.step, failure.path, source)
    })?;
    let removed = record.remove();
    removed.map_err(|error| {
        failed(
            SandboxStep::ForgetBuild,
            Some(record.file().to_owned()),
            error,
        )
    })
}

/// Undoes what runs that were killed have left.
pub(super) fn clean_abandoned(records: &Records) -> Result<(), SandboxError> {
    let abandoned = records.abandoned();
    let abandoned = abandoned.map_err(|(path, source)| SandboxError::Source { path, source })?;
    abandoned.iter().try_for_each(clean)
}

/// Where something is mounted on `root` or in it, in the order in which it was.
fn mounted_in(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut mounts = system::mounts()?;
    mounts.retain(|path| path.starts_with(root));
    Ok(mounts)
}
