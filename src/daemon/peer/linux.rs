// SPDX-License-Identifier: GPL-3.0-or-later
//! `SO_PEERCRED`.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::PeerIdentity;

/// Who has connected to `socket`, as the kernel recorded it at the time.
///
/// rustix has this call, but it takes a process of another PID namespace, which has the number 0 here, for a valid one.
pub(in crate::daemon) fn of_local_socket(socket: &UnixStream) -> io::Result<PeerIdentity> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a `ucred` and to its size, and both live as long as the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<libc::ucred>() {
        return Err(io::Error::other("the system reports no user of the peer"));
    }
    Ok(PeerIdentity {
        user: found.uid,
        group: found.gid,
        process: u32::try_from(found.pid).ok().filter(|number| *number != 0),
    })
}
