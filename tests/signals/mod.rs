// SPDX-License-Identifier: GPL-3.0-or-later
//! Signals that a test sends to the programs that it starts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bootstrap::sandbox::inherited::is_ignored;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT};

/// Has programs that this process starts from now on get signals that its own parent ignores, as `nohup` and a shell's
/// `&` do: a program inherits that a signal is ignored, but not that it is handled.
pub fn unignore() {
    for signal in [SIGHUP, SIGINT, SIGQUIT] {
        if is_ignored(signal) {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).unwrap();
        }
    }
}
