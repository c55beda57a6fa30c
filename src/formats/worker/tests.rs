// SPDX-License-Identifier: GPL-3.0-or-later
//! The reader takes what clients send, and nothing else.

use proptest::prelude::*;

use super::*;
use crate::formats::store_path::StoreDir;

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

fn read(bytes: &[u8]) -> Result<Option<WorkerRequest>, WireError> {
    let mut reader = WireReader::new(bytes);
    WorkerRequest::read(&mut reader, &store_dir(), VERSION)
}

fn item(name: &str) -> String {
    format!("/gnu/store/{}-{name}", "0".repeat(32))
}

/// The bytes of a request: its number and `fields`.
fn request(operation: u64, fields: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let mut bytes = Fields::of_long(operation);
    fields(&mut bytes);
    bytes.as_bytes().to_vec()
}

#[test]
fn a_greeting_has_the_fields_of_its_version() {
    let greeting = |numbers: &[u64]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        read_greeting(&mut WireReader::new(bytes.as_slice()))
    };
    let whole = greeting(&[0x164, 1, 3, 0]).unwrap();
    assert_eq!(
        (whole.processor, whole.reserve_space, whole.version),
        (Some(3), false, Version(0x164))
    );
    let old = greeting(&[0x10b, 0]).unwrap();
    assert_eq!((old.processor, old.reserve_space), (None, false));
    let oldest = greeting(&[0x101]).unwrap();
    assert_eq!((oldest.processor, oldest.reserve_space), (None, true));
    assert!(matches!(
        greeting(&[0x264]),
        Err(WireError::Version { seen: 0x264 })
    ));
    assert!(matches!(greeting(&[0x164, 0]), Err(WireError::Truncated)));
}

#[test]
fn build_paths_may_name_outputs() {
    let bytes = request(9, |fields| {
        fields.strings([item("a.drv"), item("b.drv") + "!out,lib"]);
        fields.long(2);
    });
    let Some(WorkerRequest::BuildPaths { wanted, mode }) = read(&bytes).unwrap() else {
        panic!("another request");
    };
    assert_eq!(mode, RequestedMode::Check);
    assert_eq!(wanted[0].1, Vec::<String>::new());
    assert_eq!(wanted[1].0.text(), item("b.drv"));
    assert_eq!(wanted[1].1, ["out", "lib"]);
}

#[test]
fn a_path_is_directly_below_the_store() {
    for bad in [
        "",
        "/",
        "/gnu/store",
        "/gnu/store/",
        "/gnu/storex",
        "/tmp/x",
        "/gnu/store/a/b",
        "relative",
    ] {
        let bytes = request(26, |fields| fields.string(bad));
        assert!(
            matches!(read(&bytes), Err(WireError::OutsideStore { .. })),
            "{bad}"
        );
    }
    // In the store, but nothing that could be valid: `e` is not a digit.
    let odd = format!("/gnu/store/{}-foobar", "e".repeat(32));
    let bytes = request(26, |fields| fields.string(&odd));
    let Some(WorkerRequest::QueryPathInfo(path)) = read(&bytes).unwrap() else {
        panic!("another request");
    };
    assert_eq!((path.text(), path.path()), (odd.as_str(), None));
}

#[test]
fn sizes_are_bounded_before_anything_is_allocated() {
    let huge = request(26, |fields| fields.long(u64::MAX));
    assert!(matches!(read(&huge), Err(WireError::Length { .. })));
    let huge = request(31, |fields| fields.long(u64::MAX));
    assert!(matches!(read(&huge), Err(WireError::Length { .. })));
    // As long as is allowed, and nothing there.
    let empty = request(8, |fields| {
        fields.string("name");
        fields.long(500 << 20);
    });
    assert!(matches!(read(&empty), Err(WireError::Truncated)));
}

#[test]
fn padding_and_numbers_are_strict() {
    let mut bytes = request(26, |fields| fields.string(item("a")));
    let last = bytes.len() - 1;
    bytes[last] = 1;
    assert!(matches!(read(&bytes), Err(WireError::Padding { seen: 1 })));
    let wide = request(35, |fields| {
        fields.long(1 << 32);
        fields.long(0);
    });
    assert!(matches!(read(&wide), Err(WireError::Wide { .. })));
    for unknown in [0, 2, 15, 17, 36, 79, 82, u64::MAX] {
        assert!(matches!(
            read(&request(unknown, |_| ())),
            Err(WireError::Operation { seen }) if seen == unknown
        ));
    }
}

#[test]
fn options_of_old_clients_are_named_too() {
    let bytes = request(19, |fields| {
        for number in [1, 0, 1, 3, 4, 60, 1, 0, 0, 1, 2, 1] {
            fields.long(number);
        }
    });
    let mut reader = WireReader::new(bytes.as_slice());
    let read = WorkerRequest::read(&mut reader, &store_dir(), Version(0x10a));
    let Some(WorkerRequest::SetOptions(options)) = read.unwrap() else {
        panic!("another request");
    };
    let named: Vec<(&str, &str)> = options
        .named
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("build-max-jobs", "4"),
            ("build-max-silent-time", "60"),
            ("build-cores", "2")
        ]
    );
    assert!(options.keep_failed && !options.keep_going && options.fallback);
    assert_eq!(options.use_substitutes, Some(true));
}

proptest! {
    /// Whatever bytes come, the reader ends with a request or an error, and takes memory for no more than it was sent.
    #[test]
    fn any_bytes_are_read_or_refused(operation in 0u64..90, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut whole = operation.to_le_bytes().to_vec();
        whole.extend(bytes);
        let _ = read(&whole);
    }

    /// Bytes that are near to a request: numbers are small, so that lists and strings are read.
    #[test]
    fn any_small_numbers_are_read_or_refused(operation in 0u64..90, numbers in proptest::collection::vec(0u64..20, 0..60)) {
        let mut whole = operation.to_le_bytes().to_vec();
        whole.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let _ = read(&whole);
    }

    /// A string comes back as it was written.
    #[test]
    fn strings_round_trip(content in proptest::collection::vec(any::<u8>(), 0..300), references in 0usize..4) {
        let bytes = request(8, |fields| {
            fields.string("name");
            fields.bytes(&content);
            fields.strings((0..references).map(|number| item(&format!("r{number}"))));
        });
        match read(&bytes).unwrap() {
            Some(WorkerRequest::AddTextToStore { name, content: read, references: paths }) => {
                prop_assert_eq!(name, "name");
                prop_assert_eq!(read, content);
                prop_assert_eq!(paths.len(), references);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
