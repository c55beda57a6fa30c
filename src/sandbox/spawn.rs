// SPDX-License-Identifier: GPL-3.0-or-later
//! The spawning process's side of a helper: our own binary, in a process of its own, which sets a sandbox up and
//! watches it.
//!
//! A process with threads must not fork, and this program has threads. So the processes of a sandbox are children of a
//! helper with one thread. The specification goes over a socket, not in the arguments, which any user can read. When
//! our end of the socket closes, for whatever reason, the helper ends the sandbox.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};

use bstr::BString;
#[cfg(target_os = "linux")]
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use super::protocol::{FailureDetail, HelperMessage, StepFailure};
use super::{ExitStatusKind, Finished, INIT_ARGUMENT, RunningProgram, SandboxError, SandboxStep};
use crate::process_messages;

/// What a helper is started with.
pub(super) struct HelperCommand<'t, S> {
    /// What it is to make.
    pub specification: &'t S,
    /// The descriptors that the specification numbers, in its order.
    pub descriptors: &'t [BorrowedFd<'t>],
    /// Standard output and standard error; `None`: our own. To be closed by the caller, so that its readers see it end
    /// with the build.
    pub output: Option<&'t OwnedFd>,
    /// Whether it has our terminal.
    pub interactive: bool,
    /// Guest path of the program, for messages.
    pub program: &'t BString,
    /// What to do about a failure, when known.
    pub remedy: fn(&StepFailure) -> Option<String>,
}

/// Starts `binary` as a helper and sends it the specification.
///
/// # Errors
/// [`SandboxError::Helper`] where no process can be made. Waiting reports what goes wrong later.
pub(super) fn start<S: Serialize>(
    binary: &Path,
    helper: HelperCommand<'_, S>,
) -> Result<SpawnedHelper, SandboxError> {
    let output = helper.output;
    start_with(binary, helper, |socket| {
        let mut command = Command::new(binary);
        command
            // What the sandbox's processes see as the first process's command line.
            .arg0("bootstrap")
            .arg(INIT_ARGUMENT)
            .env_clear()
            .stdin(socket);
        match output {
            Some(output) => command
                .stdout(output.try_clone()?)
                .stderr(output.try_clone()?),
            None => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        };
        // The command holds the helper's end of the socket and the output: both must end with the helper.
        Ok(HelperProcess::Executed(command.spawn()?))
    })
}

/// How many bytes a socket takes before anything reads from it, on any system.
const EARLY: usize = 4096;

/// Has `launch` start a helper of `binary`, which gets its end of the socket, and sends it the specification.
///
/// # Errors
/// As for [`start`].
pub(super) fn start_with<S: Serialize>(
    binary: &Path,
    helper: HelperCommand<'_, S>,
    launch: impl FnOnce(OwnedFd) -> io::Result<HelperProcess>,
) -> Result<SpawnedHelper, SandboxError> {
    let failed = |source| SandboxError::Helper {
        helper: binary.to_owned(),
        source,
    };
    reap_helpers();
    let modes = helper
        .interactive
        .then(|| tcgetattr(rustix::stdio::stdin()).ok())
        .flatten();
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let frame = process_messages::frame(helper.specification).map_err(failed)?;
    process_messages::send_descriptors(&ours, helper.descriptors).map_err(failed)?;
    // What a socket holds for certain is there when the helper looks.
    let (early, late) = frame.split_at(frame.len().min(EARLY));
    ours.write_all(early).map_err(failed)?;
    let process = launch(theirs.into()).map_err(failed)?;
    let sent = ours.write_all(late);
    let spawned = SpawnedHelper {
        helper: Some(process),
        socket: Arc::new(ours),
        modes,
        interactive: helper.interactive,
        program: helper.program.to_string(),
        remedy: helper.remedy,
        result: None,
    };
    match sent {
        // It died before it listened; waiting reports how.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(spawned),
        Err(error) => Err(failed(error)),
        Ok(()) => Ok(spawned),
    }
}

/// A helper's process, a child of this one.
#[derive(Debug)]
pub(super) enum HelperProcess {
    /// Made by executing the binary.
    Executed(Child),
    /// Forked by another process; `None` once it was waited for, when another may have its number.
    #[cfg(target_os = "linux")]
    Forked(Option<Pid>),
}

impl HelperProcess {
    /// The child `process`, which another process has made.
    #[cfg(target_os = "linux")]
    pub(super) fn forked(process: Pid) -> Self {
        Self::Forked(Some(process))
    }

    /// Waits for its end; `None` where the system does not say how it ended.
    fn wait(&mut self) -> Option<ExitStatusKind> {
        match self {
            Self::Executed(child) => {
                let status = child.wait().ok()?;
                Some(match status.signal() {
                    Some(signal) => ExitStatusKind::Signaled(signal),
                    None => ExitStatusKind::Exited(status.code().unwrap_or(0)),
                })
            }
            #[cfg(target_os = "linux")]
            Self::Forked(process) => {
                let (_, ended) = super::process::wait(Some(process.take()?)).ok()?;
                Some(ended.status)
            }
        }
    }

    /// Whether it runs still; does not wait.
    fn is_running(&mut self) -> bool {
        match self {
            Self::Executed(child) => matches!(child.try_wait(), Ok(None)),
            #[cfg(target_os = "linux")]
            Self::Forked(None) => false,
            #[cfg(target_os = "linux")]
            Self::Forked(process) => {
                let runs = matches!(waitpid(*process, WaitOptions::NOHANG), Ok(None));
                if !runs {
                    *process = None;
                }
                runs
            }
        }
    }
}

