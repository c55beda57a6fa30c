// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes as a tar archive: they are unpacked, or refused with an error, and nothing leaves the target.

#![no_main]

use std::fs;
use std::sync::atomic::AtomicBool;

use bootstrap::archive::{ArchiveLimits, ArchiveTree, Format, MERGED_USR, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary directory");
    let archive = place.path().join("archive");
    fs::write(&archive, bytes).expect("room for the archive");
    let limits = ArchiveLimits {
        entries: 1000,
        bytes: 1 << 20,
    };
    let target = place.path().join("tree");
    let Ok(mut tree) = ArchiveTree::create(&target, MERGED_USR, limits) else {
        return;
    };
    let _ = unpack(&archive, Format::Tar, &mut tree, &AtomicBool::new(false));
    drop(tree);
    let names = fs::read_dir(place.path()).expect("the directory is there");
    assert_eq!(names.count(), 2, "something beside the archive and the tree");
});
