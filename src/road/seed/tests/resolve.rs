//! What becomes of a lock: used as it is, replaced, refused.

use super::*;

#[test]
fn an_available_lock_is_used_as_it_is() {
    let place = locked();
    let pinned = load(&place.source(), "tools").unwrap();
    let index = Index::new(packages());
    for strictness in [Strictness::Locked, Strictness::Replace] {
        let resolved = place.resolve(strictness, &|_| false, Some(&index)).unwrap();
        assert_eq!((&resolved.seed, resolved.notice()), (&pinned, None));
    }
    // Nothing to fetch, nothing to ask.
    let asked = index.asked.get();
    place
        .resolve(Strictness::Replace, &|_| true, Some(&index))
        .unwrap();
    assert_eq!(index.asked.get(), asked);
}

#[test]
fn gone_versions_are_replaced_once_and_remembered() {
    let place = locked();
    let mut moved = packages();
    for package in &mut moved {
        if package.name == "libc" {
            *package = self::package("libc", "1.1", &[&["libcrypt"]]);
        }
    }
    let index = Index::new(moved);
    let resolved = place
        .resolve(Strictness::Replace, &|_| false, Some(&index))
        .unwrap();
    assert!(resolved.is_new);
    let notice = resolved.notice().unwrap();
    assert!(notice.contains("libc 1 -> 1.1"), "{notice}");
    assert_eq!(notice.lines().count(), 1);
    let libc = resolved
        .seed
        .archives
        .iter()
        .find(|archive| archive.name == "libc_1.1_amd64.deb")
        .unwrap();
    assert_eq!(libc.sha256, Sha256Digest::of("libc 1.1"));

    // A later run uses the same, without asking, and says so again.
    let later = place.resolve(Strictness::Replace, &|_| true, None).unwrap();
    assert_eq!(later.seed, resolved.seed);
    assert!(!later.is_new);
    assert_eq!(later.notice(), resolved.notice());

    // Somebody updates the lock: the replacement is for another one, and counts no more.
    let text = update(&place.source(), "tools", &index).unwrap().text;
    place.write("tools.lock", &text);
    let updated = place.resolve(Strictness::Replace, &|_| true, None).unwrap();
    assert!(updated.changes.is_empty());
    assert_eq!(updated.seed, resolved.seed);
}

#[test]
fn locked_means_the_lock() {
    let place = locked();
    let mut moved = packages();
    moved[4] = package("shell", "1:3", &[]);
    let index = Index::new(moved);
    let error = place
        .resolve(Strictness::Locked, &|_| false, Some(&index))
        .unwrap_err();
    assert!(error.to_string().contains("shell 1:2"), "{error}");
    assert_eq!(error.failure(), SeedFailure::HashDiffers);
    // Also when an earlier run has put something in its place.
    place
        .resolve(Strictness::Replace, &|_| false, Some(&index))
        .unwrap();
    assert!(
        place
            .resolve(Strictness::Locked, &|_| false, Some(&index))
            .is_err()
    );
    // What is in the cache is not gone.
    let pinned = load(&place.source(), "tools").unwrap();
    let locked = place
        .resolve(Strictness::Locked, &|_| true, Some(&index))
        .unwrap();
    assert_eq!(locked.seed, pinned);
}

#[test]
fn other_bytes_of_the_pinned_version_are_an_error_and_never_replace_it() {
    let place = locked();
    let pinned = packages()[4].sha256;
    let mut other = packages();
    other[4].sha256 = Sha256Digest::of("rebuilt");
    let index = Index::new(other.clone());
    let refused = |index: &Index, has: &dyn Fn(&Archive) -> bool| {
        for strictness in [Strictness::Locked, Strictness::Replace] {
            let error = place.resolve(strictness, has, Some(index)).unwrap_err();
            assert_eq!(error.failure(), SeedFailure::HashDiffers);
            let text = error.to_string();
            for words in [
                "tools.lock pins other bytes",
                "shell 1:2",
                &pinned.to_base16(),
                &Sha256Digest::of("rebuilt").to_base16(),
            ] {
                assert!(text.contains(words), "{words}: {text}");
            }
        }
        let state = place.directory.path().join("state");
        assert!(!replacement_file(&state, "tools").exists());
    };
    refused(&index, &|_| false);
    // The size counts, too.
    other[4] = packages()[4].clone();
    other[4].size += 1;
    let error = place
        .resolve(
            Strictness::Replace,
            &|_| false,
            Some(&Index::new(other.clone())),
        )
        .unwrap_err();
    assert_eq!(error.failure(), SeedFailure::HashDiffers);
    // Nor does it slip in where another package is really gone and this one is in the cache.
    other[4].sha256 = Sha256Digest::of("rebuilt");
    other[1] = package("libc", "1.1", &[&["libcrypt"]]);
    let in_cache = |archive: &Archive| archive.name.starts_with("shell");
    let error = place
        .resolve(Strictness::Replace, &in_cache, Some(&Index::new(other)))
        .unwrap_err();
    assert_eq!(error.failure(), SeedFailure::HashDiffers);
    // An archive may offer the right bytes beside others of the same version.
    let mut both = packages();
    both.push(BinaryPackage {
        sha256: Sha256Digest::of("rebuilt"),
        ..packages()[4].clone()
    });
    let resolved = place
        .resolve(Strictness::Locked, &|_| false, Some(&Index::new(both)))
        .unwrap();
    assert!(resolved.changes.is_empty());
}

#[test]
fn an_old_index_with_other_bytes_is_fetched_anew_before_it_is_believed() {
    let place = locked();
    let mut old = packages();
    old[4].sha256 = Sha256Digest::of("older");
    let index = Index {
        refreshed: Some(packages()),
        ..Index::new(old)
    };
    let resolved = place
        .resolve(Strictness::Replace, &|_| false, Some(&index))
        .unwrap();
    assert!(resolved.changes.is_empty());
}

#[test]
fn an_old_index_is_fetched_anew_before_anything_is_called_gone() {
    let place = locked();
    let mut old = packages();
    old.retain(|package| package.name != "libc");
    let index = Index {
        refreshed: Some(packages()),
        ..Index::new(old)
    };
    let resolved = place
        .resolve(Strictness::Locked, &|_| false, Some(&index))
        .unwrap();
    assert!(resolved.changes.is_empty());
}

#[test]
fn a_damaged_replacement_is_an_error() {
    let place = locked();
    let index = Index::new({
        let mut moved = packages();
        moved[4] = package("shell", "1:3", &[]);
        moved
    });
    place
        .resolve(Strictness::Replace, &|_| false, Some(&index))
        .unwrap();
    let file = replacement_file(&place.directory.path().join("state"), "tools");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(" amd64 ", " ")).unwrap();
    let error = place
        .resolve(Strictness::Replace, &|_| true, None)
        .unwrap_err();
    assert!(error.to_string().contains("tools.lock:3"), "{error}");
}
