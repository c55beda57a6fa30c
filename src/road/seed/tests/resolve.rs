// SPDX-License-Identifier: GPL-3.0-or-later
//! Which lock a seed is made from: the pinned one, or the machine's own.

use super::*;

/// Debian's archive with a newer `libc` than [`packages`].
fn moved() -> Index {
    let mut packages = packages();
    packages[1] = package("libc", "1.1", &[&["libcrypt"]]);
    Index::new(packages)
}

/// What `seed update` of a built-in seed does.
fn replace_lock(place: &SeedDirectories, index: &Index) {
    let update = update(&place.source(), "tools", index, NOW).unwrap();
    replace(&place.source(), "tools", &place.state(), &update.pins).unwrap();
}

#[test]
fn a_seed_is_what_its_lock_pins_whatever_the_archive_has() {
    let place = locked();
    let pinned = load(&place.source(), "tools").unwrap();
    for strictness in [Strictness::Locked, Strictness::Replace] {
        let resolved = place.resolve(strictness).unwrap();
        assert_eq!(
            (&resolved.seed, resolved.changes.len(), resolved.notice()),
            (&pinned, 0, None)
        );
    }
    assert!(!place.state().exists(), "something was written");
}

#[test]
fn a_machines_own_lock_counts_until_it_is_reset() {
    let place = locked();
    let pinned = load(&place.source(), "tools").unwrap();
    replace_lock(&place, &moved());
    let own = place.resolve(Strictness::Replace).unwrap();
    assert_eq!(own.changes[0].to_string(), "libc 1 -> 1.1");
    assert_eq!((own.changes.len(), own.notice()), (1, None));
    let mut archives = own.seed.archives.iter();
    let libc = archives.find(|archive| archive.name == "libc_1.1_amd64.deb");
    assert_eq!(libc.unwrap().sha256, Sha256Digest::of("libc 1.1"));
    assert_eq!(place.resolve(Strictness::Locked).unwrap().seed, pinned);

    assert!(reset(&place.state(), "tools").unwrap());
    assert_eq!(place.resolve(Strictness::Replace).unwrap().seed, pinned);
    assert!(!reset(&place.state(), "tools").unwrap());
}

#[test]
fn a_machines_own_lock_does_not_outlive_the_pinned_one_and_that_is_said() {
    let place = locked();
    replace_lock(&place, &moved());
    // The project pins another version.
    let mut packages = packages();
    packages[4] = package("shell", "1:3", &[]);
    let text = update(&place.source(), "tools", &Index::new(packages), NOW);
    place.write("tools.lock", &text.unwrap().text);
    let resolved = place.resolve(Strictness::Replace).unwrap();
    assert_eq!(resolved.seed, load(&place.source(), "tools").unwrap());
    let notice = resolved.notice().unwrap();
    for words in [
        "seed tools:",
        "tools.lock",
        "seed update tools",
        "seed reset tools",
    ] {
        assert!(notice.contains(words), "{notice}");
    }
}

#[test]
fn where_files_are_may_change_below_a_machines_own_lock() {
    let place = locked();
    replace_lock(&place, &moved());
    let lock = fs::read_to_string(place.directory.path().join("seeds/tools.lock")).unwrap();
    place.write(
        "tools.lock",
        &lock.replace("snapshot 2026", "snapshot 2027"),
    );
    assert_eq!(place.resolve(Strictness::Replace).unwrap().changes.len(), 1);
}

#[test]
fn a_damaged_lock_of_the_machine_is_an_error() {
    let place = locked();
    replace_lock(&place, &moved());
    let file = own_lock(&place.state(), "tools");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(" amd64 ", " ")).unwrap();
    let error = place.resolve(Strictness::Replace).unwrap_err();
    assert!(error.to_string().contains("tools.lock:4"), "{error}");
}
