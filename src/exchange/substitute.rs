//! Installing items from substitute servers: `http://`, `https://`, or a directory as `file://`.
//!
//! First the narinfos of everything that is missing are asked for, level by level along the references, and their
//! signatures checked. Then items are installed in batches, what is referred to first: archives are
//! downloaded, decoded, unpacked and hashed on all cores, an item on each, the largest first; and what is right becomes
//! valid. A core takes the window of a decoder (4 MiB of what is published here, 128 MiB at most) and a few buffers of
//! memory, whatever the items.
//! A server that does not have everything, cannot be reached, breaks off or sends what cannot be decoded is no reason to
//! stop: what it does not give is built. One that has something else than it signed is.
//!
//! Whoever is [watching](Watch) hears of every item, and can stop it all at any moment: then nothing is half valid, and of
//! what was half unpacked nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::ExchangeError;
use super::batch::{self, Batch};
use super::files::{Files, Stoppable};
use super::install::{Expected, prepare};
use crate::events::cancellation::Cancellation;
use crate::formats::keys::PublicKey;
use crate::formats::nar::{NarError, NarProblem};
use crate::formats::narinfo::{File, NarInfo, NarInfoError};
use crate::formats::store_path::StorePath;
use crate::store::{LockError, PathInfo, PathLocks, PreparedOutputs, Store, StoreError};

/// How many items are installed at a time: the lock of each is a descriptor.
const AT_ONCE: usize = 128;
/// A narinfo of this many bytes names thousands of references.
const NARINFO_MAX: u64 = 1 << 20;
/// A larger window would take more memory than a decoder should.
const ZSTD_WINDOW: u32 = 27;
/// However little an archive can be compressed, it becomes longer by an eighth and so many bytes at most.
const OVERHEAD_MAX: u64 = 1 << 16;
/// How often it is told how much of an item has arrived.
const NEWS_INTERVAL: Duration = Duration::from_millis(100);

/// A server.
#[derive(Debug)]
pub struct Server {
    files: Files,
}

/// Who watches an installation, and may stop it.
#[derive(Clone)]
pub struct Watch<'w> {
    /// Stops it.
    pub cancellation: Cancellation,
    /// Is called, on any thread, with what happens.
    pub news: &'w (dyn Fn(News<'_>) + Sync),
}

impl Watch<'static> {
    /// Nobody.
    pub fn nobody() -> Self {
        Self {
            cancellation: Cancellation::new(),
            news: &|_: News<'_>| {},
        }
    }
}

