// SPDX-License-Identifier: GPL-3.0-or-later
//! The files of a substitute server, which is asked by HTTP or is a directory.
//!
//! A server that does not answer does not delay the end of a run that is stopped. A thread that waits for one cannot be
//! woken, so each request has a thread of its own, which hands over in pieces what comes; the reader of the file waits
//! for the next piece, or for the end of the run. The thread finds out with its next piece that nothing
//! reads any more, at the latest when the server has been silent for too long.

use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::CONTENT_ENCODING;
use reqwest::{StatusCode, Url};

use super::incoming::ByteLimit;
use super::{ExchangeError, Trouble, decompress, urls};
use crate::diagnostics::FileError;
use crate::events::cancellation::{ActionRegistration, Cancellation};
use crate::fetch::client::{self, Hosts, causes, reason};
use crate::fetch::http::{RetryPolicy, retry_after};
use crate::formats::count::counted;
use crate::formats::visible::visible;
use crate::limited_file;

/// The most bytes of a piece.
const PIECE: usize = 64 << 10;
/// How many pieces may wait to be read.
const AHEAD: usize = 4;
/// The most content encodings of an answer. Each takes memory for a decoder, and the stack of a call.
const ENCODINGS_MAX: usize = 2;

/// The files below a URL.
#[derive(Debug)]
pub(super) struct ServerFiles {
    /// Without a slash at its end.
    pub url: String,
    place: FilesLocation,
    pace: ReadLimits,
}

/// What a transfer must bring: `slowest` bytes in each `window`. A server that sends a byte now and then is as good as
/// dead.
#[derive(Debug, Clone, Copy)]
struct ReadLimits {
    window: Duration,
    slowest: u64,
}

#[derive(Debug)]
enum FilesLocation {
    Http(Client, Hosts),
    Directory(PathBuf),
}

impl ServerFiles {
    /// The files below `url`, which are waited for with `retry_policy`. Asks nothing yet.
    pub fn below(url: &str, retry_policy: &RetryPolicy) -> Result<Self, ExchangeError> {
        let place = if let Some(path) = url.strip_prefix("file://") {
            FilesLocation::Directory(path.into())
        } else if url.starts_with("http://") || url.starts_with("https://") {
            let hosts = Hosts::default();
            let client = client::builder_for(&hosts)
                .connect_timeout(retry_policy.connect)
                .timeout(retry_policy.read)
                .build();
            let client = client.map_err(|error| ExchangeError::Server {
                url: url.to_owned(),
                problem: causes(&error),
                trouble: Trouble::Server,
            })?;
            FilesLocation::Http(client, hosts)
        } else {
            return Err(ExchangeError::Url(url.to_owned()));
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            place,
            pace: ReadLimits {
                window: retry_policy.window,
                slowest: retry_policy.slowest,
            },
        })
    }

    /// Whether it is asked by HTTP.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, FilesLocation::Http(..))
    }

    /// Why `url`, which a file of the server names, is not asked for: it is to the server as good as a redirection.
    fn refused(&self, hosts: &Hosts, url: &str) -> Option<String> {
        let (own, next) = (Url::parse(&self.url).ok()?, Url::parse(url).ok()?);
        let is_own = own.origin() == next.origin();
        (!is_own).then(|| hosts.refuse(&[own], &next)).flatten()
    }

    /// Where the file `name` is: a server may name one that is elsewhere.
    pub fn location(&self, name: &str) -> String {
        match name.starts_with("https://") || name.starts_with("http://") {
            true => name.to_owned(),
            false => format!("{}/{name}", self.url),
        }
    }

    /// The file `name`; `None` where there is none. Reading it, too, fails once the run is cancelled, and where more
    /// than `limit` has to be read to decode it.
    pub fn open(
        &self,
        name: &str,
        limit: &ByteLimit,
        cancellation: &Cancellation,
    ) -> Result<Option<Box<dyn Read>>, ExchangeError> {
        let url = self.location(name);
        let wrong = |trouble: Trouble, problem: String| ExchangeError::Server {
            url: url.clone(),
            problem,
            trouble,
        };
        if cancellation.is_cancelled() {
            return Err(ExchangeError::Interrupted);
        }
        match &self.place {
            FilesLocation::Directory(directory) if !directory.is_dir() => Err(wrong(
                Trouble::Server,
                "the directory does not exist".to_owned(),
            )),
            FilesLocation::Directory(directory) => {
                let opened = urls::name_of(name)
                    .and_then(|name| limited_file::open_below(directory, name.as_ref()));
                match opened {
                    Ok(file) => Ok(Some(Box::new(CancellableReader {
                        inner: file,
                        cancellation: cancellation.clone(),
                    }))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(wrong(Trouble::File, error.to_string())),
                }
            }
            FilesLocation::Http(client, hosts) => {
                if let Some(reason) = self.refused(hosts, &url) {
                    return Err(wrong(Trouble::File, reason));
                }
                let mut answer = FileResponse::to(&url, client.get(&url), self.pace, cancellation)
                    .map_err(FileError::named_by_user("start a thread that reads", &url))?;
                match answer.next() {
                    ResponsePiece::Found(encodings) => decoded(answer, &encodings, limit)
                        .map(Some)
                        .map_err(|problem| wrong(Trouble::File, problem)),
                    ResponsePiece::Missing => Ok(None),
                    ResponsePiece::Failed(trouble, problem) => Err(wrong(trouble, problem)),
                    ResponsePiece::Cancelled => Err(ExchangeError::Interrupted),
                    ResponsePiece::Bytes(_) | ResponsePiece::End => {
                        Err(wrong(Trouble::File, DIED.to_owned()))
                    }
                }
            }
        }
    }
}

