// SPDX-License-Identifier: GPL-3.0-or-later
//! The fork server: a process that makes each helper by forking itself.
//!
//! Executing our own binary takes longer than all the rest of a small build's sandbox. The fork server executes it
//! once. A helper is all the same a child of the spawning process (`CLONE_PARENT`), which waits for it. The server has
//! one thread and holds nothing but its socket, so that a copy of it is as good as a new process. It ends when the
//! spawning process does, whose end of the socket closes then.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustix::process::Pid;
use rustix::stdio;

use super::{init, system};
use crate::process_messages::{receive, receive_descriptors, send, send_descriptors, take_stdin};
use crate::sandbox::INIT_ARGUMENT;
use crate::sandbox::helper;
use crate::sandbox::spawn::HelperProcess;

/// The argument after [`INIT_ARGUMENT`] that makes our own binary a fork server.
const SERVER_ARGUMENT: &str = "serve";

/// The process number of a new helper, or the system's error number.
type Answer = Result<i32, i32>;

/// The fork server of this process for one binary.
#[derive(Debug)]
pub(super) struct HelperServer {
    binary: PathBuf,
    running: Mutex<Option<ServerProcess>>,
}

#[derive(Debug)]
struct ServerProcess {
    child: Child,
    socket: UnixStream,
}

impl HelperServer {
    /// The server that executes `binary`. It starts when the first helper is wanted.
    pub(super) fn of_process(binary: &Path) -> Arc<Self> {
        static ALL: LazyLock<Mutex<BTreeMap<PathBuf, Arc<HelperServer>>>> =
            LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let server = all.entry(binary.to_owned()).or_insert_with(|| {
            Arc::new(Self {
                binary: binary.to_owned(),
                running: Mutex::default(),
            })
        });
        Arc::clone(server)
    }

    /// Starts a helper, whose end of the socket is `socket`.
    ///
    /// # Errors
    /// Where no process can be made, or the server was killed. The next call starts another. The helper may have been
    /// made all the same: then it ends when the other end of `socket` closes.
    pub(super) fn fork(&self, socket: &OwnedFd, output: &OwnedFd) -> io::Result<HelperProcess> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let server = match &mut *running {
            Some(server) => server,
            none => none.insert(ServerProcess::start(&self.binary)?),
        };
        match server.ask(socket, output) {
            Ok(answer) => {
                let number = answer.map_err(io::Error::from_raw_os_error)?;
                let process = Pid::from_raw(number).ok_or(io::ErrorKind::InvalidData)?;
                Ok(HelperProcess::forked(process))
            }
            Err(error) => {
                *running = None;
                Err(error)
            }
        }
    }
}

impl ServerProcess {
    fn start(binary: &Path) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(binary)
            .arg0("bootstrap")
            .args([INIT_ARGUMENT, SERVER_ARGUMENT])
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            socket: ours,
        })
    }

    fn ask(&mut self, socket: &OwnedFd, output: &OwnedFd) -> io::Result<Answer> {
        send_descriptors(&self.socket, &[socket.as_fd(), output.as_fd()])?;
        let answer = receive(&mut self.socket)?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It is a server that does not answer.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this process was started as a fork server.
pub(super) fn is_server() -> bool {
    std::env::args_os()
        .nth(2)
        .is_some_and(|argument| argument == SERVER_ARGUMENT)
}

/// The server's whole life.
pub(super) fn main() -> ! {
    system::close_inherited();
    helper::live(serve)
}

fn serve() -> io::Result<()> {
    // The terminal's signals are for the spawning process to deal with.
    let _ = rustix::process::setsid();
    let (mut socket, _) = take_stdin()?;
    loop {
        let descriptors = match receive_descriptors(&socket) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            received => received?,
        };
        let [theirs, output] = <[OwnedFd; 2]>::try_from(descriptors)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let answer: Answer = match system::clone_into(system::SIBLING) {
            Ok(None) => {
                drop(socket);
                helper::live(|| become_helper(theirs, output));
            }
            Ok(Some(process)) => Ok(process.as_raw_pid()),
            Err(error) => Err(error.raw_os_error().unwrap_or(0)),
        };
        send(&mut socket, &answer)?;
    }
}

/// Lives as a helper that was executed does: with its socket as standard input, and the build's output.
fn become_helper(socket: OwnedFd, output: OwnedFd) -> io::Result<()> {
    stdio::dup2_stdin(&socket)?;
    stdio::dup2_stdout(&output)?;
    stdio::dup2_stderr(&output)?;
    drop((socket, output));
    init::start()
}
