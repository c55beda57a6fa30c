// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as a narinfo: it is refused, or what it says is written and read back.

#![no_main]

use bootstrap::formats::narinfo::NarInfo;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let store_dir = StoreDir::new("/gnu/store").expect("a valid directory");
    let path = StorePath::from_base_name("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-a").expect("a valid name");
    if let Ok(info) = NarInfo::parse(&store_dir, &path, text, "fuzz") {
        let _ = info.check(&store_dir, &[], "fuzz");
        let mut unsigned = info;
        unsigned.guix = None;
        let written = unsigned.to_text(&store_dir, None);
        let read = NarInfo::parse(&store_dir, &path, &written, "fuzz").expect("what is written is read");
        assert_eq!(read, unsigned);
    }
});
