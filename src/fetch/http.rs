// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads over HTTP: one URL into one file, resumed, retried and bounded.
//!
//! What a server says is trusted no further than the digest: a partial file of an earlier attempt is continued with
//! `Range`, and if the whole has other bytes, it is fetched once more from nothing before the server is blamed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::client::{self, causes};
use super::file_hash::FileHash;
use super::hosts::DeadHosts;
use super::proxies::proxy_of;
use super::size_limit::SizeLimit;
use crate::formats::count::counted;
use crate::formats::visible::visible;

/// Bytes read from a connection at a time.
const CHUNK: usize = 64 * 1024;

/// How long to wait for servers, and how often to try.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// For a connection, with name look-up and TLS.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
    /// The time over which a download must bring at least `slowest` bytes.
    pub window: Duration,
    /// Bytes per `window` below which a download counts as stalled: a server that drips bytes is as good as a dead one.
    pub slowest: u64,
    /// The wait before each further attempt on one URL; as many attempts as entries, and one more.
    pub pauses: Vec<Duration>,
    /// The longest wait that a server may ask for with `Retry-After`.
    pub longest_pause: Duration,
    /// How long a server that could not be reached is left alone.
    pub dead: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            window: Duration::from_secs(60),
            slowest: 60 * 1024,
            pauses: [500, 1000, 2000, 4000].map(Duration::from_millis).to_vec(),
            longest_pause: Duration::from_secs(20),
            dead: Duration::from_secs(300),
        }
    }
}

/// What is to be downloaded.
#[derive(Debug, Clone, Copy)]
pub struct WantedFile {
    /// The expected hash.
    pub hash: FileHash,
    /// The expected size, where it is known.
    pub size: Option<u64>,
    /// The most bytes to accept where the size is not known.
    pub limit: SizeLimit,
}

/// Why a URL did not give the file.
#[derive(Debug)]
pub enum HttpError {
    /// The server does not have it, for this reason.
    Unavailable(String),
    /// All bytes came and have another hash. They are in the partial file.
    HashDiffers(FileHash),
    /// The partial file cannot be written.
    Write(PathBuf, io::Error),
}

/// One attempt's failure.
enum AttemptFailure {
    /// Worth another attempt, at the earliest after the time that the server asked for.
    Passing(String, Option<Duration>),
    /// No answer in time: worth another attempt, but every one takes long.
    Hung(String),
    /// The server cannot be reached at all.
    Dead(String),
    /// Another attempt would end the same.
    Lasting(String),
    /// The partial file does not fit what the server has: start from nothing.
    Restart(String),
    Write(PathBuf, io::Error),
}

impl AttemptFailure {
    /// The failure of a request that went through `proxy`.
    fn through(self, proxy: Option<&str>) -> Self {
        match (self, proxy) {
            (Self::Dead(reason), Some(proxy)) => {
                Self::Dead(format!("the proxy {proxy} cannot be used: {reason}"))
            }
            (failure, _) => failure,
        }
    }
}

/// What a server sends that is in the way of the one that was asked.
const WEB_PAGE: &str =
    "it sends a web page instead of the file, as a network does that asks for a login first";

/// Whether the file at `path` begins as a web page does.
fn is_web_page(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    let start = String::from_utf8_lossy(&start).to_ascii_lowercase();
    let start = start.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    read.is_ok() && (start.starts_with("<!doctype html") || start.starts_with("<html"))
}

/// Whether the file that `url` names is itself a web page.
fn names_web_page(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| ["html", "htm", "xhtml"].contains(&extension))
}

/// The HTTP client of a run.
#[derive(Debug)]
pub struct Http {
    retry_policy: RetryPolicy,
    dead: DeadHosts,
    /// Started by the first download: runs that fetch nothing do not pay for reading certificates.
    client: OnceLock<Result<Client, String>>,
}

impl Http {
    /// A client with the proxy variables of the environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
    pub fn new(retry_policy: RetryPolicy) -> Self {
        let dead = DeadHosts::new(retry_policy.dead);
        Self {
            retry_policy,
            dead,
            client: OnceLock::new(),
        }
    }

