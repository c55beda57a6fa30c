// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as Scheme data: what is read is written and read back; the attributes of downloads never panic.

#![no_main]

use bootstrap::fetch::{attributes, by_hash};
use bootstrap::formats::scheme::Datum;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(datum) = Datum::parse(text) {
        let written = datum.to_string();
        // Symbols in braces lose them.
        if !text.contains("#{") {
            assert_eq!(Datum::parse(&written), Ok(datum));
        }
    }
    let list = attributes::mirror_list(text);
    if let Ok(places) = attributes::places(text, &list) {
        for location in places.locations {
            assert!(!location.to_string().to_ascii_lowercase().starts_with("file:"));
        }
    }
    let _ = by_hash::templates(text);
});
