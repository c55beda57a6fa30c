// SPDX-License-Identifier: GPL-3.0-or-later
//! The client's end of the connection, read without sleeping where the next request follows at once.
//!
//! Guix's clients ask one thing after the other, thousands of times, and wait for each answer. A process that sleeps
//! is woken only after some 20 microseconds, more than most answers take. So this reader first looks for bytes again
//! and again for a moment, but only as long as the client keeps to such a pace, and on machines with several
//! processors.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// How long to look for the next request before sleeping.
const MOMENT: Duration = Duration::from_micros(100);

/// After how many reads that waited a moment at most a client has that pace.
const PACE: u32 = 4;

/// Reads from a client.
#[derive(Debug)]
pub(super) struct ClientStream {
    socket: UnixStream,
    /// How many of the last reads waited a moment at most.
    quick: u32,
    /// Whether there is a processor for the client meanwhile. Asking takes longer than a request.
    several_processors: OnceLock<bool>,
}

impl ClientStream {
    /// What reads from `socket`.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            quick: 0,
            several_processors: OnceLock::new(),
        }
    }

    /// Sets how long a read may wait; `None`: for ever.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// Whether the next bytes are worth looking for.
    fn is_paced(&self) -> bool {
        let ask = || thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        self.quick >= PACE && *self.several_processors.get_or_init(ask)
    }
}

impl Read for ClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let paced = self.is_paced();
        while paced && start.elapsed() < MOMENT {
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(count),
                // The client may have been woken on this very processor.
                Err(Errno::AGAIN | Errno::INTR) => thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        let count = self.socket.read(buffer);
        self.quick = match start.elapsed() < MOMENT {
            true => self.quick.saturating_add(1),
            false => 0,
        };
        count
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_come_in_order_at_any_pace_and_the_end_is_seen() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut stream = ClientStream::new(server);
        let sender = thread::spawn(move || {
            for number in 0..=255 {
                client.write_all(&[number]).unwrap();
                if number % 16 == 0 {
                    thread::sleep(MOMENT * 3);
                }
            }
        });
        let mut seen = Vec::new();
        stream.read_to_end(&mut seen).unwrap();
        sender.join().unwrap();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn a_client_that_pauses_is_slept_for_until_the_time_limit() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut stream = ClientStream::new(server);
        stream.several_processors = OnceLock::from(true);
        stream.set_read_timeout(Some(MOMENT * 50)).unwrap();
        let mut byte = [0];
        while !stream.is_paced() {
            client.write_all(b"a").unwrap();
            stream.read_exact(&mut byte).unwrap();
        }
        let start = Instant::now();
        let error = stream.read(&mut byte).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(start.elapsed() >= MOMENT * 50);
        assert!(!stream.is_paced());
    }
}
