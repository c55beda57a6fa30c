// SPDX-License-Identifier: GPL-3.0-or-later
//! Hints: what to do about an error, apart from what failed.
//!
//! Error types derive [`miette::Diagnostic`]. An error's message says what failed; its `help` is the hint, which the
//! command line prints on a line of its own after `hint:`. An empty hint is not printed.
//!
//! [`FileError`] is the one error for a failed system call on a file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use rustix::io::Errno;

/// The hint of `error`; empty where it has none.
pub fn help_of(error: &dyn Diagnostic) -> String {
    error
        .help()
        .map_or_else(String::new, |help| help.to_string())
}

/// The message of `error` and, on a line of its own, its hint.
pub fn with_hint(error: &dyn Diagnostic) -> String {
    match help_of(error) {
        hint if hint.is_empty() => error.to_string(),
        hint => format!("{error}\nhint: {hint}"),
    }
}

/// A system call on a file failed.
#[derive(Debug)]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
    place: FileOwner,
}

/// Whose file it is, which decides what the user can do.
#[derive(Debug, Clone, Copy)]
enum FileOwner {
    Store,
    Temporary,
    User,
}

impl FileError {
    /// An error about a file of the store, its state or a build, for `map_err`. `action` is a verb: `read`, `create`.
    pub fn in_store(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        Self::at(action, path.into(), FileOwner::Store)
    }

    /// An error about a file that the user named, for `map_err`. `action` is a verb: `read`, `create`.
    pub fn named_by_user(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        Self::at(action, path.into(), FileOwner::User)
    }

    /// An error about a file in the directory for temporary files, for `map_err`. `action` is a verb: `create`.
    pub fn temporary(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        Self::at(action, path.into(), FileOwner::Temporary)
    }

    fn at(action: &'static str, path: PathBuf, place: FileOwner) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path,
            source,
            place,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the machine is at fault, and not the request: no permission, no space, a disk that fails.
    pub fn is_environment(&self) -> bool {
        is_environment(&self.source)
    }

    /// The error of the operating system.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            path,
            source,
            ..
        } = self;
        write!(formatter, "cannot {action} {}: {source}", one_line(path))
    }
}

/// `path` with escapes for control characters. `formats::visible`, which knows more of them, is not below this module;
/// the command line makes the others visible.
fn one_line(path: &Path) -> String {
    let mut text = String::new();
    for character in path.to_string_lossy().chars() {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Diagnostic for FileError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = match self.place {
            FileOwner::Store => in_store(&self.source),
            FileOwner::Temporary => in_temporary_directory(&self.source),
            FileOwner::User => on_file(&self.source),
        };
        (!hint.is_empty()).then(|| Box::new(hint) as _)
    }
}

/// Whether a system call failed because of the machine, and not because of the request: no permission, no space, a disk
/// that fails, a limit that is reached.
pub fn is_environment(error: &io::Error) -> bool {
    let of_kind = matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::OutOfMemory
    );
    let errno = Errno::from_io_error(error);
    of_kind
        || matches!(
            errno,
            Some(Errno::IO | Errno::FBIG | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
        )
}

/// What to do about `error`, which came of a file or directory that the store, its state or a build uses.
pub fn in_store(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room and try again",
        io::ErrorKind::PermissionDenied => {
            "run as the user that owns the store, or with --root DIR"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it for writing, or choose another place with --root DIR"
        }
        io::ErrorKind::ResourceBusy => "unmount what is mounted there",
        _ => of_machine(error),
    }
}

/// What to do about `error`, which came of the directory for temporary files.
fn in_temporary_directory(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or set TMPDIR to a directory with room"
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory => "set TMPDIR to a directory that you may write to",
        _ => of_machine(error),
    }
}

/// What to do about `error`, which came of a file or directory that the user named.
pub fn on_file(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the name, and that its directory exists",
        io::ErrorKind::PermissionDenied => {
            "run as a user who may do that, or change its permissions or those of its directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => "name a place that can be written to",
        io::ErrorKind::IsADirectory => "name a file",
        // Both are this program's own: see `limited_file`.
        io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => {
            "put the file itself in its place"
        }
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => {
            "check that this is the right file"
        }
        io::ErrorKind::NotADirectory => {
            "a part of the path is a file, not a directory: check the name"
        }
        _ => in_store(error),
    }
}

/// What to do where the machine is at its end, whatever was asked of it.
pub fn of_machine(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::IO) => "the disk may be failing: check the system's log",
        Some(Errno::FBIG) => "raise the limit on the size of files (`ulimit -f`)",
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit on open files (`ulimit -n`)",
        // A thread or a process was refused.
        Some(Errno::AGAIN) => {
            "use fewer jobs (-j), or raise the limit on processes (`ulimit -u`, `pids.max`)"
        }
        Some(Errno::NOMEM) => "free memory, or do less at a time (-j, --cores)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_can_do_depends_on_whose_file_it_is() {
        let denied = io::Error::from(Errno::ACCESS);
        assert!(in_store(&denied).contains("--root DIR"));
        assert!(!on_file(&denied).contains("--root"));
        assert!(on_file(&denied).contains("its permissions"));
        for (errno, advice) in [
            (Errno::NOSPC, "make room"),
            (Errno::AGAIN, "limit on processes"),
            (Errno::DQUOT, "make room"),
            (Errno::IO, "the disk may be failing"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NOMEM, "--cores"),
        ] {
            let error = io::Error::from(errno);
            for text in [in_store(&error), on_file(&error)] {
                assert!(text.contains(advice), "{text}");
            }
        }
        for errno in [Errno::NOENT, Errno::NOTDIR] {
            assert!(on_file(&errno.into()).contains("check the name"));
        }
        assert_eq!(in_store(&Errno::NOENT.into()), "");
        assert_eq!(on_file(&io::Error::other("odd")), "");
    }

    #[test]
    fn a_file_error_keeps_its_hint_apart() {
        let full = || io::Error::from(Errno::NOSPC);
        let error = FileError::in_store("write", "/gnu/store/x")(full());
        assert!(error.to_string().starts_with("cannot write /gnu/store/x: "));
        assert!(!error.to_string().contains("make room"));
        assert!(error.help().unwrap().to_string().starts_with("make room"));
        let error = FileError::temporary("create", "/tmp/x")(io::Error::from(Errno::ACCESS));
        assert!(error.help().unwrap().to_string().starts_with("set TMPDIR"));
        let error = FileError::named_by_user("read", "x")(io::Error::other("odd"));
        assert!(error.help().is_none());
    }

    #[test]
    fn an_empty_hint_is_not_printed() {
        let error = FileError::named_by_user("read", "x")(io::Error::other("odd"));
        assert_eq!(help_of(&error), "");
        assert_eq!(with_hint(&error), "cannot read x: odd");
        let error = FileError::in_store("write", "x")(io::Error::from(Errno::NOSPC));
        assert!(with_hint(&error).ends_with("\nhint: make room and try again"));
    }
}
