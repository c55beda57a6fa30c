//! Files that nobody sees under their names before they are whole and on the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ExchangeError;

/// Where the file `path` is written before it is renamed.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// A file that is being written beside its place. Dropped before it is in it, it is removed.
pub(super) struct Aside<'p> {
    place: &'p Path,
    path: PathBuf,
    file: File,
    size: u64,
}

impl<'p> Aside<'p> {
    pub(super) fn create(place: &'p Path) -> Result<Self, ExchangeError> {
        let path = aside(place);
        let file = File::create(&path).map_err(ExchangeError::io("create", &path))?;
        Ok(Self {
            place,
            path,
            file,
            size: 0,
        })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        self.size += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(ExchangeError::io("write", &self.path))
    }

    /// How much has been written, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Waits until the disk has it all, as a name may get there before the bytes do; then gives the file its name.
    pub(super) fn put_in_place(self) -> Result<(), ExchangeError> {
        let written = self.file.sync_all();
        written.map_err(ExchangeError::io("write", &self.path))?;
        fs::rename(&self.path, self.place).map_err(ExchangeError::io("rename", &self.path))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // Not there any more once it is in its place.
        let _ = fs::remove_file(&self.path);
    }
}
