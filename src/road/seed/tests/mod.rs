// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds from descriptions, locks and an index that is made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::archive::testing::{TarWriter, deb, xz};
use crate::diagnostics::help_of;
use crate::fetch::apt::{AptError, BinaryPackage, PackageIndex};
use crate::road::seed::description::Description;
use crate::road::seed::pins::Pins;
use crate::road::seed::resolve::{Resolved, Strictness, load, own_lock, replace, reset, resolve};
use crate::road::seed::unpack::{Contents, SeedUnpacker, Unpacker};
use crate::road::seed::update::{compute, update};
use crate::road::seed::*;

mod resolve;
mod unpack;

/// When indexes are fetched here: 2026-11-28 00:33:09.
const NOW: u64 = 1_795_825_989;

/// An index of made-up packages; of two with one name the later one is newer.
#[derive(Default)]
struct Index {
    packages: Vec<BinaryPackage>,
    refreshed: Cell<bool>,
}

fn package(name: &str, version: &str, depends: &[&[&str]]) -> BinaryPackage {
    BinaryPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        size: 10,
        sha256: Sha256Digest::of(format!("{name} {version}")),
        file: format!(
            "pool/main/x/{name}_{}_amd64.deb",
            version.trim_start_matches("1:")
        ),
        depends: depends
            .iter()
            .map(|group| group.iter().map(|&name| name.to_owned()).collect())
            .collect(),
        provides: Vec::new(),
    }
}

impl Index {
    fn new(packages: Vec<BinaryPackage>) -> Self {
        Self {
            packages,
            ..Self::default()
        }
    }
}

impl PackageIndex for Index {
    fn candidates(&self, names: &[String]) -> Result<Vec<BinaryPackage>, AptError> {
        let newest = |name: &String| {
            self.packages
                .iter()
                .rev()
                .find(|package| package.name == *name)
                .cloned()
        };
        Ok(names.iter().filter_map(newest).collect())
    }

    /// Every package there is: more than is depended on, as APT also brings what excluded packages need.
    fn installed_with(&self, _names: &[String]) -> Result<Vec<String>, AptError> {
        Ok(self
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect())
    }

    fn refresh(&self) -> Result<(), AptError> {
        self.refreshed.set(true);
        Ok(())
    }
}

const TOOLS: &str = r#"
name = "tools"
system = "x86_64-linux"
kind = "debian"
release = "bookworm"
architecture = "amd64"
source-variant = "debian"
shell = "/bin/sh"
search-path = ["/usr/bin", "/bin"]
packages = ["compiler", "shell"]
exclude = ["manager"]
[links]
"/usr/bin/cc" = "compiler"
[files]
"/usr/bin/compiler.cfg" = "-flag\n"
"#;

const MORE: &str = r#"
name = "more"
base = "tools"
packages = ["perl"]
[links]
"/usr/bin/extra" = "perl"
"/usr/bin/cc" = "other"
"#;

const BASE: &str = r#"
name = "base-system"
system = "x86_64-freebsd"
kind = "archive"
url = "https://download.example.org/releases/base.txz"
sha256 = "e38b5cf756d60086a6c2f736eff19cc7685f7e2313e31d14342fc8df57200a92"
source-variant = "upstream"
shell = "/bin/sh"
search-path = ["/bin"]
"#;

/// A directory of seeds and one of state.
struct SeedDirectories {
    directory: tempfile::TempDir,
}

impl SeedDirectories {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("seeds")).unwrap();
        let place = Self { directory };
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join("seeds").join(name), text).unwrap();
    }

    fn source(&self) -> SeedSource {
        SeedSource::Directory(self.directory.path().join("seeds"))
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn resolve(&self, strictness: Strictness) -> Result<Resolved, SeedError> {
        resolve(&self.source(), "tools", &self.state(), strictness)
    }
}

/// What the archive has at first.
fn packages() -> Vec<BinaryPackage> {
    let mut libc_provider = package("libcrypt1", "1", &[]);
    libc_provider.provides = vec!["libcrypt".to_owned()];
    vec![
        package(
            "compiler",
            "1",
            &[&["libc"], &["manager"], &["absent", "linker"]],
        ),
        package("libc", "1", &[&["libcrypt"]]),
        libc_provider,
        package("linker", "1", &[&["libc"]]),
        package("shell", "1:2", &[&["manager"]]),
        package("manager", "1", &[&["database"]]),
        package("database", "1", &[]),
        package("perl", "5", &[&["manager"], &["libc"]]),
    ]
}

