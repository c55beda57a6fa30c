// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as the record of a run: what is an event is read, and the rest skipped.

#![no_main]

use std::fs;

use bootstrap::show::records::Runs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("record");
    fs::write(&file, bytes).expect("room for the record");
    let _ = Runs::new(place.path()).read(&file);
});
