// SPDX-License-Identifier: GPL-3.0-or-later
//! Archives, there and back, and what is refused.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use proptest::prelude::*;

use super::*;
use crate::formats::nar::*;

fn sample() -> Tree {
    Tree::directory([
        (
            "bin",
            Tree::directory([("run", Tree::executable("#!/bin/sh\n"))]),
        ),
        ("empty", Tree::directory::<OsString>([])),
        ("file", Tree::file("content")),
        ("link", Tree::symlink("file")),
    ])
}

fn tree_at(path: &Path) -> Tree {
    Tree::parse(&mut archive_of(path).as_slice()).unwrap()
}

fn archive_of(path: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    dump(path, &mut archive).unwrap();
    archive
}

fn problem(archive: &[u8]) -> (u64, NarProblem) {
    match Tree::parse(&mut &*archive) {
        Err(NarError::Corrupt { offset, problem }) => (offset, problem),
        other => panic!("{other:?}"),
    }
}

/// An archive made of the given strings, whatever they are.
fn raw(strings: &[&[u8]]) -> Vec<u8> {
    let mut archive = Vec::new();
    encode::strings(&mut archive, strings);
    archive
}

/// A directory with the given entry names, all empty files.
fn with_names(names: &[&[u8]]) -> Vec<u8> {
    let mut archive = raw(&[b"nix-archive-1", b"(", b"type", b"directory"]);
    for name in names {
        encode::entry_start(&mut archive, name);
        encode::file_start(&mut archive, false, 0);
        encode::file_end(&mut archive, 0);
        encode::entry_end(&mut archive);
    }
    encode::directory_end(&mut archive);
    archive
}

#[test]
fn an_empty_file_is_these_bytes() {
    let mut expected = Vec::new();
    for word in ["nix-archive-1", "(", "type", "regular", "contents", "", ")"] {
        expected.extend_from_slice(&(word.len() as u64).to_le_bytes());
        expected.extend_from_slice(word.as_bytes());
        expected.resize(expected.len().next_multiple_of(8), 0);
    }
    assert_eq!(Tree::file("").to_nar().unwrap(), expected);
}

#[test]
fn a_tree_goes_to_disk_and_comes_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    let archive = sample().to_nar().unwrap();
    restore(&mut archive.as_slice(), &one).unwrap();
    assert_eq!(archive_of(&one), archive);
    assert_eq!(tree_at(&one), sample());
    restore_tree(&sample(), &two).unwrap();
    assert_eq!(archive_of(&two), archive);
}

#[test]
fn a_root_may_be_a_file_or_a_link() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, tree) in [
        ("f", Tree::file("x")),
        ("x", Tree::executable("y")),
        ("l", Tree::symlink("nowhere")),
    ] {
        let path = scratch.path().join(name);
        restore_tree(&tree, &path).unwrap();
        assert_eq!(tree_at(&path), tree);
    }
}

#[test]
fn a_large_tree_keeps_its_order_across_threads() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |index: usize| Tree::file(vec![index as u8; index * 97 % 5000]);
    let directory = |from: usize| {
        Tree::directory((from..from + 150).map(|index| (index.to_string(), file(index))))
    };
    let tree = Tree::directory([
        ("a", directory(0)),
        ("b", directory(1000)),
        ("c", Tree::file(vec![9; 3 * stream::CHUNK + 5])),
        ("d", directory(500)),
        ("e", Tree::file(vec![8; stream::CHUNK])),
    ]);
    let path = scratch.path().join("tree");
    restore_tree(&tree, &path).unwrap();
    assert!(archive_of(&path) == tree.to_nar().unwrap());
}

#[test]
fn a_target_that_exists_is_never_touched() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let link = scratch.path().join("link");
    symlink(&outside, &link).unwrap();
    let dangling = scratch.path().join("dangling");
    symlink(scratch.path().join("new"), &dangling).unwrap();
    for target in [&outside, &link, &dangling] {
        for tree in [sample(), Tree::file("x"), Tree::symlink("x")] {
            let error = restore_tree(&tree, target).unwrap_err();
            assert!(
                matches!(&error, NarError::File { path, .. } if path == target),
                "{error}"
            );
        }
    }
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
    assert!(!scratch.path().join("new").exists());
}

#[test]
fn every_truncation_is_reported_at_its_end() {
    let archive = sample().to_nar().unwrap();
    for end in 0..archive.len() {
        assert_eq!(
            problem(&archive[..end]),
            (end as u64, NarProblem::Truncated)
        );
    }
}

