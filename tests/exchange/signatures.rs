// SPDX-License-Identifier: GPL-3.0-or-later
//! Signatures in all the spellings that Guix has for them.

use crate::place::Place;
use crate::trusting;

/// `export`, which holds one item, with the number `s` of its signature as the quoted string that libgcrypt writes
/// where it can. `spell` gives the text as Guix sends it.
fn with_quoted_number(export: &[u8], spell: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let find = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|at| at == part);
    let start = find(export, b"(signature ").unwrap();
    let length = u64::from_le_bytes(export[start - 8..start].try_into().unwrap()) as usize;
    let text = &export[start..start + length];
    let number = find(text, b"(s #").unwrap() + 3;
    let end = number + 1 + find(&text[number + 1..], b"#").unwrap();
    let digits = std::str::from_utf8(&text[number + 1..end]).unwrap();
    let mut quoted = b"\"".to_vec();
    for at in (0..digits.len()).step_by(2) {
        match u8::from_str_radix(&digits[at..at + 2], 16).unwrap() {
            byte @ (b'"' | b'\\') => quoted.extend([b'\\', byte]),
            byte @ (b' '..=b'~' | 0xa0..) => quoted.push(byte),
            byte => quoted.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    quoted.push(b'"');
    let text = spell(&[&text[..number], &quoted, &text[end + 1..]].concat());
    let mut new = export[..start - 8].to_vec();
    new.extend((text.len() as u64).to_le_bytes());
    new.extend(&text);
    new.resize(new.len().next_multiple_of(8), 0);
    new.extend(&export[start + length.next_multiple_of(8)..]);
    new
}

#[test]
fn a_signature_with_a_quoted_number_is_read_as_every_guix_writes_it() {
    let place = Place::new();
    let (secret, public) = place.key();
    let trusted = [public];
    let mut has_high_bytes = false;
    // Each has another signature.
    for letter in ["a", "b", "c", "d"] {
        let path = place.add(letter, "item", &[]);
        let bytes = place.export(&path, Some(&secret));
        // As libgcrypt has them; or taken for ISO-8859-1 and sent as UTF-8.
        let raw = with_quoted_number(&bytes, <[u8]>::to_vec);
        let utf8 = with_quoted_number(&bytes, |text| {
            text.iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
                .into_bytes()
        });
        has_high_bytes |= raw != utf8;
        for spelling in [raw, utf8] {
            let other = Place::new();
            let imported = other.import(&spelling, trusting(&trusted)).unwrap();
            assert_eq!(imported, std::slice::from_ref(&path));
        }
    }
    assert!(has_high_bytes);
}
