// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as a signature, a key or an access control list of Guix: nothing is accepted, and nothing panics.

#![no_main]

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::keys::guix;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let found = guix::public_keys(bytes, "fuzz");
    let checked = guix::check(bytes, &Sha256Digest::of("fuzz"), &found.keys);
    assert!(checked.is_err());
});