/// What is read when the run was stopped. What it is called does not matter: the reader knows of the cancellation.
fn stopped() -> io::Error {
    io::Error::other("the run was stopped")
}

const DIED: &str = "the thread that reads it died";

/// Fails once the run is cancelled.
pub(super) struct CancellableReader<R> {
    pub inner: R,
    pub cancellation: Cancellation,
}

impl<R: Read> Read for CancellableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cancellation.is_cancelled() {
            true => Err(stopped()),
            false => self.inner.read(buffer),
        }
    }
}

/// Why a transfer ended that brought too little.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TransferStalled(String);

/// Whether reading a file failed with `error` since its server sent nothing, or hardly anything.
pub(super) fn has_stalled(error: &io::Error) -> bool {
    let cause = error.get_ref();
    cause.is_some_and(|cause| cause.is::<TransferStalled>())
}

/// What becomes of a request: whether the file is there, then its bytes, then the end.
enum ResponsePiece {
    Missing,
    /// The file is there, in these encodings, the last one outermost (RFC 9110, 8.4).
    Found(Vec<String>),
    Bytes(Vec<u8>),
    End,
    Failed(Trouble, String),
    Cancelled,
}

/// The answer to a request, as it comes.
struct FileResponse {
    pieces: Receiver<ResponsePiece>,
    cancellation: Cancellation,
    _stop: ActionRegistration,
    /// What of a piece has not been read yet, from `start` on.
    bytes: Vec<u8>,
    start: usize,
    is_over: bool,
}

impl FileResponse {
    fn to(
        url: &str,
        request: RequestBuilder,
        pace: ReadLimits,
        cancellation: &Cancellation,
    ) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(AHEAD);
        let sender = Arc::new(sender);
        // It must not keep the channel open: the thread's death has to be noticed.
        let waker = Arc::downgrade(&sender);
        let stop = cancellation.on_cancel(move || {
            if let Some(sender) = waker.upgrade() {
                // Where there is no room, no reader waits, and before it does, it checks whether the run is cancelled.
                let _ = sender.try_send(ResponsePiece::Cancelled);
            }
        });
        let url = url.to_owned();
        std::thread::Builder::new()
            .name("substitute".to_owned())
            .spawn(move || ask(&url, request, pace, &sender))?;
        Ok(Self {
            pieces,
            cancellation: cancellation.clone(),
            _stop: stop,
            bytes: Vec::new(),
            start: 0,
            is_over: false,
        })
    }

    /// Waits for the next piece.
    fn next(&mut self) -> ResponsePiece {
        if self.cancellation.is_cancelled() {
            return ResponsePiece::Cancelled;
        }
        let piece = self.pieces.recv();
        piece.unwrap_or_else(|_| ResponsePiece::Failed(Trouble::File, DIED.to_owned()))
    }
}

