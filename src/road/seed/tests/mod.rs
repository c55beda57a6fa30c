//! Seeds from descriptions, locks and an index that is made up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::archive::testing::{TarWriter, deb, xz};
use crate::fetch::apt::{AptError, BinaryPackage, PackageIndex};
use crate::fetch::cache::Cache;
use crate::road::seed::description::Description;
use crate::road::seed::lock::Lock;
use crate::road::seed::resolve::{Resolved, Strictness, load, replacement_file, resolve};
use crate::road::seed::unpack::{Contents, SeedUnpacker, Unpacker, adopt_file};
use crate::road::seed::update::{compute, update};
use crate::road::seed::*;

mod resolve;
mod unpack;

/// An index of made-up packages: `(name, version, depends)`, the later of two with one name being the newer.
#[derive(Default)]
struct Index {
    packages: RefCell<Vec<BinaryPackage>>,
    /// What `refresh` changes them to.
    refreshed: Option<Vec<BinaryPackage>>,
    asked: Cell<u32>,
}

fn package(name: &str, version: &str, depends: &[&[&str]]) -> BinaryPackage {
    BinaryPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        size: 10,
        sha256: Sha256Digest::of(format!("{name} {version}")),
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
            packages: RefCell::new(packages),
            ..Self::default()
        }
    }
}

impl PackageIndex for Index {
    fn candidates(&self, names: &[String]) -> Result<Vec<BinaryPackage>, AptError> {
        self.asked.set(self.asked.get() + 1);
        let packages = self.packages.borrow();
        let newest = |name: &String| {
            packages
                .iter()
                .rev()
                .find(|package| package.name == *name)
                .cloned()
        };
        Ok(names.iter().filter_map(newest).collect())
    }

    fn offered(&self, names: &[String]) -> Result<Vec<BinaryPackage>, AptError> {
        self.asked.set(self.asked.get() + 1);
        let packages = self.packages.borrow();
        Ok(packages
            .iter()
            .filter(|package| names.contains(&package.name))
            .cloned()
            .collect())
    }

    /// Every package there is: more than is depended on, as APT also brings what excluded packages need.
    fn installed_with(&self, _names: &[String]) -> Result<Vec<String>, AptError> {
        Ok(self
            .packages
            .borrow()
            .iter()
            .map(|package| package.name.clone())
            .collect())
    }

    fn refresh(&self) -> Result<(), AptError> {
        if let Some(refreshed) = &self.refreshed {
            self.packages.replace(refreshed.clone());
        }
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
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
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

    fn resolve(
        &self,
        strictness: Strictness,
        has: &dyn Fn(&Archive) -> bool,
        index: Option<&dyn PackageIndex>,
    ) -> Result<Resolved, SeedError> {
        let state = self.directory.path().join("state");
        resolve(&self.source(), "tools", &state, strictness, has, index)
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
fn locked() -> Place {
    let place = Place::new(&[("tools.toml", TOOLS)]);
    let update = update(&place.source(), "tools", &Index::new(packages())).unwrap();
    place.write("tools.lock", &update.text);
    place
}

fn names(lock: &Lock) -> Vec<&str> {
    lock.packages()
        .iter()
        .map(|pinned| pinned.package.as_str())
        .collect()
}

#[test]
fn a_lock_holds_the_closure_without_what_is_excluded_and_what_only_that_needs() {
    let place = Place::new(&[("tools.toml", TOOLS), ("more.toml", MORE)]);
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
    let place = Place::new(&[("tools.toml", TOOLS)]);
    let mut packages = packages();
    packages.retain(|package| package.name != "shell");
    let error = update(&place.source(), "tools", &Index::new(packages)).unwrap_err();
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
    let update = update(&place.source(), "tools", &Index::new(changed)).unwrap();
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
    Lock::parse("new", &update.text).unwrap();
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
    assert!(
        error.to_string().contains("bootstrap seed update more"),
        "{error}"
    );
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
    let place = Place::new(&[("base-system.toml", BASE)]);
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
        &|_| false,
        None,
    );
    assert_eq!(resolved.unwrap().seed, seed);
    assert!(update(&place.source(), "base-system", &Index::default()).is_err());
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
        let place = Place::new(&[("tools.toml", text)]);
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
        let place = Place::new(&[("base-system.toml", &text)]);
        let error = load(&place.source(), "base-system").unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn an_unknown_seed_is_an_error_that_lists_the_known_ones() {
    let place = Place::new(&[("tools.toml", TOOLS), ("more.toml", MORE)]);
    for name in ["tool", "../seeds/tools", ""] {
        let error = load(&place.source(), name).unwrap_err();
        assert!(error.to_string().contains("more, tools"), "{error}");
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
