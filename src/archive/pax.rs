// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads pax extended headers: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record (POSIX, pax, "pax Extended
//! Header").

use super::sparse::SparseRecords;

/// What extended headers say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) sparse: SparseRecords,
    /// Whether one of these is there.
    pub(super) names_or_sizes: bool,
}

impl Extensions {
    /// Adds the records of one extended header. `None` where one is damaged. Times, owners, flags, extended attributes
    /// (`SCHILY.xattr.`, `LIBARCHIVE.xattr.`) and access lists (`SCHILY.acl.`) are ignored: a store item keeps none of
    /// them.
    pub(super) fn add(&mut self, mut data: &[u8]) -> Option<()> {
        while !data.is_empty() {
            let space = data.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
            let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.link = Some(value.to_owned()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                key if key.starts_with(b"GNU.sparse.") => {
                    self.sparse.record(key, value).then_some(())?;
                }
                _ => {
                    data = &data[length..];
                    continue;
                }
            }
            self.names_or_sizes = true;
            data = &data[length..];
        }
        Some(())
    }
}