/// What happens while items are installed.
#[derive(Debug, Clone, Copy)]
pub enum News<'n> {
    /// These will be installed. Comes once, before all else; not where there are none.
    Found(&'n [Offer]),
    /// Work on an item begins.
    Begun(&'n StorePath),
    /// So many bytes of an item's compressed archive have arrived.
    Received {
        /// The item.
        path: &'n StorePath,
        /// The bytes so far.
        bytes: u64,
        /// The size of the compressed archive, where the server says.
        total: Option<u64>,
    },
    /// An item is valid.
    Installed(&'n PathInfo),
    /// Another process has made an item valid meanwhile.
    Reused(&'n StorePath),
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
        Ok(Self {
            files: Files::below(url)?,
        })
    }

    /// What the server says of `path`, with a good signature by one of `keys`; `None` where it does not have it. Text that is
    /// no narinfo, such as the page of a network that wants a password first, is nothing that this server says.
    pub(super) fn narinfo(
        &self,
        store: &Store,
        path: &StorePath,
        keys: &[PublicKey],
        cancellation: &Cancellation,
    ) -> Result<Option<NarInfo>, ExchangeError> {
        let store_dir = &store.directories().store_dir;
        let name = format!("{}.narinfo", path.hash_part());
        let Some(file) = self.files.open(&name, cancellation)? else {
            return Ok(None);
        };
        let location = format!("{}/{name}", self.files.url);
        let mut text = String::new();
        file.take(NARINFO_MAX)
            .read_to_string(&mut text)
            .map_err(|error| ExchangeError::Server {
                url: location.clone(),
                problem: error.to_string(),
            })?;
        let info = NarInfo::parse(store_dir, path, &text, &location);
        let info = info.map_err(|error| match error {
            NarInfoError::Syntax {
                location,
                line,
                problem,
            } => ExchangeError::Server {
                url: location,
                problem: match line {
                    0 => format!("it is no narinfo: {problem}"),
                    line => format!("it is no narinfo: line {line}: {problem}"),
                },
            },
            error => error.into(),
        })?;
        info.check(store_dir, keys, &self.files.url)?;
        Ok(Some(info))
    }

    /// For each set of `wanted`: makes its paths and all they refer to valid, if the server has all of it; `None` where it
    /// lacks something. What several sets refer to is told of the first.
    ///
    /// # Errors
    /// Where the server cannot be reached or breaks off, or has something that is not signed or not what was signed, and
    /// where whoever watches stops it. Nothing of that is valid then, nor what refers to it; other items may be.
    pub fn install(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        keys: &[PublicKey],
        watch: &Watch<'_>,
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        let installed = self.install_watched(store, wanted, keys, watch);
        installed.map_err(|error| match error {
            // What stopping it looks like.
            ExchangeError::Server { .. }
            | ExchangeError::Store(StoreError::Lock(LockError::Cancelled { .. }))
                if watch.cancellation.is_cancelled() =>
            {
                ExchangeError::Interrupted
            }
            error => error,
        })
    }

    fn install_watched(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        keys: &[PublicKey],
        watch: &Watch<'_>,
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        store.add_temporary_roots(wanted.iter().flatten())?;
        let paths = wanted.iter().flatten();
        let offered = self.closure(store, paths, keys, &watch.cancellation)?;
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
        if !order.is_empty() {
            let offers: Vec<Offer> = order.iter().map(|info| offer(info)).collect();
            (watch.news)(News::Found(&offers));
        }
        for batch in order.chunks(AT_ONCE) {
            let installed = self.install_batch(store, batch, watch)?;
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
        let paths = wanted.iter().flatten();
        let offered = self.closure(store, paths, keys, &Cancellation::new())?;
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
        watch: &Watch<'_>,
    ) -> Result<Vec<PathInfo>, ExchangeError> {
        let paths = batch.iter().map(|info| &info.path);
        let locks = store.lock(paths.clone())?;
        // Somebody may have been faster while we waited.
        let valid = store.valid_among(paths)?;
        for path in &valid {
            (watch.news)(News::Reused(path));
        }
        let mut items = batch.to_vec();
        items.retain(|info| !valid.contains(&info.path));
        items.sort_by_key(|info| std::cmp::Reverse(info.nar_size));
        batch::install(&Batch {
            store,
            locks: &locks,
            items,
            watch,
            prepare: &|info| self.prepare(store, &locks, info, watch),
        })
    }

    /// Downloads, unpacks and checks an item, whose lock is held.
    fn prepare<'s>(
        &self,
        store: &'s Store,
        locks: &PathLocks,
        info: &NarInfo,
        watch: &Watch<'_>,
    ) -> Result<PreparedOutputs<'s>, ExchangeError> {
        let expected = Expected {
            path: info.path.clone(),
            nar_sha256: Some(info.nar_sha256),
            references: info.references.clone(),
            deriver: info.deriver.clone(),
        };
        let url = &self.files.url;
        (watch.news)(News::Begun(&info.path));
        let mut archive = self.archive(info, watch)?;
        let prepared = prepare(store, locks, &expected, &mut archive, url);
        prepared.map_err(|error| {
            let problem = match &error {
                ExchangeError::Nar(NarError::Source { error, .. }) => error.to_string(),
                ExchangeError::Archive {
                    error:
                        NarError::Corrupt {
                            offset,
                            problem: problem @ NarProblem::Truncated,
                        },
                    ..
                    // One that is longer than what was signed was cut off here.
                } if *offset < info.nar_size => problem.to_string(),
                _ => return error,
            };
            let path = info.path.base_name();
            ExchangeError::Server {
                url: url.clone(),
                problem: format!("the archive of {path} cannot be read to its end: {problem}"),
            }
        })
    }

    /// What the server says of all that is missing of the closure of `wanted`.
    fn closure<'p>(
        &self,
        store: &Store,
        wanted: impl Iterator<Item = &'p StorePath>,
        keys: &[PublicKey],
        cancellation: &Cancellation,
    ) -> Result<Offered, ExchangeError> {
        let mut offered = Offered::default();
        let mut level: BTreeSet<StorePath> = wanted.cloned().collect();
        while !level.is_empty() {
            let valid = store.valid_among(level.iter())?;
            level.retain(|path| !valid.contains(path));
            let found = level
                .par_iter()
                .map(|path| self.narinfo(store, path, keys, cancellation))
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

    /// The archive of an item, decoded, and no more of it than was said. Reading it tells how much has arrived.
    fn archive<'a>(
        &self,
        info: &'a NarInfo,
        watch: &'a Watch<'_>,
    ) -> Result<Box<dyn Read + 'a>, ExchangeError> {
        let wrong = |url: &str, problem: String| ExchangeError::Server {
            url: format!("{}/{url}", self.files.url),
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
        let bytes = self.files.open(&file.url, &watch.cancellation)?;
        let bytes = bytes.ok_or_else(|| wrong(&file.url, "the archive is not there".to_owned()))?;
        let bytes = Counting {
            inner: bytes,
            path: &info.path,
            bytes: 0,
            total: file.size,
            told: Instant::now(),
            watch,
        };
        bytes.tell();
        // A decoder may be kept reading without an end by what becomes nothing, such as empty frames.
        let most = info.nar_size.saturating_add(info.nar_size / 8);
        let bytes = Bounded {
            inner: bytes,
            left: most.saturating_add(OVERHEAD_MAX),
            contents: info.nar_size,
        };
        let bytes = BufReader::with_capacity(1 << 17, bytes);
        let decoded: Box<dyn Read + 'a> = match file.compression.as_str() {
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
        Ok(Box::new(Stoppable {
            // One byte more than there should be is enough to see that there is more.
            inner: decoded.take(info.nar_size.saturating_add(1)),
            // Few bytes may become many.
            cancellation: watch.cancellation.clone(),
        }))
    }
}

/// An archive as it arrives, and an error instead of more than there can be of it.
struct Bounded<R> {
    inner: R,
    left: u64,
    /// The bytes that it is to become.
    contents: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "it goes on, though it is longer already than what {} bytes can be compressed to",
                self.contents
            )));
        }
        let count = (&mut self.inner).take(self.left).read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Tells how much of an item's archive has arrived.
struct Counting<'w, R> {
    inner: R,
    path: &'w StorePath,
    bytes: u64,
    total: Option<u64>,
    told: Instant,
    watch: &'w Watch<'w>,
}

impl<R> Counting<'_, R> {
    fn tell(&self) {
        (self.watch.news)(News::Received {
            path: self.path,
            bytes: self.bytes,
            total: self.total,
        });
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let is_first = self.bytes == 0;
        self.bytes += count as u64;
        // A decoder need not read on when it has all.
        let is_last = Some(self.bytes) == self.total;
        if is_first || is_last || self.told.elapsed() >= NEWS_INTERVAL {
            self.told = Instant::now();
            self.tell();
        }
        Ok(count)
    }
}

/// What is offered with `info`.
fn offer(info: &NarInfo) -> Offer {
    Offer {
        path: info.path.clone(),
        nar_size: info.nar_size,
        download_size: best_file(info).and_then(|file| file.size),
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
