// SPDX-License-Identifier: GPL-3.0-or-later
use super::derivations::{add_derivation, instantiated};
use super::*;
use crate::formats::derivation::DerivationSet;
use crate::store::registration::StagedOutput;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn what_was_registered_is_told() {
    let store = TestStore::new();
    let [a, b] = ['a', 'b'].map(path);
    let deriver = derivation_path('d');
    let mut first = info(&a, &[&a, &b], Some(&deriver));
    first.registration_time = 1_700_000_000;
    // The one refers to the other, which comes after it.
    store
        .register(&[first.clone(), info(&b, &[], None)])
        .unwrap();
    assert_eq!(store.path_info(&a).unwrap().unwrap(), first);
    let second = store.path_info(&b).unwrap().unwrap();
    assert!(second.registration_time > 1_700_000_000);
    assert_eq!(second.deriver, None);
    assert_eq!(store.path_info(&path('c')).unwrap(), None);
    assert_eq!(
        store.valid_paths().unwrap(),
        BTreeSet::from([a.clone(), b.clone()])
    );
    assert_eq!(store.referrers(&b).unwrap(), BTreeSet::from([a.clone()]));
    assert_eq!(store.referrers(&a).unwrap(), BTreeSet::from([a.clone()]));
    let row = store.query::<String>(
        "SELECT path || ' ' || hash || ' ' || registrationTime || ' ' || deriver || ' ' || narSize \
         FROM ValidPaths ORDER BY id",
    );
    let digest = Sha256Digest::of(a.base_name()).to_base16();
    assert_eq!(
        row,
        format!(
            "{} sha256:{digest} 1700000000 {} 10000",
            full(&a),
            full(&deriver)
        )
    );
}

#[test]
fn closures_go_all_the_way_and_name_what_is_not_valid() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b]);
    let d = store.item('d', &[&a]);
    let closure = |paths: &[&StorePath]| store.closure(paths.iter().copied());
    assert_eq!(
        closure(&[&c]).unwrap(),
        BTreeSet::from([a.clone(), b, c.clone()])
    );
    assert_eq!(closure(&[&c, &d]).unwrap().len(), 4);
    assert_eq!(closure(&[]).unwrap(), BTreeSet::new());
    let error = closure(&[&a, &path('x')]).unwrap_err();
    assert!(error.to_string().contains(path('x').base_name()), "{error}");
}

#[test]
fn one_bad_registration_keeps_all_out() {
    let store = TestStore::new();
    let [a, b, x] = ['a', 'b', 'x'].map(path);
    let error = store
        .register(&[info(&a, &[], None), info(&b, &[&x], None)])
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Database(DatabaseError::InvalidReference { .. })
        ),
        "{error:?}"
    );
    assert!(store.valid_paths().unwrap().is_empty());
}

#[test]
fn circles_of_references_are_refused() {
    let store = TestStore::new();
    let [a, b, c, d, f] = ['a', 'b', 'c', 'd', 'f'].map(path);
    // d and f are above and below the circle, not part of it.
    let error = store
        .register(&[
            info(&a, &[&b], None),
            info(&b, &[&c], None),
            info(&c, &[&a, &f], None),
            info(&d, &[&a], None),
            info(&f, &[], None),
        ])
        .unwrap_err();
    let StoreError::Database(DatabaseError::Cycle { path, reference }) = error else {
        panic!("{error:?}");
    };
    for named in [path, reference] {
        assert!(
            [&a, &b, &c]
                .iter()
                .any(|path| named.ends_with(path.base_name())),
            "{named}"
        );
    }
    assert!(store.valid_paths().unwrap().is_empty());
}

#[test]
fn registering_again_replaces() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let mut again = info(&b, &[], None);
    again.nar_size = 7;
    store.register(&[again]).unwrap();
    let found = store.path_info(&b).unwrap().unwrap();
    assert_eq!((found.nar_size, found.references.len()), (7, 0));
}

