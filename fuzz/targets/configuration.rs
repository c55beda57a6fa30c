// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as the file of settings, and as the value of each setting, which is how the environment is read, too: it is
//! read, or the mistake in it is shown.

#![no_main]

use std::path::Path;

use bootstrap::cli::configuration::Settings;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 10] = [
    "system", "seed", "root", "store-dir", "max-jobs", "cores", "timeout", "mirrors", "substitute-urls", "max-memory",
];

fuzz_target!(|text: &str| {
    let read = |text: &str| {
        if let Err(failure) = Settings::parse(Path::new("/etc/bootstrap.toml"), text) {
            let _ = format!("{failure:?}");
        }
    };
    read(text);
    // A TOML string in one line; the escapes of Rust are not all TOML's.
    let quoted: String = text.chars().filter(|one| !one.is_control() && *one != '\'').collect();
    if let Some(name) = NAMES.get(text.len() % NAMES.len()) {
        read(&format!("{name} = '{quoted}'"));
    }
});