#[test]
fn bytes_after_the_archive_are_refused() {
    let mut archive = sample().to_nar().unwrap();
    let end = archive.len() as u64;
    archive.push(0);
    assert_eq!(problem(&archive), (end, NarProblem::Trailing));
}

#[test]
fn padding_must_be_zero() {
    let mut archive = Tree::file("x").to_nar().unwrap();
    archive[8 + 13 + 1] = 7;
    assert_eq!(problem(&archive), (22, NarProblem::Padding(7)));
    let mut archive = Tree::file("x").to_nar().unwrap();
    let end = archive.len();
    archive[end - 17] = 1;
    assert_eq!(problem(&archive), (end as u64 - 17, NarProblem::Padding(1)));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = vec![b'x'; 256];
    let names: [&[u8]; 8] = [b"", b".", b"..", b"/", b"a/b", b"a\0b", b"../x", &long];
    // Magic, `(`, `type`, `directory`, `entry`, `(`, `name`.
    let offset = 24 + 16 + 16 + 24 + 16 + 16 + 16;
    for name in names {
        let (seen, problem) = problem(&with_names(&[name]));
        assert_eq!(seen, offset);
        assert!(
            matches!(
                problem,
                NarProblem::Entry { .. } | NarProblem::Length { .. }
            ),
            "{problem}"
        );
    }
    assert!(Tree::parse(&mut with_names(&[b"...", b"\xff\x01"]).as_slice()).is_ok());
    for name in ["", ".", "..", "a/b", "a\0b"] {
        let tree = Tree::directory([(name, Tree::file(""))]);
        assert!(matches!(tree.to_nar(), Err(NarError::Entry { .. })));
    }
}

#[test]
fn entries_must_ascend() {
    let names: [[&[u8]; 2]; 3] = [[b"b", b"a"], [b"a", b"a"], [b"ab", b"a"]];
    for names in names {
        let (_, problem) = problem(&with_names(&names));
        assert!(matches!(problem, NarProblem::Order { .. }), "{problem}");
    }
}

#[test]
fn link_targets_must_be_possible() {
    for target in [b"".as_slice(), b"a\0b", &[b'x'; 4096]] {
        let archive = raw(&[
            b"nix-archive-1",
            b"(",
            b"type",
            b"symlink",
            b"target",
            target,
            b")",
        ]);
        let (offset, problem) = problem(&archive);
        assert_eq!(offset, 88);
        assert!(
            matches!(
                problem,
                NarProblem::Entry { .. } | NarProblem::Length { .. }
            ),
            "{problem}"
        );
    }
}

#[test]
fn unknown_words_are_shown_with_their_offset() {
    let archive = raw(&[b"nix-archive-1", b"(", b"type", b"device"]);
    let (offset, problem) = problem(&archive);
    assert_eq!(offset, 56);
    assert_eq!(
        problem.to_string(),
        "expected `regular`, `directory` or `symlink`, saw `device`"
    );
    assert_eq!(self::problem(&raw(&[b"nix-archive-2"])).0, 0);
    let executable = raw(&[
        b"nix-archive-1",
        b"(",
        b"type",
        b"regular",
        b"executable",
        b"x",
    ]);
    assert_eq!(self::problem(&executable).0, 24 + 16 + 16 + 16 + 24);
}

