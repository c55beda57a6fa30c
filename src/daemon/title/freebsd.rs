// SPDX-License-Identifier: GPL-3.0-or-later
//! setproctitle(3).

use std::ffi::CString;
use std::io;

use crate::daemon::title::SESSION_NAME;

/// Shows the number of the client's process, `client` (0 where it is not known).
///
/// # Errors
/// None that is expected; the system reports no failure.
pub(in crate::daemon) fn show_client(client: u32) -> io::Result<()> {
    let mut title = format!("{SESSION_NAME} {client}");
    for argument in std::env::args_os().skip(2) {
        title = format!("{title} {}", argument.to_string_lossy());
    }
    let title = CString::new(title)?;
    // SAFETY: the format takes one C string, which lives as long as the call; a hyphen first leaves out the program's
    // own name.
    unsafe { libc::setproctitle(c"-%s".as_ptr(), title.as_ptr()) };
    Ok(())
}
