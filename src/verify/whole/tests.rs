// SPDX-License-Identifier: GPL-3.0-or-later
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::formats::nar::Tree;
use crate::store::canonical;
use crate::verify::testing::{VerifyTestStore, path, unlock};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn small(store: &VerifyTestStore) -> PathBuf {
    let tree = Tree::directory([
        ("bin", Tree::directory([("tool", Tree::executable("run"))])),
        ("readme", Tree::file("read")),
    ]);
    store.item(&path('a', "tool-1.0"), &tree)
}

/// The condition of the only damaged item, after `damage`.
fn condition_after(damage: impl FnOnce(&PathBuf)) -> Condition {
    let store = VerifyTestStore::new();
    let place = small(&store);
    store.item(&path('b', "other"), &Tree::file("x"));
    damage(&place);
    let report = everything(&store.store, TWO, &|| true).unwrap();
    assert_eq!(report.items.len(), 2);
    let damaged: Vec<&Checked> = report.damaged().collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert_eq!(damaged[0].info.path, path('a', "tool-1.0"));
    damaged[0].condition.clone()
}

#[test]
fn a_store_that_nobody_touched_is_intact() {
    let store = VerifyTestStore::new();
    small(&store);
    let report = everything(&store.reader(), TWO, &|| true).unwrap();
    assert_eq!(report.items.len(), 1);
    assert!(report.damaged().next().is_none());
    assert_eq!(report.strays, Strays::default());
    assert_eq!(report.bytes, report.items[0].info.nar_size);
}

#[test]
fn a_flipped_bit_is_found_though_time_and_mode_are_put_back() {
    let condition = condition_after(|place| {
        let file = place.join("readme");
        unlock(&file);
        fs::write(&file, "read".replace('e', "d")).unwrap();
        canonical::canonicalise(place).unwrap();
    });
    assert!(
        matches!(&condition, Condition::Altered { suspects, .. } if suspects.is_empty()),
        "{condition:?}"
    );
}

#[test]
fn an_altered_file_is_named_where_its_metadata_tells() {
    let condition = condition_after(|place| {
        let file = place.join("bin/tool");
        unlock(&file);
        fs::write(&file, "walk").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o555)).unwrap();
        fs::set_permissions(place.join("bin"), fs::Permissions::from_mode(0o555)).unwrap();
    });
    let Condition::Altered { suspects, .. } = condition else {
        panic!("{condition:?}");
    };
    let names: Vec<_> = suspects.iter().map(|suspect| &suspect.path).collect();
    assert_eq!(names, [&PathBuf::from("bin/tool")]);
}

#[test]
fn files_added_and_removed_are_alterations() {
    let added = condition_after(|place| {
        unlock(&place.join("readme"));
        fs::write(place.join("new"), "").unwrap();
    });
    assert!(matches!(added, Condition::Altered { .. }), "{added:?}");
    let removed = condition_after(|place| {
        unlock(&place.join("readme"));
        fs::remove_file(place.join("readme")).unwrap();
    });
    assert!(matches!(removed, Condition::Altered { .. }), "{removed:?}");
}

#[test]
fn another_execute_bit_is_an_alteration() {
    let condition = condition_after(|place| {
        let mode = fs::Permissions::from_mode(0o555);
        fs::set_permissions(place.join("readme"), mode).unwrap();
    });
    assert!(matches!(condition, Condition::Altered { .. }));
}

#[test]
fn a_file_that_was_only_touched_or_made_writable_is_told_apart() {
    let touched = condition_after(|place| {
        let file = fs::File::open(place.join("readme")).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    });
    assert!(
        matches!(&touched, Condition::Touched(files) if files[0].path.ends_with("readme")),
        "{touched:?}"
    );
    let writable = condition_after(|place| {
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(place.join("readme"), mode).unwrap();
    });
    assert!(matches!(&writable, Condition::Touched(files) if files.len() == 1));
}

#[test]
fn what_is_gone_is_missing() {
    let condition = condition_after(|place| {
        crate::store::remove::remove_tree(place).unwrap();
    });
    assert_eq!(condition, Condition::Missing);
}

#[test]
fn a_fifo_in_an_item_is_named_and_not_waited_for() {
    let condition = condition_after(|place| {
        unlock(&place.join("readme"));
        let status = std::process::Command::new("mkfifo")
            .arg(place.join("pipe"))
            .status()
            .unwrap();
        assert!(status.success());
    });
    assert!(
        matches!(&condition, Condition::Unreadable(detail) if detail.ends_with("pipe is a FIFO")),
        "{condition:?}"
    );
}

