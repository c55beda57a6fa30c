// SPDX-License-Identifier: GPL-3.0-or-later
//! One substitute server: `http://`, `https://`, or a directory as `file://`.
//!
//! A request that fails for a passing reason (status 503, a reset connection) is made again, as often and after the
//! same pauses as for sources, or after the time that the server asks for. One that brings nothing, or hardly anything,
//! is made again once: each try takes a minute. A server is left for the rest of a run only for a reason that lasts:
//! its host does not exist, its certificate is wrong, it is for another store, a small file stalled twice, or
//! `FAILURES` requests in a row failed, each after all its tries.

use std::io::{self, BufReader, Read};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::decompress;
use super::files::{self, CancellableReader, ServerFiles};
use super::incoming::{ByteLimit, Counting};
use super::install::{Expected, prepare};
use super::watch::{InstallationNews, InstallationWatch};
use super::{ExchangeError, Trouble};
use crate::events::cancellation::Cancellation;
use crate::fetch::http::RetryPolicy;
use crate::formats::keys::PublicKey;
use crate::formats::nar::{NarError, NarProblem};
use crate::formats::narinfo::{NarInfo, NarInfoError, seen};
use crate::formats::store_path::{StoreDir, StorePath};
use crate::store::{PathLocks, PreparedOutputs, Store};

/// After this many failed requests in a row a server is left.
const FAILURES: usize = 5;
/// The rank of a server that does not give one, as in Nix. A lower number comes first.
const PRIORITY: u32 = 50;
/// How often a request is made again where nothing listens at the server's address.
const REFUSALS: usize = 2;
/// How often a request is made for which hardly anything comes.
const STALLS: usize = 2;
/// Without a byte for so long, a server is dead. Some compress an archive before they send any of it.
const SILENCE: Duration = Duration::from_secs(60);
/// The problem of a place that neither says that it is a server nor has offered an item: its address may be mistyped.
const NO_SERVER: &str =
    "nix-cache-info is missing or names no store (StoreDir): this may not be a substitute server";
/// The longest `nix-cache-info` that is read, in bytes.
const CACHE_INFO_MAX: u64 = 1 << 16;
/// A narinfo of this many bytes names thousands of references.
const NARINFO_MAX: u64 = 1 << 20;

/// A server.
#[derive(Debug)]
pub struct Server {
    files: ServerFiles,
    /// The rank that the URL gives.
    priority: Option<u32>,
    /// The pauses before further tries.
    retry_policy: RetryPolicy,
    /// The rank that the server gives.
    about: OnceLock<u32>,
    health: Mutex<Health>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WantedPart {
    /// A few lines. A server that does not deliver them does not deliver anything.
    Text,
    /// An archive, for which a slow network may be to blame.
    Archive,
}

/// How a server has done so far.
#[derive(Debug, Default)]
struct Health {
    /// Failed requests since the last one that did not fail.
    failures: usize,
    /// Its first problem.
    problem: Option<String>,
    /// Why it is not asked any more.
    left: Option<String>,
    /// It did not say which store it is for.
    is_nameless: bool,
    /// It had a narinfo.
    has_items: bool,
}

impl Server {
    /// The server at `url`, which may end in `?priority=NUMBER`. Asks nothing yet.
    ///
    /// # Errors
    /// Where the URL is of another kind.
    pub fn new(url: &str) -> Result<Self, ExchangeError> {
        let retry_policy = RetryPolicy {
            read: SILENCE,
            ..RetryPolicy::default()
        };
        Self::with_retry_policy(url, retry_policy)
    }

