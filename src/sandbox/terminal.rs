// SPDX-License-Identifier: GPL-3.0-or-later
//! The pseudo-terminal of an interactive program, and the helper's side of it.
//!
//! A program that shares the user's terminal can type commands into it (`TIOCSTI`), which the user's shell runs later,
//! and can read what the user types. So an interactive program gets a session and a pseudo-terminal of its own in place
//! of each standard stream that is a terminal. The helper, outside the sandbox, copies bytes between the two terminals
//! and forwards the window size. It also restores the user's terminal: it outlives a run that is killed.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio;
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr,
    tcgetwinsize, tcsetattr, tcsetwinsize,
};
use rustix::time::Timespec;

use super::process;

/// Signals that the helper of an interactive program ignores: it ends when the spawning process does, and then restores
/// the user's terminal, from the background too.
const IGNORED: [c_int; 5] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTTOU,
    libc::SIGTERM,
    libc::SIGHUP,
];

/// Bytes copied at a time.
const CHUNK: usize = 16 << 10;

/// The helper's side: the user's terminal and the main end of the program's.
pub(super) struct Terminal {
    user: OwnedFd,
    /// Whether the user types into it: whether standard input is a terminal.
    typed: bool,
    /// The modes to restore, once they have been changed.
    before: Option<Termios>,
    main: Option<OwnedFd>,
    /// Kept open while the program may reopen its terminal: the main end reports the end when nothing has the other.
    other: Option<OwnedFd>,
    relay: Option<JoinHandle<()>>,
    /// What the user typed before the terminal became raw.
    ahead: Vec<u8>,
}

/// The program's end of its terminal.
pub(super) struct ProgramEnd {
    terminal: OwnedFd,
    /// Which standard streams it is.
    streams: [bool; 3],
}

/// Parts the helper from the user's terminal. An `interactive` program, of the user `uid` outside, gets a terminal of
/// its own. For others the helper has a session of its own: the terminal's signals must not kill the build, since that
/// is for the spawning process to decide.
pub(super) fn separate(interactive: bool, uid: u32) -> io::Result<Option<(Terminal, ProgramEnd)>> {
    if !interactive {
        let _ = rustix::process::setsid();
        return Ok(None);
    }
    let opened = Terminal::open(uid)?;
    process::ignore_signals(&IGNORED);
    Ok(opened)
}

impl Terminal {
    /// Makes a terminal for the program, of the user `uid` outside, with the modes and size of the user's; `None` where
    /// no standard stream is a terminal. Then it makes the user's terminal raw. A helper in the background stops there
    /// until it is in the foreground, so signals of the terminal must not be ignored yet.
    fn open(uid: u32) -> io::Result<Option<(Self, ProgramEnd)>> {
        let streams = [
            isatty(stdio::stdin()),
            isatty(stdio::stdout()),
            isatty(stdio::stderr()),
        ];
        let user = match streams {
            [_, true, _] => stdio::stdout(),
            [_, _, true] => stdio::stderr(),
            [true, ..] => stdio::stdin(),
            _ => return Ok(None),
        };
        let user = fcntl_dupfd_cloexec(user, 3)?;
        let typed = streams[0];
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&main)?;
        unlockpt(&main)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other = openat(CWD, ptsname(&main, Vec::new())?, flags, Mode::empty())?;
        // So that the program may open it by name where it sees the name.
        let owner = rustix::fs::Uid::from_raw(uid);
        let _ = rustix::fs::fchown(&other, Some(owner), None);
        let before = tcgetattr(&user)?;
        let mut modes = before.clone();
        if !typed {
            // The user's terminal is not made raw and adds the carriage returns.
            modes.output_modes.remove(OutputModes::OPOST);
        }
        tcsetattr(&other, OptionalActions::Now, &modes)?;
        tcsetwinsize(&other, tcgetwinsize(&user)?)?;
        let program = ProgramEnd {
            terminal: fcntl_dupfd_cloexec(&other, 3)?,
            streams,
        };
        let mut terminal = Self {
            user,
            typed,
            before: None,
            main: Some(main),
            other: Some(other),
            relay: None,
            ahead: Vec::new(),
        };
        if typed {
            terminal.ahead = typed_ahead(&before);
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(&terminal.user, OptionalActions::Drain, &raw)?;
            terminal.before = Some(before);
        }
        Ok(Some((terminal, program)))
    }

    /// Closes the descriptors without restoring anything: for a copy of the helper's process that does not soon execute
    /// another program, as Linux's first process.
    #[cfg(target_os = "linux")]
    pub(super) fn abandon(mut self) {
        self.before = None;
    }

    /// Starts to copy, in a thread: from here on this process must not fork.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let Some(main) = self.main.take() else {
            return Ok(());
        };
        let flags = rustix::fs::fcntl_getfl(&main)?;
        rustix::fs::fcntl_setfl(&main, flags | OFlags::NONBLOCK)?;
        let (resized, on_resize) = UnixStream::pair()?;
        resized.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGWINCH, on_resize)?;
        let relay = Relay {
            user: self.user.try_clone()?,
            input: self
                .typed
                .then(|| stdio::stdin().try_clone_to_owned())
                .transpose()?,
            main: main.into(),
            resized,
            ahead: std::mem::take(&mut self.ahead),
        };
        let thread = std::thread::Builder::new().name("terminal".to_owned());
        self.relay = Some(thread.spawn(move || relay.run())?);
        Ok(())
    }

    /// Copies what the program has printed last, now that none of its processes is alive, and restores the user's
    /// terminal.
    pub(super) fn finish(mut self) {
        self.other = None;
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.user, OptionalActions::Drain, before);
        }
    }
}

