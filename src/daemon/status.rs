// SPDX-License-Identifier: GPL-3.0-or-later
//! What the daemon's processes say of themselves, in files: who is connected, what is built, how many job tokens are
//! used.
//!
//! Each process keeps one file in `STATE/bootstrap/daemon/processes` and a lock (`flock`) on it as long as it lives. So
//! the state can be read without asking any process, and what a killed one left is recognised. The directory is
//! private: clients do not see each other.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::configuration::{DaemonConfiguration, DaemonDirectories};
use super::peer::Peer;
use super::users;
use crate::builder::history::epoch_seconds;
use crate::builder::shared_tokens::SharedTokens;
use crate::diagnostics::FileError;
use crate::engine::Served;
use crate::events::Event;
use crate::formats::count::counted;
use crate::formats::visible::visible;

/// The most bytes that are read of a file.
const LONGEST: u64 = 1 << 20;

/// The daemon and its sessions at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DaemonStatus {
    /// The process that listens; `None` where none does.
    pub listener: Option<ListenerStatus>,
    /// How many job tokens sessions hold.
    pub tokens_used: usize,
    /// The sessions, in the order of their numbers.
    pub sessions: Vec<SessionStatus>,
}

/// The process that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its number.
    pub process: u32,
    /// When it began, in seconds since the Epoch.
    pub since: u64,
    /// The number of job tokens of all sessions.
    pub tokens: usize,
}

/// A process that serves a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its number.
    pub process: u32,
    /// The client's process, where it is known.
    pub client: Option<u32>,
    /// The client's user: a name, or a number where it has none; `None` over the network.
    pub user: Option<String>,
    /// Whether the client is trusted.
    pub trusted: bool,
    /// When it connected, in seconds since the Epoch.
    pub since: u64,
    /// What is being made for it.
    pub builds: Vec<RunningItem>,
}

/// An item that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningItem {
    /// The base name of its derivation.
    pub derivation: String,
    /// When it began, in seconds since the Epoch.
    pub since: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Process {
    Listener(ListenerStatus),
    Session(SessionStatus),
}

/// The file of one process, which goes with this.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    state: Mutex<(File, Process)>,
}

/// Shows this process as the one that listens, until what this gives is dropped. To be called before clients can
/// connect.
///
/// Without it the daemon serves all the same: where it cannot be written, that is logged.
pub fn announce(configuration: &DaemonConfiguration) -> Option<StatusFile> {
    let status = StatusFile::of_listener(configuration);
    let status = status.map_err(|error| {
        super::log(format!(
            "warning: `bootstrap top' will not show the daemon: {error}"
        ));
    });
    status.ok()
}

impl StatusFile {
    /// The status file of a listener.
    fn of_listener(configuration: &DaemonConfiguration) -> io::Result<Self> {
        let process = Process::Listener(ListenerStatus {
            process: std::process::id(),
            since: epoch_seconds(SystemTime::now()),
            tokens: configuration.tokens().get(),
        });
        // Dead processes' files go.
        let _ = DaemonStatus::read(&configuration.places);
        Self::create(&configuration.places, process)
    }

    /// The file of a session with `peer`.
    pub(super) fn of_session(configuration: &DaemonConfiguration, peer: &Peer) -> io::Result<Self> {
        let user = peer.identity.map(|identity| {
            let known = users::local_user(identity.user);
            known.map_or_else(|| identity.user.to_string(), |user| user.name)
        });
        let process = Process::Session(SessionStatus {
            process: std::process::id(),
            client: peer.identity.and_then(|identity| identity.process),
            user,
            trusted: peer.trusted,
            since: epoch_seconds(SystemTime::now()),
            builds: Vec::new(),
        });
        Self::create(&configuration.places, process)
    }

    fn create(places: &DaemonDirectories, process: Process) -> io::Result<Self> {
        let directory = places.processes();
        if let Some(parent) = directory.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let path = directory.join(std::process::id().to_string());
        // A process of this number, long dead, may have left one. Another one is what its readers still hold.
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // A reader may hold it for a moment.
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        let created = Self {
            path,
            state: Mutex::new((file, process)),
        };
        created.change(|_| ())?;
        Ok(created)
    }

    /// Changes what the file holds.
    fn change(&self, change: impl FnOnce(&mut Process)) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.1);
        let mut text = serde_json::to_vec(&state.1)?;
        let length = text.len() as u64;
        // Blanks cover the rest of the old text, and readers ignore them: one write makes it the new one. A reader that
        // sees a part of both reads again.
        let old = usize::try_from(state.0.metadata()?.len()).unwrap_or_default();
        text.resize(text.len().max(old), b' ');
        state.0.write_all_at(&text, 0)?;
        state.0.set_len(length)
    }

    /// Takes note of what begins and ends with `event`. A status that cannot be written stops nothing.
    pub(super) fn note(&self, event: &Event) {
        let (item, begins) = match event {
            Event::Started { item, .. } => (item, true),
            Event::Finished { item, .. }
            | Event::Failed { item, .. }
            | Event::HookFailed { item, .. } => (item, false),
            _ => return,
        };
        let changed = self.change(|process| {
            if let Process::Session(session) = process {
                session.builds.retain(|build| build.derivation != *item);
                if begins {
                    session.builds.push(RunningItem {
                        derivation: item.clone(),
                        since: epoch_seconds(SystemTime::now()),
                    });
                }
            }
        });
        if let Err(error) = changed {
            super::log(format!(
                "warning: cannot write {}: {error}",
                self.path.display()
            ));
        }
    }

    /// Forgets what was being made: the run is over.
    pub(super) fn rest(&self) {
        let _ = self.change(|process| {
            if let Process::Session(session) = process {
                session.builds.clear();
            }
        });
    }
}

