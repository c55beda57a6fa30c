// SPDX-License-Identifier: GPL-3.0-or-later
//! Both directions of a connection while an operation runs: messages to the client, bytes that are asked of it.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::fault::Fault;
use crate::events::cancellation::Cancellation;
use crate::formats::worker::{Fields, Message, Version, WireError};
use crate::store::{LockPolicy, LockWait};

/// How many bytes the client is asked for at a time.
const CHUNK: usize = 1 << 16;

/// What is sent to the client, by any thread.
#[derive(Debug)]
pub(super) struct ClientWriter {
    socket: Mutex<UnixStream>,
    /// Whether an operation runs, so that messages may be sent.
    working: AtomicBool,
    version: AtomicU32,
}

impl ClientWriter {
    /// What sends to `socket`.
    pub(super) fn new(socket: &UnixStream) -> io::Result<Self> {
        Ok(Self {
            socket: Mutex::new(socket.try_clone()?),
            working: AtomicBool::new(false),
            version: AtomicU32::new(0),
        })
    }

    /// The client's version is `version`.
    pub(super) fn speak(&self, version: Version) {
        self.version.store(version.0, Ordering::Relaxed);
    }

    /// An operation begins.
    pub(super) fn begin(&self) {
        self.working.store(true, Ordering::SeqCst);
    }

    /// Whether an operation runs.
    pub(super) fn is_working(&self) -> bool {
        self.working.load(Ordering::SeqCst)
    }

    /// Ends an operation with its outcome. False where the client is gone.
    pub(super) fn finish(&self, outcome: &Result<Fields, Fault>) -> bool {
        self.working.store(false, Ordering::SeqCst);
        let mut fields = Fields::new();
        let (message, status) = match outcome {
            Ok(reply) => {
                Message::Last.write_to(&mut fields);
                fields.append(reply);
                return self.send(&fields).is_ok();
            }
            Err(Fault::Refused { message, status }) => (message, *status),
            Err(Fault::Ended { message }) => (message, 1),
            Err(Fault::Gone) => return false,
        };
        let minor = Version(self.version.load(Ordering::Relaxed)).minor();
        let error = Message::Error {
            message,
            status: (minor >= 8).then_some(status),
        };
        error.write_to(&mut fields);
        self.send(&fields).is_ok()
    }

    /// Sends text for the user, if an operation runs.
    pub(super) fn log(&self, text: impl AsRef<[u8]>) {
        if self.is_working() {
            let mut fields = Fields::new();
            Message::Log(text.as_ref()).write_to(&mut fields);
            // Where the client is gone, its operation notices that by itself.
            let _ = self.send(&fields);
        }
    }

    /// Sends bytes as they are.
    pub(super) fn send(&self, fields: &Fields) -> io::Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(fields.as_bytes())
    }

    /// Whether the client has closed its end. Only for when it is not expected to send anything.
    pub(super) fn is_closed(&self) -> bool {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // Also where bytes are left that it sent before.
        let mut watched = [PollFd::new(&*socket, PollFlags::IN)];
        if poll(&mut watched, Some(&Timespec::default())).is_ok()
            && watched[0].revents().contains(PollFlags::HUP)
        {
            return true;
        }
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&*socket, &mut byte[..], flags) {
            Ok((_, count)) => count == 0,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Waits for the store's locks as long as the client does, and tells it.
    pub(super) fn lock_policy(self: &Arc<Self>, cancellation: &Cancellation) -> LockPolicy {
        let (client, cancellation) = (Arc::clone(self), cancellation.clone());
        let told = AtomicBool::new(false);
        LockPolicy {
            timeout: None,
            report: Arc::new(move |waiting: &LockWait<'_>| {
                if cancellation.is_cancelled() || client.is_closed() {
                    return ControlFlow::Break(());
                }
                if !told.swap(true, Ordering::Relaxed) {
                    client.log(format!("waiting for {}\n", waiting.path.display()));
                }
                ControlFlow::Continue(())
            }),
        }
    }
}

/// Sends what is written to it to where the client wants an export.
#[derive(Debug)]
pub(super) struct ExportSink<'t> {
    client: &'t ClientWriter,
    buffer: Vec<u8>,
}

impl<'t> ExportSink<'t> {
    pub(super) fn new(client: &'t ClientWriter) -> Self {
        Self {
            client,
            buffer: Vec::with_capacity(CHUNK),
        }
    }
}

impl Write for ExportSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend(&bytes[..count]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let mut fields = Fields::new();
            Message::Write(&self.buffer).write_to(&mut fields);
            self.buffer.clear();
            self.client.send(&fields)?;
        }
        Ok(())
    }
}

/// Reads what the client sends when it is asked for bytes.
pub(super) struct ClientSource<'s> {
    client: &'s ClientWriter,
    reader: &'s mut super::Reader,
    chunk: Vec<u8>,
    /// How much of the chunk was read.
    used: usize,
    /// Why the client's answer could not be read.
    problem: Option<String>,
}

impl<'s> ClientSource<'s> {
    pub(super) fn new(client: &'s ClientWriter, reader: &'s mut super::Reader) -> Self {
        Self {
            client,
            reader,
            chunk: Vec::new(),
            used: 0,
            problem: None,
        }
    }

    /// Why the client's answer could not be read, where it could not.
    pub(super) fn problem(self) -> Option<String> {
        self.problem
    }
}

impl Read for ClientSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let mut fields = Fields::new();
            Message::Read(CHUNK as u64).write_to(&mut fields);
            self.client.send(&fields)?;
            let chunk = self.reader.bytes("a part of an export", CHUNK);
            self.chunk = chunk.map_err(|error| {
                self.problem = Some(error.to_string());
                match error {
                    WireError::Io(error) => error,
                    error => io::Error::other(error.to_string()),
                }
            })?;
            self.used = 0;
        }
        let count = buffer.len().min(self.chunk.len() - self.used);
        buffer[..count].copy_from_slice(&self.chunk[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}
