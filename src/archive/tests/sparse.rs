// SPDX-License-Identifier: GPL-3.0-or-later
//! Sparse files of every format, extended attributes, ACLs. `fixtures/make.sh` makes the archives with GNU tar and
//! bsdtar.

use super::*;

/// The archives, each of the same tree.
const ARCHIVES: &[(&str, &[u8])] = &[
    ("gnu-old", include_bytes!("fixtures/gnu-old.tar.xz")),
    ("gnu-0.0", include_bytes!("fixtures/gnu-0.0.tar.xz")),
    ("gnu-0.1", include_bytes!("fixtures/gnu-0.1.tar.xz")),
    ("gnu-1.0", include_bytes!("fixtures/gnu-1.0.tar.xz")),
    (
        "gnu-attributes",
        include_bytes!("fixtures/gnu-attributes.tar.xz"),
    ),
    ("bsd", include_bytes!("fixtures/bsd.tar.xz")),
    ("bsd-mtree", include_bytes!("fixtures/bsd-mtree.tar.xz")),
];

/// A file of `size` zeros with `parts` in them.
fn contents(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut contents = vec![0; size];
    for (offset, part) in parts {
        contents[*offset..*offset + part.len()].copy_from_slice(part);
    }
    contents
}

#[test]
fn sparse_files_arrive_with_their_holes_whatever_packed_them() {
    let many: Vec<(usize, String)> = (0..60)
        .map(|number| (number << 16, format!("part {number}")))
        .collect();
    let many: Vec<(usize, &[u8])> = many
        .iter()
        .map(|(offset, part)| (*offset, part.as_bytes()))
        .collect();
    let long = format!("etc/{}", "n".repeat(150));
    let services: &[(usize, &[u8])] = &[(1_500_000, b"middle"), ((3 << 20) - 3, b"end")];
    let expected = [
        ("bin/sh", b"shell\n".to_vec()),
        ("bin/ash", b"shell\n".to_vec()),
        ("etc/services.db", contents(3 << 20, services)),
        ("etc/hole", contents(1 << 20, &[])),
        ("etc/many", contents(5 << 20, &many)),
        (&long, contents(1 << 20, &[(1 << 19, b"x")])),
    ];
    for (archive, bytes) in ARCHIVES {
        let place = UnpackDirectory::new();
        place.unpack(bytes).unwrap();
        for (name, contents) in &expected {
            let file = place.tree().join(name);
            let read = fs::read(&file).unwrap();
            assert!(read == *contents, "{name} of {archive}");
            let status = fs::metadata(&file).unwrap();
            let is_sparse = name.starts_with("etc/") && *archive != "bsd-mtree";
            if is_sparse {
                // Blocks of 512 bytes.
                assert!(status.blocks() * 512 < status.size(), "{name} of {archive}");
            }
        }
        assert_eq!(mode(&place.tree().join("bin/sh")), 0o755, "{archive}");
        let entries = fs::read_dir(place.tree().join("etc")).unwrap();
        assert_eq!(entries.count(), 4, "{archive}");
    }
}

#[test]
fn archives_with_sparse_files_that_are_cut_off_are_errors() {
    for (archive, bytes) in ARCHIVES {
        let mut tar = Vec::new();
        let mut decoder = Decoder::new(*bytes).unwrap();
        decoder.read_to_end(&mut tar).unwrap();
        let end = tar.iter().rposition(|byte| *byte != 0).unwrap();
        for cut in (1..end).step_by(end / 11) {
            // Where an entry ends, what is left is an archive without an end mark.
            if cut % 512 != 0 {
                let place = UnpackDirectory::new();
                assert!(place.unpack(&tar[..cut]).is_err(), "{archive} to {cut}");
            }
        }
    }
}

/// A sparse file of version 1.0 with this text before its contents.
fn version_1(size: &str, map: &str, contents: &[u8]) -> Vec<u8> {
    let mut map = map.as_bytes().to_vec();
    map.resize(map.len().next_multiple_of(512), 0);
    TarWriter::default()
        .pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.realsize", size),
        ])
        .file("GNUSparseFile.0/f", &[map, contents.to_vec()].concat())
        .finish()
}

/// A sparse file whose map is in the extended header.
fn version_0(records: &[(&str, &str)], contents: &[u8]) -> Vec<u8> {
    TarWriter::default()
        .pax(records)
        .file("f", contents)
        .finish()
}

/// A sparse file of the old format: parts, and the size.
fn old_gnu(parts: &[(&str, &str)], size: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::GNUSparse);
    header.set_path("f").unwrap();
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    let gnu = header.as_gnu_mut().unwrap();
    for (slot, (offset, length)) in gnu.sparse.iter_mut().zip(parts) {
        slot.offset[..offset.len()].copy_from_slice(offset.as_bytes());
        slot.numbytes[..length.len()].copy_from_slice(length.as_bytes());
    }
    gnu.realsize[..size.len()].copy_from_slice(size);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend(contents);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

#[test]
fn the_helpers_of_these_tests_make_archives_that_unpack() {
    for tar in [
        version_1("10", "1\n4\n2\n", b"ab"),
        version_0(
            &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "4,2")],
            b"ab",
        ),
        version_0(
            &[
                ("GNU.sparse.size", "10"),
                ("GNU.sparse.numblocks", "1"),
                ("GNU.sparse.offset", "4"),
                ("GNU.sparse.numbytes", "2"),
            ],
            b"ab",
        ),
        old_gnu(&[("00000000004", "00000000002")], b"00000000012", b"ab"),
    ] {
        let place = UnpackDirectory::new();
        place.unpack(&tar).unwrap();
        let read = fs::read(place.tree().join("f")).unwrap();
        assert_eq!(read, b"\0\0\0\0ab\0\0\0\0");
    }
}

