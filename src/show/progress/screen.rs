// SPDX-License-Identifier: GPL-3.0-or-later
//! Standard error, which bars and messages share. Text written past the bars would be overwritten, and break them.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

use crate::formats::secrets::without_secrets;
use crate::formats::visible::visible_lines;

/// The bars on standard error, if any.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// From now on, messages go above `bars`; `None` after the bars have ended.
pub(super) fn share(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// Standard error for messages at any time and from any thread. The secrets of URLs in them are hidden, and
/// control characters that are neither ours nor made visible where the message was written are made visible here. If
/// the reader has gone away, messages are lost without an error: there is no place to report it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The text of messages is whole here: each is written with one call.
        let text = String::from_utf8_lossy(bytes);
        let shown = displayed(&without_secrets(&text));
        let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let write = || io::stderr().write_all(shown.as_bytes());
        let written = match bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `text` with everything but lines, tabs and our own colours made visible.
fn displayed(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\x1b[") {
        let (before, sequence) = rest.split_at(start);
        shown.push_str(&visible_lines(before));
        let end = sequence[2..].find(|character: char| !"0123456789;:".contains(character));
        let end = end.map_or(sequence.len(), |end| end + 2);
        match sequence[end..].starts_with('m') {
            true => {
                shown.push_str(&sequence[..=end]);
                rest = &sequence[end + 1..];
            }
            false => {
                shown.push_str(&visible_lines(&sequence[..end]));
                rest = &sequence[end..];
            }
        }
    }
    shown.push_str(&visible_lines(rest));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_other_sequences_are_visible() {
        let ours = "sed: \x1b[1;31mfailed\x1b[0m: no\n\thint\n";
        assert_eq!(displayed(ours), ours);
        for (text, shown) in [
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b[", "\\u{1b}["),
            ("\x1b[1;31", "\\u{1b}[1;31"),
            ("\x1b[\x1b[1m", "\\u{1b}[\x1b[1m"),
            ("\u{202e}\u{9b}m", "\\u{202e}\\u{9b}m"),
        ] {
            assert_eq!(displayed(text), shown);
        }
    }
}
