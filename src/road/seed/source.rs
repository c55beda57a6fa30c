// SPDX-License-Identifier: GPL-3.0-or-later
//! Where descriptions and locks come from.

use std::fs;
use std::io;
use std::path::PathBuf;

use include_dir::{Dir, include_dir};

use super::SeedError;
use crate::formats::visible::visible_path;
use crate::limited_file;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/seeds");

/// A set of seeds: files `NAME.toml` and `NAME.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeedSource {
    /// Those that travel inside the program.
    #[default]
    Embedded,
    /// Those of a directory.
    Directory(PathBuf),
}

impl SeedSource {
    /// The names of all seeds, sorted.
    pub fn names(&self) -> Result<Vec<String>, SeedError> {
        let mut files: Vec<String> = match self {
            Self::Embedded => EMBEDDED
                .files()
                .filter_map(|file| Some(file.path().file_name()?.to_str()?.to_owned()))
                .collect(),
            Self::Directory(directory) => {
                let mut names = Vec::new();
                for entry in fs::read_dir(directory).map_err(SeedError::read(directory))? {
                    let entry = entry.map_err(SeedError::read(directory))?;
                    names.extend(entry.file_name().into_string().ok());
                }
                names
            }
        };
        files.sort();
        Ok(files
            .into_iter()
            .filter_map(|file| file.strip_suffix(".toml").map(str::to_owned))
            .collect())
    }

    /// The text of the file `file`; `None` where there is none.
    pub(super) fn read(&self, file: &str) -> Result<Option<String>, SeedError> {
        match self {
            Self::Embedded => Ok(EMBEDDED
                .get_file(file)
                .and_then(|file| file.contents_utf8())
                .map(str::to_owned)),
            Self::Directory(directory) => {
                let path = directory.join(file);
                match limited_file::read_unlinked_text(&path, limited_file::DOCUMENT) {
                    Ok(text) => Ok(Some(text)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(SeedError::read(path)(error)),
                }
            }
        }
    }

    /// What messages call the file `file`.
    pub(super) fn display(&self, file: &str) -> String {
        match self {
            Self::Embedded => format!("seeds/{file}"),
            Self::Directory(directory) => visible_path(directory.join(file)),
        }
    }
}
