//! Installing items from substitute servers: `http://`, `https://`, or a directory as `file://`.
//!
//! First the narinfos of everything that is missing are asked for, level by level along the references, and their
//! signatures checked. Then items are installed in batches, what is referred to first: archives are downloaded, decoded,
//! unpacked and hashed on all cores, an item on each, the largest first; and what is right becomes valid. A core takes the
//! window of a decoder (4 MiB of what is published here, 128 MiB at most) and a few buffers of memory, whatever the items.
//! A server that does not have everything, or cannot be reached, is no error: what it lacks is built. One that has
//! something else than it signed is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File as OpenFile;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use reqwest::StatusCode;
use reqwest::blocking::Client;

use super::ExchangeError;
use super::install::{Expected, commit, prepare};
use super::narinfo::{File, NarInfo};
use crate::keys::PublicKey;
use crate::store::path::StorePath;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, Store};

/// How many items are installed at a time: the lock of each is a descriptor.
const AT_ONCE: usize = 128;
/// A narinfo of this many bytes names thousands of references.
const NARINFO_MAX: u64 = 1 << 20;
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte for so long, a server is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// A larger window would take more memory than a decoder should.
const ZSTD_WINDOW: u32 = 27;

/// A server.
#[derive(Debug)]
pub struct Server {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Http(Client),
    Directory(PathBuf),
}

/// What was installed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The items, references first.
    pub paths: Vec<StorePath>,
    /// The size of their archives, in bytes.
    pub nar_bytes: u64,
}

/// An item that a server would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The item.
    pub path: StorePath,
    /// The size of its archive, in bytes.
    pub nar_size: u64,
    /// The size of the compressed archive that would be downloaded, in bytes, where the server says.
    pub download_size: Option<u64>,
}

impl Server {
    /// The server at `url`. Asks nothing yet.
    ///
    /// # Errors
    /// Where the URL is of another kind.
    pub fn new(url: &str) -> Result<Self, ExchangeError> {
        let wrong = |problem: String| ExchangeError::Server {
            url: url.to_owned(),
            problem,
        };
        let place = if let Some(path) = url.strip_prefix("file://") {
            Place::Directory(path.into())
        } else if url.starts_with("http://") || url.starts_with("https://") {
            // Fails where the program has installed one already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = Client::builder()
                .user_agent(concat!("bootstrap/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .timeout(SILENCE)
                .build();
            Place::Http(client.map_err(|error| wrong(error.to_string()))?)
        } else {
            return Err(ExchangeError::Url(url.to_owned()));
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            place,
        })
    }

    /// The file `name`; `None` where there is none.
    fn get(&self, name: &str) -> Result<Option<Box<dyn Read>>, ExchangeError> {
        let url = format!("{}/{name}", self.url);
        let wrong = |problem: String| ExchangeError::Server {
            url: url.clone(),
            problem,
        };
        match &self.place {
            Place::Directory(directory) => match OpenFile::open(directory.join(name)) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(wrong(error.to_string())),
            },
            Place::Http(client) => {
                let response = client.get(&url).send();
                let response = response.map_err(|error| wrong(error.to_string()))?;
                match response.status() {
                    StatusCode::OK => Ok(Some(Box::new(response))),
                    // Object stores say 403 of what is not there.
                    StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
                    other => Err(wrong(format!("the server says {other}"))),
                }
            }
        }
    }

    /// What the server says of `path`, with a good signature by one of `keys`; `None` where it does not have it.
    fn narinfo(
        &self,
        store: &Store,
        path: &StorePath,
        keys: &[PublicKey],
    ) -> Result<Option<NarInfo>, ExchangeError> {
        let store_dir = &store.directories().store_dir;
        let name = format!("{}.narinfo", path.hash_part());
        let Some(file) = self.get(&name)? else {
            return Ok(None);
        };
        let location = format!("{}/{name}", self.url);
        let mut text = String::new();
        file.take(NARINFO_MAX)
            .read_to_string(&mut text)
            .map_err(|error| ExchangeError::Server {
                url: location.clone(),
                problem: error.to_string(),
            })?;
        let info = NarInfo::parse(store_dir, path, &text, &location)?;
        info.check(store_dir, keys, &self.url)?;
        Ok(Some(info))
    }

