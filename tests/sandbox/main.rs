// SPDX-License-Identifier: GPL-3.0-or-later
//! What a build sees, may do and cannot do in the Linux sandbox; and that it dies when it should.
//!
//! Run by root, all of it is run a second time by a user without privileges.

#![cfg(target_os = "linux")]
// These lints spare test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod ends;
mod guest;
mod hosts;
mod limits;
#[path = "../pseudo_terminal/mod.rs"]
mod pseudo_terminal;
mod sees;
#[path = "../signals/mod.rs"]
mod signals;
mod terminal;
