// SPDX-License-Identifier: GPL-3.0-or-later
//! Running a program of the system for what it prints. All of that goes to memory, so its size has a limit: a program
//! that prints without end is an error.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

/// The most bytes of a program that answers with a few lines.
pub const LINES: u64 = 16 << 20;

/// The most bytes of a program that lists all there is, such as the files of all processes.
pub const LISTING: u64 = 1 << 30;

/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// Runs `command` to its end. Gives its status and what it printed to standard output and standard error, of at most
/// `most` bytes each. Unless `command` has a standard input of its own, it reads this process's.
///
/// # Errors
/// Where it cannot be run, or prints more; then it is killed.
pub fn output(command: &mut Command, most: u64) -> io::Result<Output> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let printed = collect(&mut child, most);
    if printed.is_err() {
        // It may end by itself meanwhile.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let [stdout, stderr] = printed?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// One of the streams of a program.
struct Stream<R> {
    /// `None` once it is closed.
    pipe: Option<R>,
    printed: Vec<u8>,
}

impl<R: Read + AsFd> Stream<R> {
    fn of(pipe: Option<R>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            // The reading end alone: the program's stays as it is.
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            printed: Vec::new(),
        })
    }

    fn waiting(&self) -> Option<PollFd<'_>> {
        let pipe = self.pipe.as_ref()?;
        Some(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
    }

    /// Reads some of what is there, if anything is.
    fn read(&mut self, most: u64) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut piece = vec![0; PIECE];
        match pipe.read(&mut piece) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.printed.extend_from_slice(&piece[..count]),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                _ => return Err(error),
            },
        }
        match self.printed.len() as u64 > most {
            true => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it prints more than {most} bytes"),
            )),
            false => Ok(()),
        }
    }
}

/// Reads both streams as they are written, until both are closed: a program waits where one pipe is full.
fn collect(child: &mut Child, most: u64) -> io::Result<[Vec<u8>; 2]> {
    let mut out = Stream::of(child.stdout.take())?;
    let mut err = Stream::of(child.stderr.take())?;
    loop {
        let mut waiting: Vec<PollFd<'_>> = out.waiting().into_iter().chain(err.waiting()).collect();
        if waiting.is_empty() {
            return Ok([out.printed, err.printed]);
        }
        match poll(&mut waiting, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(waiting);
        out.read(most)?;
        err.read(most)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, most: u64) -> io::Result<Output> {
        output(Command::new("sh").args(["-c", script]), most)
    }

    #[test]
    fn both_streams_are_read_to_their_ends() {
        let output = sh("echo out; echo err >&2; exit 3", 100).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
        // More than a pipe holds, on one after the other.
        let script = "exec 1>&2; head -c 300000 /dev/zero; exec 2>&-";
        assert_eq!(sh(script, 1 << 20).unwrap().stderr.len(), 300_000);
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero";
        let output = sh(script, 1 << 20).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
    }

    #[test]
    fn a_program_that_prints_without_end_is_an_error_and_killed() {
        for script in ["exec cat /dev/zero", "exec cat /dev/zero >&2"] {
            let error = sh(script, 1 << 20).unwrap_err();
            assert!(
                error.to_string().contains("more than 1048576 bytes"),
                "{error}"
            );
        }
        let error = output(&mut Command::new("/nonexistent"), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