    /// Downloads `url` into the file `partial` and continues it where it is not empty. `progress` gets the bytes so far
    /// and, where it is known, the size.
    pub fn download(
        &self,
        url: &str,
        wanted: &WantedFile,
        partial: &Path,
        progress: &dyn Fn(u64, Option<u64>),
    ) -> Result<(), HttpError> {
        let host = host_of(url).map_err(HttpError::Unavailable)?;
        let proxy = proxy_of(url);
        // What is dead where a proxy cannot be reached is the proxy.
        let host = proxy.clone().unwrap_or(host);
        if let Some(reason) = self.dead.reason(&host) {
            return Err(HttpError::Unavailable(format!(
                "{reason} (as found earlier in this run)"
            )));
        }
        let mut pauses = self.retry_policy.pauses.iter();
        let mut restarted = false;
        let mut hung = false;
        loop {
            let resumed = std::fs::metadata(partial).is_ok_and(|status| status.len() > 0);
            let failure = match self.attempt(url, wanted, partial, progress) {
                Ok(actual) if actual == wanted.hash => return Ok(()),
                Ok(_) if resumed && !restarted => {
                    AttemptFailure::Restart("the resumed file has other bytes".to_owned())
                }
                Ok(_) if is_web_page(partial) && !names_web_page(url) => {
                    let _ = std::fs::remove_file(partial);
                    return Err(HttpError::Unavailable(WEB_PAGE.to_owned()));
                }
                Ok(actual) => return Err(HttpError::HashDiffers(actual)),
                Err(failure) => failure.through(proxy.as_deref()),
            };
            match failure {
                AttemptFailure::Write(path, error) => return Err(HttpError::Write(path, error)),
                AttemptFailure::Lasting(reason) => return Err(HttpError::Unavailable(reason)),
                AttemptFailure::Dead(reason) => {
                    self.dead.give_up(&host, &reason);
                    return Err(HttpError::Unavailable(reason));
                }
                AttemptFailure::Restart(reason) if restarted => {
                    return Err(HttpError::Unavailable(reason));
                }
                AttemptFailure::Restart(reason) => {
                    tracing::debug!(url, reason, "starting again from nothing");
                    restarted = true;
                    File::create(partial)
                        .map_err(|error| HttpError::Write(partial.to_owned(), error))?;
                }
                AttemptFailure::Hung(reason) => {
                    // One more chance: two time-outs in a row are not an accident.
                    let Some(pause) = pauses.next().filter(|_| !hung) else {
                        self.dead.give_up(&host, &reason);
                        return Err(HttpError::Unavailable(reason));
                    };
                    hung = true;
                    std::thread::sleep(*pause);
                }
                AttemptFailure::Passing(reason, asked) => {
                    let Some(own) = pauses.next().copied() else {
                        let attempts = counted(self.retry_policy.pauses.len() + 1, "attempt");
                        let reason = format!("{reason} (after {attempts})");
                        return Err(HttpError::Unavailable(reason));
                    };
                    let pause = asked.map_or(own, |asked| asked.max(own));
                    if pause > own.max(self.retry_policy.longest_pause) {
                        let reason = format!("{reason}; it asks to wait {} s", pause.as_secs());
                        return Err(HttpError::Unavailable(reason));
                    }
                    hung = false;
                    tracing::debug!(url, reason, ?pause, "trying again");
                    std::thread::sleep(pause);
                }
            }
        }
    }

    fn client(&self) -> Result<&Client, AttemptFailure> {
        self.client
            .get_or_init(|| {
                client::builder()
                    .connect_timeout(self.retry_policy.connect)
                    .timeout(self.retry_policy.read)
                    .build()
                    .map_err(|error| format!("cannot start the HTTP client: {}", causes(&error)))
            })
            .as_ref()
            .map_err(|reason| AttemptFailure::Lasting(reason.clone()))
    }

    /// One request. Returns the hash of the whole file, which is then complete as far as the server can tell.
    fn attempt(
        &self,
        url: &str,
        wanted: &WantedFile,
        partial: &Path,
        progress: &dyn Fn(u64, Option<u64>),
    ) -> Result<FileHash, AttemptFailure> {
        let failed = |error| AttemptFailure::Write(partial.to_owned(), error);
        let client = self.client()?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(partial)
            .map_err(failed)?;
        let mut received = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if wanted.size == Some(received) && received > 0 {
            return wanted.hash.of_file(partial).map_err(failed);
        }
        let mut request = client.get(url);
        if received > 0 {
            request = request.header(RANGE, format!("bytes={received}-"));
        }
        let mut response = request.send().map_err(|error| send_failure(&error))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if received > 0 => {
                check_range(&response, received, wanted)?;
            }
            StatusCode::OK => {
                file.set_len(0).map_err(failed)?;
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                received = 0;
            }
            other => return Err(status_failure(other, &response)),
        }
        let total = response
            .content_length()
            .map(|left| left.saturating_add(received));
        if let Err(reason) = wanted.limit.check(total, wanted.size) {
            let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
                kind.to_str()
                    .is_ok_and(|kind| kind.starts_with("text/html"))
            });
            return Err(AttemptFailure::Lasting(
                match is_page && !names_web_page(url) {
                    true => WEB_PAGE.to_owned(),
                    false => reason,
                },
            ));
        }
        let limit = wanted.limit.bytes(wanted.size);
        let mut pace = StallWatch::new(&self.retry_policy);
        let before = received;
        let mut buffer = vec![0; CHUNK];
        progress(received, wanted.size.or(total));
        loop {
            let count = match response.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if received == before => {
                    return Err(AttemptFailure::Hung(
                        "it answers, but sends nothing".to_owned(),
                    ));
                }
                Err(error) => {
                    let so_far = so_far(received, wanted.size.or(total));
                    return Err(AttemptFailure::Passing(
                        format!("{} {so_far}", causes(&error)),
                        None,
                    ));
                }
            };
            received += count as u64;
            if received > limit {
                file.set_len(0).map_err(failed)?;
                return Err(AttemptFailure::Lasting(wanted.limit.too_long(wanted.size)));
            }
            file.write_all(&buffer[..count]).map_err(failed)?;
            progress(received, wanted.size.or(total));
            if pace.is_stalled(count as u64) {
                return Err(AttemptFailure::Passing(
                    format!(
                        "transfer stalled (under {} KiB in {} s)",
                        self.retry_policy.slowest / 1024,
                        self.retry_policy.window.as_secs()
                    ),
                    None,
                ));
            }
        }
        if wanted.size.or(total).is_some_and(|size| received < size) {
            let so_far = so_far(received, wanted.size.or(total));
            return Err(AttemptFailure::Passing(
                format!("the answer ends too early {so_far}"),
                None,
            ));
        }
        wanted.hash.of_file(partial).map_err(failed)
    }
}

