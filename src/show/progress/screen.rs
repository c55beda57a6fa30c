//! Standard error, which bars and messages share: what is written beside bars would be drawn over, and leave halves of them.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

/// The bars on standard error, while there are any.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// From now on messages go above `bars`; with `None` there are none any more.
pub(super) fn share(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// Standard error for messages that come at any time, from any thread. Where nobody reads it any more they are lost, and that is
/// no error: whoever writes one would have nobody to tell of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let written = match bars {
            Some(bars) => bars.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
