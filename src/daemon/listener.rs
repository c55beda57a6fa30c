// SPDX-License-Identifier: GPL-3.0-or-later
//! Accepting clients, and the processes that serve them.
//!
//! One thread waits for connections and signals. It trusts no client, reads nothing that a client sends, and holds
//! nothing of the store, so that no client can stop it. Limits keep clients from exhausting the machine with processes:
//! an unprivileged user has a share of the sessions, and so have clients whose user is not known.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::configuration::DaemonConfiguration;
use super::log;
use super::peer::{self, Peer};
use super::refusal::Refusals;
use super::session::SessionOrder;
use super::socket::{AcceptedConnection, Socket};
use super::status::StatusFile;
use super::users;
use super::waiting::WaitingSession;
use crate::diagnostics::with_hint;
use crate::formats::count::counted;
use crate::sandbox;

/// How long sessions have for ending their builds after the first SIGTERM.
const FAREWELL: Duration = Duration::from_secs(30);

/// How many sessions there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Of all clients. Others wait until one ends.
    pub all: usize,
    /// Of one user who is not trusted. More are refused.
    pub each_user: usize,
    /// Of all clients whose user is not known. More are refused.
    pub unknown: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            all: 2000,
            each_user: 500,
            unknown: 100,
        }
    }
}

/// A daemon that cannot start or go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the daemon cannot {action}: {error}")]
#[diagnostic(help("{}", crate::diagnostics::in_store(error)))]
pub struct ListenerError {
    action: &'static str,
    error: io::Error,
}

/// Reads the configuration again, on SIGHUP.
pub type Reload<'r> = &'r dyn Fn() -> Result<DaemonConfiguration, String>;

/// The daemon's first process.
struct Listener<'r> {
    sockets: Vec<Socket>,
    configuration: DaemonConfiguration,
    reload: Reload<'r>,
    trusted: Trusted,
    limits: SessionLimits,
    sessions: BTreeMap<u32, SessionProcess>,
    /// The process for the next client, where one could be started.
    waiting: Option<WaitingSession>,
    refusals: Refusals,
    program: PathBuf,
    /// Whether a sandbox could be made, once that is known.
    sandbox_is_fit: Arc<AtomicBool>,
}

/// A session's process.
struct SessionProcess {
    child: Child,
    /// Whose share it is of; `None` is that of unknown users.
    share: Option<u32>,
    trusted: bool,
}

/// Serves clients that connect to `sockets` until a signal ends it.
///
/// SIGTERM and SIGINT end it: no client is accepted any more, and each session stops its builds and ends. The second
/// ends the sessions at once. SIGHUP has `reload` make the configuration of the sessions that follow. `_status`, which
/// [`super::status::announce`] makes, shows the daemon until the end.
///
/// # Errors
/// Where the system refuses what the daemon needs.
pub fn serve(
    sockets: Vec<Socket>,
    configuration: DaemonConfiguration,
    limits: SessionLimits,
    reload: Reload<'_>,
    _status: Option<StatusFile>,
) -> Result<(), ListenerError> {
    let failed = |action| move |error| ListenerError { action, error };
    let signals = signals().map_err(failed("handle signals"))?;
    let mut listener = Listener {
        sockets,
        trusted: Trusted::of(&configuration.trusted_users),
        configuration,
        reload,
        limits,
        sessions: BTreeMap::new(),
        waiting: None,
        refusals: Refusals::start().map_err(failed("start a thread"))?,
        program: program().map_err(failed("find its own program"))?,
        sandbox_is_fit: Arc::default(),
    };
    try_sandbox(
        &listener.configuration,
        Arc::clone(&listener.sandbox_is_fit),
    );
    // What is mounted where it was started may be unmounted.
    std::env::set_current_dir("/").map_err(failed("enter /"))?;
    listener.prepare();
    listener.run(signals).map_err(failed("wait for clients"))
}

/// Finds out in a thread of its own whether builds can run in a sandbox here, once for all sessions: trying it takes
/// longer than a small build. Where they cannot, each session tries again, and reports the reason to its client.
fn try_sandbox(configuration: &DaemonConfiguration, is_fit: Arc<AtomicBool>) {
    let directories = match configuration.places.directories() {
        Ok(directories) => directories,
        Err(error) => return warn_of_sandbox(&error.to_string()),
    };
    let work =
        move || match sandbox::platform(&directories.state).and_then(|sandbox| sandbox.check()) {
            Ok(()) => is_fit.store(true, Ordering::Relaxed),
            Err(error) => warn_of_sandbox(&with_hint(&error)),
        };
    let thread = std::thread::Builder::new().name("sandbox".to_owned());
    if let Err(error) = thread.spawn(work) {
        log(format!("warning: cannot start a thread: {error}"));
    }
}

