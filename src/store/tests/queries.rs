// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::store::DatabaseError;

#[test]
fn a_path_is_found_by_its_hash_part() {
    let store = TestStore::new();
    let [a, c] = ['a', 'c'].map(|letter| store.item(letter, &[]));
    let found = |part: &str| store.path_from_hash_part(part).unwrap();
    assert_eq!(found(a.hash_part()), Some(a.clone()));
    assert_eq!(found(c.hash_part()), Some(c));
    // Before, between and behind those that are valid; too short, too long, and not a hash part at all.
    for missing in [
        &"0".repeat(32),
        &"b".repeat(32),
        &"z".repeat(32),
        &"a".repeat(31),
        &"a".repeat(33),
        "",
        &"é".repeat(16),
    ] {
        assert_eq!(found(missing), None, "{missing}");
    }
}

#[test]
fn references_are_those_of_valid_paths_only() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    assert_eq!(store.references(&b).unwrap(), BTreeSet::from([a.clone()]));
    assert_eq!(store.referrers(&a).unwrap(), BTreeSet::from([b]));
    assert!(store.references(&a).unwrap().is_empty());
    let error = store.references(&path('c')).unwrap_err();
    assert!(
        matches!(error, StoreError::Database(DatabaseError::NotValid { .. })),
        "{error}"
    );
}

#[test]
fn failures_are_recorded_until_they_are_cleared() {
    let store = TestStore::new();
    let [a, b, c] = ['a', 'b', 'c'].map(path);
    store.record_failure([&a, &b]).unwrap();
    store.record_failure([&b, &c]).unwrap();
    let all = BTreeSet::from([a.clone(), b.clone(), c.clone()]);
    assert_eq!(store.failed_paths().unwrap(), all);
    assert!(store.has_failed(&a).unwrap());
    store
        .clear_failures(Some(&BTreeSet::from([a.clone(), path('d')])))
        .unwrap();
    assert!(!store.has_failed(&a).unwrap() && store.has_failed(&b).unwrap());
    store.clear_failures(None).unwrap();
    assert!(store.failed_paths().unwrap().is_empty());
}
