// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes: the derivation reader refuses them, or the derivation is written as those bytes again.

#![no_main]

use bootstrap::formats::derivation::aterm;
use bootstrap::formats::store_path::StoreDir;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let store_dir = StoreDir::new("/gnu/store").expect("a fixed, valid directory");
    match aterm::parse(&store_dir, bytes) {
        Ok(derivation) => assert_eq!(aterm::write(&store_dir, &derivation), bytes),
        Err(error) => assert!(error.offset <= bytes.len()),
    }
});
