// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn modes_and_times(root: &Path) -> BTreeMap<String, (u32, i64)> {
    let mut seen = BTreeMap::new();
    walk(root, DirectoryMode::AsTheyAre, &mut |path, metadata| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        seen.insert(
            name.to_owned(),
            (metadata.mode() & 0o7777, metadata.mtime()),
        );
        Ok(())
    })
    .unwrap();
    seen
}

/// A temporary directory cannot be removed while what is in it is read-only.
fn release(root: &Path) {
    let _ = walk(root, DirectoryMode::AsTheyAre, &mut |path, metadata| {
        if metadata.is_dir() {
            set_mode(path, 0o755)?;
        }
        Ok(())
    });
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn modes_and_times_become_canonical() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("item");
    fs::create_dir_all(root.join("a/b")).unwrap();
    for (name, mode) in [
        ("plain", 0o600),
        ("a/program", 0o4711),
        ("a/others", 0o611),
        ("a/b/none", 0),
    ] {
        fs::write(root.join(name), name).unwrap();
        set(&root.join(name), mode);
    }
    symlink("plain", root.join("link")).unwrap();
    set(&root.join("a/b"), 0o1777);
    canonicalise(&root).unwrap();
    let expected = [
        ("", 0o555),
        ("a", 0o555),
        ("a/b", 0o555),
        ("a/b/none", 0o444),
        ("a/others", 0o444),
        ("a/program", 0o555),
        ("link", 0o777),
        ("plain", 0o444),
    ];
    let expected = expected.map(|(name, mode)| (name.to_owned(), (mode, 1)));
    let seen = modes_and_times(&root);
    release(&root);
    assert_eq!(seen, BTreeMap::from(expected));
}

#[test]
fn what_is_not_canonical_any_more_is_told_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("item");
    fs::create_dir_all(root.join("a")).unwrap();
    fs::write(root.join("a/touched"), "x").unwrap();
    fs::write(root.join("plain"), "x").unwrap();
    canonicalise(&root).unwrap();
    assert_eq!(deviations(&root).unwrap(), []);
    set(&root.join("plain"), 0o644);
    let file = fs::File::open(root.join("a/touched")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7))
        .unwrap();
    let found = deviations(&root).unwrap();
    release(&root);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one.path.to_str().unwrap(), one.problem.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("a/touched", "expected the time 1, saw 7"),
            ("plain", "expected mode 0444, saw 0644"),
        ]
    );
}

#[test]
fn a_directory_that_nobody_may_read_is_no_obstacle() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("item");
    fs::create_dir_all(root.join("closed")).unwrap();
    fs::write(root.join("closed/file"), "").unwrap();
    set(&root.join("closed"), 0);
    canonicalise(&root).unwrap();
    let seen = modes_and_times(&root);
    release(&root);
    assert_eq!(seen["closed/file"], (0o444, 1));
}

#[test]
fn links_are_not_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let (outside, root) = (scratch.path().join("outside"), scratch.path().join("item"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    set(&outside.join("file"), 0o640);
    fs::create_dir(&root).unwrap();
    symlink(&outside, root.join("directory")).unwrap();
    symlink(outside.join("file"), root.join("file")).unwrap();
    let before = modes_and_times(&outside);
    canonicalise(&root).unwrap();
    release(&root);
    assert_eq!(modes_and_times(&outside), before);

    let link = scratch.path().join("link");
    symlink(&outside, &link).unwrap();
    canonicalise(&link).unwrap();
    assert_eq!(fs::symlink_metadata(&link).unwrap().mtime(), 1);
    assert_eq!(modes_and_times(&outside), before);
}

#[test]
fn a_hard_link_to_the_outside_is_refused_before_anything_changes() {
    let scratch = tempfile::tempdir().unwrap();
    let (outside, root) = (scratch.path().join("outside"), scratch.path().join("item"));
    fs::write(&outside, "secret").unwrap();
    set(&outside, 0o600);
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "").unwrap();
    fs::hard_link(&outside, root.join("b")).unwrap();
    let before = modes_and_times(&root);
    let error = canonicalise(&root).unwrap_err();
    assert!(
        matches!(&error, CanonicalError::HardLink { path, links: 2, inside: 1 } if path.ends_with("b")),
        "{error}"
    );
    assert_eq!(modes_and_times(&root), before);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn hard_links_within_the_outputs_are_fine() {
    let scratch = tempfile::tempdir().unwrap();
    let roots = ["out", "lib"].map(|name| scratch.path().join(name));
    for root in &roots {
        fs::create_dir(root).unwrap();
    }
    fs::write(roots[0].join("a"), "").unwrap();
    set(&roots[0].join("a"), 0o755);
    fs::hard_link(roots[0].join("a"), roots[1].join("b")).unwrap();
    assert!(canonicalise(&roots[0]).is_err());
    canonicalise_all(&roots, &[]).unwrap();
    let seen = modes_and_times(&roots[1]);
    roots.iter().for_each(|root| release(root));
    assert_eq!(seen["b"], (0o555, 1));
}

#[test]
fn hard_links_to_outputs_that_are_not_wanted_are_fine() {
    let scratch = tempfile::tempdir().unwrap();
    let [wanted, beside] = ["doc", "out"].map(|name| scratch.path().join(name));
    for root in [&wanted, &beside] {
        fs::create_dir(root).unwrap();
    }
    fs::write(wanted.join("a"), "").unwrap();
    fs::hard_link(wanted.join("a"), beside.join("a")).unwrap();
    assert!(canonicalise(&wanted).is_err());
    canonicalise_all(&[&wanted], &[&beside]).unwrap();
    // A third name is one too many.
    fs::hard_link(beside.join("a"), scratch.path().join("outside")).unwrap();
    assert!(canonicalise_all(&[&wanted], &[&beside]).is_err());
    release(&wanted);
}

#[test]
fn sockets_are_named_and_nothing_changes() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("item");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "").unwrap();
    let _listener = UnixListener::bind(root.join("s")).unwrap();
    let before = fs::metadata(root.join("a")).unwrap().mode();
    let error = canonicalise(&root).unwrap_err();
    assert!(error.to_string().contains("item/s is a socket"), "{error}");
    assert_eq!(fs::metadata(root.join("a")).unwrap().mode(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn extended_attributes_are_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let name = "user.test";
    match rustix::fs::lsetxattr(&file, name, b"1", rustix::fs::XattrFlags::empty()) {
        // The file system of the temporary directory has none: nothing to strip.
        Err(rustix::io::Errno::NOTSUP) => return,
        result => result.unwrap(),
    }
    canonicalise(&file).unwrap();
    let mut names = [0; 64];
    assert_eq!(rustix::fs::llistxattr(&file, &mut names[..]), Ok(0));
}
