// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::BTreeMap;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::formats::content_hash::HashAlgorithm;
use crate::formats::derivation::{DerivationSet, Output, instantiate};
use crate::formats::nar::Tree;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{FixedOutputMethod, StoreDir};
use crate::store::{LockError, LockPolicy};
use crate::store::{canonical, content_address};

fn options() -> OpenOptions {
    OpenOptions::default()
}

struct RecoveryItem {
    root: PathBuf,
    source: StorePath,
    derivation: StorePath,
    output: StorePath,
}

impl Drop for RecoveryItem {
    fn drop(&mut self) {
        let _ = remove_tree(&self.root);
    }
}

impl RecoveryItem {
    fn directories(&self) -> Directories {
        Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(&self.root))
    }

    fn database(&self, name: &str) -> PathBuf {
        self.directories().state.join("db").join(name)
    }
}

/// A store with a source, a derivation that uses it, and its output, which refers to the source and itself.
fn made() -> RecoveryItem {
    let root = tempfile::tempdir().unwrap().keep();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let store = Store::open(Directories::new(store_dir.clone(), Some(&root))).unwrap();
    let source = store
        .add_tree("phases", &Tree::directory([("a.sh", Tree::file(": x"))]))
        .unwrap();
    let derivation = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        input_sources: [source.clone()].into(),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        ..Derivation::default()
    };
    let mut known = DerivationSet::new();
    let (path, derivation) = instantiate(&store_dir, "tool", derivation, &mut known).unwrap();
    let text = aterm::write(&store_dir, &derivation);
    store
        .add_text("tool.drv", &text, &derivation.references())
        .unwrap();
    let output = derivation.output_path("out").unwrap().clone();
    let staged = store.directories().store.join("staged");
    let content = format!("{} {}", source.base_name(), output.base_name());
    let tree = Tree::directory([("tool", Tree::file(content))]);
    crate::store::nar::restore_tree(&tree, &staged).unwrap();
    let output = crate::store::StagedOutput {
        staged,
        path: output.clone(),
        candidates: [source.clone(), output].into(),
        deriver: Some(path.clone()),
    };
    let infos = store.register_outputs(vec![output]).unwrap();
    RecoveryItem {
        root,
        source,
        derivation: path,
        output: infos[0].path.clone(),
    }
}

fn infos(store: &Store) -> Vec<PathInfo> {
    let paths = store.valid_paths().unwrap();
    paths
        .iter()
        .map(|path| PathInfo {
            registration_time: 0,
            ..store.path_info(path).unwrap().unwrap()
        })
        .collect()
}

#[test]
fn a_deleted_database_is_made_anew_with_all_that_it_knew() {
    let made = made();
    let before = infos(&Store::open(made.directories()).unwrap());
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        let _ = fs::remove_file(made.database(name));
    }
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert_eq!(infos(&store), before);
    assert_eq!(
        recovered.proven,
        [made.source.clone(), made.derivation.clone()].into()
    );
    assert_eq!(recovered.taken, [made.output.clone()].into());
    assert!(recovered.is_complete());
    assert_eq!(
        store.derivation_outputs(&made.derivation).unwrap()["out"],
        made.output
    );
}

#[test]
fn a_damaged_database_is_kept_aside() {
    let made = made();
    let file = made.database("db.sqlite");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[..16].fill(0);
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(!is_whole(&made.directories(), &options()));
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert_eq!(store.valid_paths().unwrap().len(), 3);
    assert!(recovered.aside.unwrap().join("db.sqlite").exists());
    drop(store);
    assert!(refuse_whole(&made.directories(), &options()).is_err());
}