    /// Like [`new`](Self::new), with other pauses before further tries, and another time to wait for bytes.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_retry_policy(url: &str, retry_policy: RetryPolicy) -> Result<Self, ExchangeError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut priority = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let number = parameter.strip_prefix("priority=");
            let number = number.and_then(|number| number.parse().ok());
            // Another parameter would have to be part of the URL of each file, or is a mistake.
            priority = Some(number.ok_or_else(|| ExchangeError::Url(url.to_owned()))?);
        }
        Ok(Self {
            files: ServerFiles::below(place, &retry_policy)?,
            priority,
            retry_policy,
            about: OnceLock::new(),
            health: Mutex::default(),
        })
    }

    /// Its URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.files.url
    }

    /// Whether the server at `url` can only be reached through the network, as all but folders.
    pub fn needs_network(url: &str) -> bool {
        !url.starts_with("file://")
    }

    /// Its rank: the lower the number, the earlier it is asked. Known after `introduce`.
    pub fn priority(&self) -> u32 {
        let own = || self.about.get().copied().unwrap_or(PRIORITY);
        self.priority.unwrap_or_else(own)
    }

    /// Why it is not asked any more, where that is so.
    pub fn left(&self) -> Option<String> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.left.clone()
    }

    /// Why it is not asked any more, or its first problem. One is that it neither says what it is nor offers an item.
    pub fn problem(&self) -> Option<String> {
        let health = self.health();
        let noted = health.left.clone().or_else(|| health.problem.clone());
        let is_doubtful = health.is_nameless && !health.has_items;
        noted.or_else(|| is_doubtful.then(|| NO_SERVER.to_owned()))
    }

    /// Asks the server, once, what it is. One that is for another store is left; one that does not say is asked all the
    /// same.
    pub(super) fn introduce(&self, store_dir: &StoreDir, cancellation: &Cancellation) {
        if self.about.get().is_some() || self.left().is_some() {
            return;
        }
        let read = self.tries(WantedPart::Text, cancellation, || {
            let limit = ByteLimit::of_text(CACHE_INFO_MAX);
            let file = self.files.open("nix-cache-info", &limit, cancellation)?;
            let mut text = String::new();
            if let Some(file) = file {
                let read = file.take(CACHE_INFO_MAX).read_to_string(&mut text);
                read.map_err(|error| self.wrong(self.broken_off(&error), error.to_string()))?;
            }
            Ok(text)
        });
        let Ok(text) = read else {
            return;
        };
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(key, value)| (key == name).then(|| value.trim()))
        };
        let priority = field("Priority").and_then(|text| text.parse().ok());
        // Another thread may have been faster.
        let _ = self.about.set(priority.unwrap_or(PRIORITY));
        match field("StoreDir") {
            Some(own) if own == store_dir.as_str() => {}
            Some(other) => self.leave(format!("it is for the store {other}, expected {store_dir}")),
            None => self.health().is_nameless = true,
        }
    }

    /// What the server says of `path`, signed by one of `keys`; `None` where it does not have it. Text that is not a
    /// narinfo, such as the page of a network that wants a password first, is nothing that this server says.
    ///
    /// # Errors
    /// Where it could not be asked, or its answer cannot be used.
    pub(super) fn narinfo(
        &self,
        store_dir: &StoreDir,
        path: &StorePath,
        keys: &[PublicKey],
        cancellation: &Cancellation,
    ) -> Result<Option<NarInfo>, ExchangeError> {
        let name = format!("{}.narinfo", path.hash_part());
        let location = format!("{}/{name}", self.files.url);
        let text = self.tries(WantedPart::Text, cancellation, || {
            let limit = ByteLimit::of_text(NARINFO_MAX);
            let Some(file) = self.files.open(&name, &limit, cancellation)? else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            file.take(NARINFO_MAX)
                .read_to_end(&mut bytes)
                .map_err(|error| ExchangeError::Server {
                    url: location.clone(),
                    problem: error.to_string(),
                    trouble: self.broken_off(&error),
                })?;
            Ok(Some(bytes))
        })?;
        let Some(bytes) = text else {
            return Ok(None);
        };
        let not_a_narinfo = |problem: String| {
            let error = ExchangeError::Server {
                url: location.clone(),
                problem: format!("not a narinfo: {problem}"),
                trouble: Trouble::File,
            };
            self.note(&error);
            error
        };
        let text =
            String::from_utf8(bytes).map_err(|_| not_a_narinfo("it is not text".to_owned()))?;
        let info = NarInfo::parse(store_dir, path, &text, &location);
        let info = info.map_err(|error| match error {
            NarInfoError::Syntax {
                line, problem, saw, ..
            } => {
                // What a server sends may be shown to all; a directory may have something else than it should.
                let saw = saw.filter(|_| self.files.is_remote());
                not_a_narinfo(match line {
                    0 => problem,
                    line => format!("line {line}: {problem}{}", seen(saw.as_deref())),
                })
            }
            error => error.into(),
        })?;
        self.health().has_items = true;
        if let Err(error) = info.check(store_dir, keys, &self.files.url) {
            let is_altered = matches!(error, NarInfoError::Altered { .. });
            let error = ExchangeError::from(error);
            // Also where another server has the item: this one, or who is between, may alter more.
            if is_altered {
                self.note(&error);
            }
            return Err(error);
        }
        Ok(Some(info))
    }

    /// Downloads, unpacks and checks an item, whose lock is held.
    ///
    /// # Errors
    /// Where it cannot be fetched, or is not what was signed.
    pub(super) fn prepare<'s>(
        &self,
        store: &'s Store,
        locks: &PathLocks,
        info: &NarInfo,
        watch: &InstallationWatch<'_>,
    ) -> Result<PreparedOutputs<'s>, ExchangeError> {
        let expected = Expected {
            path: info.path.clone(),
            nar_sha256: Some(info.nar_sha256),
            references: info.references.clone(),
            deriver: info.deriver.clone(),
        };
        let url = &self.files.url;
        (watch.news)(InstallationNews::Begun {
            path: &info.path,
            location: url,
        });
        self.tries(WantedPart::Archive, &watch.cancellation, || {
            let mut archive = self.archive(info, watch)?;
            let prepared = prepare(store, locks, &expected, &mut archive, url);
            prepared.map_err(|error| {
                let (trouble, problem) = match &error {
                    ExchangeError::Nar(NarError::Source { error, .. }) => {
                        (self.broken_off(error), error.to_string())
                    }
                    ExchangeError::Archive {
                        error:
                            NarError::Corrupt {
                                offset,
                                problem: problem @ NarProblem::Truncated,
                            },
                        ..
                        // One that is longer than what was signed was cut off here.
                    } if *offset < info.nar_size => (self.passing(), problem.to_string()),
                    _ => return error,
                };
                let path = info.path.base_name();
                self.wrong(
                    trouble,
                    format!("the archive of {path} cannot be read to its end: {problem}"),
                )
            })
        })
    }

    /// The trouble with an answer that breaks off: from a directory it will break off again.
    fn passing(&self) -> Trouble {
        match self.files.is_remote() {
            true => Trouble::Passing(None),
            false => Trouble::File,
        }
    }

    /// The trouble with an answer that cannot be read to its end.
    fn broken_off(&self, error: &io::Error) -> Trouble {
        match files::has_stalled(error) {
            true => Trouble::Stalled,
            // It will be too long again.
            false if error.kind() == io::ErrorKind::FileTooLarge => Trouble::File,
            false => self.passing(),
        }
    }

    fn wrong(&self, trouble: Trouble, problem: String) -> ExchangeError {
        ExchangeError::Server {
            url: self.files.url.clone(),
            problem,
            trouble,
        }
    }

    /// Does `request`, and again after a pause where it failed for a passing reason.
    fn tries<T>(
        &self,
        wanted: WantedPart,
        cancellation: &Cancellation,
        mut request: impl FnMut() -> Result<T, ExchangeError>,
    ) -> Result<T, ExchangeError> {
        let mut pauses = self.retry_policy.pauses.iter();
        let (mut refused, mut stalled) = (0, 0);
        loop {
            if let Some(problem) = self.left() {
                return Err(self.wrong(Trouble::Server, problem));
            }
            let error = match request() {
                Err(error) => error,
                done => {
                    self.health().failures = 0;
                    return done;
                }
            };
            if cancellation.is_cancelled() {
                return Err(ExchangeError::Interrupted);
            }
            let ExchangeError::Server {
                trouble, problem, ..
            } = &error
            else {
                return Err(error);
            };
            let asked = match *trouble {
                Trouble::Passing(asked) => asked,
                Trouble::Stalled => {
                    stalled += 1;
                    match (stalled == STALLS, wanted) {
                        (false, _) => None,
                        (true, WantedPart::Text) => {
                            self.leave(problem.clone());
                            return Err(error);
                        }
                        (true, WantedPart::Archive) => {
                            self.count_failure(problem, &error);
                            return Err(error);
                        }
                    }
                }
                Trouble::Refused if refused == REFUSALS => {
                    self.leave(problem.clone());
                    return Err(error);
                }
                Trouble::Refused => {
                    refused += 1;
                    None
                }
                Trouble::Server => {
                    self.leave(problem.clone());
                    return Err(error);
                }
                Trouble::File => {
                    self.note(&error);
                    return Err(error);
                }
            };
            let pause = pauses.next().map(|own| match asked {
                Some(asked) => asked.max(*own),
                None => *own,
            });
            let pause = pause.filter(|pause| *pause <= self.retry_policy.longest_pause);
            let Some(pause) = pause else {
                self.count_failure(problem, &error);
                return Err(error);
            };
            tracing::debug!(url = self.files.url, problem, ?pause, "trying again");
            wait(pause, cancellation);
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_failure(&self, problem: &str, error: &ExchangeError) {
        self.note(error);
        let mut health = self.health();
        health.failures += 1;
        if health.failures >= FAILURES {
            let failures = health.failures;
            let problem = format!("{problem} ({failures} requests in a row failed)");
            health.left.get_or_insert(problem);
        }
    }

    /// Keeps the first problem.
    pub(super) fn note(&self, error: &ExchangeError) {
        let problem = self.in_short(error);
        self.health().problem.get_or_insert(problem);
    }

    /// `error` in words, without this server's URL.
    pub(super) fn in_short(&self, error: &ExchangeError) -> String {
        let text = error.to_string();
        let rest = text.strip_prefix(&self.files.url);
        let rest = rest.map(|rest| rest.trim_start_matches([':', '/', ' ']).to_owned());
        rest.unwrap_or(text)
    }

    /// Does not ask this server any more.
    fn leave(&self, problem: String) {
        self.health().left.get_or_insert(problem);
    }

    /// The archive of an item, decoded, and no more of it than was said. Reading it tells how much has arrived.
    fn archive<'a>(
        &'a self,
        info: &'a NarInfo,
        watch: &'a InstallationWatch<'_>,
    ) -> Result<Box<dyn Read + 'a>, ExchangeError> {
        let wrong = |url: &str, problem: String| ExchangeError::Server {
            url: self.files.location(url),
            problem,
            trouble: Trouble::File,
        };
        let file = decompress::best_file(info).ok_or_else(|| {
            wrong(
                "",
                format!(
                    "every archive of {} is in an unknown compression: expected one of {}",
                    info.path.base_name(),
                    decompress::known()
                ),
            )
        })?;
        let limit = ByteLimit::of_archive(info.nar_size);
        let bytes = self.files.open(&file.url, &limit, &watch.cancellation)?;
        let bytes = bytes.ok_or_else(|| wrong(&file.url, "the archive is not there".to_owned()))?;
        let location = self.files.location(&file.url);
        let bytes = Counting::begin(bytes, &info.path, location, file.size, watch);
        let bytes = BufReader::with_capacity(1 << 17, limit.on(bytes));
        let decoded = decompress::decoder(&file.compression, bytes)
            .map_err(|error| wrong(&file.url, error.to_string()))?;
        Ok(Box::new(CancellableReader {
            // One byte more than there should be is enough to see that there is more.
            inner: decoded.take(info.nar_size.saturating_add(1)),
            // Few bytes may become many.
            cancellation: watch.cancellation.clone(),
        }))
    }
}

/// Waits for `pause`, or until the run is cancelled.
fn wait(pause: Duration, cancellation: &Cancellation) {
    let end = Instant::now() + pause;
    while !cancellation.is_cancelled() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
