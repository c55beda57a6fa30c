// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that runs leave behind for every user of the machine to read.
//!
//! Their modes do not depend on the umask: neither an administrator's strict one nor that of a build which is made
//! again with another hides from other users what happened. A file that is there already keeps its mode.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde::Serialize;

/// A pipe in the place of a file is opened at once, or not at all: nothing waits for its other end.
const AT_ONCE: i32 = OFlags::NONBLOCK.bits() as i32;

/// Opens the file `path` to be read.
///
/// # Errors
/// Where that cannot be done, or it is something else than a file: what is put there may be a pipe that never ends.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(AT_ONCE)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(
            "it is not a file; move it away, and the next run makes one",
        )),
    }
}

/// Makes the file `path`, to be written at its end, and the directories above it that are missing.
///
/// # Errors
/// Where the file is there already, or cannot be made.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        create_directory(directory)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Appends `record` to the file `path` as one line of JSON, with one write: a process that is killed leaves no half of
/// it, and lines of several processes do not mix.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn append(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let open = || {
        let mut options = OpenOptions::new();
        options.append(true).custom_flags(AT_ONCE).open(path)
    };
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match create_new(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open()?,
            created => created?,
        },
        opened => opened?,
    };
    file.write_all(&line)
}

/// Makes the directory `path`, which is absolute, and those above it that are missing.
///
/// # Errors
/// Where one cannot be made.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn records_are_appended_to_a_file_that_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/records.jsonl");
        append(&path, &1).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        append(&path, &"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n\"two\"\n");
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn nobody_waits_for_the_other_end_of_a_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("records.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), directory.path()] {
            let error = open(path).unwrap_err();
            assert!(error.to_string().contains("it is not a file"), "{error}");
        }
        assert!(append(&pipe, &1).is_err());
    }

    #[test]
    fn a_new_file_replaces_none_and_a_file_is_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/record.json");
        create_new(&path).unwrap();
        let again = create_new(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(create_new(&path.join("in it")).is_err());
    }
}
