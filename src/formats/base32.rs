// SPDX-License-Identifier: GPL-3.0-or-later
//! Nix's base 32, in which store paths and Guix's package hashes are written.
//!
//! The alphabet is the ten digits and the lower-case letters without `e`, `o`, `t` and `u`. The bytes are read as one
//! little-endian number, five bits to a character, and the most significant character comes first. `n` bytes
//! take `ceil(8n / 5)` characters; the bits that are left over in the first character are zero.

use super::count::{agreeing, counted};

const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A text that is not Nix's base 32.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Base32Error {
    /// A character outside the alphabet.
    #[error(
        "`{text}` is not in Nix's base 32: `{character}` at position {position} is none of \
         `0123456789abcdfghijklmnpqrsvwxyz`"
    )]
    Character {
        /// The whole text.
        text: String,
        /// The first character that does not belong.
        character: char,
        /// Its position in bytes.
        position: usize,
    },
    /// A length that no number of bytes has, or bits set that no byte holds.
    #[error(
        "`{text}` is not in Nix's base 32: {} {} not spell a whole number of bytes",
        counted(text.len(), "character"),
        agreeing(text.len(), "does", "do")
    )]
    Length {
        /// The whole text.
        text: String,
    },
}

/// The number of characters that `bytes` bytes take.
pub const fn encoded_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// `bytes` in Nix's base 32.
pub fn encode(bytes: &[u8]) -> String {
    (0..encoded_len(bytes.len()))
        .rev()
        .map(|position| {
            let bit = position * 5;
            let (byte, shift) = (bit / 8, bit % 8);
            let low = u16::from(bytes[byte]);
            let high = u16::from(bytes.get(byte + 1).copied().unwrap_or(0));
            let index = ((low | high << 8) >> shift) & 0x1f;
            char::from(ALPHABET[usize::from(index)])
        })
        .collect()
}

/// Reads what [`encode`] writes, and nothing else: each byte string has exactly one spelling.
pub fn decode(text: &str) -> Result<Vec<u8>, Base32Error> {
    let wrong_length = || Base32Error::Length {
        text: text.to_owned(),
    };
    let length = text.len() * 5 / 8;
    let mut bytes = vec![0u8; length];
    for (position, character) in text.char_indices() {
        let value = value_of(character).ok_or_else(|| Base32Error::Character {
            text: text.to_owned(),
            character,
            position,
        })?;
        let bit = (text.len() - 1 - position) * 5;
        let (byte, shift) = (bit / 8, bit % 8);
        let value = u16::from(value) << shift;
        // The low half lands in `byte`, the high half in the next one. Neither may fall off the end.
        for (byte, half) in [(byte, value & 0xff), (byte + 1, value >> 8)] {
            match bytes.get_mut(byte) {
                Some(place) => *place |= half as u8,
                None if half == 0 => {}
                None => return Err(wrong_length()),
            }
        }
    }
    if encoded_len(length) != text.len() {
        return Err(wrong_length());
    }
    Ok(bytes)
}

/// Whether `character` is one of the 32.
pub fn is_digit(character: char) -> bool {
    value_of(character).is_some()
}

fn value_of(character: char) -> Option<u8> {
    let byte = u8::try_from(character).ok()?;
    let position = ALPHABET.iter().position(|digit| *digit == byte)?;
    u8::try_from(position).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::hash::Sha256Digest;
    use proptest::prelude::*;

    #[test]
    fn the_empty_string_is_empty() {
        assert_eq!(encode(b""), "");
        assert_eq!(decode(""), Ok(vec![]));
    }

    #[test]
    fn a_digest_is_spelt_as_nix_hash_spells_it() {
        // printf abc | nix-hash --type sha256 --flat --base32 /dev/stdin
        let digest = Sha256Digest::of("abc");
        let text = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
        assert_eq!(encode(&digest.0), text);
        assert_eq!(decode(text), Ok(digest.0.to_vec()));
    }

    #[test]
    fn a_character_outside_the_alphabet_is_named_with_its_place() {
        assert_eq!(
            decode("00e0"),
            Err(Base32Error::Character {
                text: "00e0".into(),
                character: 'e',
                position: 2
            })
        );
        assert!(matches!(
            decode("0\u{e9}"),
            Err(Base32Error::Character { position: 1, .. })
        ));
    }

    #[test]
    fn impossible_lengths_and_overflowing_bits_are_refused() {
        let error = decode("0").unwrap_err().to_string();
        assert!(error.ends_with(": 1 character does not spell a whole number of bytes"));
        assert!(matches!(decode("000"), Err(Base32Error::Length { .. })));
        // One byte takes two characters, of which the first holds three bits.
        assert_eq!(decode("7z"), Ok(vec![0xff]));
        assert!(matches!(decode("8z"), Err(Base32Error::Length { .. })));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode(&text), Ok(bytes));
        }

        #[test]
        fn what_decodes_has_one_spelling(text in "[0-9a-z]{0,40}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
