// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes foreign strings visible: what comes from archives, servers, builds or files is shown as text that a terminal
//! only displays.
//!
//! Every message that quotes such a string quotes the text that [`visible`] makes of it. The string then stays on its
//! line, cannot change colours, titles or the direction of letters, cannot hide anything, and cannot fill the screen.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;

/// The most characters that [`visible`] shows of one string: more than any usual path has.
const LONGEST: usize = 1000;

/// `text` on one line: control characters, characters that change the direction of letters, characters without width
/// and bytes that are not UTF-8 become escapes, such as `\n`, `\u{202e}` and `\xff`. After 1,000 characters the rest is
/// counted.
pub fn visible(text: impl AsRef<[u8]>) -> String {
    shown(text.as_ref(), LONGEST, |_| false)
}

/// `path` as [`visible`] shows it.
pub fn visible_path(path: impl AsRef<Path>) -> String {
    visible(path.as_ref().as_os_str().as_encoded_bytes())
}

/// As [`visible`], but nothing is cut: for messages with foreign parts.
pub fn visible_line(text: impl AsRef<[u8]>) -> String {
    shown(text.as_ref(), usize::MAX, |_| false)
}

/// Several lines of foreign text: as [`visible`], but line feeds and tabs stay, and nothing is cut.
pub fn visible_lines(text: impl AsRef<[u8]>) -> String {
    shown(text.as_ref(), usize::MAX, |character| {
        matches!(character, '\n' | '\t')
    })
}

/// The first `most` of `items`, separated by commas, and the number of the others. The items must be visible already.
pub fn visible_list<Item: Display>(items: impl IntoIterator<Item = Item>, most: usize) -> String {
    let mut items = items.into_iter();
    let first: Vec<String> = items
        .by_ref()
        .take(most)
        .map(|item| item.to_string())
        .collect();
    match items.count() {
        0 => first.join(", "),
        more => format!("{} and {} more", first.join(", "), grouped(more)),
    }
}

/// Whether a terminal would obey `character`, or show nothing in its place.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

fn shown(bytes: &[u8], longest: usize, keep: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(bytes.len().min(longest));
    let mut room = longest;
    let mut hidden = 0;
    let mut add = |piece: Cow<'_, str>| match room.checked_sub(1) {
        Some(left) => {
            room = left;
            shown.push_str(&piece);
        }
        None => hidden += 1,
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_invisible(character) && !keep(character) {
                true => add(Cow::Owned(character.escape_default().to_string())),
                false => add(Cow::Borrowed(character.encode_utf8(&mut [0; 4]))),
            }
        }
        for byte in chunk.invalid() {
            add(Cow::Owned(format!("\\x{byte:02x}")));
        }
    }
    match hidden {
        0 => shown,
        1 => format!("{shown}… (1 more character)"),
        hidden => format!("{shown}… ({} more characters)", grouped(hidden)),
    }
}

/// `number` with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_text_stays() {
        for text in ["", "sed-4.9.tar.xz", "caf\u{e9} \u{4e2d}\u{6587} \\ \"'`"] {
            assert_eq!(visible(text), text);
        }
        assert_eq!(visible_path("/gnu/store/a b"), "/gnu/store/a b");
        let long = "a b\n".repeat(2000);
        assert_eq!(visible_line(&long), "a b\\n".repeat(2000));
    }

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_escaped() {
        for (text, expected) in [
            (
                b"\x1b[2J\x1b]0;t\x07".as_slice(),
                "\\u{1b}[2J\\u{1b}]0;t\\u{7}",
            ),
            (b"a\nfailed: b\r\n", "a\\nfailed: b\\r\\n"),
            (b"\xc2\x9b1m", "\\u{9b}1m"),
            (b"\xff\xfeok\xc3", "\\xff\\xfeok\\xc3"),
            (
                "\u{202e}gpj.exe\u{2066}".as_bytes(),
                "\\u{202e}gpj.exe\\u{2066}",
            ),
            (
                "a\u{200b}b\u{feff}\u{e0041}".as_bytes(),
                "a\\u{200b}b\\u{feff}\\u{e0041}",
            ),
            (b"\x7f\x00\t", "\\u{7f}\\u{0}\\t"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(visible_lines("a\n\tb\u{1b}\r\n"), "a\n\tb\\u{1b}\\r\n");
    }

    #[test]
    fn long_text_and_long_lists_are_cut_with_a_count() {
        let text = "x".repeat(1001);
        let cut = format!("{}… (1 more character)", "x".repeat(1000));
        assert_eq!(visible(&text), cut);
        let text = "x".repeat(1_001_000);
        assert_eq!(
            visible(&text),
            format!("{}… (1,000,000 more characters)", "x".repeat(1000))
        );
        assert_eq!(visible("x".repeat(1000)), "x".repeat(1000));
        assert_eq!(visible_lines(&text), text);
        assert_eq!(visible_list(["a", "b"], 2), "a, b");
        assert_eq!(visible_list(0..20_003, 3), "0, 1, 2 and 20,000 more");
    }

    proptest! {
        #[test]
        fn no_bytes_stay_invisible(bytes: Vec<u8>) {
            prop_assert!(!visible(&bytes).chars().any(is_invisible));
        }

        #[test]
        fn making_visible_twice_changes_nothing(text in "\\PC{0,40}[\\x00-\\x1f]{0,3}") {
            let once = visible(&text);
            prop_assert_eq!(visible(&once), once);
        }
    }
}
