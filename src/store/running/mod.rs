// SPDX-License-Identifier: GPL-3.0-or-later
//! What running processes use of the store.
//!
//! A root may be gone while a program from the store still runs. Its executable,
//! libraries (mapped files), open files, working directory and the paths in its environment are spared, as Guix's
//! daemon spares them.

#[cfg(any(not(target_os = "freebsd"), test))]
mod proc;
#[cfg(any(target_os = "freebsd", test))]
mod procstat;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use crate::formats::store_path::{HASH_PART_LEN, StorePath};
use crate::store::directories::Directories;

/// The store items that processes use, with their numbers. Processes that end meanwhile, or that this one may not look
/// at, are skipped.
pub(super) fn used_items(directories: &Directories) -> Vec<(u32, StorePath)> {
    let mut found = ProcessReferences::new(directories);
    #[cfg(not(target_os = "freebsd"))]
    proc::scan_processes(std::path::Path::new("/proc"), &mut found);
    #[cfg(target_os = "freebsd")]
    procstat::scan_processes(&mut found);
    found.items()
}

/// The store paths that occur in what the system reports on each process.
struct ProcessReferences {
    /// The store directory, as it is called and where it is, each with a slash.
    prefixes: Vec<Vec<u8>>,
    used: BTreeMap<u32, BTreeSet<StorePath>>,
}

impl ProcessReferences {
    fn new(directories: &Directories) -> Self {
        let mut prefixes = vec![format!("{}/", directories.store_dir).into_bytes()];
        let mut physical = directories.store.as_os_str().as_bytes().to_vec();
        physical.push(b'/');
        if physical != prefixes[0] {
            prefixes.push(physical);
        }
        Self {
            prefixes,
            used: BTreeMap::new(),
        }
    }

    /// Looks for store paths in `text`, which is about the process `process`.
    fn scan(&mut self, process: u32, text: &[u8]) {
        for prefix in &self.prefixes {
            let mut rest = text;
            while let Some(at) = rest
                .windows(prefix.len())
                .position(|window| window == prefix)
            {
                rest = &rest[at + prefix.len()..];
                let name = store_name(rest);
                if let Some(path) = name.and_then(|name| StorePath::from_base_name(name).ok()) {
                    self.used.entry(process).or_default().insert(path);
                }
            }
        }
    }

    fn items(self) -> Vec<(u32, StorePath)> {
        let of_process = |(process, used): (u32, BTreeSet<StorePath>)| {
            used.into_iter().map(move |path| (process, path))
        };
        self.used.into_iter().flat_map(of_process).collect()
    }
}

/// The name of a store item that `text` may start with.
fn store_name(text: &[u8]) -> Option<&str> {
    let end = text
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte)))
        .unwrap_or(text.len());
    (end > HASH_PART_LEN)
        .then(|| std::str::from_utf8(&text[..end]).ok())
        .flatten()
}
