// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as a hash: what is read has one value in every spelling.

#![no_main]

use bootstrap::formats::content_hash::ContentHash;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(hash) = text.parse::<ContentHash>() {
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
});
