//! A substitute server in files, which any HTTP server can serve as they are.
//!
//! ```text
//! nix-cache-info                what the server is
//! HASH.narinfo                  of each item, HASH being the hash part of its path
//! nar/HASH-NAME.nar.zst, .gz    its archive, compressed in two ways
//! signing-key.pub               the key it is signed with, for `guix archive --authorize`
//! ```
//!
//! Names hold nothing that changes when an item is published again, so that is a matter of comparing: an item whose narinfo
//! is there is left alone, one that is signed by another key now gets a new narinfo only. Everything is written aside and renamed: a reader never sees half of it.

use std::collections::BTreeSet;
use std::fs::{self, File as OpenFile};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::ExchangeError;
use super::narinfo::{File, NarInfo};
use super::stream::in_order;
use crate::keys::{SecretKey, guix};
use crate::store::path::StorePath;
use crate::store::{PathInfo, Store, nar};

/// zstd's level: above it the archives of programs hardly shrink, and take several times as long.
const ZSTD_LEVEL: i32 = 12;

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
/// Where an item is not valid or cannot be read, or the directory cannot be written.
pub fn publish(
    store: &Store,
    paths: &BTreeSet<StorePath>,
    key: Option<&SecretKey>,
    directory: &Path,
) -> Result<Published, ExchangeError> {
    let closure = store.closure(paths.iter())?;
    let items = in_order(store, &closure)?;
    let archives = directory.join("nar");
    fs::create_dir_all(&archives).map_err(ExchangeError::io("create", &archives))?;
    let about = format!(
        "StoreDir: {}\nWantMassQuery: 1\nPriority: 40\n",
        store.directories().store_dir
    );
    write(&directory.join("nix-cache-info"), about.as_bytes())?;
    if let Some(key) = key {
        let public = format!("{}\n", guix::public_key(&key.public()));
        write(&directory.join("signing-key.pub"), public.as_bytes())?;
    }
    // The largest first: gcc last would be compressed on one core while the others idle.
    let mut by_size: Vec<&PathInfo> = items.iter().collect();
    by_size.sort_by_key(|info| std::cmp::Reverse(info.nar_size));
    let counts = by_size
        .into_par_iter()
        .with_max_len(1)
        .map(|info| item(store, info, key, directory))
        .collect::<Result<Vec<_>, _>>()?;
    let written = counts.iter().flatten();
    Ok(Published {
        written: written.clone().count(),
        kept: counts.iter().filter(|count| count.is_none()).count(),
        bytes: written.sum(),
    })
}

/// Publishes one item. `None` where that is done already, otherwise the size of its archives.
fn item(
    store: &Store,
    info: &PathInfo,
    key: Option<&SecretKey>,
    directory: &Path,
) -> Result<Option<u64>, ExchangeError> {
    let store_dir = &store.directories().store_dir;
    let narinfo = directory.join(format!("{}.narinfo", info.path.hash_part()));
    let known_text = fs::read_to_string(&narinfo).unwrap_or_default();
    let known = NarInfo::parse(store_dir, &info.path, &known_text, "").ok();
    let known = known.filter(|known| {
        let mut files = known.files.iter();
        known.nar_sha256 == info.nar_sha256 && files.all(|file| directory.join(&file.url).exists())
    });
    let is_there = known.is_some();
    let (files, bytes) = match known {
        Some(known) => (known.files, 0),
        None => {
            let base = format!("nar/{}", info.path.base_name());
            let urls = [format!("{base}.nar.gz"), format!("{base}.nar.zst")];
            let paths = [&directory.join(&urls[0]), &directory.join(&urls[1])];
            let sizes = compress(store, info, paths.map(PathBuf::as_path))?;
            // zstd last: it is the one that readers of a single file take.
            let files = urls.into_iter().zip(["gzip", "zstd"]).zip(sizes);
            let files = files.map(|((url, compression), size)| File {
                url,
                compression: compression.to_owned(),
                size: Some(size),
            });
            (files.collect(), sizes.iter().sum())
        }
    };
    let text = NarInfo::of(store_dir, info, files, key).to_text(store_dir, key);
    // Published once with a signature, an item keeps it when it is published without.
    if is_there && (key.is_none() || text == known_text) {
        return Ok(None);
    }
    write(&narinfo, text.as_bytes())?;
    Ok(Some(bytes))
}

/// Writes the archive of `info` once through two compressors. Gives the sizes.
fn compress(store: &Store, info: &PathInfo, paths: [&Path; 2]) -> Result<[u64; 2], ExchangeError> {
    let aside = paths.map(aside);
    let create = |path: &PathBuf| {
        let file = OpenFile::create(path).map_err(ExchangeError::io("create", path))?;
        Ok::<_, ExchangeError>(BufWriter::with_capacity(1 << 17, file))
    };
    let [gzip_path, zstd_path] = &aside;
    let mut gzip =
        flate2::write::GzEncoder::new(create(gzip_path)?, flate2::Compression::default());
    let mut zstd = zstd::stream::write::Encoder::new(create(zstd_path)?, ZSTD_LEVEL)
        .map_err(ExchangeError::io("compress to", zstd_path))?;
    let source = store.directories().physical(&info.path);
    nar::dump(&source, &mut Both(&mut gzip, &mut zstd))?;
    let finish = |writer: io::Result<BufWriter<OpenFile>>, path: &PathBuf| {
        let file = writer
            .and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error))
            .map_err(ExchangeError::io("write", path))?;
        let size = file
            .metadata()
            .map_err(ExchangeError::io("examine", path))?
            .len();
        Ok::<u64, ExchangeError>(size)
    };
    let sizes = [
        finish(gzip.finish(), gzip_path)?,
        finish(zstd.finish(), zstd_path)?,
    ];
    for (aside, path) in aside.iter().zip(paths) {
        fs::rename(aside, path).map_err(ExchangeError::io("rename", aside))?;
    }
    Ok(sizes)
}

/// Writes to two writers.
struct Both<'w>(&'w mut dyn Write, &'w mut dyn Write);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn write(path: &Path, content: &[u8]) -> Result<(), ExchangeError> {
    let aside = aside(path);
    fs::write(&aside, content)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(ExchangeError::io("write", path))
}
