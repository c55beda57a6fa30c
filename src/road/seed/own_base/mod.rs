// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds of the user's own: an archive, an unpacked base directory, or the base of the FreeBSD that this runs on.
//!
//! An archive is used as it is; a directory is packed first ([`pack`]). Either is then in the cache under its SHA-256,
//! like any archive of a seed, and builds depend on that alone. Others cannot get the base of a running host, so a seed
//! made of it is marked as impure.
//!
//! Packing reads the whole base. Its result is kept in `bootstrap/seeds` of the state directory, with a fingerprint of
//! every entry of the directory (name, kind, size, times, inode).

mod pack;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use pack::{Packed, fingerprint, pack};

use super::{Seed, SeedArchive, SeedError, release, store_name};
use crate::archive::{ArchiveLimits, Format};
use crate::fetch::cache::{Cache, digest_file};
use crate::formats::hash::Sha256Digest;
use crate::limited_file;

/// The name of the seed that is the running host's own base.
pub const HOST: &str = "host";

/// The name of a seed that was given as a file or directory.
pub const GIVEN: &str = "given";

/// What belongs to the base of a running FreeBSD: where its releases put programs, libraries and headers. Not `/etc`
/// and `/var`, which are the machine's, and which builds do not see; not `/usr/local`, which ports and packages fill.
const BASE: [&str; 13] = [
    "bin",
    "lib",
    "libexec",
    // The shell of `libc`: the static one. The others there are the same file under other names.
    "rescue/sh",
    "sbin",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/libdata",
    "usr/libexec",
    "usr/sbin",
    "usr/share",
];

/// Where seeds of the user's own are kept.
#[derive(Debug, Clone, Copy)]
pub struct SeedPlaces<'p> {
    /// Fetched files.
    pub cache: &'p Cache,
    /// The state directory.
    pub state: &'p Path,
}

/// What is remembered of a directory that was packed.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    directory: PathBuf,
    fingerprint: String,
    sha256: String,
    size: u64,
}

/// The seed made of `path`, an archive or an unpacked base directory, that is otherwise like `model`.
///
/// When it is `model`'s own archive, it is that seed: it has the same store paths as a download.
///
/// # Errors
/// A file or directory that cannot be read, is not a base system, or is too large for one; a cache or state directory
/// that cannot be written.
pub fn given(model: &Seed, path: &Path, places: SeedPlaces<'_>) -> Result<Seed, SeedError> {
    let path = path.canonicalize().map_err(SeedError::read(path))?;
    if path.is_dir() {
        let shell = path.join(model.shell.trim_start_matches('/'));
        if fs::symlink_metadata(&shell).is_err() {
            return Err(SeedError::NoBase {
                path,
                missing: model.shell.clone(),
            });
        }
        let archive = packed(&path, &[""], GIVEN, places)?;
        return Ok(Seed {
            release: release::of_directory(&path),
            ..like(model, GIVEN, archive)
        });
    }
    let size = fs::metadata(&path).map_err(SeedError::read(&path))?.len();
    let limit = ArchiveLimits::default().bytes;
    if size > limit {
        return Err(SeedError::TooLarge { path, size, limit });
    }
    let sha256 = digest_file(&path).map_err(SeedError::read(&path))?;
    if !places.cache.holds(sha256) {
        places.cache.import(&path, sha256)?;
    }
    if matches!(model.archives.as_slice(), [archive] if archive.sha256 == sha256) {
        return Ok(model.clone());
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let name = store_name(&format!("{GIVEN}-{file}"));
    Ok(Seed {
        release: release::of_archive(&path),
        ..like(model, GIVEN, archive(name, sha256, size))
    })
}

/// The seed made of the base of the FreeBSD that this runs on, otherwise like `model`.
///
/// # Errors
/// The host does not run FreeBSD; otherwise those of [`given`].
pub fn host(model: &Seed, places: SeedPlaces<'_>) -> Result<Seed, SeedError> {
    if !cfg!(target_os = "freebsd") {
        return Err(SeedError::NoHostBase {
            system: std::env::consts::OS,
        });
    }
    let archive = packed(Path::new("/"), &BASE, HOST, places)?;
    Ok(Seed {
        release: release::of_directory(Path::new("/")),
        impure: Some("it is the base of the machine it was taken from".to_owned()),
        ..like(model, HOST, archive)
    })
}

/// `model` with another archive and name. Only the archive's files are in it.
fn like(model: &Seed, name: &str, archive: SeedArchive) -> Seed {
    Seed {
        name: name.to_owned(),
        format: Format::Tar,
        archives: vec![archive],
        links: Default::default(),
        files: Default::default(),
        release: None,
        ..model.clone()
    }
}

fn archive(name: String, sha256: Sha256Digest, size: u64) -> SeedArchive {
    SeedArchive {
        name,
        sha256,
        size: Some(size),
        // It is in the cache or the store, or nowhere.
        locations: Vec::new(),
    }
}

/// The archive of what is in the directories `parts` of `directory`, in the cache.
fn packed(
    directory: &Path,
    parts: &[&str],
    name: &str,
    places: SeedPlaces<'_>,
) -> Result<SeedArchive, SeedError> {
    let file_name = store_name(&format!("{name}-base.tar.zst"));
    let fingerprint = fingerprint(directory, parts)?.to_base16();
    let memory = places.state.join("bootstrap").join("seeds");
    let key = Sha256Digest::of(directory.as_os_str().as_encoded_bytes()).to_base16();
    let memory_file = memory.join(format!("{name}-{}.json", &key[..16]));
    if let Some(known) = remembered(&memory_file)
        && known.directory == directory
        && known.fingerprint == fingerprint
        && let Ok(sha256) = Sha256Digest::from_base16(&known.sha256)
        && places.cache.holds(sha256)
    {
        return Ok(archive(file_name, sha256, known.size));
    }
    let packed = pack(directory, parts, places.cache)?;
    let known = Remembered {
        directory: directory.to_owned(),
        fingerprint,
        sha256: packed.sha256.to_base16(),
        size: packed.size,
    };
    fs::create_dir_all(&memory).map_err(SeedError::write(&memory))?;
    let text = serde_json::to_vec_pretty(&known).map_err(io::Error::other);
    let new = memory_file.with_extension(format!("new-{}", std::process::id()));
    text.and_then(|text| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &memory_file))
        .map_err(SeedError::write(&memory_file))?;
    Ok(archive(file_name, packed.sha256, packed.size))
}

/// What was remembered; `None` where it is nothing, or nothing that makes sense: then it is computed again.
fn remembered(file: &Path) -> Option<Remembered> {
    serde_json::from_str(&limited_file::read_regular_text(file, limited_file::SMALL).ok()?).ok()
}

#[cfg(test)]
mod tests;
