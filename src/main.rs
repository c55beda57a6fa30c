// SPDX-License-Identifier: GPL-3.0-or-later
//! The `bootstrap` command.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let is = |number: usize, wanted: &str| {
        arguments
            .get(number)
            .is_some_and(|argument| argument == wanted)
    };
    if is(1, bootstrap::sandbox::INIT_ARGUMENT) {
        // The sandbox's first process is this program, too. It must not do anything before that.
        bootstrap::sandbox::init_main();
    }
    bootstrap::sandbox::prepare_process();
    if is(2, bootstrap::daemon::SESSION_ARGUMENT) {
        // So is each process that serves a client of the daemon.
        return bootstrap::daemon::session_main();
    }
    bootstrap::cli::main(arguments)
}
