//! What people can do about an error of the operating system, in a few words that end a message.
//!
//! A text starts with `; `, and is empty where nothing can be said that holds for every such error.

use std::io;

use rustix::io::Errno;

/// What to do about `error`, which came of a file or directory that the store, its state or a build uses.
pub fn in_store(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room and try again",
        io::ErrorKind::PermissionDenied => {
            "; run as the user that owns the store, or with --root DIR"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it for writing, or choose another place with --root DIR"
        }
        _ => of_machine(error),
    }
}

/// What to do about `error`, which came of a file or directory that somebody has named, to be read or written.
pub fn on_file(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; look whether the name is right, and whether its directory is there"
        }
        io::ErrorKind::PermissionDenied => {
            "; run as a user who may do that, or change its permissions or those of its directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; name a place that can be written to",
        io::ErrorKind::IsADirectory => "; name a file",
        io::ErrorKind::NotADirectory => {
            "; one of the directories in its name is a file: look whether the name is right"
        }
        _ => in_store(error),
    }
}

/// What to do where the machine is at its end, whatever was asked of it.
fn of_machine(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::IO) => "; the disk may be failing: look into the system's log",
        Some(Errno::MFILE | Errno::NFILE) => "; raise the limit on open files (`ulimit -n`)",
        Some(Errno::NOMEM) => "; free memory, or do less at a time (-j, --cores)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_can_do_depends_on_whose_file_it_is() {
        let denied = io::Error::from(Errno::ACCESS);
        assert!(in_store(&denied).contains("--root DIR"));
        assert!(!on_file(&denied).contains("--root"));
        assert!(on_file(&denied).contains("its permissions"));
        for (errno, advice) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "make room"),
            (Errno::IO, "the disk may be failing"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NOMEM, "--cores"),
        ] {
            let error = io::Error::from(errno);
            for text in [in_store(&error), on_file(&error)] {
                assert!(text.starts_with("; ") && text.contains(advice), "{text}");
            }
        }
        for errno in [Errno::NOENT, Errno::NOTDIR] {
            assert!(on_file(&errno.into()).contains("the name is right"));
        }
        assert_eq!(in_store(&Errno::NOENT.into()), "");
        assert_eq!(on_file(&io::Error::other("odd")), "");
    }
}
