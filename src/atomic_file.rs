// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that get their name once they are complete and on the disk.
//!
//! The new file is made beside its place, under a name that cannot be guessed and that nothing else has, so that no
//! link in its way is followed. Then it is renamed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::diagnostics::FileError;

/// A file that is being written beside its place. Dropped before [`persist`](Self::persist), it is removed.
#[derive(Debug)]
pub struct AtomicFile {
    place: PathBuf,
    file: NamedTempFile,
    size: u64,
}

impl AtomicFile {
    /// Starts the file that is to be at `place`, with mode 0666 less the umask.
    ///
    /// # Errors
    /// Where its directory cannot be written to.
    pub fn create(place: &Path) -> Result<Self, FileError> {
        let directory = match place.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(place.file_name().unwrap_or_default());
        // Names may have 255 bytes; those that are nearly as long are cut.
        let prefix = prefix
            .to_string_lossy()
            .chars()
            .take(60)
            .collect::<String>()
            + ".";
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .make_in(directory, |path| {
                let mut options = File::options();
                options.write(true).create_new(true).mode(0o666).open(path)
            })
            .map_err(FileError::named_by_user("write", place))?;
        Ok(Self {
            place: place.to_owned(),
            file,
            size: 0,
        })
    }

    /// The number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until the disk has the file, and gives it its name, in place of what has that.
    ///
    /// # Errors
    /// Where that fails; then the file is gone, and what had the name stays.
    pub fn persist(self) -> Result<(), FileError> {
        // A name may reach the disk before the bytes do.
        let written = self.file.as_file().sync_all();
        written.map_err(FileError::named_by_user("write", &self.place))?;
        let persisted = self.file.persist(&self.place).map_err(|error| error.error);
        persisted
            .map(drop)
            .map_err(FileError::named_by_user("write", self.place))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `content` to `place` in one step: a reader sees the old file or the new one.
///
/// # Errors
/// Where it cannot be written; then what was there stays.
pub fn replace(place: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(place)?;
    file.write_all(content)
        .map_err(FileError::named_by_user("write", place))?;
    file.persist()
}

/// Where a file that the user called `path` has to be written: `path` itself, or what it leads to where it is a link of
/// the user's own. `None` means that `path` is a device or a pipe, to be opened as it is.
///
/// A link that another user made is replaced: in a directory that others may write to, it could lead to any file or
/// disk. Only root's links to devices are followed for everyone, such as `/dev/stdout`.
pub fn place_of(path: &Path) -> Option<PathBuf> {
    let Ok(link) = path.symlink_metadata() else {
        return Some(path.to_owned());
    };
    if !link.is_symlink() {
        return (link.is_file() || link.is_dir()).then(|| path.to_owned());
    }
    let is_own = link.uid() == rustix::process::geteuid().as_raw();
    match path.metadata() {
        Ok(found) if !found.is_file() && !found.is_dir() && (is_own || link.uid() == 0) => None,
        _ if is_own => Some(path.canonicalize().unwrap_or_else(|_| path.to_owned())),
        _ => Some(path.to_owned()),
    }
}

/// Makes the directory that the user called `path`, and those above it that are missing.
///
/// # Errors
/// Where it cannot be made; or where it is a link that another user made, which could lead to any directory.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    let link = path.symlink_metadata();
    let user = rustix::process::geteuid().as_raw();
    let is_foreign = |link: &std::fs::Metadata| link.is_symlink() && link.uid() != user;
    if link.is_ok_and(|link| is_foreign(&link)) {
        let error = io::Error::new(
            io::ErrorKind::PermissionDenied,
            "expected a directory, or a link of your own; saw a link of another user",
        );
        return Err(FileError::named_by_user("use", path)(error));
    }
    std::fs::create_dir_all(path).map_err(FileError::named_by_user("create", path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_has_the_name_before_all_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("report.html");
        fs::write(&place, "old").unwrap();
        let mut file = AtomicFile::create(&place).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(file.size(), 3);
        assert_eq!(fs::read_to_string(&place).unwrap(), "old");
        drop(file);
        assert_eq!(names(directory.path()), ["report.html"]);
        replace(&place, b"new").unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        assert_eq!(names(directory.path()), ["report.html"]);
        assert_eq!(place.metadata().unwrap().mode() & 0o600, 0o600);
    }

    #[test]
    fn a_link_at_any_name_that_could_be_guessed_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        let place = open.join("lock");
        // What earlier versions used, and the name itself.
        let process = std::process::id();
        for name in [
            format!("lock.{process}"),
            format!("lock.new-{process}"),
            "lock".to_owned(),
        ] {
            symlink(&secret, open.join(name)).unwrap();
        }
        replace(&place, b"content").unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::read_to_string(&place).unwrap(), "content");
        assert!(place.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn only_links_of_the_users_own_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().canonicalize().unwrap().join("target");
        fs::write(&target, "").unwrap();
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        assert_eq!(place_of(&link), Some(target));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
            assert_eq!(place_of(&link), Some(link));
            let device = directory.path().join("device");
            symlink("/dev/null", &device).unwrap();
            assert_eq!(place_of(&device), None);
            std::os::unix::fs::lchown(&device, Some(65534), None).unwrap();
            assert_eq!(place_of(&device), Some(device));
        }
        assert_eq!(place_of(Path::new("/dev/null")), None);
        let missing = directory.path().join("missing");
        assert_eq!(place_of(&missing), Some(missing));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let error = replace(Path::new("/nowhere/report.html"), b"").unwrap_err();
        let text = "cannot write /nowhere/report.html: No such file or directory (os error 2)";
        assert_eq!(error.to_string(), text);
    }
}
