// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds from end to end: a store of their own under a temporary root, the real sandbox, and a builder that follows
//! its arguments (`toy.c`).

#![cfg(target_os = "linux")]
// These lints spare test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failures;
mod failures_limits;
mod failures_outputs;
mod failures_recorded;
mod git;
mod hostile;
mod interruptions;
mod offered;
mod repaired;
mod reuse;
mod rounds;
#[path = "../server/mod.rs"]
#[allow(dead_code)]
mod server;
mod site;
#[path = "../small/mod.rs"]
mod small;
mod stored;
mod success;
mod systems;