    /// For each set of `wanted`: makes its paths and all they refer to valid, if the server has all of it; `None` where it
    /// lacks something. What several sets refer to is told of the first.
    ///
    /// # Errors
    /// Where the server cannot be reached, or has something that is not signed or not what was signed. Nothing of that
    /// is valid then, nor what refers to it; other items may be.
    pub fn install(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        keys: &[PublicKey],
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        store.add_temporary_roots(wanted.iter().flatten())?;
        let offered = self.closure(store, wanted.iter().flatten(), keys)?;
        let closures: Vec<_> = wanted.iter().map(|set| offered.closure(set)).collect();
        let infos: BTreeMap<&StorePath, &NarInfo> = closures
            .iter()
            .flatten()
            .flatten()
            .map(|(path, info)| (*path, *info))
            .collect();
        store.add_temporary_roots(infos.keys().copied())?;
        let mut new: BTreeMap<StorePath, PathInfo> = BTreeMap::new();
        let order = references_first(&infos);
        for batch in order.chunks(AT_ONCE) {
            let installed = self.install_batch(store, batch)?;
            new.extend(installed.into_iter().map(|info| (info.path.clone(), info)));
        }
        let mut tell = |closure: BTreeMap<&StorePath, &NarInfo>| {
            let mut installed = Installed::default();
            for path in order.iter().map(|info| &info.path) {
                if closure.contains_key(path)
                    && let Some(info) = new.remove(path)
                {
                    installed.nar_bytes += info.nar_size;
                    installed.paths.push(info.path);
                }
            }
            installed
        };
        Ok(closures
            .into_iter()
            .map(|closure| closure.map(&mut tell))
            .collect())
    }

    /// For each set of `wanted`: what [`install`](Self::install) would make valid, references first; `None` where the server
    /// lacks something. What several sets refer to is told of each. Asks for narinfos alone, and changes nothing.
    ///
    /// # Errors
    /// Where the server cannot be reached, or has something that is not signed.
    pub fn offers(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        keys: &[PublicKey],
    ) -> Result<Vec<Option<Vec<Offer>>>, ExchangeError> {
        let offered = self.closure(store, wanted.iter().flatten(), keys)?;
        let offer = |info: &NarInfo| Offer {
            path: info.path.clone(),
            nar_size: info.nar_size,
            download_size: best_file(info).and_then(|file| file.size),
        };
        Ok(wanted
            .iter()
            .map(|set| {
                let infos = references_first(&offered.closure(set)?);
                Some(infos.into_iter().map(offer).collect())
            })
            .collect())
    }

    /// Makes those of `batch`, each after those it refers to, valid that are not.
    fn install_batch(
        &self,
        store: &Store,
        batch: &[&NarInfo],
    ) -> Result<Vec<PathInfo>, ExchangeError> {
        let paths = batch.iter().map(|info| &info.path);
        let locks = store.lock(paths.clone())?;
        // Somebody may have been faster while we waited.
        let valid = store.valid_among(paths)?;
        let mut missing = batch.to_vec();
        missing.retain(|info| !valid.contains(&info.path));
        missing.sort_by_key(|info| std::cmp::Reverse(info.nar_size));
        // After an error only what was begun is brought to its end.
        let failed = AtomicBool::new(false);
        let prepared: Vec<_> = missing
            .par_iter()
            .with_max_len(1)
            .map(|info| {
                if failed.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let prepared = self.prepare(store, &locks, info);
                failed.fetch_or(prepared.is_err(), Ordering::Relaxed);
                prepared.map(Some)
            })
            .collect();
        let mut ready = BTreeMap::new();
        let mut refused = BTreeSet::new();
        let mut first_error = None;
        for (info, prepared) in missing.into_iter().zip(prepared) {
            match prepared {
                Ok(Some(prepared)) => drop(ready.insert(&info.path, prepared)),
                Ok(None) => drop(refused.insert(&info.path)),
                Err(error) => {
                    refused.insert(&info.path);
                    first_error.get_or_insert(error);
                }
            }
        }
        let mut good = Vec::new();
        for info in batch {
            let Some(prepared) = ready.remove(&info.path) else {
                continue;
            };
            if info.references.iter().any(|path| refused.contains(path)) {
                refused.insert(&info.path);
                store.remove_staging_directory(&locks, &info.path)?;
                continue;
            }
            good.push(prepared);
        }
        let installed = commit(store, &locks, good)?;
        first_error.map_or(Ok(installed), Err)
    }

