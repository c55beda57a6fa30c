// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::store::error::RootError;
use crate::store::roots::{GcRoot, RootKind};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

fn labels(pairs: &[(&str, char)]) -> BTreeMap<String, StorePath> {
    pairs
        .iter()
        .map(|(label, letter)| ((*label).to_owned(), path(*letter)))
        .collect()
}

#[test]
fn named_roots_are_links_to_logical_paths() {
    let store = TestStore::new();
    let link = store.add_root("tools/gcc", &path('a')).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new(&full(&path('a'))));
    assert!(link.ends_with("var/guix/gcroots/bootstrap/tools/gcc"));
    store.add_root("tools/gcc", &path('b')).unwrap();
    let expected = GcRoot {
        link,
        kind: RootKind::Named("tools/gcc".to_owned()),
        path: path('b'),
    };
    assert_eq!(store.roots().unwrap(), [expected]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let store = TestStore::new();
    for name in [
        "", "/etc/x", "../x", "a/../b", "a//b", ".hidden", "a/", "a\0b",
    ] {
        let error = store.add_root(name, &path('a')).unwrap_err();
        assert!(
            matches!(error, StoreError::Root(RootError::Name(_))),
            "{name:?}: {error:?}"
        );
    }
}

#[test]
fn generations_are_counted_and_not_repeated() {
    let store = TestStore::new();
    let first = labels(&[("gcc", 'a'), ("stage0/make", 'b')]);
    let second = labels(&[("gcc", 'c')]);
    assert_eq!(store.add_generation("all", &first).unwrap(), 1);
    assert_eq!(store.add_generation("all", &first).unwrap(), 1);
    assert_eq!(store.add_generation("all", &second).unwrap(), 2);
    assert_eq!(store.add_generation("all", &first).unwrap(), 3);
    let generations = store.generations("all").unwrap();
    assert_eq!(
        generations.iter().map(|one| one.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(generations[1].roots, second);
    assert_eq!(generations[2].roots, first);
    assert_eq!(store.roots().unwrap().len(), 5);
    assert!(store.remove_generation("all", 1).unwrap());
    assert!(!store.remove_generation("all", 1).unwrap());
    assert_eq!(store.roots().unwrap().len(), 3);
    assert!(store.generations("none").unwrap().is_empty());
}

#[test]
fn indirect_roots_go_with_the_users_link() {
    let store = TestStore::new();
    let link = store.directory.path().join("result");
    store.add_indirect_root(&link, &path('a')).unwrap();
    store.add_indirect_root(&link, &path('b')).unwrap();
    let roots = store.roots().unwrap();
    assert_eq!(roots.len(), 1);
    assert_eq!(
        (&roots[0].kind, &roots[0].path),
        (&RootKind::Indirect, &path('b'))
    );
    fs::remove_file(&link).unwrap();
    assert!(store.roots().unwrap().is_empty());
    let auto = store.directories().state.join("gcroots/auto");
    assert_eq!(fs::read_dir(&auto).unwrap().count(), 1);
    store.tidy_roots().unwrap();
    assert_eq!(fs::read_dir(&auto).unwrap().count(), 0);
}

#[test]
fn indirect_roots_replace_nothing_of_the_users() {
    let store = TestStore::new();
    let occupied = store.directory.path().join("file");
    fs::write(&occupied, "mine").unwrap();
    let elsewhere = store.directory.path().join("link");
    symlink("/etc/passwd", &elsewhere).unwrap();
    for link in [&occupied, &elsewhere] {
        let error = store.add_indirect_root(link, &path('a')).unwrap_err();
        assert!(
            matches!(error, StoreError::Root(RootError::Occupied(_))),
            "{error:?}"
        );
    }
    assert_eq!(fs::read_to_string(&occupied).unwrap(), "mine");
    let inside = store.place().join("x");
    let error = store.add_indirect_root(&inside, &path('a')).unwrap_err();
    assert!(
        matches!(error, StoreError::Root(RootError::InsideStore(_))),
        "{error:?}"
    );
}

#[test]
fn guix_roots_are_seen() {
    let store = TestStore::new();
    let state = &store.directories().state;
    let user = state.join("profiles/per-user/alice");
    fs::create_dir_all(&user).unwrap();
    symlink(
        format!("{}/sub", full(&path('a'))),
        user.join("guix-profile-1-link"),
    )
    .unwrap();
    symlink("guix-profile-1-link", user.join("guix-profile")).unwrap();
    fs::write(state.join("gcroots").join(path('b').base_name()), "").unwrap();
    symlink("/nonexistent", state.join("gcroots/broken")).unwrap();
    symlink("loop", state.join("gcroots/loop")).unwrap();
    let found: BTreeSet<StorePath> = store
        .roots()
        .unwrap()
        .into_iter()
        .map(|root| root.path)
        .collect();
    assert_eq!(found, BTreeSet::from([path('a'), path('b')]));
}

#[test]
fn a_link_is_registered_as_a_root_as_it_is() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let link = store.directory.path().join("result");
    symlink(full(&a), &link).unwrap();
    store.register_indirect_root(&link).unwrap();
    let expected = GcRoot {
        link: link.clone(),
        kind: RootKind::Indirect,
        path: a,
    };
    assert_eq!(store.roots().unwrap(), [expected]);
    // It is the link that decides, now and later.
    fs::remove_file(&link).unwrap();
    assert!(store.roots().unwrap().is_empty());
}

/// Root can read every directory, so another user's thread reads them.
#[cfg(target_os = "linux")]
#[test]
fn profiles_that_may_not_be_read_are_skipped_and_gcroots_are_not() {
    use std::os::unix::fs::PermissionsExt;
    let store = TestStore::new();
    fs::set_permissions(store.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = &store.directories().state;
    let make = |name: &str, letter: char, mode| {
        let directory = state.join(name);
        fs::create_dir_all(&directory).unwrap();
        symlink(full(&path(letter)), directory.join("link")).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        directory
    };
    make("profiles/per-user/alice", 'a', 0o755);
    let private = make("profiles/per-user/bob", 'b', 0o000);
    let roots = || {
        as_another_user(|| store.roots()).map(|roots| {
            let mut paths: Vec<StorePath> = roots.into_iter().map(|root| root.path).collect();
            paths.sort();
            paths
        })
    };
    assert_eq!(roots().unwrap(), [path('a')]);
    let hidden = make("gcroots/hidden", 'c', 0o000);
    let error = roots().unwrap_err().to_string();
    assert!(error.contains("gcroots/hidden"), "{error}");
    for directory in [private, hidden] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(roots().unwrap(), ['a', 'b', 'c'].map(path));
}

/// Does `work` in a thread that is not root.
#[cfg(target_os = "linux")]
fn as_another_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::process::Uid;
    let work = || {
        if rustix::process::geteuid().is_root() {
            let user = Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        }
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}