#[test]
fn derivations_are_recorded_with_their_outputs() {
    let store = TestStore::new();
    let (drv, derivation) = instantiated(&store, "a", &[], &[], &mut DerivationSet::new());
    let output = derivation.output_path("out").unwrap().clone();
    assert_eq!(add_derivation(&store, "a", &derivation).unwrap(), drv);
    assert_eq!(
        store.derivers(&output).unwrap(),
        BTreeSet::from([drv.clone()])
    );
    let outputs = store.derivation_outputs(&drv).unwrap();
    assert_eq!(outputs, [("out".to_owned(), output)].into());
    assert!(store.derivation_outputs(&path('x')).unwrap().is_empty());
}

#[test]
fn what_is_called_a_derivation_has_to_be_one() {
    let store = TestStore::new();
    let error = store
        .add_text("a.drv", b"Derive(nothing", &BTreeSet::new())
        .unwrap_err();
    assert!(matches!(error, StoreError::Derivation { .. }), "{error:?}");
    assert!(store.valid_paths().unwrap().is_empty());
}

fn staged(staged: &Path, path: &StorePath, candidates: &[&StorePath]) -> StagedOutput {
    StagedOutput {
        staged: staged.to_owned(),
        path: path.clone(),
        candidates: candidates.iter().map(|path| (*path).clone()).collect(),
        deriver: None,
    }
}

#[test]
fn outputs_of_a_build_become_valid_together() {
    let store = TestStore::new();
    let input = store.item('i', &[]);
    let unused = store.item('n', &[]);
    let [out, lib] = ['a', 'b'].map(path);
    let locks = store.lock([&out, &lib]).unwrap();
    let build = store.staging_directory(&locks, &out).unwrap();
    fs::create_dir_all(build.join("out/bin")).unwrap();
    fs::write(
        build.join("out/bin/tool"),
        format!("#!{}/sh {}", full(&input), full(&lib)),
    )
    .unwrap();
    fs::set_permissions(
        build.join("out/bin/tool"),
        fs::Permissions::from_mode(0o4711),
    )
    .unwrap();
    fs::write(build.join("lib"), "alone").unwrap();
    let all = [&input, &unused, &out, &lib];
    let prepared = store
        .prepare_outputs(
            &locks,
            vec![
                staged(&build.join("out"), &out, &all),
                staged(&build.join("lib"), &lib, &all),
            ],
            &|| true,
        )
        .unwrap();
    assert!(
        !store.is_valid(&out).unwrap(),
        "not before they are committed"
    );
    let tool = fs::metadata(build.join("out/bin/tool")).unwrap();
    assert_eq!(
        tool.permissions().mode() & 0o7777,
        0o555,
        "canonical before the move"
    );
    let infos = prepared.commit().unwrap();
    assert_eq!(infos[0].references, BTreeSet::from([input, lib.clone()]));
    assert_eq!(store.path_info(&out).unwrap().unwrap(), infos[0]);
    assert!(store.is_valid(&lib).unwrap());
    let tool = fs::metadata(store.directories().physical(&out).join("bin/tool")).unwrap();
    assert_eq!(tool.permissions().mode() & 0o7777, 0o555);
    let top = fs::metadata(store.directories().physical(&out)).unwrap();
    assert_eq!(
        top.permissions().mode() & 0o7777,
        0o555,
        "the move leaves no write permission"
    );
    store.remove_staging_directory(&locks, &out).unwrap();
    drop(locks);
    assert_eq!(store.names().len(), 4, "{:?}", store.names());
}

#[test]
fn outputs_need_their_locks() {
    let store = TestStore::new();
    let locks = store.lock([&path('a')]).unwrap();
    let error = store
        .prepare_outputs(
            &locks,
            vec![staged(Path::new("/nonexistent"), &path('b'), &[])],
            &|| true,
        )
        .unwrap_err();
    assert!(matches!(error, StoreError::NotLocked { .. }), "{error:?}");
    assert!(store.staging_directory(&locks, &path('b')).is_err());
}

