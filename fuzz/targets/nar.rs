// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes: the archive reader refuses them, or the tree's archive is those bytes again.

#![no_main]

use bootstrap::formats::nar::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tree) = Tree::parse(&mut &*bytes) {
        assert_eq!(tree.to_nar().expect("what was read can be written"), bytes);
    }
});