/// A place whose seed `tools` is locked to [`packages`].
fn locked() -> SeedDirectories {
    let place = SeedDirectories::new(&[("tools.toml", TOOLS)]);
    let update = update(&place.source(), "tools", &Index::new(packages()), NOW).unwrap();
    place.write("tools.lock", &update.text);
    place
}

fn names(lock: &Pins) -> Vec<&str> {
    lock.packages()
        .iter()
        .map(|pinned| pinned.package.as_str())
        .collect()
}

#[test]
fn a_lock_holds_the_closure_without_what_is_excluded_and_what_only_that_needs() {
    let place = SeedDirectories::new(&[("tools.toml", TOOLS), ("more.toml", MORE)]);
    let index = Index::new(packages());
    let lock = |name| compute(&Description::load(&place.source(), name).unwrap(), &index).unwrap();
    assert_eq!(
        names(&lock("tools")),
        ["compiler", "libc", "libcrypt1", "linker", "shell"]
    );
    assert_eq!(
        names(&lock("more")),
        ["compiler", "libc", "libcrypt1", "linker", "perl", "shell"]
    );
}

#[test]
fn a_package_that_is_not_offered_is_named() {
    let place = SeedDirectories::new(&[("tools.toml", TOOLS)]);
    let mut packages = packages();
    packages.retain(|package| package.name != "shell");
    let error = update(&place.source(), "tools", &Index::new(packages), NOW).unwrap_err();
    assert!(error.to_string().contains("shell"), "{error}");
    assert_eq!(error.failure(), SeedFailure::NotFetched);
}

#[test]
fn an_update_says_what_changed() {
    let place = locked();
    let mut changed = packages();
    changed.retain(|package| package.name != "libcrypt1");
    changed.push(package("compiler", "2", &[&["libc"], &["runtime"]]));
    changed.push(package("runtime", "2", &[]));
    let update = update(&place.source(), "tools", &Index::new(changed), NOW).unwrap();
    let changes: Vec<String> = update.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "compiler 1 -> 2",
            "libcrypt1 1 (dropped)",
            "linker 1 (dropped)",
            "runtime 2 (added)"
        ]
    );
    assert_eq!(Pins::parse("new", &update.text).unwrap(), update.pins);
}

#[test]
fn an_update_asks_the_archive_as_it_is_now_and_says_when_that_was() {
    let place = locked();
    let lock = fs::read_to_string(place.directory.path().join("seeds/tools.lock")).unwrap();
    assert!(lock.contains("\nsnapshot 20261128T123309Z\n"), "{lock}");
    assert!(
        lock.contains(" debian/pool/main/x/shell_2_amd64.deb\n"),
        "{lock}"
    );
    // Where nothing changed, the lock does not change either; where something did, the time does.
    let index = Index::new(packages());
    let later = update(&place.source(), "tools", &index, NOW + 86400).unwrap();
    assert_eq!((later.text, index.refreshed.get()), (lock, true));
    let mut moved = packages();
    moved[1] = package("libc", "1.1", &[&["libcrypt"]]);
    let later = update(&place.source(), "tools", &Index::new(moved), NOW + 86400).unwrap();
    assert_eq!(
        later.pins.snapshot().unwrap().to_string(),
        "20261129T123309Z"
    );
}

#[test]
fn a_seed_of_packages_is_its_description_and_its_lock() {
    let place = locked();
    let seed = load(&place.source(), "tools").unwrap();
    assert_eq!(seed.format, Format::Deb);
    assert_eq!(seed.archives.len(), 5);
    assert_eq!(seed.archives[4].name, "shell_1-2_amd64.deb");
    assert_eq!(seed.links["/usr/bin/cc"], "compiler");
    assert_eq!(seed.distribution.unwrap().release, "bookworm");

    place.write("more.toml", MORE);
    let error = load(&place.source(), "more").unwrap_err();
    let hint = help_of(&error);
    assert!(hint.contains("bootstrap seed update more"), "{hint}");
    place.write(
        "more.lock",
        &fs::read_to_string(place.directory.path().join("seeds/tools.lock")).unwrap(),
    );
    let seed = load(&place.source(), "more").unwrap();
    assert_eq!(seed.system, "x86_64-linux");
    assert_eq!(seed.links["/usr/bin/cc"], "other");
    assert_eq!(seed.links["/usr/bin/extra"], "perl");
    assert_eq!(seed.files["/usr/bin/compiler.cfg"], "-flag\n");
}

