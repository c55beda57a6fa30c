// SPDX-License-Identifier: GPL-3.0-or-later
//! Archives, compared with Nix's to the byte, both ways.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the message"
)]

mod oracle;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bootstrap::formats::base32;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::store::nar;
use bootstrap::store::scan::hash_and_scan;
use oracle::Oracle;

/// A tree with what trees can have: empty files and directories, all paddings, links to nowhere, names whose order by
/// bytes is not that of any language, and files larger than any buffer.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("deep/er/est")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for length in 0..=17 {
        fs::write(root.join(format!("length-{length}")), vec![b'x'; length]).unwrap();
    }
    for name in [
        "a",
        "B",
        "a-b",
        "a.b",
        "ab",
        "\u{e9}",
        " ",
        "-",
        "a\nb",
        "deep/er/est/file",
    ] {
        fs::write(root.join(name), name).unwrap();
    }
    let large: Vec<u8> = (0..3_000_001u32)
        .map(|index| (index.wrapping_mul(index) >> 7) as u8)
        .collect();
    fs::write(root.join("large"), large).unwrap();
    fs::write(root.join("exactly-a-chunk"), vec![7; 256 * 1024]).unwrap();
    fs::write(root.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("program"), Permissions::from_mode(0o755)).unwrap();
    // Only the owner's execute bit counts.
    fs::write(root.join("group-program"), "").unwrap();
    fs::set_permissions(root.join("group-program"), Permissions::from_mode(0o611)).unwrap();
    symlink("nowhere/..//x", root.join("link")).unwrap();
    symlink("/etc/passwd", root.join("deep/absolute")).unwrap();
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for index in 0..500 {
        fs::write(
            many.join(index.to_string()),
            index.to_string().repeat(index),
        )
        .unwrap();
    }
}

fn cases(oracle: &Oracle) -> Vec<PathBuf> {
    let tree = oracle.scratch("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    ["", "large", "link", "program", "empty", "length-8"]
        .map(|name| tree.join(name))
        .into()
}

fn nix_dump(oracle: &Oracle, path: &Path) -> Vec<u8> {
    oracle.run("nix-store", &["--dump".as_ref(), path.as_os_str()])
}

#[test]
fn our_archives_are_those_of_nix() {
    let oracle = Oracle::new();
    for path in cases(&oracle) {
        let expected = nix_dump(&oracle, &path);
        let mut archive = Vec::new();
        nar::dump(&path, &mut archive).unwrap();
        assert!(archive == expected, "{}", path.display());
        let tree = Tree::parse(&mut archive.as_slice()).unwrap();
        assert!(tree.to_nar().unwrap() == expected, "{}", path.display());
    }
}

#[test]
fn we_restore_archives_of_nix() {
    let oracle = Oracle::new();
    for (index, path) in cases(&oracle).iter().enumerate() {
        let archive = nix_dump(&oracle, path);
        let target = oracle.scratch(&format!("restored-{index}"));
        nar::restore(&mut archive.as_slice(), &target).unwrap();
        assert!(nix_dump(&oracle, &target) == archive, "{}", path.display());
    }
}

#[test]
fn nix_restores_our_archives() {
    let oracle = Oracle::new();
    for (index, path) in cases(&oracle).iter().enumerate() {
        let file = oracle.scratch("archive");
        let mut archive = Vec::new();
        nar::dump(path, &mut archive).unwrap();
        fs::write(&file, &archive).unwrap();
        let target = oracle.scratch(&format!("restored-{index}"));
        let script = "exec nix-store --restore \"$1\" < \"$0\"";
        let arguments = [
            "-c".as_ref(),
            script.as_ref(),
            file.as_os_str(),
            target.as_os_str(),
        ];
        oracle.run("sh", &arguments);
        let mut again = Vec::new();
        nar::dump(&target, &mut again).unwrap();
        assert!(again == archive, "{}", path.display());
    }
}

#[test]
fn our_hash_of_a_tree_is_that_of_nix_hash() {
    let oracle = Oracle::new();
    for path in cases(&oracle) {
        let scanned = hash_and_scan(&path, &BTreeSet::new()).unwrap();
        let arguments = ["--type", "sha256", "--base32"].map(AsRef::as_ref);
        let arguments = [arguments.as_slice(), &[path.as_os_str()]].concat();
        let theirs = oracle.lines("nix-hash", &arguments);
        assert_eq!(theirs, [base32::encode(&scanned.nar_sha256.0)]);
        let archive = nix_dump(&oracle, &path);
        assert_eq!(scanned.nar_size, archive.len() as u64);
        assert_eq!(scanned.nar_sha256, Sha256Digest::of(&archive));
    }
}

#[test]
fn what_nix_refuses_we_refuse() {
    let oracle = Oracle::new();
    let archive = Tree::directory([("a", Tree::file("1")), ("b", Tree::symlink("a"))])
        .to_nar()
        .unwrap();
    let position = |needle: &[u8]| {
        archive
            .windows(needle.len())
            .position(|window| window == needle)
            .unwrap()
    };
    let corrupt = |at: usize, byte: u8| {
        let mut corrupt = archive.clone();
        corrupt[at] = byte;
        corrupt
    };
    let name = position(b"name\0\0\0\0\x01") + 16;
    let inputs = [
        archive[..archive.len() - 8].to_vec(),
        corrupt(0, 12),
        corrupt(8, b'N'),
        corrupt(name, b'/'),
        corrupt(name, b'.'),
        corrupt(name, 0),
        corrupt(name, b'b'),
        // The padding of the name.
        corrupt(name + 1, 1),
        corrupt(position(b"regular"), b'R'),
        corrupt(position(b"symlink"), b'S'),
    ];
    for (index, input) in inputs.iter().enumerate() {
        let file = oracle.scratch("archive");
        fs::write(&file, input).unwrap();
        let target = oracle.scratch(&format!("theirs-{index}"));
        let script = "exec nix-store --restore \"$1\" < \"$0\"";
        let arguments = [
            "-c".as_ref(),
            script.as_ref(),
            file.as_os_str(),
            target.as_os_str(),
        ];
        let (accepted, _, _) = oracle.try_run("sh", &arguments);
        assert!(!accepted, "Nix accepts number {index}");
        let target = oracle.scratch(&format!("ours-{index}"));
        assert!(
            nar::restore(&mut input.as_slice(), &target).is_err(),
            "number {index}"
        );
    }
}
