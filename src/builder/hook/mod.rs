// SPDX-License-Identifier: GPL-3.0-or-later
//! The build hook: a program that is offered builds and has other machines make them, such as `guix offload`.
//!
//! The protocol is that of guix-daemon 1.5 (`tryBuildHook` in nix/libstore/build.cc; `guix offload` is the other side).
//! The hook runs with the arguments `SYSTEM MAX-SILENT-TIME PRINT-BUILD-TRACE TIMEOUT`. Its standard output and error
//! are one pipe, and descriptor 4 is for what builders print. For each offer it reads a line
//! `ROOM-HERE SYSTEM DERIVATION FEATURES` and answers `# accept`, `# decline` or `# postpone`; other lines are
//! messages. A hook that has accepted reads a line with the store items that the build needs and one with the outputs
//! to make, makes these, and exits: 0 is success, 100 a build that failed, 101 one that took too long, and all else is
//! the hook's own failure.

mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::process::{HookAnswer, HookProcess};
use super::error::BuildError;
use super::watch::{BuildWatch, Watched};
use crate::events::cancellation::Cancellation;

/// How long a hook may be silent before it answers an offer. `guix offload` connects to one machine after the other,
/// with up to 30 seconds for each.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// How many builds in a row may fail by the hook's fault before it gets no more of them.
const FAILURES: u32 = 3;

/// The hook that a user has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSettings {
    /// The program.
    pub program: PathBuf,
    /// Arguments that come before those of the protocol, such as `offload`.
    pub arguments: Vec<OsString>,
    /// Whether the hook is to print traces such as `@ build-started`.
    pub traces: bool,
    /// How long it may be silent before it answers; `None` is the usual time.
    pub answer_within: Option<Duration>,
}

/// A build hook that failed. The build that it was offered is made in another way.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookFailure {
    /// It could not be started, or not be written to.
    #[error("cannot run the build hook: {0}")]
    Io(#[from] std::io::Error),
    /// It ended without an answer.
    #[error("the build hook ended without an answer ({0})")]
    Ended(ExitStatus),
    /// It did not answer in time.
    #[error("the build hook did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// It said something that is not an answer.
    #[error("expected `accept', `decline' or `postpone' of the build hook, found `{0}'")]
    Rubbish(String),
    /// It printed a line without an end.
    #[error("the build hook printed a line of more than {0} bytes")]
    LongLine(usize),
    /// It accepted a build, and ended otherwise than the protocol says.
    #[error("the build hook failed ({0})")]
    Failed(ExitStatus),
    /// It said that it was done, and left out an output.
    #[error("the build hook succeeded but did not create {0}")]
    NoOutput(String),
}

/// What is offered.
#[derive(Debug)]
pub(super) struct HookOffer<'o> {
    /// Whether the build could start here at once.
    pub room_here: bool,
    /// The system that the build is for.
    pub system: &'o str,
    /// The path of the derivation.
    pub derivation: &'o str,
    /// The features that the machine must have.
    pub features: Vec<&'o str>,
}

/// What the hook says to an offer.
pub(super) enum Reply {
    /// It makes the outputs.
    Accept(AcceptedBuild),
    /// It never will.
    Decline,
    /// It may later.
    Postpone,
}

/// A build that the hook has accepted, and waits for its inputs and outputs.
pub(super) struct AcceptedBuild(HookProcess);

/// One run's build hook. Its program starts with the first offer.
#[derive(Debug)]
pub struct BuildHook {
    settings: HookSettings,
    /// The arguments of the protocol.
    arguments: [String; 4],
    /// The program that has answered and not accepted so far.
    waiting: Mutex<Option<HookProcess>>,
    /// How often in a row it has failed.
    failures: AtomicU32,
}

impl BuildHook {
    /// The hook for builds on a machine that is `system`, with these limits for each.
    pub fn new(
        settings: HookSettings,
        system: &str,
        timeout: Option<Duration>,
        max_silent_time: Option<Duration>,
    ) -> Self {
        let seconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs());
        let arguments = [
            system.to_owned(),
            seconds(max_silent_time).to_string(),
            u8::from(settings.traces).to_string(),
            seconds(timeout).to_string(),
        ];
        Self {
            settings,
            arguments,
            waiting: Mutex::default(),
            failures: AtomicU32::new(0),
        }
    }

    /// Whether it is to be asked: it has not failed too often.
    pub(super) fn is_usable(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
    }

    /// Notes that the hook did what it should.
    pub(super) fn has_worked(&self) {
        // Once given up, it stays so: offers that are under way say nothing of it.
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                (failures < FAILURES).then_some(0)
            });
    }

    /// Notes that a build failed by the hook's fault.
    pub(super) fn has_failed(&self) {
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                failures.checked_add(1)
            });
    }

    /// Gives up the hook: one that does not answer once will not answer at all.
    pub(super) fn give_up(&self) {
        self.failures.store(FAILURES, Ordering::Relaxed);
    }

    /// Makes `offer`, and waits for the answer. `say` gets the hook's messages. One offer is made at a time. A hook
    /// that fails is ended.
    pub(super) fn ask(
        &self,
        offer: &HookOffer<'_>,
        cancellation: &Cancellation,
        say: &dyn Fn(&str),
    ) -> Result<Reply, HookFailure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = match waiting.take() {
            Some(process) => process,
            None => HookProcess::start(&self.settings, &self.arguments)?,
        };
        let _stop = cancellation.on_cancel(process.killer());
        let limit = self.settings.answer_within.unwrap_or(ANSWER_WITHIN);
        process.write_line(&format!(
            "{} {} {} {}",
            u8::from(offer.room_here),
            offer.system,
            offer.derivation,
            offer.features.join(",")
        ));
        let answer = process.answer(limit, say)?;
        Ok(match answer {
            HookAnswer::Accept => Reply::Accept(AcceptedBuild(process)),
            HookAnswer::Decline => {
                *waiting = Some(process);
                Reply::Decline
            }
            HookAnswer::Postpone => {
                *waiting = Some(process);
                Reply::Postpone
            }
        })
    }
}

impl AcceptedBuild {
    /// What ends the hook with all that it has started.
    pub(super) fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        self.0.killer()
    }

    /// Says which store items the build needs and which `outputs` to make, and follows the hook to its end. `watch` may
    /// end it.
    ///
    /// # Errors
    /// Where the system gives no thread or pipe, or the thread that reads the output died.
    pub(super) fn follow(
        self,
        inputs: &str,
        outputs: &str,
        watch: BuildWatch<'_>,
    ) -> Result<(ExitStatus, Watched), BuildError> {
        self.0.follow(format!("{inputs}\n{outputs}\n"), watch)
    }
}

#[cfg(test)]
mod tests;
