// SPDX-License-Identifier: GPL-3.0-or-later
//! Verification from end to end, as it is used: tiny packages, the real sandbox, the real store.

#![cfg(target_os = "linux")]
// These lints spare test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod again;
mod daily;
mod damage;
mod database;
mod failures;
mod kills;
mod others;
#[path = "../pseudo_terminal/mod.rs"]
mod pseudo_terminal;
#[path = "../signals/mod.rs"]
mod signals;
mod world;