impl Read for FileResponse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.start == self.bytes.len() && !self.is_over {
            match self.next() {
                ResponsePiece::Bytes(bytes) => (self.bytes, self.start) = (bytes, 0),
                ResponsePiece::Found(_) | ResponsePiece::Missing => {}
                ResponsePiece::End => self.is_over = true,
                ResponsePiece::Failed(Trouble::Stalled, problem) => {
                    return Err(io::Error::other(TransferStalled(problem)));
                }
                ResponsePiece::Failed(_, problem) => return Err(io::Error::other(problem)),
                ResponsePiece::Cancelled => return Err(stopped()),
            }
        }
        let count = (&self.bytes[self.start..]).read(buffer)?;
        self.start += count;
        Ok(count)
    }
}

/// Sends `request`, for `url`, and hands over what comes, until it ends or is not read any more.
fn ask(url: &str, request: RequestBuilder, pace: ReadLimits, pieces: &SyncSender<ResponsePiece>) {
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => {
            let _ = pieces.send(ResponsePiece::Failed(trouble(&error), reason(url, &error)));
            return;
        }
    };
    let first = match response.status() {
        StatusCode::OK => ResponsePiece::Found(encodings(&response)),
        // Object stores say 403 of what is not there.
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => ResponsePiece::Missing,
        other => {
            let trouble = match other {
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    Trouble::Passing(retry_after(&response))
                }
                other if other.is_server_error() => Trouble::Passing(retry_after(&response)),
                _ => Trouble::File,
            };
            ResponsePiece::Failed(trouble, format!("the server answers {other}"))
        }
    };
    let mut is_last = !matches!(first, ResponsePiece::Found(_));
    if pieces.send(first).is_err() {
        return;
    }
    let mut buffer = vec![0; PIECE];
    let (mut since, mut received) = (Instant::now(), 0);
    while !is_last {
        let piece = match response.read(&mut buffer) {
            Ok(0) => ResponsePiece::End,
            Ok(count) => {
                received += count as u64;
                ResponsePiece::Bytes(buffer[..count].to_vec())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if has_timed_out(&error) => {
                ResponsePiece::Failed(Trouble::Stalled, causes(&error))
            }
            Err(error) => ResponsePiece::Failed(Trouble::Passing(None), causes(&error)),
        };
        let waited = since.elapsed();
        let piece = match piece {
            ResponsePiece::Bytes(_) if waited >= pace.window && received < pace.slowest => {
                ResponsePiece::Failed(
                    Trouble::Stalled,
                    format!(
                        "transfer stalled ({} in {} s)",
                        counted(received, "byte"),
                        waited.as_secs()
                    ),
                )
            }
            piece => piece,
        };
        is_last = !matches!(piece, ResponsePiece::Bytes(_));
        if pieces.send(piece).is_err() {
            return;
        }
        // The time that a reader took to make room is not the server's.
        if waited >= pace.window || since.elapsed() > waited + Duration::from_secs(1) {
            (since, received) = (Instant::now(), 0);
        }
    }
}

/// What `response` says that its bytes are encoded in. It was not asked for, but object stores give what was put there.
fn encodings(response: &Response) -> Vec<String> {
    let values = response.headers().get_all(CONTENT_ENCODING).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    let names = names.map(|name| name.trim().to_ascii_lowercase());
    names
        .filter(|name| !name.is_empty() && name != "identity")
        .collect()
}

