// SPDX-License-Identifier: GPL-3.0-or-later
//! `man`: the manual pages, made from what `--help` is made from.

use std::path::Path;

use clap::CommandFactory;

use super::arguments::Arguments;
use super::failure::CommandFailure;

/// Writes `bootstrap.1`, and `bootstrap-COMMAND.1` for each command, to `directory`.
pub fn write(directory: &Path) -> Result<(), CommandFailure> {
    let what = directory.display().to_string();
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(CommandFailure::writing(what))
}
