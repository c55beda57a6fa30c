// SPDX-License-Identifier: GPL-3.0-or-later
//! A process's arguments are bytes of its own memory, which `/proc/PID/cmdline` shows and the process may change.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;

use crate::daemon::title::NO_CLIENT;

/// The number of the field `arg_start` after the name in `/proc/PID/stat`, counted from 0 (proc_pid_stat(5)).
const ARGUMENTS_START: usize = 45;

/// Shows the number of the client's process, `client` (0 where it is not known), where this process has been started
/// with [`NO_CLIENT`].
///
/// # Errors
/// Where the system does not show this process's memory, or its first argument is another.
pub(in crate::daemon) fn show_client(client: u32) -> io::Result<()> {
    let arguments = std::fs::read("/proc/self/cmdline")?;
    let name = arguments
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let first = name.len() + 1;
    let place = arguments.get(first..first + NO_CLIENT.len());
    if place != Some(NO_CLIENT.as_bytes()) {
        return Err(io::Error::other("the process has other arguments"));
    }
    let state = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name, in parentheses, may hold blanks and parentheses.
    let fields = state.rsplit_once(") ").map(|(_, fields)| fields);
    let start = fields
        .and_then(|fields| fields.split(' ').nth(ARGUMENTS_START))
        .and_then(|field| field.parse::<u64>().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut shown = client.to_string().into_bytes();
    shown.resize(NO_CLIENT.len(), 0);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&shown, start + first as u64)
}