#[test]
fn a_seed_of_one_archive_needs_no_lock() {
    let place = SeedDirectories::new(&[("base-system.toml", BASE)]);
    let seed = load(&place.source(), "base-system").unwrap();
    assert_eq!(seed.format, Format::Tar);
    assert_eq!(seed.archives[0].name, "base-system-base.txz");
    assert_eq!(seed.archives[0].size, None);
    assert_eq!(
        seed.archives[0].request().locations[0].to_string(),
        "https://download.example.org/releases/base.txz"
    );
    assert_eq!(seed.distribution, None);
    let resolved = resolve(
        &place.source(),
        "base-system",
        place.directory.path(),
        Strictness::Locked,
    );
    assert_eq!(resolved.unwrap().seed, seed);
    assert!(update(&place.source(), "base-system", &Index::default(), NOW).is_err());
}

#[test]
fn the_seeds_of_the_project_are_sound() {
    let source = SeedSource::Embedded;
    let names = source.names().unwrap();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let seed = load(&source, &name).unwrap();
        assert!(!seed.archives.is_empty(), "{name}");
        for archive in &seed.archives {
            assert_eq!(store_name(&archive.name), archive.name);
            assert!(!archive.locations.is_empty());
        }
    }
}

#[test]
fn wrong_descriptions_are_errors_that_say_where_and_what() {
    let no_kind = TOOLS.replace("kind = \"debian\"\n", "");
    let unknown_key = TOOLS.replace("exclude", "excludes");
    let other_name = TOOLS.replace("\"tools\"", "\"tool\"");
    let relative = TOOLS.replace("\"/usr/bin/cc\"", "\"usr/bin/cc\"");
    let dots = TOOLS.replace("\"/usr/bin/compiler.cfg\"", "\"/usr/../../x\"");
    let both = TOOLS.replace("[\"manager\"]", "[\"shell\"]");
    let option = TOOLS.replace("\"shell\"]", "\"--shell\"]");
    let circle = TOOLS.replace("kind", "base = \"tools\"\nkind");
    let no_release = TOOLS.replace("release = \"bookworm\"\n", "");
    for (text, words) in [
        ("name = \n", "line 1"),
        (no_kind.as_str(), "`kind`"),
        (&unknown_key, "excludes"),
        (&other_name, "`tool`"),
        (&relative, "absolute path"),
        (&dots, "/usr/../../x"),
        (&both, "`shell` is in"),
        (&option, "--shell"),
        (&circle, "does not end"),
        (&no_release, "`release`"),
    ] {
        let place = SeedDirectories::new(&[("tools.toml", text)]);
        let error = load(&place.source(), "tools").unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.failure(), SeedFailure::Usage, "{error}");
    }
    for (text, words) in [
        (BASE.replace("e38b5cf", "x38b5cf"), "64 hexadecimal digits"),
        (BASE.replace("url = ", "#"), "`url`"),
        (BASE.replace("https:", "file:"), "file:"),
        (BASE.replace("sha256 = ", "#"), "`sha256`"),
        (
            BASE.replace("shell", "packages = [\"x\"]\nshell"),
            "kind \"debian\"",
        ),
    ] {
        let place = SeedDirectories::new(&[("base-system.toml", &text)]);
        let error = load(&place.source(), "base-system").unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn an_unknown_seed_is_an_error_that_lists_the_known_ones() {
    let place = SeedDirectories::new(&[("tools.toml", TOOLS), ("more.toml", MORE)]);
    for name in ["tool", "../seeds/tools", ""] {
        let error = load(&place.source(), name).unwrap_err();
        assert!(help_of(&error).contains("more, tools"), "{error}");
    }
}

#[test]
fn names_become_store_names() {
    assert_eq!(
        store_name("clang-16_1%3a16.0.6-15~deb12u1_amd64.deb"),
        "clang-16_1-16.0.6-15-deb12u1_amd64.deb"
    );
    assert_eq!(
        store_name("libc++1-16_1.0+b1_amd64.deb"),
        "libc++1-16_1.0+b1_amd64.deb"
    );
    assert_eq!(store_name(".base txz"), "base-txz");
}
