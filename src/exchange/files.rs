//! The files of a substitute server, which is asked by HTTP or is a directory.
//!
//! Nobody here waits for a server that does not answer when the run is stopped. A thread that waits for one cannot be
//! woken, so each request has a thread of its own, which hands over in pieces what comes; whoever reads the file waits
//! for the next piece, or to be told that the run is stopped. The thread finds out with its next piece that nobody
//! reads any more, at the latest when the server has been silent for too long.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder};

use super::ExchangeError;
use crate::diagnostics::FileError;
use crate::events::cancellation::{Cancellation, Registration};
use crate::fetch::http::causes;

const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte for so long, a server is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// The most bytes of a piece.
const PIECE: usize = 64 << 10;
/// How many pieces may wait to be read.
const AHEAD: usize = 4;

/// The files below a URL.
#[derive(Debug)]
pub(super) struct Files {
    /// Without a slash at its end.
    pub url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Http(Client),
    Directory(PathBuf),
}

impl Files {
    /// The files below `url`. Asks nothing yet.
    pub fn below(url: &str) -> Result<Self, ExchangeError> {
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
            Place::Http(client.map_err(|error| ExchangeError::Server {
                url: url.to_owned(),
                problem: causes(&error),
            })?)
        } else {
            return Err(ExchangeError::Url(url.to_owned()));
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            place,
        })
    }

    /// The file `name`; `None` where there is none. Reading it, too, fails once the run is cancelled.
    pub fn open(
        &self,
        name: &str,
        cancellation: &Cancellation,
    ) -> Result<Option<Box<dyn Read>>, ExchangeError> {
        let url = format!("{}/{name}", self.url);
        let wrong = |problem: String| ExchangeError::Server {
            url: url.clone(),
            problem,
        };
        if cancellation.is_cancelled() {
            return Err(ExchangeError::Interrupted);
        }
        match &self.place {
            Place::Directory(directory) => match File::open(directory.join(name)) {
                Ok(file) => Ok(Some(Box::new(Stoppable {
                    inner: file,
                    cancellation: cancellation.clone(),
                }))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(wrong(error.to_string())),
            },
            Place::Http(client) => {
                let mut answer = Answer::to(client.get(&url), cancellation)
                    .map_err(FileError::named_by_user("start a thread that reads", &url))?;
                match answer.next() {
                    Piece::Found => Ok(Some(Box::new(answer))),
                    Piece::Missing => Ok(None),
                    Piece::Failed(problem) => Err(wrong(problem)),
                    Piece::Cancelled => Err(ExchangeError::Interrupted),
                    Piece::Bytes(_) | Piece::End => Err(wrong(DIED.to_owned())),
                }
            }
        }
    }
}

/// What is read when the run was stopped. What it is called does not matter: whoever reads knows of the cancellation.
fn stopped() -> io::Error {
    io::Error::other("the run was stopped")
}

const DIED: &str = "the thread that reads it died";

/// Fails once the run is cancelled.
pub(super) struct Stoppable<R> {
    pub inner: R,
    pub cancellation: Cancellation,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cancellation.is_cancelled() {
            true => Err(stopped()),
            false => self.inner.read(buffer),
        }
    }
}

/// What becomes of a request: whether the file is there, then its bytes, then the end.
enum Piece {
    Missing,
    Found,
    Bytes(Vec<u8>),
    End,
    Failed(String),
    Cancelled,
}

/// The answer to a request, as it comes.
struct Answer {
    pieces: Receiver<Piece>,
    cancellation: Cancellation,
    _stop: Registration,
    /// What of a piece has not been read yet, from `start` on.
    bytes: Vec<u8>,
    start: usize,
    is_over: bool,
}

impl Answer {
    fn to(request: RequestBuilder, cancellation: &Cancellation) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(AHEAD);
        let sender = Arc::new(sender);
        // It must not keep the channel open: the thread's death has to be noticed.
        let waker = Arc::downgrade(&sender);
        let stop = cancellation.on_cancel(move || {
            if let Some(sender) = waker.upgrade() {
                // Where there is no room nobody waits, and before anybody does, he looks whether the run is cancelled.
                let _ = sender.try_send(Piece::Cancelled);
            }
        });
        std::thread::Builder::new()
            .name("substitute".to_owned())
            .spawn(move || ask(request, &sender))?;
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
    fn next(&mut self) -> Piece {
        if self.cancellation.is_cancelled() {
            return Piece::Cancelled;
        }
        let piece = self.pieces.recv();
        piece.unwrap_or_else(|_| Piece::Failed(DIED.to_owned()))
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.start == self.bytes.len() && !self.is_over {
            match self.next() {
                Piece::Bytes(bytes) => (self.bytes, self.start) = (bytes, 0),
                Piece::Found | Piece::Missing => {}
                Piece::End => self.is_over = true,
                Piece::Failed(problem) => return Err(io::Error::other(problem)),
                Piece::Cancelled => return Err(stopped()),
            }
        }
        let count = (&self.bytes[self.start..]).read(buffer)?;
        self.start += count;
        Ok(count)
    }
}

/// Sends `request` and hands over what comes, until it ends or nobody reads it.
fn ask(request: RequestBuilder, pieces: &SyncSender<Piece>) {
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => {
            let _ = pieces.send(Piece::Failed(causes(&error)));
            return;
        }
    };
    let first = match response.status() {
        StatusCode::OK => Piece::Found,
        // Object stores say 403 of what is not there.
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Piece::Missing,
        other => Piece::Failed(format!("the server says {other}")),
    };
    let mut is_last = !matches!(first, Piece::Found);
    if pieces.send(first).is_err() {
        return;
    }
    let mut buffer = vec![0; PIECE];
    while !is_last {
        let piece = match response.read(&mut buffer) {
            Ok(0) => Piece::End,
            Ok(count) => Piece::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Piece::Failed(causes(&error)),
        };
        is_last = !matches!(piece, Piece::Bytes(_));
        if pieces.send(piece).is_err() {
            return;
        }
    }
}
