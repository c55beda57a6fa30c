// SPDX-License-Identifier: GPL-3.0-or-later
//! What is on the machine for the builds of a run, written down before it is made.
//!
//! The directory `bootstrap/jails` of the state directory has two entries for each build: the directory `NAME`, which
//! the jail's root is mounted on, and the file `NAME.lock`. `NAME` is the jail's name, too. The processes that see to
//! a build hold a lock on its file; an unlocked file is left from a run that was killed with all of them,
//! and the next run undoes what it names: the jail, the resource rules, whatever is mounted on the directory or in it.
//! Nothing else on the machine is ever touched. The file's text is for administrators.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What the names of all our jails begin with.
const PREFIX: &str = "bootstrap-";
/// What is added to a name for its file.
const SUFFIX: &str = ".lock";

/// The records of a state directory.
#[derive(Debug, Clone)]
pub struct Records {
    directory: PathBuf,
}

/// One build's record, locked.
#[derive(Debug)]
pub struct JailRecord {
    name: String,
    root: PathBuf,
    file: PathBuf,
    lock: File,
}

impl Records {
    /// The records in the state directory `state`; nothing is made yet.
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("bootstrap").join("jails"),
        }
    }

    /// Records a new build: makes its file, locked, and the directory to mount its root on.
    ///
    /// # Errors
    /// A file or directory that cannot be made, with its path.
    pub fn create(&self) -> Result<JailRecord, (PathBuf, io::Error)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        // Only root may enter it: the roots in it show what mounts show. Others may enter the directories above.
        if let Some(above) = self.directory.parent() {
            fs::create_dir_all(above).map_err(failed(above))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err((self.directory.clone(), error));
            }
            _ => {}
        }
        // The kernel's list of mounts has resolved paths.
        let directory = self
            .directory
            .canonicalize()
            .map_err(failed(&self.directory))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            // Process numbers come again; with the time, no earlier process had this name.
            let name = format!("{PREFIX}{}-{now:x}-{number}", std::process::id());
            let file = directory.join(format!("{name}{SUFFIX}"));
            let lock = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file);
            let mut lock = match lock {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(failed(&file))?,
            };
            // Another run that cleans up may have been faster, and then it is gone again.
            if !try_lock(&lock, &file).map_err(failed(&file))? {
                continue;
            }
            writeln!(lock, "process {}", std::process::id()).map_err(failed(&file))?;
            let root = directory.join(&name);
            // The build user must be able to enter what is mounted on it, which takes its mode.
            fs::create_dir(&root)
                .and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o755)))
                .map_err(failed(&root))?;
            return Ok(JailRecord {
                name,
                root,
                file,
                lock,
            });
        }
    }

    /// The records without a process that watches their build, locked.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn abandoned(&self) -> Result<Vec<JailRecord>, (PathBuf, io::Error)> {
        let failed = |error| (self.directory.clone(), error);
        let directory = match self.directory.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut records = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let file_name = entry.map_err(failed)?.file_name();
            let name = file_name
                .to_str()
                .and_then(|file_name| file_name.strip_suffix(SUFFIX))
                .filter(|name| is_name(name));
            let Some(name) = name else { continue };
            let file = directory.join(&file_name);
            // Another run has removed it meanwhile.
            let Ok(lock) = File::open(&file) else {
                continue;
            };
            if try_lock(&lock, &file).is_ok_and(|locked| locked) {
                records.push(JailRecord {
                    name: name.to_owned(),
                    root: directory.join(name),
                    file,
                    lock,
                });
            }
        }
        Ok(records)
    }
}

/// Whether `name` is one that [`Records::create`] gives. Jails of other names are left alone.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

/// Takes the lock of `file`; false where another process has it, or `file` is not at its path any more.
fn try_lock(lock: &File, file: &Path) -> io::Result<bool> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let held = lock.metadata()?;
    match fs::symlink_metadata(file) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl JailRecord {
    /// The jail's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that its root is mounted on.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What holds the lock: with a copy, another process holds it too.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Forgets the build, once all is undone.
    ///
    /// # Errors
    /// The directory or the file cannot be removed; the record stays.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.root, &self.file)
    }
}

/// Removes the directory `root`, which must be empty, and then the record's `file`; either may be gone already.
///
/// # Errors
/// What cannot be removed. Nothing in a directory is ever removed: were something still mounted there, it would be
/// the machine's own.
pub fn remove(root: &Path, file: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    // In this order: as long as there is something to undo, there is a record of it.
    gone(fs::remove_dir(root))?;
    gone(fs::remove_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(state: &Path) -> Vec<String> {
        let entries = fs::read_dir(state.join("bootstrap/jails")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_build_that_is_seen_to_is_not_abandoned_and_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::new(state.path());
        assert!(records.abandoned().unwrap().is_empty());
        let one = records.create().unwrap();
        let two = records.create().unwrap();
        assert_ne!(one.name(), two.name());
        assert!(one.root().is_dir());
        assert!(records.abandoned().unwrap().is_empty());
        one.remove().unwrap();
        two.remove().unwrap();
        // Once more does no harm.
        two.remove().unwrap();
        assert!(names(state.path()).is_empty());
    }

    #[test]
    fn who_holds_a_copy_of_the_lock_sees_to_the_build_too() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::new(state.path());
        let record = records.create().unwrap();
        let copy = record.lock().try_clone_to_owned().unwrap();
        let name = record.name().to_owned();
        drop(record);
        assert!(records.abandoned().unwrap().is_empty());
        drop(copy);
        let abandoned = records.abandoned().unwrap();
        assert_eq!(abandoned.len(), 1);
        assert_eq!(abandoned[0].name(), name);
        // Locked: another run that cleans up leaves it alone.
        assert!(records.abandoned().unwrap().is_empty());
        abandoned[0].remove().unwrap();
        assert!(names(state.path()).is_empty());
    }

    #[test]
    fn a_directory_that_is_not_empty_stays_with_its_record() {
        let state = tempfile::tempdir().unwrap();
        let record = Records::new(state.path()).create().unwrap();
        fs::write(record.root().join("mounted"), "").unwrap();
        record.remove().unwrap_err();
        assert_eq!(names(state.path()).len(), 2);
        assert!(record.root().join("mounted").exists());
    }

    #[test]
    fn files_of_other_names_are_not_records() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::new(state.path());
        records.create().unwrap().remove().unwrap();
        for name in [
            "www.lock",
            "bootstrap-.lock",
            "bootstrap-1-*.lock",
            "bootstrap-1-2-3",
        ] {
            fs::write(state.path().join("bootstrap/jails").join(name), "").unwrap();
        }
        assert!(records.abandoned().unwrap().is_empty());
    }
}
