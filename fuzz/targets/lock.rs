// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as bootstrap.lock: it is refused, or written again as it was.

#![no_main]

use std::path::Path;

use bootstrap::verify::lock_file::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(lock) = Lock::parse(text, Path::new("fuzz")) {
        let written = lock.to_text();
        let read = Lock::parse(&written, Path::new("fuzz")).expect("what is written is read");
        assert_eq!(read, lock);
    }
});
