// SPDX-License-Identifier: GPL-3.0-or-later
//! Who is at the other end of a connection.

use serde::{Deserialize, Serialize};

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "freebsd")]
use freebsd as platform;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

pub(super) use platform::of_local_socket;

/// The process that has connected, as the system reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerIdentity {
    /// Its user.
    pub(super) user: u32,
    /// Its group.
    pub(super) group: u32,
    /// Its number, where the system reports it and it is in our namespace.
    pub(super) process: Option<u32>,
}

/// Whether a session may do what only trusted clients may, and what else follows from how it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    /// `None` over TCP, where the system does not know the user.
    pub(super) identity: Option<PeerIdentity>,
    /// Whether it may set all options, and repair.
    pub(super) trusted: bool,
}

impl Peer {
    /// Whether the connection comes over a network.
    pub(super) fn is_remote(&self) -> bool {
        self.identity.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_a_socket_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of_local_socket(&one).unwrap();
        assert_eq!(peer.user, rustix::process::geteuid().as_raw());
        assert_eq!(peer.group, rustix::process::getegid().as_raw());
        #[cfg(target_os = "linux")]
        assert_eq!(peer.process, Some(std::process::id()));
    }
}
