// SPDX-License-Identifier: GPL-3.0-or-later
//! A connection to a daemon, at the place where a Guix client looks for it: whether it serves, and its version.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::formats::visible::{visible, visible_lines};
use crate::formats::worker::{
    CLIENT_MAGIC, DAEMON_MAGIC, Fields, VERSION, Version, WireError, WireReader, read_outcome,
};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The port of `guix://HOST`.
const PORT: u16 = 44146;

/// Why there is no connection to a daemon.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConnectionError {
    /// No daemon at the socket.
    #[error("no daemon listens at {socket}: {error}")]
    #[diagnostic(help("start `bootstrap daemon`, or name its socket in GUIX_DAEMON_SOCKET"))]
    NoDaemon {
        /// The socket, as the client names it.
        socket: String,
        /// The system's error.
        error: io::Error,
    },
    /// Something at the socket that is not a daemon.
    #[error("what listens at {socket} does not speak the daemon's protocol: {problem}")]
    #[diagnostic(help("name the socket of `bootstrap daemon` in GUIX_DAEMON_SOCKET"))]
    NotADaemon {
        /// The socket.
        socket: String,
        /// What it said.
        problem: String,
    },
    /// Another protocol.
    #[error("the daemon at {socket} speaks version {seen:#x} of the protocol, and Guix's clients {:#x}", VERSION.0)]
    #[diagnostic(help("stop it and start `bootstrap daemon`"))]
    Protocol {
        /// The socket.
        socket: String,
        /// The daemon's version.
        seen: u64,
    },
    /// A daemon that does not serve.
    #[error("the daemon at {socket} refuses to serve: {message}")]
    #[diagnostic(help("fix what the daemon names; its log may say more"))]
    Refuses {
        /// The socket.
        socket: String,
        /// What it says.
        message: String,
    },
}

impl ConnectionError {
    /// What listens at `socket` sent what cannot be read.
    fn not_a_daemon(socket: &str, error: &WireError) -> Self {
        let problem = match error {
            WireError::Truncated => "it closed the connection".to_owned(),
            WireError::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        Self::NotADaemon {
            socket: socket.to_owned(),
            problem,
        }
    }
}

/// Where a client reaches the daemon: what it gives for `%daemon-socket-uri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonAddress {
    /// A socket of this machine: a path, `file://PATH` or `unix://PATH`.
    Local(PathBuf),
    /// `guix://HOST[:PORT]`.
    Network(String, u16),
    /// Another URI, such as `ssh://HOST`.
    Other,
}

impl DaemonAddress {
    /// The place that the client calls `uri`.
    pub fn of(uri: &str) -> Self {
        let local = ["file://", "unix://"]
            .iter()
            .find_map(|scheme| uri.strip_prefix(scheme));
        if let Some(path) = local {
            return Self::Local(path.into());
        }
        if let Some(rest) = uri.strip_prefix("guix://") {
            let authority = rest.split('/').next().unwrap_or_default();
            let whole = || (authority, PORT);
            // The last colon of `[::1]` is the address's own.
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) => port.parse().map_or_else(|_| whole(), |port| (host, port)),
                None => whole(),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            return Self::Network(host.to_owned(), port);
        }
        match uri.contains("://") {
            true => Self::Other,
            false => Self::Local(uri.into()),
        }
    }
}

/// A connection on which the daemon has said that it serves. It is open as long as this lives.
pub struct Connection {
    _stream: Box<dyn ReadWrite>,
    /// The daemon's version of the protocol.
    pub version: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Connection")
            .field(&self.version)
            .finish()
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Connection {
    /// Connects to `place`, which the client calls `uri`; `None` for [`DaemonAddress::Other`].
    ///
    /// # Errors
    /// Where nothing listens there, or what does is not a daemon that serves.
    pub fn open(place: &DaemonAddress, uri: &str) -> Result<Option<Self>, ConnectionError> {
        let absent = |error| ConnectionError::NoDaemon {
            socket: visible(uri),
            error,
        };
        let mut stream: Box<dyn ReadWrite> = match place {
            DaemonAddress::Local(path) => {
                let stream = UnixStream::connect(path).map_err(absent)?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(absent)?;
                Box::new(stream)
            }
            DaemonAddress::Network(host, port) => {
                let stream = connect(host, *port).map_err(absent)?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(absent)?;
                Box::new(stream)
            }
            DaemonAddress::Other => return Ok(None),
        };
        let version = greet(&mut *stream, &visible(uri))?;
        Ok(Some(Self {
            _stream: stream,
            version,
        }))
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Says what a client says first, and waits until the daemon serves. Gives its version.
fn greet(stream: &mut dyn ReadWrite, socket: &str) -> Result<u64, ConnectionError> {
    let wire = |error| ConnectionError::not_a_daemon(socket, &error);
    let sent = |error: io::Error| ConnectionError::NotADaemon {
        socket: socket.to_owned(),
        problem: error.to_string(),
    };
    stream
        .write_all(Fields::of_long(CLIENT_MAGIC).as_bytes())
        .map_err(sent)?;
    let mut reader = WireReader::new(BufReader::new(&mut *stream));
    let magic = reader.long().map_err(wire)?;
    if magic != DAEMON_MAGIC {
        return Err(ConnectionError::NotADaemon {
            socket: socket.to_owned(),
            problem: format!("expected the number {DAEMON_MAGIC:#x}, saw {magic:#x}"),
        });
    }
    let seen = reader.long().map_err(wire)?;
    let known = u32::try_from(seen).ok().map(Version);
    if known.is_none_or(|version| version.major() != VERSION.major()) {
        return Err(ConnectionError::Protocol {
            socket: socket.to_owned(),
            seen,
        });
    }
    let mut greeting = Fields::of_long(u64::from(VERSION.0));
    // No processor of its own, and space for the collector.
    greeting.long(0);
    greeting.long(1);
    reader
        .input()
        .get_mut()
        .write_all(greeting.as_bytes())
        .map_err(sent)?;
    match read_outcome(&mut reader).map_err(wire)? {
        Ok(()) => Ok(seen),
        Err(message) => Err(ConnectionError::Refuses {
            socket: socket.to_owned(),
            message: visible_lines(message.trim()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_named_as_guix_names_them() {
        let network = |host: &str, port| DaemonAddress::Network(host.to_owned(), port);
        for (uri, place) in [
            (
                "/var/guix/socket",
                DaemonAddress::Local("/var/guix/socket".into()),
            ),
            ("socket", DaemonAddress::Local("socket".into())),
            ("file:///a/b", DaemonAddress::Local("/a/b".into())),
            ("unix:///a/b", DaemonAddress::Local("/a/b".into())),
            ("guix://host", network("host", 44146)),
            ("guix://host:1234/", network("host", 1234)),
            ("guix://[::1]:1234", network("::1", 1234)),
            ("guix://[::1]", network("::1", 44146)),
            ("ssh://host", DaemonAddress::Other),
        ] {
            assert_eq!(DaemonAddress::of(uri), place, "{uri}");
        }
    }
}
