// SPDX-License-Identifier: GPL-3.0-or-later
//! Build logs: everything a build printed, as it was, compressed, where Guix keeps it.
//!
//! `LOG-DIRECTORY/drvs/xx/REST.gz`, `xxREST` being the base name of the derivation, or `REST.bz2` or `REST`:
//! `guix build --log-file` finds it there. The log of the last build replaces that of the one before.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bzip2::bufread::MultiBzDecoder;
use bzip2::write::BzEncoder;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::error::BuildError;
use crate::formats::store_path::StorePath;
use crate::limited_file;

/// How a log is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogCompression {
    /// `REST.gz`.
    #[default]
    Gzip,
    /// `REST.bz2`, in several streams.
    Bzip2,
    /// `REST`.
    None,
}

impl LogCompression {
    const ALL: [Self; 3] = [Self::Gzip, Self::Bzip2, Self::None];

    /// What the names of such logs end in.
    fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::None => "",
        }
    }

    /// guix-daemon's word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::None => "none",
        }
    }
}

impl FromStr for LogCompression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|compression| compression.name() == text)
            .ok_or_else(|| "expected `gzip`, `bzip2` or `none`".to_owned())
    }
}

/// Where the log of `derivation` is, or would be, under the log directory, with that compression.
pub fn log_path(
    log_directory: &Path,
    derivation: &StorePath,
    compression: LogCompression,
) -> PathBuf {
    let base_name = derivation.base_name();
    let (first, rest) = base_name.split_at_checked(2).unwrap_or((base_name, ""));
    log_directory
        .join("drvs")
        .join(first)
        .join(format!("{rest}{}", compression.ending()))
}

/// Where the log of `derivation` is under the log directory, whatever its compression; where there is none, where it
/// usually would be.
pub fn find_log(log_directory: &Path, derivation: &StorePath) -> PathBuf {
    let paths = LogCompression::ALL.map(|kind| log_path(log_directory, derivation, kind));
    let found = paths.iter().find(|path| path.symlink_metadata().is_ok());
    found.unwrap_or(&paths[0]).clone()
}

/// Opens the log of `derivation` for reading: the uncompressed bytes. `None` where there is none.
///
/// The log of a build that was killed, or still runs, ends early: reading it may end with an
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) after what there is.
pub fn open_log(log_directory: &Path, derivation: &StorePath) -> io::Result<Option<Box<dyn Read>>> {
    for compression in LogCompression::ALL {
        let path = log_path(log_directory, derivation, compression);
        let file = match limited_file::open_regular(&path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        return Ok(Some(match compression {
            LogCompression::Gzip => Box::new(MultiGzDecoder::new(file)),
            LogCompression::Bzip2 => Box::new(MultiBzDecoder::new(file)),
            LogCompression::None => Box::new(file),
        }));
    }
    Ok(None)
}

/// An empty log, compressed by gzip (RFC 1952).
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
enum LogSink {
    /// There were none yet: many small builds print nothing, and the compressor's memory costs them more than the rest.
    Empty(File, LogCompression),
    Gzip(GzEncoder<File>),
    Bzip2(BzEncoder<File>),
    Plain(File),
}

impl LogSink {
    fn start(file: File, compression: LogCompression) -> Self {
        match compression {
            // Logs are mostly repetition: the fastest levels come within a few percent of the best.
            LogCompression::Gzip => Self::Gzip(GzEncoder::new(file, Compression::new(3))),
            // One level is as fast as the other.
            LogCompression::Bzip2 => Self::Bzip2(BzEncoder::new(file, bzip2::Compression::best())),
            LogCompression::None => Self::Plain(file),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Self::Empty(file, compression) = self {
            *self = Self::start(file.try_clone()?, *compression);
        }
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Bzip2(encoder) => encoder.write_all(bytes),
            Self::Plain(file) => file.write_all(bytes),
            Self::Empty(..) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            // A block of bzip2 can be read when it is ended, and ends within a byte: the stream ends, too.
            Self::Bzip2(encoder) => {
                let next = Self::Empty(encoder.get_ref().try_clone()?, LogCompression::Bzip2);
                std::mem::replace(self, next).finish()
            }
            Self::Empty(..) | Self::Plain(_) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Empty(mut file, LogCompression::Gzip) => file.write_all(&EMPTY),
            Self::Empty(file, compression) => match Self::start(file, compression) {
                Self::Empty(..) => Ok(()),
                started => started.finish(),
            },
            Self::Gzip(encoder) => encoder.finish().map(drop),
            Self::Bzip2(encoder) => encoder.finish().map(drop),
            Self::Plain(_) => Ok(()),
        }
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty(..) => "Empty",
            Self::Gzip(_) => "Gzip",
            Self::Bzip2(_) => "Bzip2",
            Self::Plain(_) => "Plain",
        })
    }
}

