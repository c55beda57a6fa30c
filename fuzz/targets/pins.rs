// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as the lock of a seed: it is refused, or what it says is written and read back.

#![no_main]

use bootstrap::road::seed::pins::Pins;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(pins) = Pins::parse("fuzz", text) {
        let written = pins.to_text(&[]);
        let read = Pins::parse("fuzz", &written).expect("what is written is read");
        assert_eq!(read.to_text(&[]), written);
    }
});
