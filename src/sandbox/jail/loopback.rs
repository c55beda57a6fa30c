// SPDX-License-Identifier: GPL-3.0-or-later
//! The loopback interface of a jail with a network of its own: netintro(4), lo(4), `<sys/sockio.h>`, `<net/if.h>`.

use std::ffi::{c_char, c_ulong, c_void};
use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{ifaliasreq, ifreq, sockaddr, sockaddr_in};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::kernel;
use crate::sandbox::process::checked;

/// `SIOCSIFFLAGS`, `SIOCGIFFLAGS` and `SIOCAIFADDR`, which the `libc` crate lacks: `_IOC` of `<sys/ioccom.h>` with the
/// arguments' sizes.
const SET_FLAGS: c_ulong = 0x8020_6910;
const GET_FLAGS: c_ulong = 0xc020_6911;
const ADD_ADDRESS: c_ulong = 0x8044_692b;
const _: () = assert!(size_of::<ifreq>() == 0x20 && size_of::<ifaliasreq>() == 0x44);

/// The addresses of `lo0`, each with the mask of its network. Where 127.0.0.1 is a machine's only address,
/// getaddrinfo(3) with `AI_ADDRCONFIG` finds nothing at all, not even `localhost`; Linux's does, and test suites count
/// on it. The second, which answers on every Linux too, is enough for it.
const ADDRESSES: [(Ipv4Addr, Ipv4Addr); 2] = [
    (Ipv4Addr::LOCALHOST, Ipv4Addr::new(255, 0, 0, 0)),
    (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::BROADCAST),
];

/// Brings up `lo0` with its [`ADDRESSES`] and, as the kernel does by itself where it has IPv6, ::1. This process must
/// be root in the jail.
pub(super) fn bring_up() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: the structure is plain numbers, for which zeros are values.
    let mut request: ifreq = unsafe { zeroed() };
    name(&mut request.ifr_name);
    // SAFETY: the call reads and writes an `ifreq`.
    unsafe { control(socket.as_fd(), GET_FLAGS, (&raw mut request).cast()) }?;
    // SAFETY: the call before has written this part of the union.
    unsafe { request.ifr_ifru.ifru_flags[0] |= libc::IFF_UP as i16 };
    // SAFETY: the call reads an `ifreq`.
    unsafe { control(socket.as_fd(), SET_FLAGS, (&raw mut request).cast()) }?;
    for (own, mask) in ADDRESSES {
        // SAFETY: as above.
        let mut alias: ifaliasreq = unsafe { zeroed() };
        name(&mut alias.ifra_name);
        alias.ifra_addr = address(own);
        alias.ifra_mask = address(mask);
        // SAFETY: the call reads an `ifaliasreq`.
        unsafe { control(socket.as_fd(), ADD_ADDRESS, (&raw mut alias).cast()) }?;
    }
    Ok(())
}

/// Has ipfw(4) let everything pass in this jail's network, which has a firewall of its own where the machine has loaded
/// one: by default that drops everything. Where the machine's own securelevel forbids changes, it stays.
pub(super) fn pass_all() {
    for setting in [c"net.inet.ip.fw.enable", c"net.inet6.ip6.fw.enable"] {
        // A kernel without the firewall lacks the setting.
        let _ = kernel::set(setting, 0);
    }
}

/// Writes the interface's name into a field of zeros.
fn name(field: &mut [c_char]) {
    for (to, from) in field.iter_mut().zip(b"lo0") {
        *to = *from as c_char;
    }
}

/// An address as the kernel takes it.
fn address(address: Ipv4Addr) -> sockaddr {
    // SAFETY: as above.
    let mut whole: sockaddr_in = unsafe { zeroed() };
    whole.sin_len = size_of::<sockaddr_in>() as u8;
    whole.sin_family = libc::AF_INET as libc::sa_family_t;
    whole.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
    // SAFETY: both are 16 bytes of plain numbers.
    unsafe { std::mem::transmute::<sockaddr_in, sockaddr>(whole) }
}

/// Calls `ioctl`.
///
/// # Safety
/// `argument` must point to what `call` reads and writes.
unsafe fn control(socket: BorrowedFd<'_>, call: c_ulong, argument: *mut c_void) -> io::Result<()> {
    // SAFETY: as the caller says.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), call, argument) })?;
    Ok(())
}
