// SPDX-License-Identifier: GPL-3.0-or-later
//! Opening files that a build, an import or a substitute made.
//!
//! Whatever made them may have put anything in their place: a symbolic link to a file that only root can read, a FIFO
//! that never ends, a device, a sparse file of a terabyte. So a link is not followed, opening waits for nothing, only a
//! regular file is read, and only so much of it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::limited_file;

/// The most bytes of a derivation. Guix's largest have a few hundred thousand.
pub const DERIVATION_MAX: u64 = 64 << 20;

/// Opens the regular file `path` for reading.
///
/// # Errors
/// Where it is anything else, or cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // FreeBSD says EMLINK.
        Err(Errno::LOOP | Errno::MLINK) => return Err(not_regular("a symbolic link")),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok(file),
        false if found.is_dir() => Err(not_regular("a directory")),
        false => Err(not_regular("a special file")),
    }
}

/// Reads the regular file `path`, which has at most `most` bytes.
///
/// # Errors
/// Where it is anything else or larger, or cannot be read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    limited_file::read_open(open(path)?, most)
}

fn not_regular(kind: &str) -> io::Error {
    io::Error::other(format!("it is {kind}: expected a regular file"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_of_some_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("file"), "content").unwrap();
        assert_eq!(read(&place("file"), 7).unwrap(), b"content");
        symlink(place("file"), place("link")).unwrap();
        fs::File::create(place("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(place("fifo"))
            .status();
        assert!(made.unwrap().success());
        symlink("/dev/zero", place("zeros")).unwrap();
        for (name, problem) in [
            ("link", "a symbolic link"),
            ("zeros", "a symbolic link"),
            ("fifo", "a special file"),
            ("", "a directory"),
            ("sparse", "too large"),
        ] {
            let error = read(&place(name), 1000).unwrap_err();
            assert!(error.to_string().contains(problem), "{name}: {error}");
        }
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert!(error.to_string().contains("a special file"), "{error}");
        let error = read(&place("file"), 6).unwrap_err();
        assert!(error.to_string().contains("at most 6 bytes"), "{error}");
    }
}
