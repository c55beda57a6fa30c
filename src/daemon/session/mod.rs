// SPDX-License-Identifier: GPL-3.0-or-later
//! One connection: this process serves one client and ends with it.
//!
//! The client is hostile until its requests are parsed. A request that cannot be parsed ends the connection with an
//! error. One that fails is an error of its own, after which the next request is served.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::configuration::DaemonConfiguration;
use super::peer::Peer;
use super::status::StatusFile;
use super::{log, title};
use crate::builder::shared_tokens::SharedTokens;
use crate::events::cancellation::Cancellation;
use crate::formats::worker::{
    DAEMON_MAGIC, Fields, VERSION, Version, WireError, WireReader, WorkerRequest, read_greeting,
    read_magic,
};
use crate::process_messages::{receive, receive_descriptors, take_stdin};
use crate::store::directories::Directories;
use crate::store::{OpenOptions, Store};

mod additions;
mod build_trace;
mod building;
mod client_stream;
mod collection;
mod connection;
mod fault;
mod operations;
mod options;
mod profiles;
mod repairing;
mod substitutes;
mod transfer;

use client_stream::ClientStream;
use connection::ClientWriter;
use fault::Fault;
use options::ClientSettings;

/// The second argument of a session's process; the first is the client's process, the third the state directory.
/// (Older versions had another name for another meaning of standard input.)
pub const SESSION_ARGUMENT: &str = "--bootstrap-daemon-waiting";

/// How long a client may take for its greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// What the listener tells a session, with the client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionOrder {
    pub(super) configuration: DaemonConfiguration,
    pub(super) peer: Peer,
    /// Whether builds are known to run in the sandbox of this machine.
    pub(super) sandbox_is_fit: bool,
}

type Reader = WireReader<BufReader<ClientStream>>;

/// A client's connection, and what it works with.
struct ClientSession {
    configuration: DaemonConfiguration,
    peer: Peer,
    directories: Directories,
    store: Store,
    client: Arc<ClientWriter>,
    reader: Reader,
    options: ClientSettings,
    cancellation: Cancellation,
    /// This session's part in the job tokens of all sessions, once it builds.
    tokens: OnceLock<Arc<SharedTokens>>,
    /// Set when the client has been warned that no key is authorized for substitutes.
    no_keys: OnceLock<()>,
    /// The substitute servers with a problem that the client has been warned of.
    warned_servers: Mutex<BTreeSet<String>>,
    sandbox_is_fit: bool,
    /// What others see of this session, where it could be written.
    status: Option<StatusFile>,
}

/// Serves the client that the listener, at the other end of standard input, has for it. Ends when the listener does
/// before there is one.
pub fn main() -> ExitCode {
    log_warnings();
    let (connection, order) = match receive_client() {
        Ok(Some(client)) => client,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            log(format!(
                "error: the daemon starts sessions by itself; start it with `bootstrap daemon`: {error}"
            ));
            return ExitCode::from(2);
        }
    };
    match run(connection, order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            log(format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the warnings of lower layers to the daemon's log.
fn log_warnings() {
    // A program that embeds this may have set a subscriber: it stays.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .try_init();
}

/// The client's connection, and what the listener says of it; `None` where the listener has gone.
fn receive_client() -> std::io::Result<Option<(UnixStream, SessionOrder)>> {
    let (mut listener, _) = take_stdin()?;
    // A session of its own, so that no terminal reaches it. It fails where it is one already.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    std::env::set_current_dir("/")?;
    let mut descriptors = match receive_descriptors(&listener) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        received => received?,
    };
    let connection = descriptors.pop().map(UnixStream::from);
    Ok(connection.zip(receive::<SessionOrder>(&mut listener)?))
}

fn run(socket: UnixStream, order: SessionOrder) -> Result<(), String> {
    let failed =
        |what: &'static str| move |error: std::io::Error| format!("cannot {what}: {error}");
    let process = order.peer.identity.and_then(|identity| identity.process);
    if let Err(error) = title::show_client(process.unwrap_or(0)) {
        log(format!(
            "warning: cannot show whom a session serves: {error}"
        ));
    }
    let client = ClientWriter::new(&socket).map_err(failed("share the client's connection"))?;
    let client = Arc::new(client);
    let cancellation = Cancellation::new();
    handle_signals(&client, &cancellation).map_err(failed("handle signals"))?;
    socket
        .set_read_timeout(Some(GREETING_TIMEOUT))
        .map_err(failed("set a time limit"))?;
    let mut reader = WireReader::new(BufReader::with_capacity(1 << 16, ClientStream::new(socket)));
    match greet(&mut reader, &client) {
        Ok(version) => serve(order, reader, version, client, cancellation),
        Err(error) => {
            log(format!("a client was disconnected: {error}"));
            Ok(())
        }
    }
}

/// The first signal stops what is being done, or ends an idle session; the second ends it in any case.
fn handle_signals(client: &Arc<ClientWriter>, cancellation: &Cancellation) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (client, cancellation) = (Arc::clone(client), cancellation.clone());
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                if !client.is_working() || cancellation.is_cancelled() {
                    std::process::exit(1);
                }
                cancellation.cancel();
            }
        })?;
    Ok(())
}

