// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds of the user's own: archives and directories without a description.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::AtomicBool;

use super::*;
use crate::road::seed::SeedFailure;
use crate::road::seed::unpack::{Contents, SeedUnpacker, Unpacker};

struct Site {
    directory: tempfile::TempDir,
    cache: Cache,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(&directory.path().join("cache"));
        let site = Self { directory, cache };
        let base = site.base();
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::create_dir_all(base.join("usr/lib")).unwrap();
        fs::write(base.join("bin/sh"), "sh").unwrap();
        fs::set_permissions(base.join("bin/sh"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(base.join("bin/sh"), base.join("bin/ash")).unwrap();
        symlink("../../bin", base.join("usr/lib/bin")).unwrap();
        site
    }

    fn base(&self) -> PathBuf {
        self.directory.path().join("base")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn given(&self, model: &Seed, path: &Path) -> Result<Seed, SeedError> {
        let state = self.state();
        let places = SeedPlaces {
            cache: &self.cache,
            state: &state,
        };
        given(model, path, places)
    }
}

fn model() -> Seed {
    Seed {
        name: "freebsd-99.0-amd64".into(),
        system: "x86_64-freebsd".into(),
        preferred_variant: "upstream".into(),
        shell: "/bin/sh".into(),
        search_path: vec!["/bin".into()],
        format: Format::Tar,
        archives: vec![archive("base.txz".into(), Sha256Digest::of("official"), 8)],
        links: [("/model".to_owned(), "bin".to_owned())].into(),
        files: BTreeMap::new(),
        distribution: None,
        release: Some("99.0".into()),
        impure: None,
    }
}

#[test]
fn what_a_killed_process_left_of_an_archive_is_removed() {
    let site = Site::new();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let files = site.cache.files();
    let left = |process| files.join(format!("packing-{process}"));
    fs::create_dir_all(files).unwrap();
    fs::write(left(child.id()), "half").unwrap();
    // The parent of this process is alive.
    fs::write(left(std::os::unix::process::parent_id()), "busy").unwrap();
    site.given(&model(), &site.base()).unwrap();
    assert!(!left(child.id()).exists());
    assert!(!left(std::process::id()).exists());
    assert!(left(std::os::unix::process::parent_id()).exists());
}

#[test]
fn a_directory_becomes_an_archive_that_gives_the_same_tree() {
    let site = Site::new();
    let seed = site.given(&model(), &site.base()).unwrap();
    assert_eq!(
        (seed.name.as_str(), seed.shell.as_str()),
        (GIVEN, "/bin/sh")
    );
    // Only the base's own files, and no claim to be the model's release.
    assert!(seed.links.is_empty());
    assert_eq!((seed.release, seed.impure), (None, None));
    let digest = seed.archives[0].sha256;
    let target = site.directory.path().join("tree");
    let contents = Contents {
        format: seed.format,
        archives: vec![site.cache.files().join(digest.to_base16())],
        links: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    Unpacker
        .unpack(&contents, &target, &AtomicBool::new(false))
        .unwrap();
    assert_eq!(fs::read(target.join("bin/ash")).unwrap(), b"sh");
    let link = fs::read_link(target.join("usr/lib/bin")).unwrap();
    assert_eq!(link, Path::new("../../bin"));
    let mode = fs::metadata(target.join("bin/sh")).unwrap().mode();
    assert_eq!(mode & 0o7100, 0o100, "{mode:o}");
}

#[test]
fn a_file_that_is_larger_than_any_base_is_refused_before_it_is_read() {
    let site = Site::new();
    let file = site.directory.path().join("sparse.txz");
    // Reading it would take hours.
    fs::File::create(&file).unwrap().set_len(1 << 43).unwrap();
    let error = site.given(&model(), &file).unwrap_err();
    assert!(matches!(error, SeedError::TooLarge { .. }), "{error}");
    assert!(!site.cache.files().exists());
}

#[test]
fn a_seed_that_nobody_else_has_says_so_of_what_is_made_from_it() {
    assert_eq!(model().impurity(), None);
    let seed = Seed {
        name: HOST.to_owned(),
        impure: Some("it is mine".to_owned()),
        ..model()
    };
    assert_eq!(
        seed.impurity().unwrap(),
        "made from the seed `host`, and it is mine"
    );
}

#[test]
fn the_archive_depends_on_contents_and_not_on_times_and_place() {
    let site = Site::new();
    let other = Site::new();
    let times = File::open(other.base().join("bin/sh")).unwrap();
    times.set_modified(std::time::UNIX_EPOCH).unwrap();
    let digest = |site: &Site| {
        let seed = site.given(&model(), &site.base()).unwrap();
        seed.archives[0].sha256
    };
    let first = digest(&site);
    assert_eq!(first, digest(&other));
    fs::write(other.base().join("bin/sh"), "SH").unwrap();
    assert_ne!(first, digest(&other));
    // Also where nothing but the memory could tell.
    fs::write(other.base().join("bin/sh"), "sh").unwrap();
    assert_eq!(first, digest(&other));
}

#[test]
fn what_was_packed_is_remembered_as_long_as_the_cache_has_it() {
    let site = Site::new();
    let seed = site.given(&model(), &site.base()).unwrap();
    let file = site.cache.files().join(seed.archives[0].sha256.to_base16());
    let written = fs::metadata(&file).unwrap().ino();
    assert_eq!(site.given(&model(), &site.base()).unwrap(), seed);
    assert_eq!(fs::metadata(&file).unwrap().ino(), written);
    fs::remove_file(&file).unwrap();
    assert_eq!(site.given(&model(), &site.base()).unwrap(), seed);
    assert!(file.exists());
}

#[test]
fn an_archive_says_its_release_as_a_directory_does() {
    let site = Site::new();
    let script = "#!/bin/sh\nUSERLAND_VERSION=\"13.5-RELEASE\"\n";
    fs::write(site.base().join("bin/freebsd-version"), script).unwrap();
    let directory = site.given(&model(), &site.base()).unwrap();
    assert_eq!(directory.release.as_deref(), Some("13.5"));
    // What a directory is packed to is such an archive.
    let packed = site
        .cache
        .files()
        .join(directory.archives[0].sha256.to_base16());
    let archive = site.given(&model(), &packed).unwrap();
    assert_eq!(archive.release.as_deref(), Some("13.5"));
}

#[test]
fn an_archive_is_taken_as_it_is_and_the_models_own_is_the_model() {
    let site = Site::new();
    let file = site.directory.path().join("my base.txz");
    fs::write(&file, "mine").unwrap();
    let seed = site.given(&model(), &file).unwrap();
    assert_eq!(seed.archives[0].name, "given-my-base.txz");
    assert_eq!(seed.archives[0].sha256, Sha256Digest::of("mine"));
    assert!(site.cache.holds(Sha256Digest::of("mine")));
    fs::write(&file, "official").unwrap();
    assert_eq!(site.given(&model(), &file).unwrap(), model());
    assert!(site.cache.holds(Sha256Digest::of("official")));
}

#[test]
fn a_directory_without_a_shell_is_no_base_and_a_missing_path_is_named() {
    let site = Site::new();
    let error = site.given(&model(), &site.base().join("usr")).unwrap_err();
    assert_eq!(error.failure(), SeedFailure::Usage);
    assert!(error.to_string().contains("/bin/sh"), "{error}");
    let error = site.given(&model(), &site.base().join("none")).unwrap_err();
    assert!(error.to_string().contains("/base/none"), "{error}");
}

#[test]
fn only_the_parts_asked_for_are_packed_with_the_directories_above_them() {
    let site = Site::new();
    fs::write(site.base().join("usr/stray"), "").unwrap();
    let packed = pack(&site.base(), &["bin", "usr/lib", "usr/none"], &site.cache).unwrap();
    let target = site.directory.path().join("tree");
    let contents = Contents {
        format: Format::Tar,
        archives: vec![site.cache.files().join(packed.sha256.to_base16())],
        links: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    Unpacker
        .unpack(&contents, &target, &AtomicBool::new(false))
        .unwrap();
    assert!(target.join("usr/lib/bin").is_symlink());
    assert!(!target.join("usr/stray").exists());
}

#[test]
fn a_part_that_cannot_be_looked_at_is_not_left_out() {
    let site = Site::new();
    let parts = ["usr/lib", "bin/sh/below"];
    let error = pack(&site.base(), &parts, &site.cache).unwrap_err();
    assert!(error.to_string().contains("bin/sh/below"), "{error}");
}

#[cfg(not(target_os = "freebsd"))]
#[test]
fn only_a_freebsd_host_has_a_base() {
    let site = Site::new();
    let state = site.state();
    let places = SeedPlaces {
        cache: &site.cache,
        state: &state,
    };
    let error = host(&model(), places).unwrap_err();
    assert!(error.to_string().contains("FreeBSD"), "{error}");
}
