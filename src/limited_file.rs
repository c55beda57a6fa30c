// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading files that a user names, or that are in a folder that a user names. All of the file goes to memory, so its
//! size has a limit: `/dev/zero` and a sparse file of a terabyte are errors.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The most bytes of a key or of the configuration.
pub const SMALL: u64 = 1 << 20;

/// The most bytes of a document that this program writes: locks, attestations, descriptions of seeds. The largest have
/// a few hundred thousand.
pub const DOCUMENT: u64 = 64 << 20;

/// The most bytes of an index of a Debian suite. The largest, of all sources of sid, has 60 MiB.
pub const INDEX: u64 = 1 << 30;

/// Reads the file `path`, of at most `most` bytes. It may be a pipe or a device, such as `/dev/stdin` or `/dev/null`.
///
/// # Errors
/// Where it is larger, or cannot be read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?, most)
}

/// [`read`] of a document that this program has written.
///
/// # Errors
/// As [`read`].
pub fn read_document(path: &Path) -> io::Result<Vec<u8>> {
    read(path, DOCUMENT)
}

/// As [`read`], of text in UTF-8.
///
/// # Errors
/// As [`read`], and where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read(path, most)?)
}

/// As [`read_text`], of a regular file alone, or a link to one: for folders, whose author may be another than who reads
/// them. It waits for nothing, also where it finds a FIFO.
///
/// # Errors
/// As [`read_text`], and where it is not a regular file.
pub fn read_regular_text(path: &Path, most: u64) -> io::Result<String> {
    text(read_regular(path, most)?)
}

/// As [`read_regular_text`], of any bytes.
///
/// # Errors
/// Where it is not a regular file, is larger, or cannot be read.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(open_regular(path)?, most)
}

/// Opens a regular file, or a link to one, to be read. It waits for nothing, also where it finds a FIFO.
///
/// # Errors
/// Where it is something else, or cannot be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(CWD, path, OFlags::empty())
}

/// As [`open_regular`], of the file `name` below `directory`, through no link below that: in a folder that another user
/// may have made, it could lead to any file of this machine.
///
/// # Errors
/// As [`open_regular`], and where `name` is not a path below the directory, or one of its parts is a link.
pub fn open_below(directory: &Path, name: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(directory, flags, Mode::empty())?;
    let mut parts = name.components().peekable();
    while let Some(Component::Normal(part)) = parts.next() {
        if parts.peek().is_none() {
            return open(folder, Path::new(part), OFlags::NOFOLLOW).map_err(of_link);
        }
        folder = rustix::fs::openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|error| of_link(error.into()))?;
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "expected the name of a file below the directory",
    ))
}

/// As [`read_regular_text`], but not through a link: in a folder that another user may have made, it could lead to any
/// file of this machine, and what is wrong with a file is shown with a line of it.
///
/// # Errors
/// As [`read_regular_text`], and where it is a link.
pub fn read_unlinked_text(path: &Path, most: u64) -> io::Result<String> {
    let file = open(CWD, path, OFlags::NOFOLLOW).map_err(of_link)?;
    text(read_open(file, most)?)
}

/// `error`, in words where it says that what was to be opened is a link.
fn of_link(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) if [Errno::LOOP, Errno::MLINK].contains(&Errno::from_raw_os_error(number)) => {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a symbolic link: expected a regular file",
            )
        }
        _ => error,
    }
}

/// Opens `path`, which is relative to `folder`.
fn open(folder: impl AsFd, path: &Path, further: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, path, flags | further, Mode::empty())?;
    let file = File::from(file);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a regular file",
        )),
    }
}

/// Reads the rest of the open `file`, which has at most `most` bytes.
///
/// # Errors
/// Where it is larger, or cannot be read.
pub fn read_open(file: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = file
        .take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    match read as u64 > most {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is too large: expected at most {most} bytes"),
        )),
        false => Ok(content),
    }
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected UTF-8, saw another byte at {position}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_without_end_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("file"), "content").unwrap();
        symlink(place("file"), place("link")).unwrap();
        fs::write(place("latin"), b"caf\xe9").unwrap();
        let sparse = File::create(place("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(place("fifo"))
            .status();
        assert!(made.unwrap().success());
        for name in ["file", "link"] {
            assert_eq!(read(&place(name), 7).unwrap(), b"content");
            assert_eq!(read_text(&place(name), 7).unwrap(), "content");
            assert_eq!(read_regular_text(&place(name), 7).unwrap(), "content");
            let error = read(&place(name), 6).unwrap_err();
            assert!(error.to_string().contains("at most 6 bytes"), "{error}");
        }
        assert_eq!(read_unlinked_text(&place("file"), 7).unwrap(), "content");
        let error = read_unlinked_text(&place("link"), 7).unwrap_err();
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        let below = |name: &str| open_below(directory.path(), Path::new(name));
        fs::create_dir(place("folder")).unwrap();
        fs::write(place("folder/file"), "content").unwrap();
        symlink(place("folder"), place("linked")).unwrap();
        let file = below("folder/file").unwrap();
        assert_eq!(read_open(file, 7).unwrap(), b"content");
        let error = below("folder/none").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        for name in ["link", "linked/file", "../file", "/etc/passwd", "", "."] {
            assert!(below(name).is_err(), "{name}");
        }
        let error = below("link").unwrap_err();
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        assert_eq!(read(Path::new("/dev/null"), 7).unwrap(), b"");
        for path in [Path::new("/dev/zero"), &place("sparse")] {
            let error = read(path, SMALL).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
        }
        for path in [Path::new("/dev/zero"), &place("fifo"), &place("")] {
            let error = read_regular_text(path, SMALL).unwrap_err();
            assert!(error.to_string().contains("a regular file"), "{error}");
        }
        let error = read_text(&place("latin"), 7).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }
}