/// A running helper and, in the end, its answer.
pub(super) struct SpawnedHelper {
    helper: Option<HelperProcess>,
    /// The helper ends the sandbox when our end has shut down, or is gone.
    socket: Arc<UnixStream>,
    /// The terminal's modes before an interactive program: the helper restores them unless it is killed.
    modes: Option<Termios>,
    interactive: bool,
    program: String,
    remedy: fn(&StepFailure) -> Option<String>,
    result: Option<Finished>,
}

/// A helper's answer.
pub(super) enum Conclusion {
    /// A rehearsal went well.
    Fit,
    /// The program ended.
    Finished(Finished),
}

impl SpawnedHelper {
    /// Waits for the helper's answer.
    pub(super) fn conclude(&mut self) -> Result<Conclusion, SandboxError> {
        let mut socket = match self.socket.try_clone() {
            Ok(socket) => socket,
            Err(error) => return Err(self.died(error.to_string())),
        };
        let message = loop {
            match process_messages::receive(&mut socket) {
                Ok(Some(HelperMessage::RandomAddresses)) => warn_of_random_addresses(),
                other => break other,
            }
        };
        match message {
            Ok(Some(HelperMessage::Fit)) => Ok(Conclusion::Fit),
            Ok(Some(HelperMessage::Finished(finished))) => Ok(Conclusion::Finished(finished)),
            Ok(Some(HelperMessage::Ended {
                killed: true,
                first,
            })) => Ok(Conclusion::Finished(Finished {
                status: ExitStatusKind::Signaled(rustix::process::Signal::KILL.as_raw()),
                ..first
            })),
            Ok(Some(HelperMessage::Ended {
                killed: false,
                first,
            })) => Err(SandboxError::HelperDied {
                how: first.status.to_string(),
            }),
            Ok(Some(HelperMessage::Failed(failure))) => Err(self.explain(failure)),
            Ok(Some(HelperMessage::RandomAddresses) | None) => {
                Err(self.died("no status".to_owned()))
            }
            Err(error) => Err(self.died(error.to_string())),
        }
    }

    /// Ends the sandbox and waits for its helper: a process that starts no other leaves none that is dead.
    pub(super) fn await_end(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        if let Some(mut helper) = self.helper.take() {
            let _ = helper.wait();
        }
    }

    fn explain(&self, failure: StepFailure) -> SandboxError {
        // A remedy follows from the error number.
        let remedy = match failure.detail {
            Some(FailureDetail::Message(_)) => None,
            _ => (self.remedy)(&failure),
        };
        let source = failure.error();
        if failure.step == SandboxStep::Execute {
            return SandboxError::Program {
                program: self.program.clone(),
                source,
                remedy,
            };
        }
        SandboxError::Setup {
            step: failure.step,
            path: failure.path,
            source,
            remedy,
        }
    }

    /// The error of a helper that ended without a report.
    fn died(&mut self, otherwise: String) -> SandboxError {
        let status = self.helper.as_mut().and_then(HelperProcess::wait);
        self.restore_terminal();
        let how = status.map_or(otherwise, |status| status.to_string());
        SandboxError::HelperDied { how }
    }

    fn restore_terminal(&self) {
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, modes);
        }
    }
}

impl RunningProgram for SpawnedHelper {
    fn wait(&mut self) -> Result<Finished, SandboxError> {
        if let Some(finished) = self.result {
            return Ok(finished);
        }
        match self.conclude()? {
            Conclusion::Finished(finished) => {
                if let (true, Some(helper)) = (self.interactive, &mut self.helper) {
                    // The last thing that it does is to restore the terminal. Where it was killed, that was hung up,
                    // and the program's end is what came of it.
                    if let Some(status @ ExitStatusKind::Signaled(_)) = helper.wait() {
                        self.restore_terminal();
                        let how = status.to_string();
                        return Err(SandboxError::HelperDied { how });
                    }
                }
                self.result = Some(finished);
                Ok(finished)
            }
            Conclusion::Fit => Err(self.died("a rehearsal".to_owned())),
        }
    }

    fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        let socket = Arc::clone(&self.socket);
        Box::new(move || {
            // The helper sees the end of our messages. Its answers still come.
            let _ = socket.shutdown(Shutdown::Write);
        })
    }
}

impl Drop for SpawnedHelper {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(mut helper) = self.helper.take() {
            // It ends by itself once the kernel has dismantled the namespaces.
            if helper.is_running() {
                ENDING
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(helper);
            }
        }
    }
}

/// Warns, once in a process, that builds may differ by the addresses of their memory.
fn warn_of_random_addresses() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "address-space randomisation stays on in builds: the system refuses personality(ADDR_NO_RANDOMIZE). A build whose \
             result depends on addresses may not be reproducible. hint: allow the call in the container's seccomp profile \
             (for Docker and podman: --security-opt seccomp=unconfined)"
        );
    });
}

/// Helpers that are about to end, or have ended and are still to be reaped.
static ENDING: Mutex<Vec<HelperProcess>> = Mutex::new(Vec::new());

fn reap_helpers() {
    ENDING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain_mut(HelperProcess::is_running);
}
