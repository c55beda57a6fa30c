// SPDX-License-Identifier: GPL-3.0-or-later
//! The places of archives in narinfos, which are parts of URLs, and the names of their files.

use std::io;

/// The place of the file `name` below a server's root. Of the characters that names of store items have, only `?` means
/// something else in a URL.
pub(super) fn place_of(name: &str) -> String {
    name.replace('?', "%3F")
}

/// The name of the file at `place`, in which `%XX` is the byte XX.
///
/// # Errors
/// Where it leads out of the server's root, or into a folder that `place` does not show.
pub(super) fn name_of(place: &str) -> io::Result<String> {
    let wrong = || {
        let problem = "expected the name of a file below the directory";
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    };
    let mut name = Vec::with_capacity(place.len());
    let mut rest = place.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digit = |position: usize| char::from(*after.get(position)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                let decoded = u8::try_from(high << 4 | low).map_err(|_| wrong())?;
                if [b'/', 0].contains(&decoded) {
                    return Err(wrong());
                }
                name.push(decoded);
                rest = &after[2..];
            }
            _ => name.push(byte),
        }
    }
    let name = String::from_utf8(name).map_err(|_| wrong())?;
    match name.split('/').any(|part| part == "..") {
        true => Err(wrong()),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_decoded_and_lead_nowhere_else() {
        for name in ["nar/a-what?.nar.zst", "nar/a-1.0+b_c=d.nar.gz"] {
            assert_eq!(name_of(&place_of(name)).unwrap(), name);
        }
        assert!(!place_of("nar/a-what?").contains('?'));
        assert_eq!(name_of("nar/%41%c3%a9%3f").unwrap(), "nar/Aé?");
        assert_eq!(name_of("100%/%4/%zz").unwrap(), "100%/%4/%zz");
        for place in ["%2e%2e/x", "nar/.%2E/x", "../x", "nar%2Fx", "x%00", "%ff"] {
            assert!(name_of(place).is_err(), "{place}");
        }
    }
}
