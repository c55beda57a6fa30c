// SPDX-License-Identifier: GPL-3.0-or-later
//! Build logs as terminals may get them.

use std::io::{self, BufRead, BufReader, Read};

use crate::formats::visible::visible_lines;

/// The longest line that is shown in one piece.
const LINE_MAX: u64 = 64 << 10;

/// A log in visible characters: a build can print what makes a terminal lie, or type.
pub struct VisibleLog<R> {
    inner: BufReader<R>,
    text: io::Cursor<Vec<u8>>,
}

impl<R: Read> VisibleLog<R> {
    /// What `inner` has.
    pub fn new(inner: R) -> Self {
        Self {
            inner: BufReader::new(inner),
            text: io::Cursor::default(),
        }
    }
}

impl<R: Read> Read for VisibleLog<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.text.read(buffer)?;
        if left > 0 {
            return Ok(left);
        }
        let mut line = Vec::new();
        let ended = self
            .inner
            .by_ref()
            .take(LINE_MAX)
            .read_until(b'\n', &mut line);
        if line.is_empty() {
            return ended;
        }
        self.text = io::Cursor::new(visible_lines(&line).into_bytes());
        self.text.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_visible_text_however_long_the_lines() {
        let long = "x".repeat(200_000);
        let log = format!("one\ttwo\n\u{1b}[2J\u{202e}three\r\n{long}");
        let mut text = String::new();
        VisibleLog::new(log.as_bytes())
            .read_to_string(&mut text)
            .unwrap();
        let expected = format!("one\ttwo\n\\u{{1b}}[2J\\u{{202e}}three\\r\n{long}");
        assert_eq!(text, expected);
    }

    #[test]
    fn the_end_of_a_log_that_is_cut_short_is_reported_after_what_there_is() {
        struct Cut(bool);
        impl Read for Cut {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match std::mem::replace(&mut self.0, true) {
                    false => (&b"so far"[..]).read(buffer),
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
        let mut text = Vec::new();
        let error = VisibleLog::new(Cut(false))
            .read_to_end(&mut text)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(text, b"so far");
    }
}