#[test]
fn what_cannot_be_vouched_for_is_lost_and_said_to_be() {
    let made = made();
    // The source was changed: nothing that was built from it can be traced any more.
    let place = made.directories().physical(&made.source).join("a.sh");
    for path in [&place, place.parent().unwrap()] {
        let mut mode = fs::metadata(path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    fs::write(&place, ": y").unwrap();
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert!(store.valid_paths().unwrap().is_empty());
    assert!(recovered.lost[&made.source].contains("not as a finished build leaves it"));
    assert!(recovered.lost[&made.derivation].contains("which is gone"));
    assert!(recovered.lost[&made.output].contains("which is gone"));
    // Nothing was removed.
    assert!(place.exists());
}

#[test]
fn what_guix_and_nix_put_into_the_store_is_sound() {
    let made = made();
    let store = Store::open(made.directories()).unwrap();
    let store_dir = store.directories().store_dir.clone();
    let none = BTreeSet::new();
    // A builder script that names its inputs, and a source tree that names an item without referring to it.
    let script = format!("(load {:?})", store_dir.display(&made.source));
    let script = store
        .add_text("builder", script.as_bytes(), &[made.source.clone()].into())
        .unwrap();
    let tree = Tree::file(format!("see {}", store_dir.display(&made.output)));
    let tree = store.add_tree("notes", &tree).unwrap();
    // Downloads by other algorithms than SHA-256, flat and recursive; derivations with text that is not UTF-8.
    let mut fixed = Vec::new();
    for (algorithm, method) in [
        (HashAlgorithm::Sha512, FixedOutputMethod::Flat),
        (HashAlgorithm::Sha1, FixedOutputMethod::Recursive),
        (HashAlgorithm::Md5, FixedOutputMethod::Flat),
    ] {
        let archive = Tree::file(format!("{algorithm}")).to_nar().unwrap();
        let path = store
            .add_archive("download", method, algorithm, &mut archive.as_slice())
            .unwrap();
        let hash =
            content_address::hash_of(&store.directories().physical(&path), method, algorithm);
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::fixed(method, hash.unwrap()))]),
            system: "x86_64-linux".into(),
            builder: "builtin:download".into(),
            environment: [("url", b"\xff\xfe".as_slice())].into_iter().collect(),
            ..Derivation::default()
        };
        let mut known = DerivationSet::new();
        let (drv, derivation) =
            instantiate(&store_dir, "download", derivation, &mut known).unwrap();
        assert_eq!(derivation.output_path("out"), Some(&path));
        let text = aterm::write(&store_dir, &derivation);
        store.add_text("download.drv", &text, &none).unwrap();
        fixed.extend([path, drv]);
    }
    // A substitute: its derivation is not here.
    let substitute = StorePath::from_base_name(&format!("{}-program", "b".repeat(32))).unwrap();
    let staged = store.directories().store.join("staged");
    fs::write(&staged, store_dir.display(&made.output)).unwrap();
    let output = crate::store::StagedOutput {
        staged,
        path: substitute.clone(),
        candidates: [made.output.clone()].into(),
        deriver: None,
    };
    store.register_outputs(vec![output]).unwrap();
    let before = infos(&store);
    // A copy that a check has kept, and a leftover of a build that was killed.
    let copy = format!("{}-check", substitute.base_name());
    let copy = StorePath::from_base_name(&copy).unwrap();
    let leftover = StorePath::from_base_name(&format!("{}-half", "c".repeat(32))).unwrap();
    for path in [&copy, &leftover] {
        fs::write(store.directories().physical(path), "other").unwrap();
    }
    canonical::canonicalise(&store.directories().physical(&copy)).unwrap();
    drop(store);
    fs::remove_file(made.database("db.sqlite")).unwrap();

    let (store, recovered) = recover(made.directories(), options()).unwrap();
    let lost: Vec<&StorePath> = recovered.lost.keys().collect();
    assert_eq!(lost, [&copy, &leftover], "{recovered:?}");
    let without_times = |infos: &[PathInfo]| {
        let mut infos = infos.to_vec();
        for info in &mut infos {
            info.registration_time = 0;
            // Which derivation an output was built from was recorded, and is found out where there is one.
            info.deriver = None;
        }
        infos
    };
    assert_eq!(without_times(&infos(&store)), without_times(&before));
    let taken = BTreeSet::from([made.output.clone(), substitute]);
    assert_eq!(recovered.taken, taken);
    for path in fixed.iter().chain([&script, &tree]) {
        assert!(recovered.proven.contains(path), "{}", path.base_name());
    }
}

#[test]
fn items_that_refer_to_each_other_do_not_keep_the_others_from_being_recovered() {
    let made = made();
    let store = Store::open(made.directories()).unwrap();
    let paths = ["b", "c"]
        .map(|letter| StorePath::from_base_name(&format!("{}-item", letter.repeat(32))).unwrap());
    for (path, other) in [(&paths[0], &paths[1]), (&paths[1], &paths[0])] {
        let place = store.directories().physical(path);
        fs::write(&place, other.base_name()).unwrap();
        canonical::canonicalise(&place).unwrap();
    }
    drop(store);
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert_eq!(store.valid_paths().unwrap().len(), 3);
    for path in &paths {
        assert!(recovered.lost[path].contains("refer to each other"));
    }
}

#[test]
fn half_an_output_is_not_taken_for_whole() {
    let made = made();
    let place = made.directories().physical(&made.output).join("tool");
    let file = fs::File::open(&place).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (_, recovered) = recover(made.directories(), options()).unwrap();
    assert!(recovered.taken.is_empty());
    assert!(
        recovered.lost[&made.output].contains("not as a finished build leaves it"),
        "{recovered:?}"
    );
}

/// Not a test: the other process of the test below, which runs it by its name.
#[test]
fn other_process() {
    let Some(root) = std::env::var_os("BOOTSTRAP_TEST_RECOVER") else {
        return;
    };
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(Path::new(&root)));
    recover(directories, options()).unwrap();
}

