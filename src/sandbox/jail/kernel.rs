// SPDX-License-Identifier: GPL-3.0-or-later
//! What the running kernel has: settings, modules, and kinds of sockets.

use std::ffi::{CStr, CString, OsStr, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{AddressFamily, Protocol, SocketType, socket};

use crate::sandbox::process::checked;

/// The kernel's modules: modfind(2), which the `libc` crate lacks.
mod modules {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        pub(super) fn modfind(name: *const c_char) -> c_int;
    }
}

/// Reads the kernel's setting `name` into `value`. Returns the setting's length in bytes, or `None` where it does not
/// exist or is longer than `value`.
fn read_setting(name: &CStr, value: &mut [u8]) -> Option<usize> {
    let mut size = value.len();
    // SAFETY: the name is a C string, the buffer writable for the size given; nothing is set.
    let told = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            &raw mut size,
            std::ptr::null(),
            0,
        )
    };
    (told == 0).then_some(size)
}

/// The kernel's setting `name`, which is a number; `None` where it does not exist or is something else.
pub(super) fn setting(name: &str) -> Option<c_int> {
    let name = CString::new(name).ok()?;
    let mut bytes = [0; size_of::<c_int>()];
    // `kern.racct.enable` is a `bool`, one byte; the others are a C `int`.
    match read_setting(&name, &mut bytes)? {
        1 => Some(bytes[0].into()),
        size if size == bytes.len() => Some(c_int::from_ne_bytes(bytes)),
        _ => None,
    }
}

/// Sets the kernel's setting `name`, which is a number.
///
/// # Errors
/// Where it does not exist, or this process may not set it.
pub(super) fn set(name: &CStr, value: c_int) -> io::Result<()> {
    // SAFETY: the name is a C string, the value readable for the size given; nothing is read.
    checked(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const value).cast(),
            size_of::<c_int>(),
        )
    })?;
    Ok(())
}

/// The directories that the kernel looks for modules in, as in linker_path of its sources.
pub(super) fn module_directories() -> Vec<PathBuf> {
    let mut bytes = [0; 4096];
    let path = match read_setting(c"kern.module_path", &mut bytes) {
        Some(_) => CStr::from_bytes_until_nul(&bytes).unwrap_or_default(),
        None => c"/boot/kernel;/boot/modules",
    };
    let directories = path.to_bytes().split(|byte| *byte == b';');
    directories
        .map(|part| PathBuf::from(OsStr::from_bytes(part)))
        .collect()
}

/// Whether the kernel has the module `name`, built in or loaded.
pub(super) fn has_module(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: the name is a C string; nothing is changed.
    unsafe { modules::modfind(name.as_ptr()) >= 0 }
}

/// Whether any user can make sockets that reach further than networks do, which a jail with a network of its own is not
/// kept from: to the host of a virtual machine (`AF_HYPERV`), or to what is near (`AF_BLUETOOTH`).
pub(super) fn has_sockets_beyond_networks() -> bool {
    // `<sys/socket.h>`, and BLUETOOTH_PROTO_L2CAP and _RFCOMM of `<netgraph/bluetooth/include/ng_btsocket.h>`.
    const KINDS: [(u16, SocketType, Option<u32>); 3] = [
        (43, SocketType::STREAM, None),
        (36, SocketType::SEQPACKET, Some(135)),
        (36, SocketType::STREAM, Some(136)),
    ];
    KINDS.iter().any(|(family, kind, protocol)| {
        let protocol = protocol.and_then(std::num::NonZeroU32::new);
        let protocol = protocol.map(Protocol::from_raw);
        socket(AddressFamily::from_raw(*family), *kind, protocol).is_ok()
    })
}

/// Whether this process is in a jail.
pub(super) fn is_jailed() -> bool {
    setting("security.jail.jailed").is_some_and(|jailed| jailed != 0)
}
