// SPDX-License-Identifier: GPL-3.0-or-later
//! `top`: who is connected to the daemon, what it builds, and how many job tokens that takes.

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::daemon::configuration::DaemonDirectories;
use crate::daemon::status::DaemonStatus;

/// `bootstrap top`.
pub fn top(context: &Context) -> Result<(), CommandFailure> {
    let status = DaemonStatus::read(&DaemonDirectories::of(&context.directories))?;
    match context.options.json {
        true => print_json(&status),
        false => print(&status.to_string()),
    }
}
