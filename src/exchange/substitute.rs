//! Installing items from substitute servers: `http://`, `https://`, or a directory as `file://`.
//!
//! First the narinfos of everything that is missing are asked for, level by level along the references, and their
//! signatures checked; then archives are downloaded, decoded and unpacked on all cores at once, and hashed; at last all
//! become valid, what is referred to first. An item costs a few buffers of memory, whatever its size. A server that does
//! not have everything, or cannot be reached, is no error: what it lacks is built. One that has something else than it
//! signed is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File as OpenFile;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use rayon::prelude::*;
use reqwest::StatusCode;
use reqwest::blocking::Client;

use super::ExchangeError;
use super::install::{Expected, ITEM, check, commit};
use super::narinfo::{File, NarInfo};
use crate::keys::PublicKey;
use crate::store::path::StorePath;
use crate::store::{PathLocks, PreparedOutputs, Store, nar};

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

    /// Makes `wanted` and all they refer to valid, if the server has all of it; `None` where it lacks something.
    ///
    /// # Errors
    /// Where the server cannot be reached, or has something that is not signed or not what was signed; nothing is valid
    /// then that was not before.
    pub fn install(
        &self,
        store: &Store,
        wanted: &BTreeSet<StorePath>,
        keys: &[PublicKey],
    ) -> Result<Option<Installed>, ExchangeError> {
        store.add_temporary_roots(wanted.iter())?;
        let Some(infos) = self.closure(store, wanted, keys)? else {
            return Ok(None);
        };
        store.add_temporary_roots(infos.keys())?;
        let locks = store.lock(infos.keys())?;
        // Somebody may have been faster while we waited.
        let valid = store.valid_among(infos.keys())?;
        let mut missing: Vec<&NarInfo> = infos
            .values()
            .filter(|info| !valid.contains(&info.path))
            .collect();
        missing.sort_by_key(|info| std::cmp::Reverse(info.nar_size));
        let prepared = self.prepare(store, &locks, &missing);
        let mut prepared = prepared.inspect_err(|_| {
            for info in &missing {
                // The error is the thing to tell; leftovers are the next comer's to remove.
                let _ = store.remove_staging_directory(&locks, &info.path);
            }
        })?;
        let mut installed = Installed::default();
        for path in references_first(&infos) {
            if let Some(prepared) = prepared.remove(path) {
                for info in commit(store, &locks, path, prepared)? {
                    installed.nar_bytes += info.nar_size;
                }
                installed.paths.push(path.clone());
            }
        }
        Ok(Some(installed))
    }

    /// Unpacks and checks `missing`, whose locks are held.
    fn prepare<'s>(
        &self,
        store: &'s Store,
        locks: &'s PathLocks,
        missing: &[&NarInfo],
    ) -> Result<BTreeMap<StorePath, PreparedOutputs<'s>>, ExchangeError> {
        let staged = missing
            .iter()
            .map(|info| {
                let directory = store.staging_directory(locks, &info.path)?;
                Ok((*info, directory.join(ITEM)))
            })
            .collect::<Result<Vec<_>, ExchangeError>>()?;
        staged
            .par_iter()
            .with_max_len(1)
            .try_for_each(|(info, staged)| {
                Ok::<(), ExchangeError>(nar::restore(&mut self.archive(info)?, staged)?)
            })?;
        // What was unpacked is hashed from the disk, so that the hash is of what is there.
        staged
            .into_iter()
            .map(|(info, staged)| {
                let expected = Expected {
                    path: info.path.clone(),
                    nar_sha256: Some(info.nar_sha256),
                    references: info.references.clone(),
                    deriver: info.deriver.clone(),
                };
                let prepared = check(store, locks, &expected, staged, &self.url)?;
                Ok((info.path.clone(), prepared))
            })
            .collect()
    }

    /// What is missing of the closure of `wanted`, by path; `None` where the server lacks some of it.
    fn closure(
        &self,
        store: &Store,
        wanted: &BTreeSet<StorePath>,
        keys: &[PublicKey],
    ) -> Result<Option<BTreeMap<StorePath, NarInfo>>, ExchangeError> {
        let mut infos: BTreeMap<StorePath, NarInfo> = BTreeMap::new();
        let mut level: BTreeSet<StorePath> = wanted.clone();
        while !level.is_empty() {
            let valid = store.valid_among(level.iter())?;
            level.retain(|path| !valid.contains(path));
            let found = level
                .par_iter()
                .map(|path| self.narinfo(store, path, keys))
                .collect::<Result<Vec<_>, _>>()?;
            let mut next = BTreeSet::new();
            for info in found {
                let Some(info) = info else {
                    return Ok(None);
                };
                next.extend(info.references.iter().cloned());
                infos.insert(info.path.clone(), info);
            }
            next.retain(|path| !infos.contains_key(path));
            level = next;
        }
        Ok(Some(infos))
    }

    /// The archive of an item, decoded, and no more of it than was said.
    fn archive(&self, info: &NarInfo) -> Result<Box<dyn Read>, ExchangeError> {
        let rank = |file: &&File| match file.compression.as_str() {
            "zstd" => 3,
            "none" => 2,
            "gzip" => 1,
            _ => 0,
        };
        let wrong = |url: &str, problem: String| ExchangeError::Server {
            url: format!("{}/{url}", self.url),
            problem,
        };
        let file = info
            .files
            .iter()
            .max_by_key(rank)
            .filter(|file| rank(file) > 0);
        let file = file.ok_or_else(|| {
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

/// The paths of `infos`, each after those it refers to.
fn references_first(infos: &BTreeMap<StorePath, NarInfo>) -> Vec<&StorePath> {
    let mut order = Vec::with_capacity(infos.len());
    let mut done: BTreeSet<&StorePath> = BTreeSet::new();
    let mut open: Vec<&NarInfo> = infos.values().collect();
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
                    order.push(&info.path);
                }
            }
        }
        if open.len() == before {
            order.extend(open.drain(..).map(|info| &info.path));
        }
    }
    order
}
