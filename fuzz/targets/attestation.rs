// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as an attestation: they are refused, or read without a panic.

#![no_main]

use bootstrap::verify::attestation::Attestation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Attestation::parse("fuzz", bytes);
});