impl LogWriter {
    /// Starts the log of `derivation`, in place of all that there are of it.
    ///
    /// # Errors
    /// Where a file or directory cannot be made or replaced.
    pub fn create(
        log_directory: &Path,
        derivation: &StorePath,
        compression: LogCompression,
    ) -> Result<Self, BuildError> {
        let path = log_path(log_directory, derivation, compression);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(BuildError::io("create", directory))?;
        }
        // A new file, so that a reader of the old log reads it to its end.
        for kind in LogCompression::ALL {
            let old = log_path(log_directory, derivation, kind);
            match fs::remove_file(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BuildError::io("replace", &old)(error));
                }
                _ => {}
            }
        }
        let file = File::create_new(&path).map_err(BuildError::io("create", &path))?;
        let sink = LogSink::Empty(file, compression);
        Ok(Self { path, sink })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what a build printed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        let written = self.sink.write(bytes);
        written.map_err(BuildError::io("write", &self.path))
    }

    /// Makes what was written so far readable. Costs some compression, so this is for the ends of phases.
    pub fn flush(&mut self) -> Result<(), BuildError> {
        let flushed = self.sink.flush();
        flushed.map_err(BuildError::io("write", &self.path))
    }

    /// Ends the log with the line `line`.
    pub(super) fn end_with(mut self, line: &str) -> Result<(), BuildError> {
        self.write(format!("{line}\n").as_bytes())?;
        self.finish()
    }

    /// Ends the log.
    pub fn finish(self) -> Result<(), BuildError> {
        let finished = self.sink.finish();
        finished.map_err(BuildError::io("write", self.path))
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
        for (kind, ending) in LogCompression::ALL.into_iter().zip([".gz", ".bz2", ""]) {
            let place = "/var/log/guix/drvs/ik/7ca0lvb90mqs5ni81jy2fvx0gmxfpf-hello-1.0.drv";
            assert_eq!(
                log_path(Path::new("/var/log/guix"), &derivation(), kind),
                Path::new(&format!("{place}{ending}"))
            );
        }
    }

    #[test]
    fn a_log_is_read_back_as_written_and_replaced_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        for kind in LogCompression::ALL {
            for text in ["first\n", "second, \u{0} and \u{1b}[31mraw\nthird\n", ""] {
                let mut log = LogWriter::create(directory.path(), &derivation(), kind).unwrap();
                for line in text.split_inclusive('\n') {
                    log.write(line.as_bytes()).unwrap();
                    log.flush().unwrap();
                }
                log.finish().unwrap();
                let mut read = String::new();
                let mut log = open_log(directory.path(), &derivation()).unwrap().unwrap();
                log.read_to_string(&mut read).unwrap();
                assert_eq!(read, text, "{kind:?}");
                // One log, in place of those of other kinds.
                let path = log_path(directory.path(), &derivation(), kind);
                assert_eq!(find_log(directory.path(), &derivation()), path);
                assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
            }
        }
    }

    #[test]
    fn the_kinds_have_guix_daemons_names() {
        for kind in LogCompression::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("xz".parse::<LogCompression>().is_err());
    }

    #[test]
    fn a_log_cut_short_gives_what_was_flushed() {
        let directory = tempfile::tempdir().unwrap();
        for kind in LogCompression::ALL {
            let mut log = LogWriter::create(directory.path(), &derivation(), kind).unwrap();
            log.write(b"so far\n").unwrap();
            log.flush().unwrap();
            let mut read = Vec::new();
            let result = open_log(directory.path(), &derivation())
                .unwrap()
                .unwrap()
                .read_to_end(&mut read);
            assert_eq!(read, b"so far\n", "{kind:?}");
            match kind {
                LogCompression::Gzip => {
                    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
                }
                _ => assert_eq!(result.unwrap(), 7),
            }
        }
    }

    #[test]
    fn no_log_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open_log(directory.path(), &derivation()).unwrap().is_none());
    }
}
