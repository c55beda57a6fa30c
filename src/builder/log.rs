// SPDX-License-Identifier: GPL-3.0-or-later
//! Build logs: everything a build printed, as it was, compressed, where Guix keeps it.
//!
//! `LOG-DIRECTORY/drvs/xx/REST.gz`, `xxREST` being the base name of the derivation: `guix build --log-file` finds it
//! there. The log of the last build replaces that of the one before.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::error::BuildError;
use crate::formats::store_path::StorePath;
use crate::limited_file;

/// Where the log of `derivation` is, or would be, under the log directory.
pub fn log_path(log_directory: &Path, derivation: &StorePath) -> PathBuf {
    let base_name = derivation.base_name();
    let (first, rest) = base_name.split_at_checked(2).unwrap_or((base_name, ""));
    log_directory
        .join("drvs")
        .join(first)
        .join(format!("{rest}.gz"))
}

/// Opens the log of `derivation` for reading: the uncompressed bytes. `None` where there is none.
///
/// The log of a build that was killed, or still runs, ends early: reading it ends with an
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) after what there is.
pub fn open_log(
    log_directory: &Path,
    derivation: &StorePath,
) -> io::Result<Option<impl Read + use<>>> {
    match limited_file::open_regular(&log_path(log_directory, derivation)) {
        Ok(file) => Ok(Some(MultiGzDecoder::new(BufReader::new(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An empty log, compressed (RFC 1952).
const EMPTY: [u8; 20] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A log being written.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    sink: LogSink,
}

/// Where the bytes go.
#[derive(Debug)]
enum LogSink {
    /// There were none yet: many small builds print nothing, and the compressor's memory costs them more than the rest.
    Empty(File),
    Started(GzEncoder<File>),
}

impl LogWriter {
    /// Starts the log of `derivation`.
    pub fn create(log_directory: &Path, derivation: &StorePath) -> Result<Self, BuildError> {
        let path = log_path(log_directory, derivation);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(BuildError::io("create", directory))?;
        }
        // A new file, so that a reader of the old log reads it to its end.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BuildError::io("replace", &path)(error));
            }
            _ => {}
        }
        let file = File::create_new(&path).map_err(BuildError::io("create", &path))?;
        let sink = LogSink::Empty(file);
        Ok(Self { path, sink })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what a build printed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        let mut write = || {
            if let LogSink::Empty(file) = &self.sink {
                // Logs are mostly repetition: the fastest levels come within a few percent of the best.
                let encoder = GzEncoder::new(file.try_clone()?, Compression::new(3));
                self.sink = LogSink::Started(encoder);
            }
            match &mut self.sink {
                LogSink::Started(encoder) => encoder.write_all(bytes),
                LogSink::Empty(_) => Ok(()),
            }
        };
        write().map_err(BuildError::io("write", &self.path))
    }

    /// Makes what was written so far readable. Costs some compression, so this is for the ends of phases.
    pub fn flush(&mut self) -> Result<(), BuildError> {
        match &mut self.sink {
            LogSink::Started(encoder) => encoder.flush(),
            LogSink::Empty(_) => Ok(()),
        }
        .map_err(BuildError::io("write", &self.path))
    }

    /// Ends the log.
    pub fn finish(self) -> Result<(), BuildError> {
        match self.sink {
            LogSink::Started(encoder) => encoder.finish().map(drop),
            LogSink::Empty(mut file) => file.write_all(&EMPTY),
        }
        .map_err(BuildError::io("write", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derivation() -> StorePath {
        StorePath::from_base_name("ik7ca0lvb90mqs5ni81jy2fvx0gmxfpf-hello-1.0.drv").unwrap()
    }

    #[test]
    fn a_log_is_where_guix_looks_for_it() {
        assert_eq!(
            log_path(Path::new("/var/log/guix"), &derivation()),
            Path::new("/var/log/guix/drvs/ik/7ca0lvb90mqs5ni81jy2fvx0gmxfpf-hello-1.0.drv.gz")
        );
    }

    #[test]
    fn a_log_is_read_back_as_written_and_replaced_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["first\n", "second, \u{0} and \u{1b}[31mraw\n"] {
            let mut log = LogWriter::create(directory.path(), &derivation()).unwrap();
            log.write(text.as_bytes()).unwrap();
            log.finish().unwrap();
            let mut read = String::new();
            let mut log = open_log(directory.path(), &derivation()).unwrap().unwrap();
            log.read_to_string(&mut read).unwrap();
            assert_eq!(read, text);
        }
    }

    #[test]
    fn a_log_cut_short_gives_what_was_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(directory.path(), &derivation()).unwrap();
        log.write(b"so far\n").unwrap();
        log.flush().unwrap();
        let mut read = Vec::new();
        let result = open_log(directory.path(), &derivation())
            .unwrap()
            .unwrap()
            .read_to_end(&mut read);
        assert_eq!(read, b"so far\n");
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn no_log_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open_log(directory.path(), &derivation()).unwrap().is_none());
    }
}
