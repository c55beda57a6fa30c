// SPDX-License-Identifier: GPL-3.0-or-later
use std::io::Write;

use super::*;

fn circumstances() -> [Circumstances; 2] {
    [2, 3].map(|cores| Circumstances {
        time: 1_700_000_000 + cores as u64,
        host_name: format!("host{cores}"),
        user: "builder".into(),
        uid: 30001,
        gid: 30000,
        cores,
        locale: Vec::new(),
    })
}

fn of(first: &[u8], second: &[u8]) -> Vec<DifferencePlace> {
    let [one, other] = circumstances();
    places(first, second, [&one, &other])
}

fn names(places: &[DifferencePlace]) -> Vec<&str> {
    places.iter().map(|place| place.place.as_str()).collect()
}

/// An archive whose members have the given names, times and contents.
fn archive(members: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, time, data) in members {
        let name = format!("{name}/");
        bytes.extend(
            format!(
                "{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                644,
                data.len()
            )
            .bytes(),
        );
        bytes.extend_from_slice(data);
        if data.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A small ELF file with a section `.text` and a section `.comment`.
fn elf(text: &[u8], comment: &[u8]) -> Vec<u8> {
    let names = b"\0.text\0.comment\0.shstrtab\0";
    let mut bytes = vec![0u8; 64];
    bytes[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let mut place = Vec::new();
    for data in [text, comment, names] {
        place.push((bytes.len() as u64, data.len() as u64));
        bytes.extend_from_slice(data);
    }
    let table = bytes.len() as u64;
    let mut header = |name: u32, kind: u32, (offset, size): (u64, u64)| {
        let mut section = Vec::new();
        section.extend(name.to_le_bytes());
        section.extend(kind.to_le_bytes());
        for value in [0, 0, offset, size] {
            section.extend(u64::to_le_bytes(value));
        }
        section.extend([0u8; 8]);
        section.extend(u64::to_le_bytes(1));
        section.extend(u64::to_le_bytes(0));
        bytes.extend(section);
    };
    header(0, 0, (0, 0));
    header(1, 1, place[0]);
    header(7, 1, place[1]);
    header(16, 3, place[2]);
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(16, &1u16.to_le_bytes());
    set(18, &62u16.to_le_bytes());
    set(20, &1u32.to_le_bytes());
    set(40, &table.to_le_bytes());
    set(52, &64u16.to_le_bytes());
    set(58, &64u16.to_le_bytes());
    set(60, &4u16.to_le_bytes());
    set(62, &3u16.to_le_bytes());
    bytes
}

#[test]
fn equal_files_differ_nowhere() {
    assert!(of(b"x", b"x").is_empty());
}

#[test]
fn lines_of_a_text_are_named() {
    let found = of(b"one\nbuilt 10:00:00\n", b"one\nbuilt 10:00:09\n");
    assert_eq!(names(&found), ["line 2"]);
    assert_eq!(found[0].bytes, 1);
    assert_eq!(found[0].cause, Some(DifferenceCause::TimeStamp));
    assert_eq!(found[0].second, "built 10:00:09");
    let found = of(b"a\nb\n", b"a\nx\nb\n");
    assert_eq!(names(&found), ["from line 2 on (3 and 4 lines)"]);
    let found = of(b"a\nb\n", b"b\na\n");
    assert_eq!(found[0].cause, Some(DifferenceCause::Order));
}

#[test]
fn sections_of_programs_are_named() {
    let found = of(
        &elf(b"\x90\x90\x00code", b"made by x"),
        &elf(b"\x90\x90\x01code", b"made by x"),
    );
    assert_eq!(names(&found), ["section .text from byte 2"]);
    assert_eq!(found[0].bytes, 1);
    let found = of(&elf(b"code", b"at host2"), &elf(b"code", b"at host3"));
    assert_eq!(names(&found), ["section .comment from byte 7"]);
    assert_eq!(found[0].cause, Some(DifferenceCause::HostName));
}

#[test]
fn a_program_that_differs_in_its_header_only_says_so() {
    let mut other = elf(b"code", b"x");
    other[18] = 63;
    let found = of(&elf(b"code", b"x"), &other);
    assert_eq!(names(&found), ["outside the sections from byte 18"]);
}

#[test]
fn members_of_archives_are_named_and_looked_into() {
    let one = archive(&[
        ("a.o", 0, &elf(b"code", b"c")),
        ("b.txt", 1_700_000_001, b"same"),
    ]);
    let other = archive(&[
        ("a.o", 0, &elf(b"Code", b"c")),
        ("b.txt", 1_700_000_009, b"same"),
    ]);
    let found = of(&one, &other);
    assert_eq!(
        names(&found),
        [
            "member a.o: section .text from byte 0",
            "member b.txt: header (time, owner, mode)"
        ]
    );
    assert_eq!(found[1].cause, Some(DifferenceCause::TimeStamp));
}

#[test]
fn another_order_of_members_is_told_apart_from_other_members() {
    let one = archive(&[("a.o", 0, b"11"), ("b.o", 0, b"22")]);
    let other = archive(&[("b.o", 0, b"22"), ("a.o", 0, b"11")]);
    let found = of(&one, &other);
    assert_eq!(names(&found), ["the members"]);
    assert_eq!(found[0].cause, Some(DifferenceCause::Order));
    let fewer = archive(&[("a.o", 0, b"11")]);
    assert_eq!(of(&one, &fewer)[0].cause, None);
}

#[test]
fn compressed_files_are_compared_by_their_contents() {
    let packed = |time: u32, content: &[u8]| {
        let builder = flate2::GzBuilder::new().mtime(time);
        let mut encoder = builder.write(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let found = of(&packed(7, b"x\n"), &packed(8, b"x\n"));
    assert_eq!(names(&found), ["time in the gzip header"]);
    let found = of(&packed(7, b"x\ny\n"), &packed(7, b"x\nz\n"));
    assert_eq!(names(&found), ["decompressed: line 2"]);
}

#[test]
fn files_that_only_look_like_something_are_rows_of_bytes() {
    for magic in [
        &b"\x7fELF"[..],
        b"!<arch>\n",
        b"\x1f\x8b\x08",
        b"!<arch>\nshort",
    ] {
        let one = [magic, b"\0one"].concat();
        let other = [magic, b"\0two"].concat();
        let found = of(&one, &other);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].place.contains("from"), "{found:?}");
    }
}

#[test]
fn no_more_places_are_told_than_anybody_reads() {
    let text = |word: &str| {
        (0..1000)
            .map(|n| format!("{word}{n}\n"))
            .collect::<String>()
    };
    let found = of(text("a").as_bytes(), text("b").as_bytes());
    assert_eq!(found.len(), PLACES);
}
