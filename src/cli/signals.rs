// SPDX-License-Identifier: GPL-3.0-or-later
//! Signals that end a run: the first one in order, a second one at once.
//!
//! Handlers belong to the process, not to a session, so only the command line installs them: once, before its first
//! run. The daemon's processes have handlers of their own.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::events::cancellation::Cancellation;
use crate::sandbox::inherited::is_ignored;

/// A cancellation that the first signal sets off. A second signal ends the process at once: builds die with it.
///
/// What the parent has had ignored stays ignored (`nohup`, or a background job of a shell without job control).
///
/// # Errors
/// Where the handlers cannot be installed.
pub(super) fn cancellation() -> io::Result<Cancellation> {
    let heeded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    let heeded = heeded.into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(heeded)?;
    let cancellation = Cancellation::new();
    let cancelled = cancellation.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if cancelled.is_cancelled() {
                    // The status that shells give to a death by signal.
                    std::process::exit(128 + signal);
                }
                cancelled.cancel();
            }
        })?;
    Ok(cancellation)
}
