// SPDX-License-Identifier: GPL-3.0-or-later
//! The daemon: serves Guix's clients on a socket, with guix-daemon's protocol (see
//! [`formats::worker`](crate::formats::worker)).
//!
//! The [`listener`] accepts connections, finds out who the peer is, and has another process of this program serve it: a
//! *session*. So locks and temporary roots of different clients are those of different processes, as with guix-daemon,
//! and a fault that one client causes ends with its process.
//!
//! | module | what |
//! |---|---|
//! | [`configuration`] | the options of the daemon, as values that sessions get from the listener |
//! | [`socket`] | listening sockets: made here, or given by the service manager |
//! | [`listener`] | accepting, limits, signals, children |
//! | `peer` | who is at the other end |
//! | `refusal` | telling a client that it cannot be served |
//! | `users` | names, numbers and groups of users |
//! | [`hook`] | which program is the build hook |
//! | `waiting` | a session's process before its client comes |
//! | `title` | what `ps` shows of a session |
//! | [`status`] | who is connected and what is built, as files say |
//! | `session` | one connection: greeting, requests, replies |

pub mod configuration;
pub mod hook;
pub mod listener;
mod peer;
mod refusal;
mod session;
pub mod socket;
pub mod status;
mod title;
mod users;
mod waiting;

pub use session::{SESSION_ARGUMENT, main as session_main};

use std::io::Write;

use crate::formats::visible::visible_line;

/// Writes a line to the daemon's log, which is standard error. A log that cannot be written stops nothing.
fn log(message: impl AsRef<str>) {
    let line = format!("{}\n", visible_line(message.as_ref()));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
