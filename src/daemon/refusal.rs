// SPDX-License-Identifier: GPL-3.0-or-later
//! Telling a client that it cannot be served, without a process for it.
//!
//! A client reads errors only after its greeting. One thread waits for that, for a bounded time, and sends the error.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use crate::formats::worker::{
    DAEMON_MAGIC, Fields, Message, VERSION, WireReader, read_greeting, read_magic,
};

/// Clients that may wait for their error. More are disconnected without a word.
const WAITING_MAX: usize = 64;

/// How long one may take for each part of its greeting.
const PATIENCE: Duration = Duration::from_millis(500);

/// A thread that refuses clients.
#[derive(Debug)]
pub(super) struct Refusals(SyncSender<(UnixStream, String)>);

impl Refusals {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<(UnixStream, String)>(WAITING_MAX);
        std::thread::Builder::new()
            .name("refusals".to_owned())
            .spawn(move || {
                for (client, reason) in receiver {
                    // One that does not even greet gets nothing.
                    let _ = refuse(&client, &reason);
                }
            })?;
        Ok(Self(sender))
    }

    /// Tells `client` the `reason` and closes its connection.
    pub(super) fn refuse(&self, client: UnixStream, reason: String) {
        let _ = self.0.try_send((client, reason));
    }
}

fn refuse(client: &UnixStream, reason: &str) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut reader = WireReader::new(BufReader::new(client));
    let mut writer = client;
    read_magic(&mut reader).map_err(std::io::Error::other)?;
    let mut fields = Fields::of_long(DAEMON_MAGIC);
    fields.long(u64::from(VERSION.0));
    writer.write_all(fields.as_bytes())?;
    let greeting = read_greeting(&mut reader).map_err(std::io::Error::other)?;
    let mut fields = Fields::new();
    let error = Message::Error {
        message: reason,
        status: (greeting.version.minor() >= 8).then_some(1),
    };
    error.write_to(&mut fields);
    writer.write_all(fields.as_bytes())
}