#[test]
fn a_missing_output_is_named() {
    let store = TestStore::new();
    let error = store
        .register_outputs(vec![staged(
            &store.place().join("nothing"),
            &path('a'),
            &[],
        )])
        .unwrap_err();
    assert!(
        matches!(error, StoreError::MissingOutput { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(path('a').base_name()));
}

#[test]
fn leftovers_give_way() {
    let store = TestStore::new();
    let a = path('a');
    let place = store.directories().physical(&a);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("half"), "").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
    let built = store.place().join("built");
    fs::write(&built, "whole").unwrap();
    store
        .register_outputs(vec![staged(&built, &a, &[])])
        .unwrap();
    assert_eq!(fs::read_to_string(&place).unwrap(), "whole");
    assert_eq!(store.names(), BTreeSet::from([a.base_name().to_owned()]));
}

#[test]
fn a_valid_output_is_not_replaced() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let built = store.place().join("built");
    fs::write(&built, "other").unwrap();
    let infos = store
        .register_outputs(vec![staged(&built, &a, &[])])
        .unwrap();
    assert_eq!(infos, [store.path_info(&a).unwrap().unwrap()]);
    assert!(store.directories().physical(&a).join("file").exists());
}

#[test]
fn a_circle_among_outputs_moves_nothing() {
    let store = TestStore::new();
    let [a, b] = ['a', 'b'].map(path);
    let [first, second] = ["1", "2"].map(|name| store.place().join(name));
    fs::write(&first, b.base_name()).unwrap();
    fs::write(&second, a.base_name()).unwrap();
    let error = store
        .register_outputs(vec![
            staged(&first, &a, &[&a, &b]),
            staged(&second, &b, &[&a, &b]),
        ])
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Database(DatabaseError::Cycle { .. })),
        "{error:?}"
    );
    assert!(first.exists() && second.exists());
}

#[test]
fn outputs_cannot_reach_out_of_themselves() {
    let store = TestStore::new();
    let outside = store.directory.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    let build = |prepare: &dyn Fn(&Path)| {
        let locks = store.lock([&path('a')]).unwrap();
        let staging = store.staging_directory(&locks, &path('a')).unwrap();
        fs::create_dir(staging.join("out")).unwrap();
        prepare(&staging.join("out"));
        let output = staged(&staging.join("out"), &path('a'), &[]);
        store
            .prepare_outputs(&locks, vec![output], &|| true)
            .and_then(PreparedOutputs::commit)
    };
    let untouched = || {
        assert_eq!(
            fs::metadata(&outside).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    };
    let refused = |prepare: &dyn Fn(&Path)| {
        let error = build(prepare).unwrap_err();
        assert!(matches!(error, StoreError::Canonical(_)), "{error:?}");
        assert!(error.to_string().contains("out/thing"), "{error}");
        assert!(!store.is_valid(&path('a')).unwrap());
        assert!(!store.directories().physical(&path('a')).exists());
        untouched();
    };
    refused(&|out| fs::hard_link(&outside, out.join("thing")).unwrap());
    refused(&|out| drop(std::os::unix::net::UnixListener::bind(out.join("thing")).unwrap()));
    refused(&|out| {
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            out.join("thing"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
    });
    // A link out is data like any other: it is kept and not followed.
    build(&|out| symlink(&outside, out.join("link")).unwrap()).unwrap();
    untouched();
    let kept = store.directories().physical(&path('a')).join("link");
    assert_eq!(fs::read_link(kept).unwrap(), outside);
}

#[test]
fn an_output_that_is_itself_a_link_is_kept_as_one() {
    let store = TestStore::new();
    let outside = store.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let link = store.place().join("link");
    symlink(&outside, &link).unwrap();
    store
        .register_outputs(vec![staged(&link, &path('a'), &[])])
        .unwrap();
    let place = store.directories().physical(&path('a'));
    assert_eq!(fs::read_link(place).unwrap(), outside);
    assert!(outside.is_dir());
}

#[test]
fn outputs_of_one_build_may_share_files() {
    let store = TestStore::new();
    let [first, second] = ["1", "2"].map(|name| store.place().join(name));
    fs::write(&first, "shared").unwrap();
    fs::hard_link(&first, &second).unwrap();
    let [a, b] = ['a', 'b'].map(path);
    let infos = store
        .register_outputs(vec![staged(&first, &a, &[]), staged(&second, &b, &[])])
        .unwrap();
    assert_eq!((&infos[0].path, &infos[1].path), (&a, &b));
}
