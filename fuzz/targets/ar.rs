// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as an ar archive: its members are read, or it is refused.

#![no_main]

use std::io::Read;

use bootstrap::archive::ArReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = ArReader::new(bytes) else {
        return;
    };
    while let Ok(Some(_)) = reader.next_member() {
        let mut contents = Vec::new();
        if reader.by_ref().read_to_end(&mut contents).is_err() {
            break;
        }
        assert!(contents.len() <= bytes.len());
    }
});
