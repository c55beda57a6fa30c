//! Standard error, which bars and messages share. Text written past the bars would be overwritten, and break them.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

use crate::formats::secrets::without_secrets;

/// The bars on standard error, if any.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// From now on, messages go above `bars`; `None` after the bars have ended.
pub(super) fn share(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// Standard error for messages at any time and from any thread. The secrets of URLs in them are hidden. If the reader has
/// gone away, messages are lost without an error: there is no place to report it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The text of messages is whole here: each is written with one call.
        let text = String::from_utf8_lossy(bytes);
        let hidden = without_secrets(&text);
        let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let write = || io::stderr().write_all(hidden.as_bytes());
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
