// SPDX-License-Identifier: GPL-3.0-or-later
//! Limits hold, and an unpacking can be stopped.

use super::*;

/// That `error` names the limit, and how much it allows.
fn assert_exceeded(error: &ArchiveError, expected: Limit, most: u64) {
    match error {
        ArchiveError::Limit { limit, allowed, .. } => {
            assert_eq!((*limit, *allowed), (expected, most), "{error}");
        }
        error => panic!("{error}"),
    }
}

#[test]
fn a_bomb_stops_at_the_limit_which_the_error_names() {
    // The header alone says 8 GiB less one byte, the most that its digits hold: nothing of it is written.
    let mut tar = TarWriter::default();
    tar.pax(&[("comment", "zeros")]);
    let mut tar = tar.unfinished();
    let mut header = TarWriter::default();
    header.header(b'0', b"zeros", b"", 0o644, 0o77777777777);
    tar.extend(header.unfinished());
    assert_refused(&tar, &["zeros", "unpacked bytes", "6442450944"]);

    // A size that the header does not tell: many entries, compressed well.
    let limits = ArchiveLimits {
        entries: 1000,
        bytes: 1 << 20,
    };
    let mut many = TarWriter::default();
    for number in 0..40 {
        many.file(&format!("f{number}"), &[0; 64 * 1024]);
    }
    for bytes in [
        gzip(&many.finish()),
        xz(&many.finish()),
        zstandard(&many.finish()),
    ] {
        let place = UnpackDirectory::new();
        let error = place.unpack_with(&bytes, Format::Tar, limits).unwrap_err();
        assert_exceeded(&error, Limit::Bytes, 1_048_576);
    }

    // Bytes after the end mark count too.
    let mut tail = TarWriter::default().file("f", b"x").finish();
    tail.resize(3 << 20, 0);
    let place = UnpackDirectory::new();
    let error = place
        .unpack_with(&xz(&tail), Format::Tar, limits)
        .unwrap_err();
    assert_exceeded(&error, Limit::Bytes, 1_048_576);

    let mut entries = TarWriter::default();
    for number in 0..1001 {
        entries.directory(&format!("d{number}"));
    }
    let place = UnpackDirectory::new();
    let error = place
        .unpack_with(&entries.finish(), Format::Tar, limits)
        .unwrap_err();
    assert_exceeded(&error, Limit::Entries, 1000);
}

#[test]
fn unpacking_stops_when_told_to_and_blames_no_archive() {
    let place = UnpackDirectory::new();
    let archive = place.directory.path().join("archive");
    let tar = TarWriter::default().file("f", b"x").finish();
    for (bytes, format) in [(xz(&tar), Format::Tar), (deb(&tar), Format::Deb)] {
        fs::write(&archive, bytes).unwrap();
        let mut tree = ArchiveTree::create(&place.tree(), &[], ArchiveLimits::default()).unwrap();
        let error = unpack(&archive, format, &mut tree, &AtomicBool::new(true)).unwrap_err();
        assert!(matches!(error, ArchiveError::Stopped { .. }), "{error}");
        assert!(!place.tree().join("f").exists());
    }
}

#[test]
fn the_limits_count_all_archives_of_a_tree_together() {
    let place = UnpackDirectory::new();
    let archive = place.directory.path().join("archive");
    let tar = TarWriter::default().file("f", &[0; 600 * 1024]).finish();
    fs::write(&archive, tar).unwrap();
    let limits = ArchiveLimits {
        entries: 10,
        bytes: 1 << 20,
    };
    let mut tree = ArchiveTree::create(&place.tree(), &[], limits).unwrap();
    unpack(&archive, Format::Tar, &mut tree, &GO).unwrap();
    assert_eq!(tree.unpacked().entries, 1);
    let error = unpack(&archive, Format::Tar, &mut tree, &GO).unwrap_err();
    assert_exceeded(&error, Limit::Bytes, 1_048_576);
}

#[test]
fn oversized_extended_headers_and_deep_paths_are_refused() {
    let tar = TarWriter::default()
        .gnu_long(b'L', &"x".repeat(2 << 20))
        .file("x", b"")
        .finish();
    assert_refused(&tar, &["extended header"]);
    let tar = TarWriter::default()
        .pax(&[("path", &"a/".repeat(1000))])
        .directory("x")
        .finish();
    assert_refused(&tar, &["200 nested directories"]);
}
