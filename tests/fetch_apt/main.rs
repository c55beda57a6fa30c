// SPDX-License-Identifier: GPL-3.0-or-later
//! Files from the distribution's archive, with programs in the place of APT's that do as these do.

// In a test a failed expectation is the message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
#[path = "../server/mod.rs"]
mod server;
mod servers;
#[path = "../together/mod.rs"]
mod together;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bootstrap::fetch::apt::{Apt, AptError, AptSettings, PackageIndex};
use bootstrap::fetch::{
    Downloader, DownloaderSettings, FailureClass, FetchError, FetchRequest, Fetcher,
};
use bootstrap::formats::hash::Sha256Digest;

use together::fetch_all;

/// What `apt-get` does here. Each call adds a line to `calls`. Versions that start with 9 are in no index; those that
/// start with 8 only in one that was fetched twice; of those that start with 7 the connection breaks until then. The
/// contents of a file are its name. Where there is a file `outlive`, something of a call stays for a second after it
/// has ended, and then writes `outlived`.
const APT_GET: &str = r#"#!/bin/sh
set -eu
here=${0%/*}
[ "$1" != indextargets ] || exit 0
echo "$*" >>"$here/calls"
[ -s "$APT_CONFIG" ] || { echo "E: no configuration" >&2; exit 100; }
if [ -e "$here/outlive" ]; then
    # What runs in the background gets another standard input, but keeps other descriptors.
    exec 3<&0
    (sleep 1; : >"$here/outlived") >/dev/null 2>&1 &
fi
case $1 in
    update)
        [ ! -e "$here/no-network" ] || { echo "E: Could not resolve host" >&2; exit 100; }
        echo >>"$here/updates"
        private=${APT_CONFIG%/*}
        case $private in *-unstable)
            [ ! -e "$here/no-key" ] || { echo "E: GPG error: x InRelease: NO_PUBKEY 0E98404D386FA1D9" >&2; exit 100; } ;;
        esac
        [ ! -e "$here/${private##*-}" ] || cp "$here/${private##*-}" "$private/lists/x_Sources"
        exit 0 ;;
    -qq)
        echo "Inst libc6 (2.36 Debian:12 [amd64])"
        echo "Inst dash (0.5 Debian:12 [amd64])"
        exit 0 ;;
esac
kind=$2
while [ "$1" != -- ]; do shift; done
shift
for argument do
    package=${argument%%=*} version=${argument#*=}
    case $version in
        8*) [ "$(wc -l <"$here/updates")" -gt 1 ] || gone=y ;;
        9*) gone=y ;;
    esac
    [ -z "${gone-}" ] || { echo "E: Version '$version' for '$package' was not found" >&2; exit 100; }
done
for argument do
    package=${argument%%=*} version=${argument#*=}
    case $kind in
        download) file=${package}_${version}_amd64.deb ;;
        source) file=${package}_$version.orig.tar.xz ;;
    esac
    file=$(echo "$file" | sed 's/:/%3a/')
    case $version in
        7*) if [ "$(wc -l <"$here/updates")" -le 1 ]; then
                printf %.4s "$file" >"$file"
                echo "E: Failed to fetch http://x/$file  Connection failed" >&2
                exit 100
            fi ;;
    esac
    printf %s "$file" >"$file"
done
"#;

const APT_CACHE: &str = r#"#!/bin/sh
set -eu
case $1 in
    showsrc)
        [ "$4" = grep ] || { echo "E: Unable to locate package $4" >&2; exit 100; }
        printf 'Package: grep\nVersion: 3.8-2\nFiles:\n 00 10 grep_3.8-2.dsc\n\n'
        printf 'Package: grep\nVersion: 3.8\nFiles:\n 00 10 grep_3.8.orig.tar.xz\n\n'
        exit 0 ;;
esac
while [ "$1" != -- ]; do shift; done
shift
found=
for package do
    case $package in
        dash)
            found=y
            printf 'Package: dash\nVersion: 0.5\nArchitecture: amd64\nDepends: libc6 (>= 2)\nSize: 5\n'
            printf 'SHA256: %064d\n\n' 7 ;;
    esac
done
[ -n "$found" ] || { echo "E: No packages found" >&2; exit 100; }
"#;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(place.path("programs")).unwrap();
        fs::create_dir_all(place.path("host/etc/apt")).unwrap();
        place.program("apt-get", APT_GET);
        place.program("apt-cache", APT_CACHE);
        place.program("apt-config", "#!/bin/sh\n");
        fs::write(
            place.path("host/etc/apt/sources.list"),
            "deb http://deb.example.org/debian bookworm main\n",
        )
        .unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("programs").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn settings(&self) -> AptSettings {
        AptSettings {
            host: self.path("host"),
            programs: Some(self.path("programs")),
            ..AptSettings::new("bookworm", "amd64")
        }
    }

    fn apt(&self) -> Apt {
        Apt::new(&self.path("cache"), self.settings())
    }

    fn downloader(&self) -> Downloader {
        Downloader::new(DownloaderSettings {
            apt: Some(self.settings()),
            ..DownloaderSettings::new(&self.path("cache"))
        })
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("programs/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn fetch(&self, request: &FetchRequest) -> Result<PathBuf, FetchError> {
        let fetched = self.downloader().fetch(request, &|_| {})?;
        Ok(fetched.path)
    }
}

fn request(file: &str, location: &str) -> FetchRequest {
    FetchRequest::new(
        file,
        Sha256Digest::of(file),
        None,
        vec![location.parse().unwrap()],
    )
}

fn binary(package: &str, version: &str) -> FetchRequest {
    let file = format!("{package}_{}_amd64.deb", version.replace(':', "%3a"));
    request(&file, &format!("apt-binary:{package}={version}:amd64"))
}

fn source(package: &str, version: &str) -> FetchRequest {
    let file = format!("{package}_{version}.orig.tar.xz");
    request(&file, &format!("apt-source:{package}={version}/{file}"))
}

#[test]
fn files_that_are_wanted_together_come_in_one_call_of_each_kind() {
    let place = Place::new();
    let requests = [
        binary("dash", "0.5"),
        binary("clang-16", "1:16.0"),
        source("sed", "4.9"),
        source("grep", "3.8"),
    ];
    for (result, request) in fetch_all(&place.downloader(), &requests)
        .into_iter()
        .zip(&requests)
    {
        let file = result.unwrap().path;
        assert_eq!(fs::read_to_string(file).unwrap(), request.name);
    }
    assert_eq!(
        place.calls(),
        [
            "update -qq --error-on=any",
            "-q download -- clang-16=1:16.0 dash=0.5",
            "-q source --only-source --download-only --tar-only -- grep=3.8 sed=4.9",
        ]
    );
    // A second run has them in the cache, and nothing is left lying around.
    fetch_all(&place.downloader(), &requests);
    assert_eq!(place.calls().len(), 3);
    let left = fs::read_dir(place.path("cache/apt/bookworm-amd64")).unwrap();
    for entry in left {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("fetched-"), "{name}");
    }
    assert_eq!(
        fs::read_dir(place.path("cache/partial")).unwrap().count(),
        0
    );
}

#[test]
fn a_version_that_is_gone_does_not_keep_the_others_from_coming() {
    let place = Place::new();
    let requests = [
        binary("dash", "0.5"),
        binary("sed", "9.1"),
        binary("grep", "3.8"),
    ];
    let mut results = fetch_all(&place.downloader(), &requests).into_iter();
    assert!(results.next().unwrap().is_ok());
    let error = results.next().unwrap().unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched);
    let message = error.to_string();
    assert!(message.contains("apt-binary:sed=9.1:amd64"), "{message}");
    assert!(
        message.contains("'9.1' for 'sed' was not found"),
        "{message}"
    );
    assert!(results.next().unwrap().is_ok());
}

#[test]
fn an_old_index_is_fetched_anew_once() {
    let place = Place::new();
    fs::write(place.path("programs/updates"), "").unwrap();
    place.fetch(&binary("dash", "0.5")).unwrap();
    place.fetch(&binary("sed", "8.0")).unwrap();
    let updates = || {
        place
            .calls()
            .iter()
            .filter(|call| call.starts_with("update"))
            .count()
    };
    assert_eq!(updates(), 2);
    place.fetch(&binary("grep", "0.5")).unwrap();
    assert_eq!(updates(), 2);
}

#[test]
fn a_source_whose_version_is_gone_comes_from_another_with_the_same_file() {
    let place = Place::new();
    let request = |location| request("grep_3.8.orig.tar.xz", location);
    place
        .fetch(&request("apt-source:grep=9.1/grep_3.8.orig.tar.xz"))
        .unwrap();
    let error = place
        .fetch(&self::request(
            "x",
            "apt-source:grep=9.1/grep_3.9.orig.tar.xz",
        ))
        .unwrap_err();
    assert!(error.to_string().contains("'9.1' for 'grep'"), "{error}");
    let error = place
        .fetch(&self::request(
            "x",
            "apt-source:sed=9.1/sed_4.9.orig.tar.xz",
        ))
        .unwrap_err();
    assert!(error.to_string().contains("'9.1' for 'sed'"), "{error}");
}

#[test]
fn a_file_of_a_connection_that_broke_is_not_fetched_and_is_tried_again() {
    let place = Place::new();
    let requests = [binary("dash", "0.5"), binary("sed", "7.0")];
    let mut results = fetch_all(&place.downloader(), &requests).into_iter();
    assert!(results.next().unwrap().is_ok());
    let error = results.next().unwrap().unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched, "{error}");
    assert!(error.to_string().contains("Connection failed"), "{error}");
    assert!(!place.path("cache/rejected").exists());
    // With an index that may be old, it is fetched again, and all is tried once more.
    let file = place.fetch(&binary("sed", "7.0")).unwrap();
    assert_eq!(fs::read(file).unwrap(), b"sed_7.0_amd64.deb");
}

#[test]
fn nobody_runs_apt_before_one_that_outlived_its_caller_has_ended() {
    let place = Place::new();
    fs::write(place.path("programs/outlive"), "").unwrap();
    drop(place.apt().lock().unwrap());
    fs::remove_file(place.path("programs/outlive")).unwrap();
    drop(place.apt().lock().unwrap());
    assert!(place.path("programs/outlived").exists());
}

#[test]
fn wrong_bytes_from_the_archive_are_noticed() {
    let place = Place::new();
    let mut request = binary("dash", "0.5");
    request.hash = Sha256Digest::of("another dash").into();
    let error = place.fetch(&request).unwrap_err();
    assert_eq!(error.class(), FailureClass::HashDiffers, "{error}");
    assert!(
        error.to_string().contains("apt-binary:dash=0.5:amd64"),
        "{error}"
    );
}

#[test]
fn the_archive_comes_after_the_urls() {
    let place = Place::new();
    let mut request = source("sed", "4.9");
    // No process listens on this port.
    request
        .locations
        .push("http://127.0.0.1:1/sed.tar.xz".parse().unwrap());
    place.fetch(&request).unwrap();
    request.hash = Sha256Digest::of("x").into();
    let message = place.fetch(&request).unwrap_err().to_string();
    let url = message.find("\n  http://127.0.0.1:1/").unwrap();
    assert!(url < message.find("\n  apt-source:").unwrap(), "{message}");
}

#[test]
fn the_index_says_what_is_offered() {
    let place = Place::new();
    let apt = place.apt();
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let offered = apt.candidates(&names(&["dash", "unknown"])).unwrap();
    assert_eq!(offered.len(), 1);
    assert_eq!((offered[0].version.as_str(), offered[0].size), ("0.5", 5));
    assert_eq!(apt.candidates(&names(&["unknown"])).unwrap(), []);
    assert_eq!(apt.candidates(&[]).unwrap(), []);
    assert_eq!(
        apt.installed_with(&names(&["dash"])).unwrap(),
        ["libc6", "dash"]
    );
    assert!(matches!(
        apt.candidates(&names(&["-o"])),
        Err(AptError::Index(_))
    ));
    // The index was fetched by the first question alone.
    assert_eq!(
        place
            .calls()
            .iter()
            .filter(|call| call.starts_with("update"))
            .count(),
        1
    );
}

#[test]
fn the_configuration_is_private_and_follows_the_hosts_entries() {
    let place = Place::new();
    place.apt().refresh().unwrap();
    let directory = place.path("cache/apt/bookworm-amd64");
    let list = directory.join("sources/debian.sources");
    assert!(
        fs::read_to_string(&list)
            .unwrap()
            .contains("URIs: http://deb.example.org/debian\n")
    );
    let configuration = fs::read_to_string(directory.join("apt.conf")).unwrap();
    assert!(configuration.contains(&format!(
        "Dir::State::lists \"{}/lists\";",
        directory.display()
    )));
    let updates = || place.calls().len();
    assert_eq!(updates(), 1);
    // Another mirror has an index of its own.
    fs::write(
        place.path("host/etc/apt/sources.list"),
        "deb http://mirror.example.org/debian bookworm main\n",
    )
    .unwrap();
    drop(place.apt().lock().unwrap());
    assert_eq!(updates(), 2);
    assert!(
        fs::read_to_string(&list)
            .unwrap()
            .contains("mirror.example.org")
    );
    drop(place.apt().lock().unwrap());
    assert_eq!(updates(), 2);
}
