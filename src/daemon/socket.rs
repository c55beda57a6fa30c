// SPDX-License-Identifier: GPL-3.0-or-later
//! The sockets that the daemon listens on.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::AddressFamily;

use crate::formats::visible::visible_path;

/// The port of `--listen=HOST`.
pub const DEFAULT_PORT: u16 = 44146;

/// The first descriptor that a service manager hands over.
const FIRST_GIVEN: i32 = 3;

/// The most sockets that a service manager may hand over.
const GIVEN_MAX: i32 = 64;

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SocketError {
    /// Another daemon has it.
    #[error("another daemon serves {}", visible_path(.0))]
    #[diagnostic(help("stop it first, or give another socket with --listen"))]
    Taken(PathBuf),
    /// Something that is not a socket is there.
    #[error("{} is not a socket", visible_path(.0))]
    #[diagnostic(help("move it away, or give another socket with --listen"))]
    Occupied(PathBuf),
    /// A system call failed.
    #[error("cannot {action} {socket}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The socket.
        socket: String,
        /// What the system said.
        error: io::Error,
    },
    /// What a service manager handed over is not a listening socket.
    #[error("the service manager's descriptor {descriptor} is not a listening socket: {problem}")]
    Given {
        /// Its number.
        descriptor: i32,
        /// What is wrong with it.
        problem: String,
    },
}

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// A local one. `made` is its file, where this process has made it, and which it removes at the end.
    Local {
        /// The socket.
        socket: UnixListener,
        /// The file to remove.
        made: Option<PathBuf>,
    },
    /// One that others reach over the network.
    Remote(TcpListener),
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum AcceptedConnection {
    /// From this machine.
    Local(UnixStream),
    /// Over TCP, from this address.
    Remote(OwnedFd, String),
}

impl Socket {
    /// The socket that `--listen=place` names: an absolute file name, `HOST` or `HOST:PORT`.
    ///
    /// # Errors
    /// Where it cannot be made or another process has it.
    pub fn listen(place: &str) -> Result<Self, SocketError> {
        match place.starts_with('/') {
            true => Self::local(Path::new(place)),
            false => Self::remote(place),
        }
    }

    /// A local socket at `path`, which every user who can reach it may connect to. Directories are made where they are
    /// missing.
    ///
    /// # Errors
    /// Where it cannot be made or another process listens there.
    pub fn local(path: &Path) -> Result<Self, SocketError> {
        let failed = |action| {
            move |error| SocketError::Io {
                action,
                socket: visible_path(path),
                error,
            }
        };
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .map_err(failed("make the directory of"))?;
        }
        if let Ok(found) = path.symlink_metadata() {
            if !found.file_type().is_socket() {
                return Err(SocketError::Occupied(path.to_owned()));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(SocketError::Taken(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(failed("remove the old"))?;
        }
        let socket = UnixListener::bind(path).map_err(failed("listen on"))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o666))
            .map_err(failed("open to all users"))?;
        socket.set_nonblocking(true).map_err(failed("listen on"))?;
        Ok(Self::Local {
            socket,
            made: Some(path.to_owned()),
        })
    }

    fn remote(place: &str) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io {
            action: "listen on",
            socket: place.to_owned(),
            error,
        };
        let has_port = place
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok())
            || place.contains("]:");
        let socket = match has_port {
            true => TcpListener::bind(place),
            false => TcpListener::bind((place.trim_matches(['[', ']']), DEFAULT_PORT)),
        };
        let socket = socket.map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Remote(socket))
    }

    /// The sockets that the service manager has opened for this process, by `LISTEN_PID` and `LISTEN_FDS`; none where
    /// it has opened none.
    ///
    /// # Errors
    /// Where one of them is not a listening socket.
    pub fn given() -> Result<Vec<Self>, SocketError> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
        let is_ours = number("LISTEN_PID") == i32::try_from(std::process::id()).ok();
        let count = match number("LISTEN_FDS") {
            Some(count) if is_ours && count > 0 => count.min(GIVEN_MAX),
            _ => return Ok(Vec::new()),
        };
        (FIRST_GIVEN..FIRST_GIVEN + count).map(given).collect()
    }

    /// What to wait on for the next connection.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Local { socket, .. } => socket.as_fd(),
            Self::Remote(socket) => socket.as_fd(),
        }
    }

    /// Accepts the next connection, or gives `None` where there is none at the moment.
    pub(super) fn accept(&self) -> io::Result<Option<AcceptedConnection>> {
        let accepted = match self {
            Self::Local { socket, .. } => socket
                .accept()
                .and_then(|(stream, _)| stream.set_nonblocking(false).map(|()| stream))
                .map(AcceptedConnection::Local),
            Self::Remote(socket) => socket.accept().and_then(|(stream, address)| {
                stream.set_nonblocking(false)?;
                // Requests and answers are short, and each waits for the other.
                stream.set_nodelay(true)?;
                Ok(AcceptedConnection::Remote(
                    stream.into(),
                    address.to_string(),
                ))
            }),
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Local {
            made: Some(path), ..
        } = self
        {
            // Where it is gone already there is nothing to do.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn given(descriptor: i32) -> Result<Socket, SocketError> {
    let wrong = |problem: String| SocketError::Given {
        descriptor,
        problem,
    };
    // SAFETY: the service manager has opened this descriptor for us, as LISTEN_PID says, and nothing else here takes
    // it. A descriptor that is not open is found out by the next call, which changes nothing.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let examined = rustix::io::fcntl_getfd(&socket)
        .and_then(|_| rustix::net::sockopt::socket_acceptconn(&socket))
        .and_then(|listens| Ok((listens, rustix::net::sockopt::socket_domain(&socket)?)));
    let family = match examined {
        Ok((true, family)) => family,
        Ok((false, _)) => return Err(wrong("it does not listen".to_owned())),
        Err(error) => {
            // Closing what is not open is an error that the standard library stops the process for.
            std::mem::forget(socket);
            return Err(wrong(error.to_string()));
        }
    };
    let failed = |error: io::Error| wrong(error.to_string());
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)
        .map_err(|error| failed(error.into()))?;
    if family == AddressFamily::UNIX {
        let socket = UnixListener::from(socket);
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Socket::Local { socket, made: None })
    } else {
        let socket = TcpListener::from(socket);
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Socket::Remote(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_socket_is_open_to_all_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper/socket");
        let socket = Socket::local(&path).unwrap();
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert!(matches!(Socket::local(&path), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(path.symlink_metadata().is_err());
    }

    #[test]
    fn the_socket_of_a_killed_daemon_is_replaced_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        drop(Socket::local(&path).unwrap());
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(
            Socket::local(&path),
            Err(SocketError::Occupied(_))
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_host_may_come_with_its_port() {
        let socket = Socket::listen("127.0.0.1:0").unwrap();
        let Socket::Remote(socket) = &socket else {
            panic!("a local socket");
        };
        let port = socket.local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert!(matches!(
            Socket::listen(&format!("127.0.0.1:{port}")),
            Err(SocketError::Io { .. })
        ));
    }
}