    /// Downloads, unpacks and checks an item, whose lock is held.
    fn prepare<'s>(
        &self,
        store: &'s Store,
        locks: &'s PathLocks,
        info: &NarInfo,
    ) -> Result<PreparedOutputs<'s>, ExchangeError> {
        let expected = Expected {
            path: info.path.clone(),
            nar_sha256: Some(info.nar_sha256),
            references: info.references.clone(),
            deriver: info.deriver.clone(),
        };
        let mut archive = self.archive(info)?;
        prepare(store, locks, &expected, &mut archive, &self.url)
    }

    /// What the server says of all that is missing of the closure of `wanted`.
    fn closure<'p>(
        &self,
        store: &Store,
        wanted: impl Iterator<Item = &'p StorePath>,
        keys: &[PublicKey],
    ) -> Result<Offered, ExchangeError> {
        let mut offered = Offered::default();
        let mut level: BTreeSet<StorePath> = wanted.cloned().collect();
        while !level.is_empty() {
            let valid = store.valid_among(level.iter())?;
            level.retain(|path| !valid.contains(path));
            let found = level
                .par_iter()
                .map(|path| self.narinfo(store, path, keys))
                .collect::<Result<Vec<_>, _>>()?;
            let mut next = BTreeSet::new();
            for (path, info) in level.into_iter().zip(found) {
                next.extend(info.iter().flat_map(|info| info.references.iter().cloned()));
                offered.0.insert(path, info);
            }
            next.retain(|path| !offered.0.contains_key(path));
            level = next;
        }
        Ok(offered)
    }

    /// The archive of an item, decoded, and no more of it than was said.
    fn archive(&self, info: &NarInfo) -> Result<Box<dyn Read>, ExchangeError> {
        let wrong = |url: &str, problem: String| ExchangeError::Server {
            url: format!("{}/{url}", self.url),
            problem,
        };
        let file = best_file(info).ok_or_else(|| {
            wrong(
                "",
                format!(
                    "{} is there in no compression that is known here (zstd, gzip, none)",
                    info.path.base_name()
                ),
            )
        })?;
        let bytes = self.get(&file.url)?;
        let bytes = bytes.ok_or_else(|| wrong(&file.url, "the archive is not there".to_owned()))?;
        let bytes = BufReader::with_capacity(1 << 17, bytes);
        let decoded: Box<dyn Read> = match file.compression.as_str() {
            "zstd" => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                        decoder.window_log_max(ZSTD_WINDOW)?;
                        Ok(decoder)
                    });
                Box::new(decoder.map_err(|error| wrong(&file.url, error.to_string()))?)
            }
            "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            _ => Box::new(bytes),
        };
        // One byte more than there should be is enough to see that there is more.
        Ok(Box::new(decoded.take(info.nar_size.saturating_add(1))))
    }
}

/// That archive of an item which is taken: zstd's before a plain one, and that before gzip's; `None` where there is none in a compression that is known.
fn best_file(info: &NarInfo) -> Option<&File> {
    let rank = |file: &&File| match file.compression.as_str() {
        "zstd" => 3,
        "none" => 2,
        "gzip" => 1,
        _ => 0,
    };
    let best = info.files.iter().max_by_key(rank);
    best.filter(|file| rank(file) > 0)
}

/// What a server says of paths that are not valid; nothing of those it lacks.
#[derive(Default)]
struct Offered(BTreeMap<StorePath, Option<NarInfo>>);

impl Offered {
    /// What is missing of the closure of `wanted`; `None` where the server lacks some of it.
    fn closure<'o>(
        &'o self,
        wanted: &BTreeSet<StorePath>,
    ) -> Option<BTreeMap<&'o StorePath, &'o NarInfo>> {
        let mut closure = BTreeMap::new();
        let mut open: Vec<&StorePath> = wanted.iter().collect();
        while let Some(path) = open.pop() {
            // What is valid was not asked for.
            if let Some((path, info)) = self.0.get_key_value(path) {
                let info = info.as_ref()?;
                if closure.insert(path, info).is_none() {
                    open.extend(&info.references);
                }
            }
        }
        Some(closure)
    }
}

/// `infos`, each after those it refers to.
fn references_first<'i>(infos: &BTreeMap<&StorePath, &'i NarInfo>) -> Vec<&'i NarInfo> {
    let mut order = Vec::with_capacity(infos.len());
    let mut done: BTreeSet<&StorePath> = BTreeSet::new();
    let mut open: Vec<&NarInfo> = infos.values().copied().collect();
    while !open.is_empty() {
        let before = open.len();
        for info in std::mem::take(&mut open) {
            let waits = info.references.iter().any(|reference| {
                *reference != info.path
                    && infos.contains_key(reference)
                    && !done.contains(reference)
            });
            match waits {
                true => open.push(info),
                false => {
                    done.insert(&info.path);
                    order.push(info);
                }
            }
        }
        if open.len() == before {
            order.append(&mut open);
        }
    }
    order
}
