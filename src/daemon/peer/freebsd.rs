// SPDX-License-Identifier: GPL-3.0-or-later
//! `LOCAL_PEERCRED`, which `getpeereid` is made of and which has the process as well.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::PeerIdentity;

/// The level of options of local sockets.
const SOL_LOCAL: libc::c_int = 0;

/// Who has connected to `socket`, as the kernel recorded it at the time.
pub(in crate::daemon) fn of_local_socket(socket: &UnixStream) -> io::Result<PeerIdentity> {
    let mut found = MaybeUninit::<libc::xucred>::zeroed();
    let mut length = size_of::<libc::xucred>() as libc::socklen_t;
    // SAFETY: the pointers are to an `xucred` and to its size, and both live as long as the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            SOL_LOCAL,
            libc::LOCAL_PEERCRED,
            found.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeros are a valid `xucred`, and the kernel has overwritten them with one.
    let found = unsafe { found.assume_init() };
    if length as usize != size_of::<libc::xucred>()
        || found.cr_version != libc::XUCRED_VERSION
        || found.cr_ngroups < 1
    {
        return Err(io::Error::other("the system reports no user of the peer"));
    }
    // SAFETY: FreeBSD has set this member of the union since 13.0; before that it was zero.
    let process = unsafe { found.cr_pid__c_anonymous_union.cr_pid };
    Ok(PeerIdentity {
        user: found.cr_uid,
        group: found.cr_groups[0],
        process: u32::try_from(process).ok().filter(|number| *number != 0),
    })
}