#[test]
fn depth_is_bounded_for_reader_and_writer() {
    let nested =
        |depth: usize| (0..depth).fold(Tree::file(""), |tree, _| Tree::directory([("d", tree)]));
    let deepest = nested(MAX_DEPTH);
    let archive = deepest.to_nar().unwrap();
    assert_eq!(Tree::parse(&mut archive.as_slice()).unwrap(), deepest);
    assert!(matches!(
        nested(MAX_DEPTH + 1).to_nar(),
        Err(NarError::Depth(_))
    ));

    let mut too_deep = raw(&[b"nix-archive-1", b"(", b"type", b"directory"]);
    for _ in 0..100_000 {
        encode::entry_start(&mut too_deep, b"d");
        encode::directory_start(&mut too_deep);
    }
    assert_eq!(problem(&too_deep).1, NarProblem::Depth);

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("deep");
    restore_tree(&deepest, &path).unwrap();
    assert!(archive_of(&path) == archive);
    let deeper = (0..MAX_DEPTH).fold(path.clone(), |path, _| path.join("d"));
    fs::remove_file(&deeper).unwrap();
    fs::create_dir(&deeper).unwrap();
    let error = dump(&path, &mut io::sink()).unwrap_err();
    assert!(matches!(error, NarError::Depth(_)), "{error}");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    // 2^62 bytes of file, of which none come.
    let mut archive = raw(&[b"nix-archive-1", b"(", b"type", b"regular", b"contents"]);
    archive.extend_from_slice(&(1u64 << 62).to_le_bytes());
    let end = archive.len() as u64;
    assert_eq!(problem(&archive), (end, NarProblem::Truncated));
    let length = archive.len();
    archive[length - 8..].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        problem(&archive),
        (
            _,
            NarProblem::Length {
                length: u64::MAX,
                ..
            }
        )
    ));
    // A name of 2^62 bytes.
    let mut archive = with_names(&[]);
    archive.truncate(archive.len() - 16);
    archive.extend(raw(&[b"entry", b"(", b"name"]));
    archive.extend_from_slice(&(1u64 << 62).to_le_bytes());
    assert!(matches!(
        problem(&archive).1,
        NarProblem::Length { what: "a name", .. }
    ));
}

#[test]
fn a_source_that_fails_is_reported_with_its_offset() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let archive = sample().to_nar().unwrap();
    let error = check(&mut archive[..100].chain(Failing)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the archive after byte 100: unplugged"
    );
}

#[test]
fn a_source_of_single_bytes_does_as_well() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }
    let archive = sample().to_nar().unwrap();
    assert_eq!(Tree::parse(&mut Slow(&archive)).unwrap(), sample());
}

#[test]
fn special_files_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "").unwrap();
    let _listener = UnixListener::bind(root.join("s")).unwrap();
    for path in [root.clone(), root.join("s")] {
        let error = dump(&path, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("tree/s is a socket"), "{error}");
    }
    let error = dump(Path::new("/dev/null"), &mut io::sink()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/dev/null is a character device"),
        "{error}"
    );
    // Among so many files that threads do the work, and the error must find its way out.
    for index in 0..300 {
        fs::write(root.join(format!("z{index}")), [1; 4000]).unwrap();
    }
    let error = dump(&root, &mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("tree/s is a socket"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let missing = scratch.path().join("missing");
    let error = dump(&missing, &mut io::sink()).unwrap_err();
    assert!(matches!(&error, NarError::File { action: "examine", path, .. } if *path == missing));
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if !rustix::process::geteuid().is_root() {
        let error = dump(&file, &mut io::sink()).unwrap_err();
        assert!(
            matches!(error, NarError::File { action: "open", .. }),
            "{error}"
        );
    }
}

#[test]
fn a_sink_that_fails_ends_the_work() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    for size in [10, 4_000_000] {
        for index in 0..100 {
            fs::write(scratch.path().join(format!("{index}")), vec![1; size / 100]).unwrap();
        }
        let error = dump(scratch.path(), &mut Full).unwrap_err();
        assert!(matches!(error, NarError::Sink(_)), "{error}");
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let name = proptest::collection::vec(1u8.., 1..9)
        .prop_filter("a name that a file can have", |name| {
            name_problem(name).is_none()
        })
        .prop_map(OsString::from_vec);
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        (any::<bool>(), bytes).prop_map(|(executable, contents)| Tree::File {
            executable,
            contents
        }),
        name.clone().prop_map(Tree::Symlink),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        proptest::collection::btree_map(name.clone(), inner, 0..6).prop_map(Tree::Directory)
    })
}

proptest! {
    #[test]
    fn any_tree_survives_its_archive(tree in any_tree()) {
        let archive = tree.to_nar().unwrap();
        prop_assert_eq!(archive.len() % 8, 0);
        prop_assert_eq!(Tree::parse(&mut archive.as_slice()).unwrap(), tree);
    }

    #[test]
    fn a_changed_byte_is_refused_or_archived_again(tree in any_tree(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = tree.to_nar().unwrap();
        let at = at.index(archive.len());
        archive[at] = byte;
        if let Ok(tree) = Tree::parse(&mut archive.as_slice()) {
            prop_assert_eq!(tree.to_nar().unwrap(), archive);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_tree_survives_the_disk(tree in any_tree()) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tree");
        restore_tree(&tree, &path).unwrap();
        prop_assert_eq!(archive_of(&path), tree.to_nar().unwrap());
    }
}