impl ProgramEnd {
    /// Makes the terminal the controlling terminal of this process, which leads a session without one, and its standard
    /// streams.
    pub(super) fn attach(&self) -> io::Result<()> {
        rustix::process::ioctl_tiocsctty(&self.terminal)?;
        for (number, &is_terminal) in (0..).zip(&self.streams) {
            if is_terminal {
                super::process::place(&self.terminal, number)?;
            }
        }
        Ok(())
    }
}

/// The lines that the user has typed ahead into standard input, a terminal with the modes `before`. Once it is raw, the
/// end of input that they typed would be a null byte (Linux), so that it is read before, and becomes the character that
/// it was.
fn typed_ahead(before: &Termios) -> Vec<u8> {
    let mut ahead = Vec::new();
    let mut buffer = vec![0; CHUNK];
    if !before.local_modes.contains(LocalModes::ICANON) {
        return ahead;
    }
    while ahead.len() < CHUNK {
        let mut watched = [PollFd::from_borrowed_fd(stdio::stdin(), PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let polled = poll(&mut watched, Some(&now));
        if !polled.is_ok_and(|ready| ready > 0) || watched[0].revents() != PollFlags::IN {
            break;
        }
        match rustix::io::read(stdio::stdin(), &mut buffer) {
            Ok(0) => ahead.push(before.special_codes[SpecialCodeIndex::VEOF]),
            Ok(count) => ahead.extend_from_slice(&buffer[..count]),
            Err(_) => break,
        }
    }
    ahead
}

/// Copies between the two terminals until the program's is closed or the user's hangs up.
struct Relay {
    user: OwnedFd,
    /// Where the user types.
    input: Option<OwnedFd>,
    main: File,
    /// Readable after a change of the window size.
    resized: UnixStream,
    ahead: Vec<u8>,
}

impl Relay {
    fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        // What the user has typed and the program's terminal has no room for yet.
        let mut typed = std::mem::take(&mut self.ahead);
        self.forward_size();
        loop {
            let mut wanted = PollFlags::IN;
            wanted.set(PollFlags::OUT, !typed.is_empty());
            let input = self.input.as_ref().filter(|_| typed.is_empty());
            let mut watched = vec![
                PollFd::new(&self.main, wanted),
                PollFd::new(&self.resized, PollFlags::IN),
            ];
            watched.extend(input.map(|input| PollFd::new(input, PollFlags::IN)));
            match poll(&mut watched, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            let ready: Vec<bool> = watched
                .iter()
                .map(|one| !one.revents().is_empty())
                .collect();
            if ready[0] {
                match self.main.read(&mut buffer) {
                    // Linux reports the end as an error, FreeBSD as no bytes.
                    Ok(0) => return,
                    // A terminal that is gone does not end the program: the run's own signals do.
                    Ok(count) => drop(write_all(self.user.as_fd(), &buffer[..count])),
                    Err(error) if is_transient(&error) => {}
                    Err(_) => return,
                }
                if !typed.is_empty() {
                    match self.main.write(&typed) {
                        Ok(count) => drop(typed.drain(..count)),
                        Err(error) if is_transient(&error) => {}
                        Err(_) => return,
                    }
                }
            }
            if ready[1] {
                let _ = self.resized.read(&mut buffer);
                self.forward_size();
            }
            if let (Some(true), Some(input)) = (ready.get(2), &self.input) {
                match rustix::io::read(input, &mut buffer) {
                    Ok(count) if count > 0 => typed.extend_from_slice(&buffer[..count]),
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    // The user's terminal has hung up, and so does the program's, with this end of it.
                    _ => return,
                }
            }
        }
    }

    fn forward_size(&self) {
        if let Ok(size) = tcgetwinsize(&self.user) {
            // The kernel tells the program's foreground process group.
            let _ = tcsetwinsize(&self.main, size);
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Another program has made the terminal non-blocking.
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}
