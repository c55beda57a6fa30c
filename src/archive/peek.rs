// SPDX-License-Identifier: GPL-3.0-or-later
//! One small file out of a tar, without unpacking it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::compression::Decoder;

/// How far into the decoded archive the file is looked for, in bytes: also the most memory that a hostile header can
/// take.
const SEARCHED: u64 = 64 << 20;

/// The largest file that is small, in bytes.
const SMALL: u64 = 1 << 20;

/// The content of the regular file `name` (`bin/sh`) in the tar `archive`, compressed in whatever way; `None` where it
/// is not among the first 64 MiB, or is larger than 1 MiB.
///
/// # Errors
/// A file that cannot be read, or is damaged before that place.
pub fn file_in(archive: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let decoder = Decoder::new(BufReader::with_capacity(1 << 17, File::open(archive)?))?;
    let mut archive = ::tar::Archive::new(decoder.take(SEARCHED));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path_bytes();
        let is_it = path.strip_prefix(b"./").unwrap_or(&path) == name.as_bytes();
        if is_it && entry.header().entry_type().is_file() {
            let size = entry.size();
            let mut content = Vec::new();
            entry.take(SMALL).read_to_end(&mut content)?;
            return Ok((content.len() as u64 == size).then_some(content));
        }
    }
    Ok(None)
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
