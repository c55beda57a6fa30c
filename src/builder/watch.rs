// SPDX-License-Identifier: GPL-3.0-or-later
//! Follows a running build: reads what it prints, and ends it when it takes too long, is silent for too long or
//! prints too much.
//!
//! A build may close its output and go on, or leave a daemon behind that keeps it open. So one thread waits for the
//! program, which ends the sandbox with everything in it, and another, this one, reads until there is no process left
//! to write, and minds the clock until the first says that it is over.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::{BuildError, BuildFailureCause};
use super::log::LogWriter;
use super::output::OutputLines;

/// How long a build may take and how much it may print; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildLimits {
    /// From its start to its end.
    pub timeout: Option<Duration>,
    /// Without printing anything.
    pub max_silent_time: Option<Duration>,
    /// Bytes in its log.
    pub max_log_size: Option<u64>,
}

/// What was seen of a build.
#[derive(Debug)]
pub(super) struct Watched {
    /// The output, cut into lines.
    pub output: OutputLines,
    /// Why the build was ended, where it was.
    pub cause: Option<BuildFailureCause>,
    /// What went wrong with the log, and had the build ended.
    pub error: Option<BuildError>,
}

/// Follows one build until `over` hangs up, which means that it has ended.
pub(super) struct BuildWatch<'w> {
    pub build_limits: BuildLimits,
    pub log: &'w mut LogWriter,
    pub output: OutputLines,
    pub kill: Box<dyn Fn() + Send + Sync>,
    pub start: Instant,
}