/// Logs `problem`, a message and perhaps a hint, line by line.
fn warn_of_sandbox(problem: &str) {
    for line in format!("warning: builds will fail: {problem}").lines() {
        log(line);
    }
}

/// This program, for [`Command`]. Linux runs the very same file, even where another has taken its name.
fn program() -> io::Result<PathBuf> {
    let same = PathBuf::from("/proc/self/exe");
    match cfg!(target_os = "linux") && same.symlink_metadata().is_ok() {
        true => Ok(same),
        false => std::env::current_exe(),
    }
}

/// A stream of the numbers of signals that have come.
fn signals() -> io::Result<UnixStream> {
    let (receiver, mut sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if sender.write_all(&[signal as u8]).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

impl Listener<'_> {
    fn run(&mut self, mut signals: UnixStream) -> io::Result<()> {
        loop {
            let full = self.sessions.len() >= self.limits.all;
            let ready = self.wait(&signals, full)?;
            let mut numbers = [0; 64];
            while let Ok(count @ 1..) = signals.read(&mut numbers) {
                for number in &numbers[..count] {
                    match i32::from(*number) {
                        SIGCHLD => self.reap(),
                        SIGHUP => self.reload(),
                        _ => return self.end(signals),
                    }
                }
            }
            for number in ready {
                self.accept(number);
            }
        }
    }

    /// Waits for a signal or, unless there are too many sessions, for a client; gives the sockets with clients.
    fn wait(&self, signals: &UnixStream, full: bool) -> io::Result<Vec<usize>> {
        let mut waiting = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        if !full {
            let sockets = self.sockets.iter();
            waiting.extend(
                sockets.map(|socket| PollFd::from_borrowed_fd(socket.descriptor(), PollFlags::IN)),
            );
        }
        match poll(&mut waiting, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let sockets = waiting[1..].iter().enumerate();
        Ok(sockets
            .filter(|(_, found)| !found.revents().is_empty())
            .map(|(number, _)| number)
            .collect())
    }

    fn accept(&mut self, number: usize) {
        // A few at a time, so that signals are seen even where clients come without end.
        for _ in 0..16 {
            if self.sessions.len() >= self.limits.all {
                return;
            }
            let accepted = match self.sockets.get(number).map(Socket::accept) {
                Some(Ok(Some(accepted))) => accepted,
                Some(Ok(None)) | None => return,
                Some(Err(error)) => {
                    log(format!("error: cannot accept a connection: {error}"));
                    // Too many open files, most likely: they do not become fewer by trying again at once.
                    std::thread::sleep(Duration::from_millis(50));
                    return;
                }
            };
            if let Err(error) = self.start(accepted) {
                log(format!("error: cannot serve a connection: {error}"));
            }
        }
    }

    /// Starts a session for a client.
    fn start(&mut self, accepted: AcceptedConnection) -> io::Result<()> {
        let (connection, peer) = match accepted {
            AcceptedConnection::Local(stream) => {
                let identity = peer::of_local_socket(&stream)?;
                let process = identity.process.map(|number| number.to_string());
                log(format!(
                    "accepted connection from pid {}, user {}",
                    process.as_deref().unwrap_or("unknown"),
                    users::local_user(identity.user)
                        .map_or_else(|| identity.user.to_string(), |user| user.name)
                ));
                let peer = Peer {
                    identity: Some(identity),
                    trusted: self.trusted.has(identity.user, identity.group),
                };
                (stream, peer)
            }
            AcceptedConnection::Remote(connection, address) => {
                log(format!("accepted connection from {address}"));
                let peer = Peer {
                    identity: None,
                    trusted: false,
                };
                (UnixStream::from(connection), peer)
            }
        };
        let share = peer.identity.map(|identity| identity.user);
        if let Some(reason) = self.no_room(share, peer.trusted) {
            log(format!("refused: {reason}"));
            self.refusals.refuse(connection, reason);
            return Ok(());
        }
        let order = SessionOrder {
            configuration: self.configuration.clone(),
            peer,
            sandbox_is_fit: self.sandbox_is_fit.load(Ordering::Relaxed),
        };
        let child = self.hand_over(&connection, &order)?;
        let trusted = peer.trusted;
        self.sessions.insert(
            child.id(),
            SessionProcess {
                child,
                share,
                trusted,
            },
        );
        self.prepare();
        Ok(())
    }

    /// Gives a client to the process that waits for one or, where that has ended, to a new one.
    fn hand_over(&mut self, connection: &UnixStream, order: &SessionOrder) -> io::Result<Child> {
        let waiting = self.waiting.take();
        if let Some(Ok(child)) = waiting.map(|waiting| waiting.serve(connection, order)) {
            return Ok(child);
        }
        self.start_session()?.serve(connection, order)
    }

    /// Starts the process for the next client. Where that fails, the next client's own start reports it.
    fn prepare(&mut self) {
        if self.waiting.is_none() {
            self.waiting = self.start_session().ok();
        }
    }

    fn start_session(&self) -> io::Result<WaitingSession> {
        WaitingSession::start(&self.program, self.configuration.places.state())
    }

    /// Why another session of the user `share` cannot be served, where it cannot.
    fn no_room(&self, share: Option<u32>, trusted: bool) -> Option<String> {
        if trusted {
            return None;
        }
        let most = match share {
            Some(_) => self.limits.each_user,
            None => self.limits.unknown,
        };
        let mine = |running: &&SessionProcess| running.share == share && !running.trusted;
        let count = self.sessions.values().filter(mine).count();
        (count >= most).then(|| {
            let whose = match share {
                Some(user) => format!("user {user} has"),
                None => "clients over the network have".to_owned(),
            };
            format!(
                "{whose} {} to the daemon, the most it serves at a time",
                counted(count, "connection")
            )
        })
    }

    /// Forgets the sessions that have ended.
    fn reap(&mut self) {
        self.sessions
            .retain(|_, running| matches!(running.child.try_wait(), Ok(None)));
        // Another one is started when a client comes: one that ends by itself might do so again and again.
        if self.waiting.as_mut().is_some_and(WaitingSession::has_ended) {
            self.waiting = None;
        }
    }

    fn reload(&mut self) {
        match (self.reload)() {
            Ok(configuration) => {
                self.trusted = Trusted::of(&configuration.trusted_users);
                self.configuration = configuration;
                log("reloaded the configuration");
            }
            Err(problem) => log(format!(
                "error: the configuration stays as it was: {problem}"
            )),
        }
    }

    /// Ends the sessions: those that do not end in time, or when a second signal comes, are killed.
    fn end(&mut self, mut signals: UnixStream) -> io::Result<()> {
        self.sockets.clear();
        self.waiting = None;
        self.signal(Signal::TERM);
        let until = Instant::now() + FAREWELL;
        loop {
            self.reap();
            let left = until.saturating_duration_since(Instant::now());
            if self.sessions.is_empty() || left.is_zero() {
                break;
            }
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: left.as_nanos().min(100_000_000) as _,
            };
            let mut waiting = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
            match poll(&mut waiting, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut numbers = [0; 64];
            if let Ok(count) = signals.read(&mut numbers)
                && numbers[..count]
                    .iter()
                    .any(|number| [SIGTERM, SIGINT].contains(&i32::from(*number)))
            {
                break;
            }
        }
        self.signal(Signal::KILL);
        for running in self.sessions.values_mut() {
            // It was killed: this does not take long.
            let _ = running.child.wait();
        }
        self.sessions.clear();
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        for running in self.sessions.values() {
            if let Some(process) = i32::try_from(running.child.id())
                .ok()
                .and_then(Pid::from_raw)
            {
                // One that has ended by itself needs none.
                let _ = kill_process(process, signal);
            }
        }
    }
}

/// Who is trusted.
#[derive(Debug)]
struct Trusted {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Trusted {
    /// Root, the user that this process runs as, and `names`: users, or groups with `@` before the name. Unknown ones
    /// are logged.
    fn of(names: &[String]) -> Self {
        let mut trusted = Self {
            users: vec![0, rustix::process::geteuid().as_raw()],
            groups: Vec::new(),
        };
        for name in names {
            let found = match name.strip_prefix('@') {
                Some(group) => users::group(group).map(|(number, members)| {
                    trusted.groups.push(number);
                    let members = members.iter().filter_map(|name| users::user(name));
                    trusted.users.extend(members.map(|user| user.number));
                }),
                None => users::user(name).map(|user| trusted.users.push(user.number)),
            };
            if found.is_none() {
                log(format!("warning: the trusted user `{name}` does not exist"));
            }
        }
        trusted
    }

    fn has(&self, user: u32, group: u32) -> bool {
        self.users.contains(&user) || self.groups.contains(&group)
    }
}
