// SPDX-License-Identifier: GPL-3.0-or-later
//! What programs that list processes show of a session. A session's process is older than its client, and so learns the
//! client's number late.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "freebsd")]
use freebsd as platform;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

pub(super) use platform::show_client;

/// What a session's process is called. `guix processes` looks for this name, with the client's process after it.
pub(super) const SESSION_NAME: &str = "guix-daemon";

/// The argument after the name, as long as no client is known: as wide as the largest number of a process.
pub(super) const NO_CLIENT: &str = "0000000000";
