use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::derivation::{DerivationSet, Output, instantiate};
use crate::store::lock::{LockError, Patience};
use crate::store::nar::Tree;
use crate::store::remove::remove_tree;

fn options() -> OpenOptions {
    OpenOptions::default()
}

struct Made {
    root: PathBuf,
    source: StorePath,
    derivation: StorePath,
    output: StorePath,
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = remove_tree(&self.root);
    }
}

impl Made {
    fn directories(&self) -> Directories {
        Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(&self.root))
    }

    fn database(&self, name: &str) -> PathBuf {
        self.directories().state.join("db").join(name)
    }
}

/// A store with a source, a derivation that uses it, and its output, which refers to the source and itself.
fn made() -> Made {
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
    Tree::directory([("tool", Tree::file(content))])
        .restore(&staged)
        .unwrap();
    let output = crate::store::StagedOutput {
        staged,
        path: output.clone(),
        candidates: [source.clone(), output].into(),
        deriver: Some(path.clone()),
    };
    let infos = store.register_outputs(vec![output]).unwrap();
    Made {
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
    // Somebody changed the source: nothing that was built from it can be traced any more.
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
    assert!(recovered.lost[&made.source].contains("does not follow from its content"));
    assert!(recovered.lost[&made.derivation].contains("which is gone"));
    assert!(recovered.lost[&made.output].contains("which is gone"));
    // Nothing was removed.
    assert!(place.exists());
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

#[test]
fn what_a_root_keeps_and_is_gone_is_lost_and_other_outputs_are_absent() {
    let made = made();
    let store = Store::open(made.directories()).unwrap();
    store.add_root("tool", &made.output).unwrap();
    drop(store);
    remove_tree(&made.directories().physical(&made.output)).unwrap();
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (store, recovered) = recover(made.directories(), options()).unwrap();
    let reason = &recovered.lost[&made.output];
    assert!(
        reason.contains("gcroots/bootstrap/tool keeps it"),
        "{reason}"
    );
    assert!(recovered.absent.is_empty() && !recovered.is_complete());

    store.remove_root("tool").unwrap();
    drop(store);
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (_, recovered) = recover(made.directories(), options()).unwrap();
    assert_eq!(recovered.absent, [made.output.clone()].into());
    assert!(recovered.is_complete());
}

#[test]
fn nobody_finds_an_empty_store_before_all_is_registered() {
    let made = made();
    fs::remove_file(made.database("db.sqlite")).unwrap();
    let (mut store, ()) = Store::open_anew(made.directories(), options(), |_| Ok(())).unwrap();
    let others = || {
        let options = OpenOptions {
            patience: Patience {
                timeout: Some(Duration::from_millis(20)),
                ..Patience::default()
            },
            ..options()
        };
        let open = || Store::open_with(made.directories(), options).map(drop);
        std::thread::scope(|scope| scope.spawn(open).join().unwrap())
    };
    let error = others().unwrap_err();
    assert!(
        matches!(error, StoreError::Lock(LockError::TimedOut { .. })),
        "{error}"
    );
    store.let_others_in().unwrap();
    others().unwrap();
}

#[test]
fn a_database_that_somebody_else_has_made_anew_is_left_alone() {
    let made = made();
    fs::remove_file(made.database("db.sqlite")).unwrap();
    drop(recover(made.directories(), options()).unwrap());
    let error = recover(made.directories(), options()).unwrap_err();
    assert!(
        matches!(error, StoreError::Database(DatabaseError::Whole { .. })),
        "{error}"
    );
    let store = Store::open(made.directories()).unwrap();
    assert_eq!(store.valid_paths().unwrap().len(), 3);
}