impl Drop for StatusFile {
    fn drop(&mut self) {
        // One that stays is removed by who reads it next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl DaemonStatus {
    /// The state of the daemon whose directories are `places`.
    ///
    /// # Errors
    /// Where a directory or file of it cannot be read.
    pub fn read(places: &DaemonDirectories) -> Result<Self, FileError> {
        let directory = places.processes();
        let mut status = Self {
            listener: None,
            tokens_used: 0,
            sessions: Vec::new(),
        };
        let failed = |path: &Path| FileError::in_store("read", path.to_owned());
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(status),
            entries => entries.map_err(failed(&directory))?,
        };
        for entry in entries {
            let path = entry.map_err(failed(&directory))?.path();
            match read(&path).map_err(failed(&path))? {
                Some(Process::Listener(listener)) => status.add_listener(listener),
                Some(Process::Session(session)) => status.sessions.push(session),
                None => {}
            }
        }
        status.sessions.sort_by_key(|session| session.process);
        let tokens = places.tokens();
        status.tokens_used = SharedTokens::used(&tokens).map_err(failed(&tokens))?;
        Ok(status)
    }

    /// Of several, the oldest counts: another daemon shows itself for a moment before it finds the socket taken.
    fn add_listener(&mut self, listener: ListenerStatus) {
        let age = |listener: &ListenerStatus| (listener.since, listener.process);
        match &self.listener {
            Some(known) if age(known) <= age(&listener) => {}
            _ => self.listener = Some(listener),
        }
    }
}

impl DaemonStatus {
    /// Whether the daemon whose directories are `places` serves the client `process` at the moment.
    pub fn serves(places: &DaemonDirectories, process: u32) -> Served {
        let status = match Self::read(places) {
            Ok(status) => status,
            Err(error) => return Served::Unknown(error.to_string()),
        };
        let mut sessions = status.sessions.iter();
        match sessions.find(|session| session.client == Some(process)) {
            Some(session) => Served::Yes {
                trusted: session.trusted,
            },
            None => Served::No,
        }
    }
}

impl fmt::Display for DaemonStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = epoch_seconds(SystemTime::now());
        let age = |since: u64| format!("{} s", now.saturating_sub(since));
        let mut text = match &self.listener {
            Some(listener) => format!(
                "process {} listens, for {}; {} of {} used\n",
                listener.process,
                age(listener.since),
                self.tokens_used,
                counted(listener.tokens, "job token")
            ),
            None => format!(
                "no daemon listens; {} used\n",
                counted(self.tokens_used, "job token")
            ),
        };
        for session in &self.sessions {
            let user = match &session.user {
                Some(user) => visible(user),
                None => "over the network".to_owned(),
            };
            let client = session.client.map(|client| format!(", process {client}"));
            text.push_str(&format!(
                "{}  {user}{}, for {}{}\n",
                session.process,
                client.unwrap_or_default(),
                age(session.since),
                if session.trusted { ", trusted" } else { "" }
            ));
            for build in &session.builds {
                text.push_str(&format!(
                    "    {}, for {}\n",
                    visible(&build.derivation),
                    age(build.since)
                ));
            }
        }
        formatter.write_str(&text)
    }
}

/// What the file `path` holds; `None` where its process is dead or ends just now.
fn read(path: &Path) -> io::Result<Option<Process>> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    for _ in 0..50 {
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                // One that is empty may not be locked yet.
                if file.metadata()?.len() > 0 {
                    std::fs::remove_file(path)?;
                }
                return Ok(None);
            }
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        if let Ok(process) = serde_json::from_slice(&text) {
            return Ok(Some(process));
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_is_singular() {
        let mut status = DaemonStatus {
            listener: None,
            tokens_used: 1,
            sessions: Vec::new(),
        };
        let text = status.to_string();
        assert!(
            text.contains("no daemon listens; 1 job token used"),
            "{text}"
        );
        status.listener = Some(ListenerStatus {
            process: 7,
            since: 0,
            tokens: 1,
        });
        let text = status.to_string();
        assert!(text.contains("; 1 of 1 job token used"), "{text}");
    }

    #[test]
    fn of_several_listeners_the_oldest_counts() {
        let listeners =
            [(7, 20), (9, 10), (8, 10), (6, 30)].map(|(process, since)| ListenerStatus {
                process,
                since,
                tokens: 1,
            });
        let mut status = DaemonStatus {
            listener: None,
            tokens_used: 0,
            sessions: Vec::new(),
        };
        for listener in listeners {
            status.add_listener(listener);
        }
        assert_eq!(status.listener.map(|listener| listener.process), Some(8));
    }
}
