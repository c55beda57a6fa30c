// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads one small file out of a tar without unpacking it.

use crate::limited_file;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use super::ArchiveLimits;
use super::compression::Decoder;
use super::entry_path::EntryPath;
use super::error::ArchiveError;
use super::steps::{Outlet, Stopped, UnpackStep, WAITING};
use super::tar::{self, UnpackBudget};

/// How far into the decoded archive the file is looked for, in bytes.
const SEARCHED: u64 = 64 << 20;

/// The largest file that is small, in bytes.
const SMALL: u64 = 1 << 20;

/// The content of the regular file `name` (`bin/sh`) in the tar `archive`, compressed in whatever way; `None` where it
/// is not among the first 64 MiB, or is larger than 1 MiB.
///
/// # Errors
/// A file that cannot be read, or is damaged before that place.
pub fn file_in(archive: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let wanted = EntryPath::parse(name.as_bytes())
        .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad.reason()))?;
    let decoder = Decoder::new(BufReader::with_capacity(
        1 << 17,
        limited_file::open_regular(archive)?,
    ))?;
    let label = archive.display().to_string();
    let (sender, steps) = sync_channel(WAITING);
    // No buffer comes back.
    let (_, used) = channel();
    let outlet = Outlet::new(sender, used);
    let mut budget = UnpackBudget::new(ArchiveLimits {
        bytes: SEARCHED,
        ..ArchiveLimits::default()
    });
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, move || find(steps, &wanted))?;
        let decoded = tar::decode(&label, decoder, &mut budget, &outlet);
        drop(outlet);
        let found = match reader.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match decoded {
            // The reader leaves once it has the file.
            Ok(()) | Err(Stopped::Writer) => Ok(found),
            Err(Stopped::Archive(ArchiveError::Limit { .. })) => Ok(None),
            Err(Stopped::Archive(error)) => Err(io::Error::other(error)),
        }
    })
}

/// The content of the file `wanted` in `steps`, where it is complete and small.
fn find(steps: Receiver<UnpackStep>, wanted: &EntryPath) -> Option<Vec<u8>> {
    let mut content: Option<Vec<u8>> = None;
    for step in &steps {
        match step {
            UnpackStep::Chunk(bytes) => {
                if let Some(content) = &mut content {
                    content.extend_from_slice(&bytes);
                }
            }
            UnpackStep::Hole(size) => {
                if let Some(content) = &mut content {
                    let size = usize::try_from(size.min(SMALL + 1)).unwrap_or_default();
                    content.resize(content.len() + size, 0);
                }
            }
            // The next entry: the file before it is complete.
            _ if content.is_some() => return content,
            UnpackStep::File { path, contents, .. } if path == *wanted => return Some(contents),
            UnpackStep::LargeFile { path, .. } if path == *wanted => content = Some(Vec::new()),
            _ => {}
        }
        if content
            .as_ref()
            .is_some_and(|content| content.len() as u64 > SMALL)
        {
            return None;
        }
    }
    // The archive may have been cut off: the caller knows.
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, usize)]) -> tempfile::NamedTempFile {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, size) in entries {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(*size as u64);
            header.set_mode(0o755);
            let content = vec![b'x'; *size];
            builder.append_data(&mut header, name, &*content).unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let compressed = zstd::encode_all(&*builder.into_inner().unwrap(), 1).unwrap();
        std::fs::write(file.path(), compressed).unwrap();
        file
    }

    #[test]
    fn a_file_is_found_by_its_name() {
        let file = archive(&[("./bin/cat", 3), ("./bin/freebsd-version", 5)]);
        let found = |name| file_in(file.path(), name).unwrap();
        assert_eq!(found("bin/freebsd-version"), Some(b"xxxxx".to_vec()));
        assert_eq!(found("bin/ls"), None);
    }

    #[test]
    fn a_sparse_file_is_read_with_its_holes() {
        let sparse = include_bytes!("tests/fixtures/gnu-1.0.tar.xz");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sparse).unwrap();
        // Its 1 MiB are one hole.
        let hole = file_in(file.path(), "etc/hole").unwrap();
        assert!(hole == Some(vec![0; 1 << 20]));
        // This has 3 MiB, of which the archive holds some bytes.
        assert_eq!(file_in(file.path(), "etc/services.db").unwrap(), None);
        assert_eq!(
            file_in(file.path(), "bin/ash").unwrap().as_deref(),
            Some(&b"shell\n"[..])
        );
    }

    #[test]
    fn a_file_that_is_cut_off_is_not_found() {
        let whole = archive(&[("version", 300_000), ("next", 3)]);
        let bytes = zstd::decode_all(&*std::fs::read(whole.path()).unwrap()).unwrap();
        std::fs::write(whole.path(), &bytes[..200_000]).unwrap();
        assert!(!matches!(file_in(whole.path(), "version"), Ok(Some(_))));
        std::fs::write(whole.path(), &bytes).unwrap();
        let found = file_in(whole.path(), "version").unwrap();
        assert_eq!(found.map(|found| found.len()), Some(300_000));
    }

    #[test]
    fn what_is_large_or_far_away_is_not_found() {
        let large = archive(&[("version", SMALL as usize + 1)]);
        assert_eq!(file_in(large.path(), "version").unwrap(), None);
        let far = archive(&[("first", SEARCHED as usize - 1000), ("version", 3)]);
        assert!(!matches!(file_in(far.path(), "version"), Ok(Some(_))));
    }

    #[test]
    fn what_is_no_archive_is_an_error_or_holds_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no archive").unwrap();
        assert!(!matches!(file_in(file.path(), "version"), Ok(Some(_))));
    }
}
