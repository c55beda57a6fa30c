// SPDX-License-Identifier: GPL-3.0-or-later
//! What is said where the host lacks a network, entries, APT, space or a cache.

use std::fs;

use bootstrap::fetch::apt::PackageIndex;
use bootstrap::fetch::{Downloader, DownloaderSettings, FailureClass, Fetcher};
use bootstrap::road::seed::{SeedError, SeedFailure};

use crate::{Place, binary};

#[test]
fn a_host_without_a_network_or_entries_or_apt_is_told_so() {
    let place = Place::new();
    fs::write(place.path("programs/no-network"), "").unwrap();
    let error = place.fetch(&binary("dash", "0.5")).unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched);
    assert!(
        error.to_string().contains("Could not resolve host"),
        "{error}"
    );

    fs::write(
        place.path("host/etc/apt/sources.list"),
        "deb http://deb.example.com/other nodistro main\n",
    )
    .unwrap();
    let error = place.fetch(&binary("dash", "0.5")).unwrap_err();
    assert!(
        error.to_string().contains("the suite `bookworm`"),
        "{error}"
    );

    let place = Place::new();
    fs::remove_file(place.path("programs/apt-get")).unwrap();
    let error = place.fetch(&binary("dash", "0.5")).unwrap_err();
    assert!(error.to_string().contains("apt-get is missing"), "{error}");

    // A seed without a distribution.
    let downloader = Downloader::new(DownloaderSettings::new(&place.path("cache")));
    let error = downloader
        .fetch(&binary("dash", "0.5"), &|_| {})
        .unwrap_err();
    assert!(
        error.to_string().contains("no distribution archive"),
        "{error}"
    );
}

#[test]
fn a_cache_that_cannot_be_used_is_this_machines_fault_and_not_the_archives() {
    // A file is where the private directory should be; root could write into any directory.
    let place = Place::new();
    fs::create_dir_all(place.path("cache")).unwrap();
    fs::write(place.path("cache/apt"), "").unwrap();
    let error = place.fetch(&binary("dash", "0.5")).unwrap_err();
    assert_eq!(error.class(), FailureClass::Environment, "{error}");
    assert!(
        error.to_string().contains("cache/apt/bookworm-amd64"),
        "{error}"
    );
    let error = SeedError::from(place.apt().candidates(&["dash".to_owned()]).unwrap_err());
    assert_eq!(error.failure(), SeedFailure::Environment, "{error}");
}

#[test]
fn what_apt_has_no_space_for_is_this_machines_fault() {
    for words in [
        "E: Write error - write (28: No space left on device)",
        "E: You don't have enough free space in /cache.",
    ] {
        let place = Place::new();
        let directory = place.path("cache/apt/bookworm-amd64");
        // The index is there, and the next file is too large.
        place.apt().refresh().unwrap();
        let full = format!("#!/bin/sh\necho \"{words}\" >&2\nexit 100\n");
        place.program("apt-get", &full);
        let error = place.fetch(&binary("dash", "0.5")).unwrap_err();
        assert_eq!(error.class(), FailureClass::Environment, "{error}");
        let shown = directory.display().to_string();
        assert!(error.to_string().contains(&shown), "{error}");
        let error = SeedError::from(place.apt().refresh().unwrap_err());
        assert_eq!(error.failure(), SeedFailure::Environment, "{error}");
    }
}
