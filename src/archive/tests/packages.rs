// SPDX-License-Identifier: GPL-3.0-or-later
//! Debian's packages.

use super::*;

#[test]
fn a_package_unpacks_with_merged_usr() {
    let tar = TarWriter::default()
        .directory("./")
        .directory("./bin/")
        .program("./bin/dash", b"dash")
        .symlink("./bin/sh", "dash")
        .directory("./lib64/")
        .directory("./usr/lib64/")
        .file("./usr/lib64/other", b"other")
        .symlink("./lib64/ld.so", "../lib/ld.so")
        .hard_link("./usr/bin/ash", "./bin/dash")
        .symlink("./lib", "usr/lib")
        .file("./lib/libc.so", b"libc")
        .finish();
    let place = UnpackDirectory::new();
    place
        .unpack_with(&deb(&tar), Format::Deb, ArchiveLimits::default())
        .unwrap();
    let tree = place.tree();
    for name in ["bin", "lib64", "lib"] {
        let link = fs::read_link(tree.join(name)).unwrap();
        assert_eq!(link, Path::new("usr").join(name));
    }
    assert_eq!(fs::read(tree.join("usr/bin/ash")).unwrap(), b"dash");
    assert_eq!(fs::read(tree.join("bin/dash")).unwrap(), b"dash");
    assert_eq!(fs::read(tree.join("usr/lib/libc.so")).unwrap(), b"libc");
    assert_eq!(
        fs::read_link(tree.join("usr/lib64/ld.so")).unwrap(),
        Path::new("../lib/ld.so")
    );
    assert!(fs::symlink_metadata(tree.join("lib32")).is_err());
}

#[test]
fn merged_links_cannot_be_turned_elsewhere() {
    let cases = [
        TarWriter::default()
            .symlink("bin", "../outside")
            .file("bin/x", b"")
            .finish(),
        TarWriter::default().file("bin", b"").finish(),
        TarWriter::default()
            .file("f", b"")
            .hard_link("lib", "f")
            .finish(),
        TarWriter::default()
            .symlink("usr", "../outside")
            .file("bin/x", b"")
            .finish(),
    ];
    for tar in cases {
        assert_refused(&tar, &["refused"]);
    }
}

#[test]
fn damaged_packages_are_errors() {
    let tar = TarWriter::default().file("f", b"x").finish();
    let good = deb(&tar);
    for bytes in [
        b"not a package".to_vec(),
        good[..100].to_vec(),
        good[..good.len() - 20].to_vec(),
        testing::ar(&[("debian-binary", b"2.0\n")]),
        testing::ar(&[("debian-binary", b"3.0\n"), ("data.tar", &tar)]),
        testing::ar(&[("data.tar", &tar)]),
    ] {
        let place = UnpackDirectory::new();
        assert!(
            place
                .unpack_with(&bytes, Format::Deb, ArchiveLimits::default())
                .is_err()
        );
    }
}
