// SPDX-License-Identifier: GPL-3.0-or-later
//! The process of a build hook, and what it prints.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{HookFailure, HookSettings};
use crate::builder::error::BuildError;
use crate::builder::watch::{BuildWatch, Watched};

/// The longest line of a hook.
const LONGEST_LINE: usize = 1 << 16;

/// How often it is checked whether a hook has ended whose output is still open.
const CHECK: Duration = Duration::from_millis(100);

/// Makes descriptor 4 another name of the standard output, then runs the hook. The standard library passes on no
/// descriptors but the first three.
const START: &str = r#"exec "$0" "$@" 4>&1"#;

/// The answer to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookAnswer {
    Accept,
    Decline,
    Postpone,
}

/// A hook that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct HookProcess {
    child: Child,
    group: Arc<Group>,
    input: Option<ChildStdin>,
    output: File,
}

/// The process group of a hook: itself and all that it has started.
#[derive(Debug)]
struct Group {
    /// Gone once the hook has been waited for: its number may be another's then.
    leader: Mutex<Option<Pid>>,
}

impl Group {
    fn kill(&self) {
        if let Some(leader) = *self.leader() {
            // What has ended already needs no signal.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }

    fn leader(&self) -> std::sync::MutexGuard<'_, Option<Pid>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HookProcess {
    pub(super) fn start(settings: &HookSettings, arguments: &[String; 4]) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let errors = write.try_clone()?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", START])
            .arg(&settings.program)
            .args(&settings.arguments)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(write)
            .stderr(errors)
            .process_group(0)
            .spawn()?;
        let leader = Pid::from_child(&child);
        Ok(Self {
            input: child.stdin.take(),
            child,
            group: Arc::new(Group {
                leader: Mutex::new(Some(leader)),
            }),
            output: File::from(read),
        })
    }

    /// What ends the hook with all that it has started.
    pub(super) fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        let group = Arc::clone(&self.group);
        Box::new(move || group.kill())
    }

    /// Writes a line that is short enough for any pipe. A hook that has ended does not take it, which its answer shows.
    pub(super) fn write_line(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Waits for the answer to an offer. `say` gets lines that are none.
    ///
    /// # Errors
    /// Where the hook does not answer, or is silent for `limit`. It is to be dropped then.
    pub(super) fn answer(
        &mut self,
        limit: Duration,
        say: &dyn Fn(&str),
    ) -> Result<HookAnswer, HookFailure> {
        loop {
            let line = self.read_line(limit)?;
            let line = String::from_utf8_lossy(&line);
            return match line.strip_prefix("# ") {
                Some("accept") => Ok(HookAnswer::Accept),
                Some("decline") => Ok(HookAnswer::Decline),
                Some("postpone") => Ok(HookAnswer::Postpone),
                Some(other) => Err(HookFailure::Rubbish(other.chars().take(80).collect())),
                None => {
                    say(&line);
                    continue;
                }
            };
        }
    }

    /// Reads a line, byte by byte: what follows the answer is the output of a build.
    fn read_line(&mut self, limit: Duration) -> Result<Vec<u8>, HookFailure> {
        let mut line = Vec::new();
        let mut until = Instant::now() + limit;
        loop {
            match is_readable(
                &self.output,
                until.saturating_duration_since(Instant::now()),
            )? {
                true => {}
                false if Instant::now() < until => continue,
                false => return Err(HookFailure::Silent(limit)),
            }
            let mut byte = [0];
            match self.output.read(&mut byte) {
                Ok(0) => return Err(HookFailure::Ended(self.end()?)),
                Ok(_) if byte == *b"\n" => return Ok(line),
                Ok(_) => line.extend(byte),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if line.len() > LONGEST_LINE {
                return Err(HookFailure::LongLine(LONGEST_LINE));
            }
            until = Instant::now() + limit;
        }
    }

    /// Ends a hook that has closed its output.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let until = Instant::now() + Duration::from_secs(1);
        self.input = None;
        while Instant::now() < until {
            // Not to be waited for here: its group must keep its number until it is killed.
            if has_ended(&self.child)? {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.finish()
    }

    /// Kills what is left of the hook, and waits for it.
    fn finish(&mut self) -> io::Result<ExitStatus> {
        self.group.kill();
        let mut leader = self.group.leader();
        let status = self.child.wait();
        *leader = None;
        status
    }

    /// Writes `orders` to the hook, and follows it to its end.
    pub(super) fn follow(
        mut self,
        orders: String,
        watch: BuildWatch<'_>,
    ) -> Result<(ExitStatus, Watched), BuildError> {
        let failed = |action| BuildError::io(action, "the build hook");
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| failed("create a pipe for")(errno.into()))?;
        let output = self.output.try_clone().map_err(failed("read"))?;
        let input = self.input.take();
        let over = AtomicBool::new(false);
        let (sender, ended) = channel();
        let watched = std::thread::scope(|scope| {
            let no_thread = |error| {
                self.group.kill();
                over.store(true, Ordering::Relaxed);
                BuildError::Thread(error)
            };
            let thread = std::thread::Builder::new;
            let watcher = thread().spawn_scoped(scope, move || watch.follow(read, &ended));
            let watcher = watcher.map_err(no_thread)?;
            // A hook that does not read must not stop us from reading what it prints.
            let orders = thread().spawn_scoped(scope, move || {
                if let Some(mut input) = input {
                    let _ = input.write_all(orders.as_bytes());
                }
            });
            orders.map_err(no_thread)?;
            let passing = thread().spawn_scoped(scope, || pass_on(output, write, &over));
            passing.map_err(no_thread)?;
            let child = WaitId::Pid(Pid::from_child(&self.child));
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let waited = rustix::io::retry_on_intr(|| waitid(child.clone(), options));
            // What it has left behind does not belong to any build.
            self.group.kill();
            over.store(true, Ordering::Relaxed);
            drop(sender);
            waited.map_err(|errno| failed("wait for")(errno.into()))?;
            watcher.join().map_err(|_| BuildError::Panicked {
                label: "the build hook".to_owned(),
                message: "the thread that reads its output died".to_owned(),
            })
        });
        let status = self.finish().map_err(failed("wait for"))?;
        Ok((status, watched?))
    }
}

impl Drop for HookProcess {
    fn drop(&mut self) {
        if self.group.leader().is_some() {
            let _ = self.finish();
        }
    }
}

/// Copies what a hook prints to `write`, until no process is left to print, or the hook is `over`: a process that it
/// has left behind may keep its output open.
fn pass_on(mut output: File, write: OwnedFd, over: &AtomicBool) {
    let mut write = File::from(write);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let was_over = over.load(Ordering::Relaxed);
        match is_readable(&output, if was_over { Duration::ZERO } else { CHECK }) {
            Ok(true) => {}
            Ok(false) if was_over => return,
            Ok(false) => continue,
            Err(_) => return,
        }
        match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if write.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Whether there is something to read, or the end, within `timeout`; at times sooner.
fn is_readable(file: &File, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let file = file.as_fd();
    match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether `child` has ended. It can still be waited for.
fn has_ended(child: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}
