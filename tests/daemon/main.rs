// SPDX-License-Identifier: GPL-3.0-or-later
//! The daemon, as a client sees it: every operation, malformed requests, many clients, signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod doctor;
mod hooks;
mod hostile;
mod kills;
mod operations;
mod processes;
#[path = "../server/mod.rs"]
#[allow(dead_code)]
mod server;
mod service;
mod tokens;
mod untrusted;