fn recover_elsewhere(made: &RecoveryItem) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::recover::tests::other_process",
            "--nocapture",
        ])
        .env("BOOTSTRAP_TEST_RECOVER", &made.root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nobody_uses_the_store_before_the_database_is_whole_also_where_making_it_is_killed() {
    let made = made();
    let before = infos(&Store::open(made.directories()).unwrap());
    // So much takes longer to hash than any test lasts.
    let endless = format!("{}-endless", "0".repeat(32));
    let endless = made.directories().store.join(endless);
    fs::File::create(&endless)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "schema"] {
        let _ = fs::remove_file(made.database(name));
    }

    let mut child = recover_elsewhere(&made);
    let end = Instant::now() + Duration::from_secs(60);
    while !made.database("recovering/db.sqlite").exists() {
        assert!(Instant::now() < end, "the other process has not begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    let hurried = OpenOptions {
        lock_policy: LockPolicy {
            timeout: Some(Duration::from_millis(300)),
            ..LockPolicy::default()
        },
        ..options()
    };
    let error = Store::open_with(made.directories(), hurried).unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        matches!(&error, StoreError::Lock(LockError::TimedOut { holder: Some(pid), .. }) if *pid == child.id()),
        "{error:?}"
    );

    // It was killed: there is no store to collect garbage in, and what to do about it is what was being done.
    let error = Store::open(made.directories()).unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("verify --recover"), "{error}");
    refuse_whole(&made.directories(), &options()).unwrap();
    fs::remove_file(&endless).unwrap();
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert_eq!(infos(&store), before);
    assert!(recovered.is_complete(), "{recovered:?}");
    assert!(!made.database("recovering").exists());
    drop(store);
    assert!(
        recover(made.directories(), options()).is_err(),
        "it is whole"
    );
}

#[test]
fn items_that_are_named_like_locks_and_staging_directories_are_recovered() {
    let made = made();
    let store = Store::open(made.directories()).unwrap();
    let store_dir = store.directories().store_dir.clone();
    let none = BTreeSet::new();
    let lock = store.add_text("Cargo.lock", b"version = 4", &none).unwrap();
    // Nothing names this one, and it names another item.
    let note = format!("of {}", store_dir.display(&made.source));
    let references = [made.source.clone()].into();
    let alone = store
        .add_text("flake.lock", note.as_bytes(), &references)
        .unwrap();
    let tree = Tree::directory([("bin", Tree::file("x"))]);
    let root = store.add_tree("debian.chroot", &tree).unwrap();
    let derivation = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        input_sources: [lock.clone()].into(),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        ..Derivation::default()
    };
    let mut known = DerivationSet::new();
    let (drv, derivation) =
        instantiate(&store_dir, "channels.lock", derivation, &mut known).unwrap();
    let text = aterm::write(&store_dir, &derivation);
    store
        .add_text("channels.lock.drv", &text, &derivation.references())
        .unwrap();
    let output = derivation.output_path("out").unwrap().clone();
    let staged = store.directories().store.join("staged");
    fs::write(&staged, "built").unwrap();
    let built = crate::store::StagedOutput {
        staged,
        path: output.clone(),
        candidates: BTreeSet::new(),
        deriver: Some(drv.clone()),
    };
    store.register_outputs(vec![built]).unwrap();
    let before = infos(&store);
    // Real ones, of a run that was killed.
    fs::write(
        store
            .directories()
            .store
            .join(format!("{}-a.lock", "b".repeat(32))),
        "",
    )
    .unwrap();
    fs::create_dir(
        store
            .directories()
            .store
            .join(format!("{}.chroot", made.output.base_name())),
    )
    .unwrap();
    drop(store);
    fs::remove_file(made.database("db.sqlite")).unwrap();

    let (store, recovered) = recover(made.directories(), options()).unwrap();
    assert!(recovered.is_complete(), "{recovered:?}");
    assert_eq!(infos(&store), before);
    for path in [&lock, &alone, &root, &drv] {
        assert!(recovered.proven.contains(path), "{}", path.base_name());
    }
    assert_eq!(recovered.taken, [made.output.clone(), output].into());
}

#[test]
fn what_is_gone_and_was_there_is_lost_too() {
    let made = made();
    let store = Store::open(made.directories()).unwrap();
    store.add_root("tool", &made.output).unwrap();
    drop(store);
    for gone in [&made.source, &made.output] {
        remove_tree(&made.directories().physical(gone)).unwrap();
    }
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (_, recovered) = recover(made.directories(), options()).unwrap();
    let lost = |path: &StorePath| recovered.lost.get(path).map_or("", String::as_str);
    assert!(
        lost(&made.output).contains("/tool leads to it"),
        "{recovered:?}"
    );
    assert!(
        lost(&made.source).contains("-tool.drv refers to it"),
        "{recovered:?}"
    );
    assert!(lost(&made.derivation).contains("which is gone"));
}