#[test]
fn maps_that_contradict_themselves_are_refused() {
    let most = u64::MAX.to_string();
    let far = format!("1\n{most}\n2\n");
    let wide = format!("2\n0\n1\n1\n{most}\n");
    let many = format!("{}\n", 1_u64 << 60);
    for (size, map) in [
        (most.as_str(), far.as_str()),
        (&most, &wide),
        ("10", "2\n4\n1\n3\n1\n"),
        ("10", "1\n9\n2\n"),
        ("10", "1\n4\n1\n"),
        ("10", "1\n4\n3\n"),
        ("10", "1\n4\n"),
        ("10", "1\n-4\n2\n"),
        ("10", "x"),
        ("10", ""),
        ("10", "18446744073709551616\n"),
        ("10", "0000000000000000000000000000000000000001\n4\n2\n"),
        ("10", &many),
    ] {
        let tar = version_1(size, map, b"ab");
        let place = UnpackDirectory::new();
        let error = place.unpack(&tar).unwrap_err().to_string();
        assert!(error.contains("sparse file"), "{map:?}: {error}");
        place.assert_outside_untouched();
        assert!(!place.tree().join("f").exists(), "{map:?}");
    }
    for records in [
        &[("GNU.sparse.map", "4,2")][..],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "4")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "4,2,")],
        &[("GNU.sparse.size", "-1"), ("GNU.sparse.map", "4,2")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.numbytes", "2")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.offset", "4")],
        &[("GNU.sparse.major", "2"), ("GNU.sparse.size", "10")],
        &[("GNU.sparse.major", "1"), ("GNU.sparse.size", "10")],
    ] {
        let place = UnpackDirectory::new();
        let error = place.unpack(&version_0(records, b"ab")).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Malformed { .. }),
            "{records:?}"
        );
        assert!(!place.tree().join("f").exists(), "{records:?}");
    }
    for (parts, size) in [
        (&[("00000000004", "00000000001")][..], b"00000000012"),
        (&[("00000000011", "00000000002")], b"00000000012"),
        (&[("00000000009", "00000000002")], b"00000000012"),
        (&[("0000000000x", "00000000002")], b"00000000012"),
        (&[("00000000004", "00000000002")], b"0000000001x"),
    ] {
        let place = UnpackDirectory::new();
        let error = place.unpack(&old_gnu(parts, size, b"ab")).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed { .. }), "{parts:?}");
    }
    // A directory or link cannot have holes, and two maps are one too many.
    for kind in [b'5', b'2', b'1', b'6'] {
        let tar = TarWriter::default()
            .pax(&[("GNU.sparse.size", "0"), ("GNU.sparse.map", "")])
            .entry(kind, "f", "g", 0o644, b"")
            .finish();
        assert_refused(&tar, &["`f`", "is sparse and is not a file"]);
    }
    let mut both = TarWriter::default();
    both.pax(&[("GNU.sparse.size", "10"), ("GNU.sparse.map", "4,2")]);
    let old = old_gnu(&[("00000000004", "00000000002")], b"00000000012", b"ab");
    assert_refused(&[both.unfinished(), old].concat(), &["two maps"]);
}

#[test]
fn a_hole_counts_as_the_bytes_that_it_stands_for() {
    let terabytes = (10_u64 << 40).to_string();
    // 10 TB as a GNU header writes what its digits cannot hold: in binary, the first bit set.
    let mut size = [0; 12];
    size[0] = 0x80;
    size[4..].copy_from_slice(&(10_u64 << 40).to_be_bytes());
    for tar in [
        version_1(&terabytes, "1\n0\n2\n", b"ab"),
        version_0(
            &[("GNU.sparse.size", &terabytes), ("GNU.sparse.map", "0,2")],
            b"ab",
        ),
        old_gnu(&[("00000000000", "00000000002")], &size, b"ab"),
        version_1(&u64::MAX.to_string(), "0\n", b""),
    ] {
        let place = UnpackDirectory::new();
        let error = place.unpack(&tar).unwrap_err();
        let limit = Limit::Bytes;
        assert!(
            matches!(&error, ArchiveError::Limit { limit: seen, .. } if *seen == limit),
            "{error}"
        );
        assert!(!place.tree().join("f").exists());
    }
    // Several files together, each below the limit.
    let mut tar = TarWriter::default();
    for number in 0..3 {
        tar.pax(&[("GNU.sparse.size", "600000"), ("GNU.sparse.map", "")])
            .file(&format!("f{number}"), b"");
    }
    let limits = ArchiveLimits {
        entries: 100,
        bytes: 1 << 20,
    };
    let place = UnpackDirectory::new();
    let error = place.unpack_with(&tar.finish(), Format::Tar, limits);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("f1") && error.contains("1048576"), "{error}");
}

#[test]
fn a_map_of_too_many_parts_is_refused_before_it_takes_memory() {
    let map = format!("{}\n", 1 << 20) + &"0\n".repeat(2 << 20);
    let tar = version_1("0", &map, b"");
    assert_refused(&tar, &["parts of a sparse file", "65536"]);
}

#[test]
fn unknown_kinds_of_entries_are_named_in_visible_characters() {
    let tar = TarWriter::default()
        .entry(0x1b, "f", "", 0o644, b"")
        .finish();
    assert_refused(&tar, &["`f`", "type `\\u{1b}`"]);
}
