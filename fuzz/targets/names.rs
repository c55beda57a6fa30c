// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as one of the short things that users, files and servers name: store paths, places of sources, mirrors,
//! keys, hashes, systems, derivations. What is read is written and read back; what is shown has no control characters.

#![no_main]

use std::path::Path;

use bootstrap::engine::WantedDerivation;
use bootstrap::fetch::Location;
use bootstrap::fetch::mirrors::Mirrors;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::keys::PublicKey;
use bootstrap::formats::secrets::without_secrets;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::formats::system::System;
use bootstrap::formats::visible::{visible, visible_lines, visible_path};
use bootstrap::store::directories::Directories;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(store_dir) = StoreDir::new("/gnu/store") else {
        return;
    };
    if let Ok(path) = store_dir.parse(text) {
        assert_eq!(store_dir.display(&path), text);
    }
    if let Ok(path) = StorePath::from_base_name(text) {
        assert_eq!(path.base_name(), text);
    }
    let directories = Directories::new(store_dir, Some(Path::new("/root")));
    if WantedDerivation::is_meant_by(text)
        && let Ok(wanted) = WantedDerivation::parse(&directories, text)
    {
        assert!(wanted.derivation.is_derivation());
    }
    if let Ok(location) = text.parse::<Location>() {
        assert_eq!(location.to_string().parse::<Location>(), Ok(location));
    }
    if let Ok(digest) = Sha256Digest::from_base16(text) {
        assert_eq!(digest.to_base16(), text.to_ascii_lowercase());
    }
    let _ = text.parse::<Mirrors>();
    let _ = text.parse::<System>();
    let _ = PublicKey::parse(text);
    let _ = without_secrets(text);
    for shown in [visible(text), visible_path(text)] {
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    assert!(!visible_lines(text).chars().any(|one| one.is_control() && !matches!(one, '\n' | '\t')));
});
