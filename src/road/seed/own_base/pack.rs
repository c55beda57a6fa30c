// SPDX-License-Identifier: GPL-3.0-or-later
//! Packs a base system that lies unpacked on this machine.
//!
//! The archive is a function of names, contents, owner's execute bits, links and hard links: entries come in the order
//! of their names, with no owner, time or other mode. So the same base gives the same archive, wherever and whenever.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::fetch::cache::Cache;
use crate::formats::hash::Sha256Digest;
use crate::limited_file;
use crate::road::seed::SeedError;

/// zstd's level: its default. More would save little and cost minutes.
const LEVEL: i32 = 3;

/// A packed directory, in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// The archive's digest, by which the cache knows it.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Calls `visit` with the path in the archive, and the path on this machine, of everything in the directories `parts`
/// of `directory`, and of those and the directories above them; in the order of the names, a directory before what is
/// in it. Parts that are not there are left out.
fn walk(
    directory: &Path,
    parts: &[&str],
    visit: &mut dyn FnMut(&Path, &Path, &fs::Metadata) -> Result<(), SeedError>,
) -> Result<(), SeedError> {
    let mut above = Vec::new();
    for part in parts {
        let part = Path::new(part);
        let place = directory.join(part);
        let metadata = match fs::symlink_metadata(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(SeedError::read(&place))?,
        };
        // Above them are only the directory itself, and `usr`.
        for ancestor in part.ancestors().skip(1) {
            if !ancestor.as_os_str().is_empty() && !above.contains(&ancestor.to_owned()) {
                let real = directory.join(ancestor);
                let metadata = fs::symlink_metadata(&real).map_err(SeedError::read(&real))?;
                visit(ancestor, &real, &metadata)?;
                above.push(ancestor.to_owned());
            }
        }
        if !part.as_os_str().is_empty() {
            visit(part, &place, &metadata)?;
        }
        if metadata.is_dir() {
            descend(part, &place, visit)?;
        }
    }
    Ok(())
}

fn descend(
    inside: &Path,
    place: &Path,
    visit: &mut dyn FnMut(&Path, &Path, &fs::Metadata) -> Result<(), SeedError>,
) -> Result<(), SeedError> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(place).map_err(SeedError::read(place))? {
        names.push(entry.map_err(SeedError::read(place))?.file_name());
    }
    names.sort();
    for name in names {
        let (inside, place) = (inside.join(&name), place.join(&name));
        let metadata = fs::symlink_metadata(&place).map_err(SeedError::read(&place))?;
        let kind = metadata.file_type();
        // Devices, and sockets of services, do not belong to the base.
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            continue;
        }
        visit(&inside, &place, &metadata)?;
        if metadata.is_dir() {
            descend(&inside, &place, visit)?;
        }
    }
    Ok(())
}

/// What changes when anything in the directories `parts` of `directory` does, without reading contents.
///
/// # Errors
/// A directory or entry that cannot be looked at.
pub fn fingerprint(directory: &Path, parts: &[&str]) -> Result<Sha256Digest, SeedError> {
    let mut hasher = sha2::Sha256::new();
    walk(directory, parts, &mut |inside, _, metadata| {
        hasher.update(inside.as_os_str().as_bytes());
        hasher.update([0]);
        for number in [
            i64::from(metadata.mode()),
            metadata.ino() as i64,
            metadata.size() as i64,
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ] {
            hasher.update(number.to_le_bytes());
        }
        Ok(())
    })?;
    Ok(Sha256Digest(hasher.finalize().into()))
}

/// What an archive is called that is being packed, before the number of the process.
const PACKING: &str = "packing-";

/// Removes from `files` what processes left that were killed while they packed.
fn remove_leftovers(files: &Path) {
    for entry in fs::read_dir(files).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PACKING)?.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        let is_gone =
            |process| rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH);
        if process.is_some_and(is_gone) {
            // What stays takes space, and the next run tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Packs what is in the directories `parts` of `directory` into a compressed tar in `cache`.
///
/// # Errors
/// A file that cannot be read, or a cache that cannot be written.
pub fn pack(directory: &Path, parts: &[&str], cache: &Cache) -> Result<Packed, SeedError> {
    let files = cache.files();
    fs::create_dir_all(files).map_err(SeedError::write(files))?;
    remove_leftovers(files);
    let new = files.join(format!("{PACKING}{}", std::process::id()));
    let result = write(directory, parts, &new).and_then(|packed| {
        let _lock = cache.lock(packed.sha256)?;
        cache.store(&new, packed.sha256)?;
        Ok(packed)
    });
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result
}

fn write(directory: &Path, parts: &[&str], new: &Path) -> Result<Packed, SeedError> {
    let failed = || SeedError::write(new);
    let file = File::create(new).map_err(failed())?;
    let digest = Digesting {
        output: BufWriter::new(file),
        hasher: sha2::Sha256::new(),
        size: 0,
    };
    let encoder = zstd::Encoder::new(digest, LEVEL).map_err(failed())?;
    let mut tar = tar::Builder::new(encoder);
    let mut linked: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    walk(directory, parts, &mut |inside, place, metadata| {
        add(&mut tar, &mut linked, inside, place, metadata).map_err(SeedError::read(place))
    })?;
    let digest = tar
        .into_inner()
        .and_then(zstd::Encoder::finish)
        .map_err(failed())?;
    digest.finish().map_err(failed())
}

fn add(
    tar: &mut tar::Builder<impl Write>,
    linked: &mut BTreeMap<(u64, u64), PathBuf>,
    inside: &Path,
    place: &Path,
    metadata: &fs::Metadata,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let executable = metadata.mode() & 0o100 != 0;
    header.set_mode(if metadata.is_dir() || executable {
        0o755
    } else {
        0o644
    });
    if metadata.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        return tar.append_data(&mut header, inside, io::empty());
    }
    if metadata.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        return tar.append_link(&mut header, inside, fs::read_link(place)?);
    }
    if metadata.nlink() > 1 {
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = linked.get(&identity) {
            header.set_entry_type(tar::EntryType::Link);
            return tar.append_link(&mut header, inside, first);
        }
        linked.insert(identity, inside.to_owned());
    }
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(metadata.len());
    let file = limited_file::open_regular(place)?;
    // One that grows meanwhile would spoil the archive; one that shrinks does, and that is an error.
    let mut contents = Exactly {
        file: file.take(metadata.len()),
        missing: metadata.len(),
    };
    tar.append_data(&mut header, inside, &mut contents)
}

/// A reader of a file that must be as long as it was said to be.
struct Exactly {
    file: io::Take<File>,
    missing: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.missing -= count as u64;
        if count == 0 && self.missing > 0 && !buffer.is_empty() {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        Ok(count)
    }
}

/// A file that is hashed while it is written.
struct Digesting {
    output: BufWriter<File>,
    hasher: sha2::Sha256,
    size: u64,
}

impl Digesting {
    fn finish(mut self) -> io::Result<Packed> {
        self.output.flush()?;
        Ok(Packed {
            sha256: Sha256Digest(self.hasher.finalize().into()),
            size: self.size,
        })
    }
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
