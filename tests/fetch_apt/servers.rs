// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that come from the archive's servers without APT: from a mirror, and by their hash.

use std::fs;

use bootstrap::fetch::{
    Downloader, DownloaderSettings, FailureClass, FetchRequest, Fetcher, SearchSettings,
};
use bootstrap::formats::hash::Sha256Digest;

use crate::server::serve;
use crate::{Place, request, source};

#[test]
fn without_apt_a_pinned_file_comes_from_the_mirror_in_the_hosts_entries() {
    let place = Place::new();
    fs::remove_dir_all(place.path("programs")).unwrap();
    let pool = place.path("served/debian/pool/main/s/sed");
    fs::create_dir_all(&pool).unwrap();
    let server = serve(&place.path("served"));
    let source = source("sed", "4.9");
    let pinned = request("sed.deb", "mirror://debian/pool/main/s/sed/sed.deb");
    // No server is named yet: the message says so.
    fs::remove_file(place.path("host/etc/apt/sources.list")).unwrap();
    let error = place.fetch(&pinned).unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched);
    assert!(error.to_string().contains("no server of this mirror"));
    let hint = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(hint.contains("--mirrors debian=URL"), "{hint}");
    fs::write(
        place.path("host/etc/apt/sources.list"),
        format!("deb {server}/debian bookworm main\n"),
    )
    .unwrap();
    for request in [source, pinned] {
        fs::write(pool.join(&request.name), &request.name).unwrap();
        let fetched = place.fetch(&request).unwrap();
        assert_eq!(fs::read_to_string(fetched).unwrap(), request.name);
    }
}

/// What searches Debian's indexes of sources with the APT of `place`, and nothing else.
fn searching(place: &Place) -> Downloader {
    Downloader::new(DownloaderSettings {
        apt: None,
        search: SearchSettings {
            debian: Some(place.settings()),
            servers: Vec::new(),
        },
        ..DownloaderSettings::new(&place.path("cache"))
    })
}

/// Asks for the file with these `contents`, wherever it is.
fn searched(contents: &str) -> FetchRequest {
    let mut request = FetchRequest::new(contents, Sha256Digest::of(contents), None, Vec::new());
    request.search = true;
    request
}

#[test]
fn a_source_is_found_in_debians_indexes_by_its_hash_alone() {
    let place = Place::new();
    let pool = place.path("served/debian/pool/main/libu/libu");
    fs::create_dir_all(&pool).unwrap();
    let server = serve(&place.path("served"));
    // The host has one suite, and a mirror with all.
    fs::write(
        place.path("host/etc/apt/sources.list"),
        format!("deb {server}/debian bookworm main\n"),
    )
    .unwrap();
    fs::write(
        place.path("host/etc/os-release"),
        "ID=debian\nVERSION_CODENAME=bookworm\n",
    )
    .unwrap();
    fs::write(place.path("programs/no-key"), "").unwrap();
    let file = "libu_1.3.orig.tar.xz";
    let paragraph = format!(
        "Package: libu\nVersion: 1.3-2\nChecksums-Sha256:\n {} {} {file}\nDirectory: pool/main/libu/libu\n\n",
        Sha256Digest::of(file),
        file.len()
    );
    fs::write(place.path("programs/oldoldstable"), paragraph).unwrap();
    let downloader = searching(&place);
    let fetch = |contents: &str| downloader.fetch(&searched(contents), &|_| {});
    fs::write(pool.join(file), file).unwrap();
    let fetched = fetch(file).unwrap();
    assert_eq!(fs::read_to_string(fetched.path).unwrap(), file);
    let list =
        |suite: &str| place.path(&format!("cache/apt/sources-{suite}/sources/debian.sources"));
    assert_eq!(
        fs::read_to_string(list("unstable")).unwrap(),
        format!("Types: deb-src\nURIs: {server}/debian\nSuites: unstable\nComponents: main\n\n")
    );
    // Each index is fetched once; one whose key is missing is named.
    let updates = |calls: Vec<String>| {
        calls
            .iter()
            .filter(|call| call.starts_with("update"))
            .count()
    };
    assert_eq!(updates(place.calls()), 4);
    let error = fetch("absent").unwrap_err();
    assert_eq!(updates(place.calls()), 4);
    let text = error.to_string();
    assert!(
        text.contains("Debian's sources (stable, oldstable, oldoldstable): they have no file"),
        "{text}"
    );
    assert!(
        text.contains("(unstable): the host's Debian keyring lacks its key"),
        "{text}"
    );
    let hint = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(hint.contains("debian-archive-keyring"), "{hint}");

    // APT of another distribution.
    let place = Place::new();
    fs::write(
        place.path("host/etc/apt/sources.list"),
        "deb http://deb.example.com/other nodistro main\n",
    )
    .unwrap();
    let error = searching(&place).fetch(&searched("absent"), &|_| {});
    let text = error.unwrap_err().to_string();
    let reason = "Debian's sources (stable, oldstable, unstable, oldoldstable): not searched: ";
    assert!(text.contains(reason), "{text}");
}