#[test]
fn unregistered_and_foreign_entries_are_told_apart_from_work_in_progress() {
    let store = VerifyTestStore::new();
    small(&store);
    let directory = &store.store.directories().store;
    let left = path('c', "left-1.0");
    fs::create_dir(directory.join(left.base_name())).unwrap();
    fs::write(directory.join("notes.txt"), "").unwrap();
    fs::create_dir(directory.join(format!("{}.chroot", path('d', "x").base_name()))).unwrap();
    let report = everything(&store.store, TWO, &|| true).unwrap();
    assert_eq!(report.strays.unregistered, [left]);
    assert_eq!(report.strays.foreign, ["notes.txt"]);
    assert_eq!(report.strays.in_progress.len(), 1);
}

#[test]
fn a_bit_flipped_in_a_recorded_hash_shows_as_an_altered_item() {
    let store = VerifyTestStore::new();
    small(&store);
    let file = store.store.directories().state.join("db/db.sqlite");
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute(
            "UPDATE ValidPaths SET hash = replace(hash, substr(hash, 8, 1), \
             CASE substr(hash, 8, 1) WHEN '0' THEN '1' ELSE '0' END)",
            [],
        )
        .unwrap();
    let report = everything(&store.reader(), TWO, &|| true).unwrap();
    assert!(matches!(
        report.items[0].condition,
        Condition::Altered { .. }
    ));
}

#[test]
fn nonsense_in_the_database_is_named() {
    let store = VerifyTestStore::new();
    small(&store);
    let file = store.store.directories().state.join("db/db.sqlite");
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute("UPDATE ValidPaths SET hash = 'sha256:zz'", [])
        .unwrap();
    let error = everything(&store.reader(), TWO, &|| true).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tool-1.0 has the hash `sha256:zz`"),
        "{error}"
    );
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("bootstrap verify --recover"), "{help}");
}

#[test]
fn a_database_that_is_gone_is_not_an_empty_store() {
    let store = VerifyTestStore::new();
    small(&store);
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        let _ = fs::remove_file(store.store.directories().state.join("db").join(name));
    }
    let options = crate::store::OpenOptions {
        access: crate::store::Access::ReadOnly,
        ..Default::default()
    };
    let error = Store::open_with(VerifyTestStore::directories(&store.root), options).unwrap_err();
    assert!(error.to_string().contains("is missing, though"), "{error}");
}

/// Not a test: the process of the test below, whose calls that set times say that they worked and do nothing.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn process_without_times() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    if std::env::var_os("BOOTSTRAP_TEST_TIMES").is_none() {
        return;
    }
    let set_times = std::collections::BTreeMap::from([(libc::SYS_utimensat, Vec::new())]);
    let ignored = SeccompAction::Errno(0);
    let filter = SeccompFilter::new(set_times, SeccompAction::Allow, ignored, TargetArch::x86_64);
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&filter).unwrap();

    let store = VerifyTestStore::new();
    let place = small(&store);
    assert!(
        !crate::store::canonical::deviations(&place)
            .unwrap()
            .is_empty()
    );
    let found = |what: &str| {
        let report = everything(&store.reader(), TWO, &|| true).unwrap();
        let conditions = report.items.iter().map(|checked| &checked.condition);
        let count = conditions
            .filter(|condition| !condition.is_intact())
            .count();
        println!("\n{what}: {count}");
        count
    };
    assert_eq!(found("without times"), 0);
    // Everything else still counts.
    let mut pending = vec![place];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
    }
    assert_eq!(found("with another mode"), 1);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn where_times_are_not_kept_they_are_not_compared() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "verify::whole::tests::process_without_times",
            "--nocapture",
        ])
        .env("BOOTSTRAP_TEST_TIMES", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("with another mode: 1"), "{text}");
}

#[test]
fn a_check_ends_when_it_is_to_stop_also_within_an_item() {
    let store = VerifyTestStore::new();
    let place = small(&store);
    let file = place.join("readme");
    unlock(&file);
    let sparse = fs::OpenOptions::new().write(true).open(&file).unwrap();
    sparse.set_len(4 << 40).unwrap();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let goes_on = || asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3;
    let error = everything(&store.store, TWO, &goes_on).unwrap_err();
    assert!(
        matches!(error, StoreError::Nar(NarError::Stopped)),
        "{error}"
    );
}
