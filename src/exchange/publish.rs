// SPDX-License-Identifier: GPL-3.0-or-later
//! A substitute server in files, which any HTTP server can serve as they are.
//!
//! ```text
//! nix-cache-info                what the server is
//! HASH.narinfo                  of each item, HASH being the hash part of its path
//! nar/HASH-NAME.nar.zst, .gz    its archive, compressed in two ways
//! signing-key.pub               the key it is signed with, for `guix archive --authorize`
//! ```
//!
//! Names hold nothing that changes when an item is published again, so that is a matter of comparing: an item whose
//! narinfo is there, with archives of the sizes that it says, is left alone; one that is signed by another key now gets
//! a new narinfo only. Everything is written aside, forced to the disk and renamed, and an item is written after those
//! it refers to: a reader never sees half of it, also not after a crash. What is signed is what the database says, so
//! an item is hashed while it is compressed, and one that is something else is not published.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::ExchangeError;
use super::compress::{CompressedArchive, compress};
use super::stream::in_order;
use super::urls;
use crate::atomic_file;
use crate::formats::keys::{SecretKey, guix};
use crate::formats::narinfo::{NarFile, NarInfo};
use crate::formats::store_path::StorePath;
use crate::limited_file;
use crate::store::{PathInfo, Store};

/// What was published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// Items that were written.
    pub written: usize,
    /// Items that were there already.
    pub kept: usize,
    /// The size of the archives that were written, in bytes.
    pub bytes: u64,
}

/// Publishes `paths` and all they refer to in `directory`, on all cores; narinfos are signed with `key`.
///
/// # Errors
/// Where an item is not valid, cannot be read or is not what the database says, or the directory cannot be written.
pub fn publish(
    store: &Store,
    paths: &BTreeSet<StorePath>,
    key: Option<&SecretKey>,
    directory: &Path,
) -> Result<Published, ExchangeError> {
    let closure = store.closure(paths.iter())?;
    let items = in_order(store, &closure)?;
    let archives = directory.join("nar");
    atomic_file::create_directory(directory)?;
    atomic_file::create_directory(&archives)?;
    let about = format!(
        "StoreDir: {}\nWantMassQuery: 1\nPriority: 40\n",
        store.directories().store_dir
    );
    write(&directory.join("nix-cache-info"), about.as_bytes())?;
    if let Some(key) = key {
        let public = format!("{}\n", guix::public_key(&key.public()));
        write(&directory.join("signing-key.pub"), public.as_bytes())?;
    }
    let store_dir = &store.directories().store_dir;
    let mut published = Published::default();
    let mut new = Vec::new();
    for info in &items {
        let narinfo = narinfo_of(info, directory);
        let known_text = published_text(&narinfo);
        let Some(files) = known_files(store, info, &known_text, directory) else {
            new.push(info);
            continue;
        };
        let text = NarInfo::of(store_dir, info, files, key).to_text(store_dir, key);
        // Published once with a signature, an item keeps it when it is published without.
        if key.is_none() || text == known_text {
            published.kept += 1;
        } else {
            write(&narinfo, text.as_bytes())?;
            published.written += 1;
        }
    }
    let archives: Vec<CompressedArchive> = new
        .iter()
        .map(|info| CompressedArchive {
            tree: store.directories().physical(&info.path),
            path: store_dir.display(&info.path),
            nar_sha256: info.nar_sha256,
            nar_size: info.nar_size,
            files: file_names(info).map(|name| directory.join(name)),
        })
        .collect();
    crate::threads::ready();
    compress(&archives, rayon::current_num_threads(), |number, sizes| {
        let info = new[number];
        published.written += 1;
        published.bytes += sizes.iter().sum::<u64>();
        let narinfo = narinfo_of(info, directory);
        let known_text = published_text(&narinfo);
        if key.is_none() && known_files(store, info, &known_text, directory).is_some() {
            // The archives are again what a narinfo was made for, which may be signed.
            return Ok(());
        }
        // zstd last: it is the one that readers of a single file take.
        let files = file_names(info).into_iter().zip(["gzip", "zstd"]);
        let files = files.zip(sizes);
        let files = files.map(|((name, compression), size)| NarFile {
            url: urls::place_of(&name),
            compression: compression.to_owned(),
            size: Some(size),
        });
        let text = NarInfo::of(store_dir, info, files.collect(), key).to_text(store_dir, key);
        write(&narinfo, text.as_bytes())
    })?;
    Ok(published)
}

/// The archives that `narinfo`, the text of a narinfo, names, where what it says of `info` still holds and they are as
/// long as it says. A disk that was full, or a copy that was stopped, leaves shorter ones.
fn known_files(
    store: &Store,
    info: &PathInfo,
    narinfo: &str,
    directory: &Path,
) -> Option<Vec<NarFile>> {
    let store_dir = &store.directories().store_dir;
    let known = NarInfo::parse(store_dir, &info.path, narinfo, "").ok()?;
    let is_whole = |file: &NarFile| {
        let name = urls::name_of(&file.url);
        let found = name.and_then(|name| fs::metadata(directory.join(name)));
        let is_there = found.is_ok_and(|found| found.is_file() && Some(found.len()) == file.size);
        // Earlier versions wrote `?` as it is, which no client can ask a server for.
        is_there && !file.url.contains('?')
    };
    let holds = known.nar_sha256 == info.nar_sha256 && known.files.iter().all(is_whole);
    holds.then_some(known.files)
}

/// The text of `narinfo` if it is there, or nothing. The directory may be another user's.
fn published_text(narinfo: &Path) -> String {
    limited_file::read_regular_text(narinfo, limited_file::DOCUMENT).unwrap_or_default()
}

fn narinfo_of(info: &PathInfo, directory: &Path) -> PathBuf {
    directory.join(format!("{}.narinfo", info.path.hash_part()))
}

/// The files of the archives of `info` below the directory.
fn file_names(info: &PathInfo) -> [String; 2] {
    ["gz", "zst"].map(|end| format!("nar/{}.nar.{end}", info.path.base_name()))
}

fn write(path: &Path, content: &[u8]) -> Result<(), ExchangeError> {
    Ok(atomic_file::replace(path, content)?)
}