fn greet(reader: &mut Reader, client: &ClientWriter) -> Result<Version, WireError> {
    read_magic(reader)?;
    let mut fields = Fields::of_long(DAEMON_MAGIC);
    fields.long(u64::from(VERSION.0));
    client.send(&fields).map_err(WireError::Io)?;
    let greeting = read_greeting(reader)?;
    client.speak(greeting.version);
    Ok(greeting.version)
}

/// Opens the store and answers requests until the client is done.
fn serve(
    order: SessionOrder,
    reader: Reader,
    version: Version,
    client: Arc<ClientWriter>,
    cancellation: Cancellation,
) -> Result<(), String> {
    let SessionOrder {
        configuration,
        peer,
        sandbox_is_fit,
    } = order;
    client.begin();
    let opened = configuration
        .places
        .directories()
        .map_err(Fault::refused)
        .and_then(|directories| {
            let options = OpenOptions {
                lock_policy: client.lock_policy(&cancellation),
                deduplicate: configuration.deduplicate,
                ..OpenOptions::default()
            };
            Ok(Store::open_with(directories, options)?)
        });
    let store = match opened {
        Ok(store) => store,
        Err(fault) => {
            client.finish(&Err(fault));
            return Ok(());
        }
    };
    if let Some(identity) = peer.identity {
        profiles::create(&store.directories().state, &identity.user.to_string());
    }
    let status = StatusFile::of_session(&configuration, &peer);
    let status = status
        .map_err(|error| {
            log(format!(
                "warning: `bootstrap top' will not show a session: {error}"
            ))
        })
        .ok();
    client.finish(&Ok(Fields::new()));
    let mut session = ClientSession {
        options: ClientSettings::new(&configuration),
        directories: store.directories().clone(),
        configuration,
        peer,
        store,
        client,
        reader,
        cancellation,
        tokens: OnceLock::new(),
        no_keys: OnceLock::new(),
        warned_servers: Mutex::default(),
        sandbox_is_fit,
        status,
    };
    let timeout = session.reader.input().get_ref().set_read_timeout(None);
    timeout.map_err(|error| format!("cannot take back the time limit: {error}"))?;
    while session.answer(version) && !session.cancellation.is_cancelled() {}
    Ok(())
}

impl ClientSession {
    /// Answers the next request. False at the end of the connection.
    fn answer(&mut self, version: Version) -> bool {
        let store_dir = &self.directories.store_dir;
        let request = match WorkerRequest::read(&mut self.reader, store_dir, version) {
            Ok(Some(request)) => request,
            Ok(None) | Err(WireError::Io(_) | WireError::Truncated) => return false,
            Err(error) => {
                log(format!("a client was disconnected: {error}"));
                self.client.begin();
                self.client.finish(&Err(Fault::ended(error)));
                return false;
            }
        };
        if self.configuration.debug {
            log(format!("request: {}", operations::name(&request)));
        }
        self.client.begin();
        let outcome = self.perform(request);
        let goes_on = !matches!(&outcome, Err(Fault::Ended { .. } | Fault::Gone));
        self.client.finish(&outcome) && goes_on
    }
}