/// Watches that bytes keep coming.
struct StallWatch<'a> {
    retry_policy: &'a RetryPolicy,
    since: Instant,
    bytes: u64,
}

impl<'a> StallWatch<'a> {
    fn new(retry_policy: &'a RetryPolicy) -> Self {
        Self {
            retry_policy,
            since: Instant::now(),
            bytes: 0,
        }
    }

    fn is_stalled(&mut self, count: u64) -> bool {
        self.bytes += count;
        if self.since.elapsed() < self.retry_policy.window {
            return false;
        }
        let stalled = self.bytes < self.retry_policy.slowest;
        self.since = Instant::now();
        self.bytes = 0;
        stalled
    }
}

fn send_failure(error: &reqwest::Error) -> AttemptFailure {
    let reason = causes(error);
    if error.is_redirect() || error.is_builder() {
        AttemptFailure::Lasting(reason)
    } else if error.is_connect() {
        AttemptFailure::Dead(reason)
    } else if error.is_timeout() {
        AttemptFailure::Hung("it does not answer".to_owned())
    } else {
        AttemptFailure::Passing(reason, None)
    }
}

fn status_failure(status: StatusCode, response: &Response) -> AttemptFailure {
    let reason = match status.as_u16() {
        407 => "the proxy answers 407: it wants http://NAME:PASSWORD@HOST:PORT".to_owned(),
        _ => format!("it answers {status}"),
    };
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            AttemptFailure::Restart(reason)
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            AttemptFailure::Passing(reason, retry_after(response))
        }
        status if status.is_server_error() => {
            AttemptFailure::Passing(reason, retry_after(response))
        }
        _ => AttemptFailure::Lasting(reason),
    }
}

/// The wait in seconds that the server asks for. Its other form, a date, is not worth reading here.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Checks that a partial answer goes on where the file ends: `Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
fn check_range(
    response: &Response,
    received: u64,
    wanted: &WantedFile,
) -> Result<(), AttemptFailure> {
    let value = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let range = value.and_then(|value| {
        let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, total.parse::<u64>().ok()))
    });
    match range {
        Some((first, total))
            if first == received
                && (total.is_none() || wanted.size.is_none() || total == wanted.size) =>
        {
            Ok(())
        }
        _ => Err(AttemptFailure::Restart(format!(
            "it answers with the range `{}` where one from {received} was asked for",
            visible(value.unwrap_or("(none)"))
        ))),
    }
}

fn so_far(received: u64, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("(after {received} of {})", counted(size, "byte")),
        None => format!("(after {})", counted(received, "byte")),
    }
}

/// The server of `url`, with its port.
fn host_of(url: &str) -> Result<String, String> {
    let parsed = Url::parse(url).map_err(|error| format!("it is not a URL: {error}"))?;
    match (parsed.host_str(), parsed.port_or_known_default()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err("it names no server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_singular() {
        assert_eq!(so_far(1, None), "(after 1 byte)");
        assert_eq!(so_far(1, Some(2)), "(after 1 of 2 bytes)");
    }

    #[test]
    fn servers_are_told_apart_by_their_ports() {
        assert_eq!(
            host_of("https://ftp.gnu.org/gnu/").unwrap(),
            "ftp.gnu.org:443"
        );
        assert_eq!(
            host_of("http://127.0.0.1:8080/x").unwrap(),
            "127.0.0.1:8080"
        );
        assert!(host_of("mailto:user").is_err());
        assert!(host_of("no url").is_err());
    }
}
