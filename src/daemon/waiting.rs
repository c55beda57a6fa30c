// SPDX-License-Identifier: GPL-3.0-or-later
//! A session's process that waits for its client: to execute this program takes longer than most clients' requests.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::session::{SESSION_ARGUMENT, SessionOrder};
use super::title::{NO_CLIENT, SESSION_NAME};
use crate::process_messages::{send, send_descriptors};

/// How long to wait for room for an order that does not fit into the socket at once.
const RECEIPT: Duration = Duration::from_secs(10);

/// A session's process without a client. Dropped, it is killed.
pub(super) struct WaitingSession {
    /// Taken when it has a client.
    child: Option<Child>,
    /// Its standard input. The process ends when this closes.
    orders: UnixStream,
}

impl WaitingSession {
    /// Starts `program`, which is this program, as a session of the daemon whose state directory is `state`; that is
    /// an argument only to be seen.
    ///
    /// # Errors
    /// Where the system makes no process.
    pub(super) fn start(program: &Path, state: &Path) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(RECEIPT))?;
        let child = Command::new(program)
            .arg0(SESSION_NAME)
            .args([NO_CLIENT, SESSION_ARGUMENT])
            .arg(state)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            // A signal for the listener's terminal is for the listener alone.
            .process_group(0)
            // The listener's sockets are not the sessions'.
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .spawn()?;
        Ok(Self {
            child: Some(child),
            orders: ours,
        })
    }

    /// Whether it has ended before it had a client.
    pub(super) fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Has it serve the client at the other end of `connection` as `order` says, and gives the process.
    ///
    /// # Errors
    /// Where it has ended, or takes in no more. It is killed then.
    pub(super) fn serve(
        mut self,
        connection: &UnixStream,
        order: &SessionOrder,
    ) -> io::Result<Child> {
        send_descriptors(&self.orders, &[connection.as_fd()])?;
        send(&mut self.orders, order)?;
        self.child
            .take()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for WaitingSession {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has no client, and so nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