impl BuildWatch<'_> {
    /// Reads `pipe` to its end, then waits for `over`.
    pub(super) fn follow(mut self, pipe: OwnedFd, over: &Receiver<()>) -> Watched {
        let mut pipe = File::from(pipe);
        let mut watched = EndReason::default();
        let mut heard = self.start;
        let mut size = 0u64;
        let mut buffer = vec![0; 1 << 16];
        loop {
            if !watched.decided() && !self.readable(&pipe, heard, &mut watched) {
                continue;
            }
            let count = match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.end(
                        &mut watched,
                        Err(BuildError::io("read", "the output of the build")(error)),
                    );
                    break;
                }
            };
            if watched.decided() {
                // It is dying: what else it says is lost, but has to be read for the pipe to end.
                continue;
            }
            heard = Instant::now();
            let bytes = &buffer[..count];
            size += count as u64;
            let phase_ended = self.output.push(bytes);
            let logged = self.log.write(bytes).and_then(|()| match phase_ended {
                true => self.log.flush(),
                false => Ok(()),
            });
            if let Err(error) = logged {
                self.end(&mut watched, Err(error));
            } else if let Some(max) = self.build_limits.max_log_size.filter(|max| size > *max) {
                self.end(&mut watched, Ok(BuildFailureCause::LogTooLong(max)));
            }
        }
        self.output.finish();
        self.await_end(over, heard, &mut watched);
        Watched {
            output: self.output,
            cause: watched.cause,
            error: watched.error,
        }
    }

    /// Waits until there is something to read. False where a limit was exceeded first.
    fn readable(&self, pipe: &File, heard: Instant, watched: &mut EndReason) -> bool {
        loop {
            let Some((deadline, cause)) = self.deadline(heard) else {
                return true;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.end(watched, Ok(cause));
                return false;
            }
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                // An error is for `read` to tell.
                _ => return true,
            }
        }
    }

    /// Waits for the end of a build that has closed its output.
    fn await_end(&self, over: &Receiver<()>, heard: Instant, watched: &mut EndReason) {
        while !watched.decided() {
            let Some((deadline, cause)) = self.deadline(heard) else {
                break;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match over.recv_timeout(left) {
                Err(RecvTimeoutError::Timeout) => self.end(watched, Ok(cause)),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The next moment at which the build has exceeded a limit, and which.
    fn deadline(&self, heard: Instant) -> Option<(Instant, BuildFailureCause)> {
        let total = self.build_limits.timeout;
        let silent = self.build_limits.max_silent_time;
        let total = total.and_then(|limit| {
            Some((
                self.start.checked_add(limit)?,
                BuildFailureCause::TimedOut(limit),
            ))
        });
        let silent = silent
            .and_then(|limit| Some((heard.checked_add(limit)?, BuildFailureCause::Silent(limit))));
        total
            .into_iter()
            .chain(silent)
            .min_by_key(|(deadline, _)| *deadline)
    }

    fn end(&self, verdict: &mut EndReason, why: Result<BuildFailureCause, BuildError>) {
        match why {
            Ok(cause) => verdict.cause = Some(cause),
            Err(error) => verdict.error = Some(error),
        }
        (self.kill)();
    }
}

/// Why the build was ended.
#[derive(Default)]
struct EndReason {
    cause: Option<BuildFailureCause>,
    error: Option<BuildError>,
}

impl EndReason {
    fn decided(&self) -> bool {
        self.cause.is_some() || self.error.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::log::LogCompression;
    use crate::events::EventSender;
    use crate::formats::store_path::StorePath;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    /// Follows a build that `play`s with its end of the pipe until it is killed (then it returns false) or done.
    fn follow(build_limits: BuildLimits, play: impl FnOnce(File, &AtomicBool) + Send) -> Watched {
        let directory = tempfile::tempdir().unwrap();
        let derivation =
            StorePath::from_base_name("ik7ca0lvb90mqs5ni81jy2fvx0gmxfpf-x.drv").unwrap();
        let mut log =
            LogWriter::create(directory.path(), &derivation, LogCompression::Gzip).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let killed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&killed);
        let (sender, over) = channel();
        let watch = BuildWatch {
            build_limits,
            log: &mut log,
            output: OutputLines::new("x", EventSender::ignored()),
            kill: Box::new(move || flag.store(true, Ordering::SeqCst)),
            start: Instant::now(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                play(write.into(), &killed);
                drop(sender);
            });
            watch.follow(read, &over)
        })
    }

    fn until(flag: &AtomicBool) {
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn short() -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    #[test]
    fn a_build_without_limits_is_read_to_its_end() {
        let watched = follow(BuildLimits::default(), |mut pipe, _| {
            pipe.write_all(b"one\ntwo").unwrap();
        });
        assert!(watched.cause.is_none());
        assert_eq!(watched.output.last_lines(), ["one", "two"]);
    }

    #[test]
    fn a_silent_build_is_ended() {
        let build_limits = BuildLimits {
            max_silent_time: short(),
            ..BuildLimits::default()
        };
        let watched = follow(build_limits, |mut pipe, killed| {
            pipe.write_all(b"hello\n").unwrap();
            until(killed);
        });
        assert!(matches!(watched.cause, Some(BuildFailureCause::Silent(_))));
        assert_eq!(watched.output.last_lines(), ["hello"]);
    }

    #[test]
    fn a_talkative_build_is_ended_when_its_time_is_up() {
        let build_limits = BuildLimits {
            timeout: short(),
            max_silent_time: Some(Duration::from_secs(60)),
            ..BuildLimits::default()
        };
        let watched = follow(build_limits, |mut pipe, killed| {
            while !killed.load(Ordering::SeqCst) {
                pipe.write_all(b"still here\n").unwrap();
            }
        });
        assert!(matches!(
            watched.cause,
            Some(BuildFailureCause::TimedOut(_))
        ));
    }

    #[test]
    fn a_build_that_closed_its_output_is_still_watched() {
        let build_limits = BuildLimits {
            timeout: short(),
            ..BuildLimits::default()
        };
        let watched = follow(build_limits, |pipe, killed| {
            drop(pipe);
            until(killed);
        });
        assert!(matches!(
            watched.cause,
            Some(BuildFailureCause::TimedOut(_))
        ));
    }

    #[test]
    fn a_build_that_ends_in_time_is_left_alone() {
        let build_limits = BuildLimits {
            timeout: Some(Duration::from_secs(60)),
            max_silent_time: Some(Duration::from_secs(60)),
            max_log_size: Some(100),
        };
        let watched = follow(build_limits, |pipe, _| drop(pipe));
        assert!(watched.cause.is_none() && watched.error.is_none());
    }

    #[test]
    fn a_log_that_grows_too_long_ends_the_build() {
        let build_limits = BuildLimits {
            max_log_size: Some(1000),
            ..BuildLimits::default()
        };
        let watched = follow(build_limits, |mut pipe, killed| {
            while !killed.load(Ordering::SeqCst) {
                pipe.write_all(&[b'x'; 100]).unwrap();
            }
        });
        assert!(matches!(
            watched.cause,
            Some(BuildFailureCause::LogTooLong(1000))
        ));
    }
}
