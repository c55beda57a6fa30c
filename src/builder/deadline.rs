// SPDX-License-Identifier: GPL-3.0-or-later
//! When the work on outputs has to stop: the run is cancelled, or the build takes too long.
//!
//! Hashing an output may take far longer than making it: a sparse file of a terabyte is made at once.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::error::{BuildError, BuildFailureCause};
use crate::events::cancellation::Cancellation;

/// How long the work on the outputs of one build may go on.
#[derive(Debug)]
pub(super) struct Deadline<'d> {
    cancellation: &'d Cancellation,
    /// Since when, and for how long.
    limit: Option<(Instant, Duration)>,
}

impl<'d> Deadline<'d> {
    /// Until the run is cancelled, and no longer than `timeout` from now on.
    pub(super) fn new(cancellation: &'d Cancellation, timeout: Option<Duration>) -> Self {
        Self {
            cancellation,
            limit: timeout.map(|timeout| (Instant::now(), timeout)),
        }
    }

    /// Whether the work may go on.
    pub(super) fn goes_on(&self) -> bool {
        !self.cancellation.is_cancelled() && self.exceeded().is_none()
    }

    /// Why work stopped that [`goes_on`](Self::goes_on) had asked to: the build took too long.
    ///
    /// # Errors
    /// Where the run was interrupted.
    pub(super) fn cause(&self) -> Result<BuildFailureCause, BuildError> {
        match self.exceeded() {
            Some(limit) if !self.cancellation.is_cancelled() => {
                Ok(BuildFailureCause::TimedOut(limit))
            }
            _ => Err(BuildError::Interrupted),
        }
    }

    fn exceeded(&self) -> Option<Duration> {
        let (since, limit) = self.limit?;
        (since.elapsed() >= limit).then_some(limit)
    }
}

/// A reader or writer that fails when its work has to stop.
pub(super) struct Until<'d, S> {
    pub inner: S,
    pub deadline: &'d Deadline<'d>,
}

impl<S> Until<'_, S> {
    fn check(&self) -> io::Result<()> {
        match self.deadline.goes_on() {
            true => Ok(()),
            false => Err(io::Error::other("stopped before its end")),
        }
    }
}

impl<S: Read> Read for Until<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<S: Write> Write for Until<'_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stops_at_its_time_limit_and_upon_cancellation() {
        let cancellation = Cancellation::new();
        let never = Deadline::new(&cancellation, None);
        let at_once = Deadline::new(&cancellation, Some(Duration::ZERO));
        let later = Deadline::new(&cancellation, Some(Duration::from_secs(3600)));
        assert!(never.goes_on() && later.goes_on() && !at_once.goes_on());
        assert!(matches!(
            at_once.cause(),
            Ok(BuildFailureCause::TimedOut(_))
        ));
        let mut reader = Until {
            inner: &b"text"[..],
            deadline: &never,
        };
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).unwrap(), 1);
        cancellation.cancel();
        assert!(reader.read(&mut byte).is_err());
        for deadline in [&never, &later, &at_once] {
            assert!(!deadline.goes_on());
            assert!(matches!(deadline.cause(), Err(BuildError::Interrupted)));
        }
        let mut writer = Until {
            inner: Vec::new(),
            deadline: &later,
        };
        assert!(writer.write_all(b"x").is_err() && writer.inner.is_empty());
    }
}