/// `answer`, decoded, where each decoder reads no more than `limit`; a problem in words where it is in an unknown
/// encoding, or in too many.
fn decoded(
    answer: FileResponse,
    encodings: &[String],
    limit: &ByteLimit,
) -> Result<Box<dyn Read>, String> {
    if encodings.len() > ENCODINGS_MAX {
        return Err(format!(
            "it comes in {} content encodings: expected at most {ENCODINGS_MAX}",
            encodings.len()
        ));
    }
    let mut reader: Box<dyn Read> = Box::new(answer);
    for encoding in encodings.iter().rev() {
        let input = BufReader::new(limit.on(reader));
        reader = match encoding.as_str() {
            // In zlib's frame, in spite of its name (RFC 9110, 8.4.1.2).
            "deflate" => Box::new(flate2::bufread::ZlibDecoder::new(input)),
            "gzip" | "x-gzip" => {
                decompress::decoder("gzip", input).map_err(|error| error.to_string())?
            }
            "zstd" | "br" | "xz" | "bzip2" => {
                decompress::decoder(encoding, input).map_err(|error| error.to_string())?
            }
            other => {
                return Err(format!(
                    "it comes in the unknown content encoding `{}`",
                    visible(other)
                ));
            }
        };
    }
    Ok(reader)
}

/// Whether the request that failed with `error` is worth another try.
fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_redirect() || error.is_builder() {
        return Trouble::File;
    }
    if error.is_timeout() {
        return Trouble::Stalled;
    }
    if !error.is_connect() {
        return Trouble::Passing(None);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::ConnectionRefused) => return Trouble::Refused,
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe,
            ) => return Trouble::Passing(None),
            Some(io::ErrorKind::TimedOut) => return Trouble::Stalled,
            _ => cause = error.source(),
        }
    }
    // No such host, or a certificate that does not fit.
    Trouble::Server
}

/// Whether reading an answer failed with `error` since nothing came for too long.
fn has_timed_out(error: &io::Error) -> bool {
    let cause = error.get_ref();
    let cause = cause.and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    error.kind() == io::ErrorKind::TimedOut || cause.is_some_and(reqwest::Error::is_timeout)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_in_a_directory_leads_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let published = directory.path().join("published");
        fs::create_dir_all(published.join("nar")).unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        fs::write(published.join("nar/x"), "archive").unwrap();
        symlink(directory.path().join("secret"), published.join("link")).unwrap();
        symlink(directory.path(), published.join("folder")).unwrap();
        let url = format!("file://{}", published.display());
        let files = ServerFiles::below(&url, &RetryPolicy::default()).unwrap();
        let limit = ByteLimit::of_text(10);
        let open = |name: &str| files.open(name, &limit, &Cancellation::new());
        let mut text = String::new();
        let mut file = open("nar/x").unwrap().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "archive");
        assert!(open("nar/y").unwrap().is_none());
        for name in ["link", "folder/secret", "../secret", "%2e%2e/secret"] {
            assert!(open(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_public_server_names_no_file_of_a_private_one() {
        let files =
            ServerFiles::below("https://example.org/cache", &RetryPolicy::default()).unwrap();
        for url in [
            "http://example.com/nar/x",
            "https://127.0.0.1:1/nar/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/nar/x",
            "https://localhost/nar/x",
            "https://10.1.2.3/nar/x",
        ] {
            // Nothing is asked: it would be another error.
            let limit = ByteLimit::of_text(1);
            let error = files.open(url, &limit, &Cancellation::new());
            let error = error.err().unwrap();
            assert!(
                error.to_string().contains("redirected from "),
                "{url}: {error}"
            );
        }
        let private =
            ServerFiles::below("http://127.0.0.1:1/cache", &RetryPolicy::default()).unwrap();
        let FilesLocation::Http(_, hosts) = &private.place else {
            panic!("it is not asked by HTTP");
        };
        assert_eq!(private.refused(hosts, "http://127.0.0.2/nar/x"), None);
        assert_eq!(
            private.refused(hosts, "http://127.0.0.1:1/cache/nar/x"),
            None
        );
    }
}
