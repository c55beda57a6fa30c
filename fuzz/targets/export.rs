// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as an export: they are refused, or their items become valid; the store stays sound.

#![no_main]

use std::sync::OnceLock;

use bootstrap::exchange::stream::{Trust, import};
use bootstrap::formats::store_path::StoreDir;
use bootstrap::store::directories::Directories;
use bootstrap::store::Store;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fn place() -> &'static (TempDir, Store) {
    static PLACE: OnceLock<(TempDir, Store)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a temporary directory");
        let store_dir = StoreDir::new("/gnu/store").expect("a valid directory");
        let directories = Directories::new(store_dir, Some(place.path()));
        let store = Store::open(directories).expect("a new store");
        (place, store)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (place, store) = place();
    let trust = Trust {
        keys: &[],
        unsigned: true,
    };
    let _ = import(store, &mut &*bytes, trust, &place.path().join("scratch"), "fuzz");
});
