// SPDX-License-Identifier: GPL-3.0-or-later
//! Why the files of recipes cannot be read.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::diagnostics::on_file;
use crate::formats::visible::visible_path;

/// What messages call a symbolic link.
pub(super) const SYMLINK: &str = "a symbolic link";

/// A file or folder that could not be read, or that recipes may not have.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UnreadableRecipes {
    /// A system call failed.
    #[error("cannot read {}: {error}", visible_path(path))]
    #[diagnostic(help("{}", on_file(error)))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// An entry of another kind than expected.
    #[error("{} is {seen}: expected {expected}", visible_path(path))]
    #[diagnostic(help("{}", instead_of(seen)))]
    Kind {
        /// The entry.
        path: PathBuf,
        /// What it is.
        seen: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A name that cannot be written in a recipe.
    #[error("the name of {} is not UTF-8", visible_path(path))]
    #[diagnostic(help("rename it"))]
    Name {
        /// The entry.
        path: PathBuf,
    },
    /// More bytes than recipes and sources may have.
    #[error(
        "{} is too large: the files of a folder may have {most} MiB in all",
        visible_path(path)
    )]
    #[diagnostic(help("move what is not a source out of the folder"))]
    TooLarge {
        /// The file that was too much.
        path: PathBuf,
        /// The most, in MiB.
        most: u64,
    },
    /// Folders in folders without end.
    #[error("{} is more than {most} folders deep", visible_path(path))]
    #[diagnostic(help("move what is not a source out of the folder"))]
    TooDeep {
        /// The folder.
        path: PathBuf,
        /// The most.
        most: usize,
    },
}

/// What to do about an entry that is `seen` where it may not be.
fn instead_of(seen: &str) -> &'static str {
    match seen == SYMLINK {
        true => {
            "links out of a folder of recipes could name any file of this machine: copy the file, or remove the link"
        }
        false => "move it out of the folder",
    }
}

impl UnreadableRecipes {
    pub(super) fn io(path: &Path, error: Errno) -> Self {
        Self::Io {
            path: path.to_owned(),
            error: error.into(),
        }
    }
}
