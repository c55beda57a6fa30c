// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

fn digest() -> String {
    Sha256Digest::of(b"x").to_base16()
}

fn text() -> String {
    let digest = digest();
    format!(
        "# a comment\n\
         snapshot 20261123T180000Z\n\
         clang-16 1:16.0.6-15~deb12u1 amd64 109884 {digest} debian/pool/main/l/llvm-toolchain-16/clang-16_16.0.6-15~deb12u1_amd64.deb\n\
         linux-libc-dev 6.1-2 amd64 9 {digest} debian-security/pool/updates/main/l/linux/linux-libc-dev_6.1-2_amd64.deb\n\
         sed 4.9-1 amd64 329092 {digest} sed_4.9-1_amd64.deb\n"
    )
}

#[test]
fn a_lock_goes_both_ways() {
    let pins = Pins::parse("x.lock", &text()).unwrap();
    assert_eq!(pins.to_text(&["a comment"]), text());
    assert_eq!(pins.get("sed").unwrap().size, 329_092);
    assert_eq!(pins.get("dash"), None);
}

#[test]
fn an_archive_is_looked_for_at_mirrors_in_the_snapshot_archive_and_with_apt() {
    let archives = Pins::parse("x.lock", &text()).unwrap().archives();
    let locations = |index: usize| {
        let locations = archives[index].locations.iter();
        locations.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(archives[0].name, "clang-16_1-16.0.6-15-deb12u1_amd64.deb");
    let file = "pool/main/l/llvm-toolchain-16/clang-16_16.0.6-15~deb12u1_amd64.deb";
    assert_eq!(
        locations(0),
        [
            &format!("mirror://debian/{file}"),
            &format!("mirror://debian-snapshot/debian/20261123T180000Z/{file}"),
            "apt-binary:clang-16=1:16.0.6-15~deb12u1:amd64",
        ]
    );
    let file = "pool/updates/main/l/linux/linux-libc-dev_6.1-2_amd64.deb";
    assert_eq!(
        locations(1)[..2],
        [
            format!("mirror://debian-security/{file}"),
            format!("mirror://debian-snapshot/debian-security/20261123T180000Z/{file}"),
        ]
    );
    // A lock of an earlier version does not say where the file is.
    assert_eq!(locations(2), ["apt-binary:sed=4.9-1:amd64"]);
    // Each is one that can be fetched.
    for archive in &archives {
        for location in &archive.locations {
            assert_eq!(
                location.to_string().parse::<Location>().as_ref(),
                Ok(location)
            );
        }
    }
}

#[test]
fn a_snapshot_is_taken_when_the_snapshot_archive_has_the_files() {
    let snapshot = Snapshot::after_index(1_795_825_989);
    assert_eq!(snapshot.to_string(), "20261128T123309Z");
    assert_eq!(Snapshot::parse("20261128T123309Z"), Some(snapshot));
    for wrong in [
        "2026",
        "20261128T123309",
        "20261128 123309Z",
        "2026112xT111309Z",
    ] {
        assert_eq!(Snapshot::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn where_files_are_does_not_change_what_is_pinned() {
    let pins = Pins::parse("x.lock", &text()).unwrap();
    let mut moved = pins.clone().with_snapshot(None);
    for pinned in &mut moved.packages {
        pinned.path = None;
    }
    assert_ne!(moved, pins);
    assert_eq!(
        (changes(&pins, &moved), moved.digest()),
        (vec![], pins.digest())
    );
    moved.packages[0].sha256 = Sha256Digest::of("y");
    assert_eq!(
        changes(&pins, &moved)[0].to_string(),
        "clang-16 1:16.0.6-15~deb12u1 (other bytes)"
    );
    assert_ne!(moved.digest(), pins.digest());
}

#[test]
fn wrong_locks_are_errors_with_their_lines() {
    let digest = digest();
    let line = |file: &str| format!("sed 1:4.9 amd64 1 {digest} {file}\n");
    for (text, line, words) in [
        (String::new(), 1, "no package"),
        ("# a\nsed 4.9\n".to_owned(), 2, "saw 2 fields"),
        ("snapshot now\n".to_owned(), 1, "`now` is not a time"),
        (
            format!("sed 4.9 amd64 x {digest} sed_4.9_amd64.deb\n"),
            1,
            "`x` is not a size",
        ),
        (
            "sed 4.9 amd64 1 beef sed_4.9_amd64.deb\n".to_owned(),
            1,
            "`beef`",
        ),
        (format!("-o 4.9 amd64 1 {digest} x\n"), 1, "`-o`"),
        (format!("sed a amd64 1 {digest} x\n"), 1, "`a`"),
        (
            line("sed_4.9_amd64.deb"),
            1,
            "expected `sed_1%3a4.9_amd64.deb`",
        ),
        (
            line("../sed_4.9_amd64.deb"),
            1,
            "expected debian/pool/…/sed_4.9_amd64.deb",
        ),
        (
            line("debian/pool/../sed_4.9_amd64.deb"),
            1,
            "expected debian/pool/",
        ),
        (line("debian/sed_4.9_amd64.deb"), 1, "expected debian/pool/"),
        (
            line("debian/pool/main/s/sed/dash_4.9_amd64.deb"),
            1,
            "expected debian/pool/",
        ),
        (
            line("ubuntu/pool/main/s/sed/sed_4.9_amd64.deb"),
            1,
            "expected debian/pool/",
        ),
        (
            line("debian/pool/a?b/sed_4.9_amd64.deb"),
            1,
            "expected debian/pool/",
        ),
        (
            format!("{}{}", text(), text()),
            8,
            "`clang-16` comes after `sed`",
        ),
    ] {
        let error = Pins::parse("x.lock", &text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("x.lock:{line}: ")), "{error}");
        assert!(error.contains(words), "{error}");
    }
}
