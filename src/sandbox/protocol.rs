// SPDX-License-Identifier: GPL-3.0-or-later
//! What the spawning process and the helper process say to each other over their socket.
//!
//! The spawning process sends one specification (each backend has its own) with its descriptors, and never
//! anything after it: when its end closes, for whatever reason, the sandbox dies. The helper, or another process
//! of the sandbox that is still our own program, answers with [`HelperMessage`]s. Both are JSON with their length
//! before them (four bytes, little-endian): a stream socket, because a specification may be longer than a datagram.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Finished, SandboxStep};

/// Descriptors that one message can carry; the kernel's `SCM_MAX_FD`.
pub(super) const MOST_DESCRIPTORS: usize = 253;

/// Longest message believed: a length beyond it means that the two sides are not the same program.
const LONGEST: usize = 64 << 20;

/// What the helper, or a process of the sandbox that is still our own, answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HelperMessage {
    /// A step failed; the program has not run.
    Failed(StepFailure),
    /// The system refuses to fix the addresses of the program's memory; the program runs all the same. More messages
    /// follow.
    RandomAddresses,
    /// All steps but the program's execution worked.
    Fit,
    /// The program ended, and nothing it started is left.
    Finished(Finished),
    /// The sandbox's first process ended, and everything in the sandbox with it. Says something new only when
    /// no other message came before.
    Ended {
        /// Because the spawning process asked for it.
        killed: bool,
        /// How the first process ended, with the times of everything in the sandbox.
        first: Finished,
    },
}

/// Paths of any bytes: text where they are UTF-8, as nearly all are, else a list of bytes.
pub(super) mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(match Read::deserialize(deserializer)? {
            Read::Text(text) => PathBuf::from(text),
            Read::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        })
    }
}

/// A failed step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepFailure {
    pub step: SandboxStep,
    pub path: Option<PathBuf>,
    /// The system's error number.
    pub errno: i32,
    /// What is known besides the number.
    pub detail: Option<FailureDetail>,
}

/// What is known of a failed step besides an error number.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FailureDetail {
    /// What the kernel adds to the number.
    Kernel(String),
    /// The whole message of an error that has no number, such as that of a program that was run.
    Message(String),
}

impl StepFailure {
    /// The failure of `step` by `error`; the kernel may have added `kernel`.
    pub(super) fn new(
        step: SandboxStep,
        path: Option<PathBuf>,
        error: &io::Error,
        kernel: Option<String>,
    ) -> Self {
        let invalid = rustix::io::Errno::INVAL.raw_os_error();
        let (errno, detail) = match error.raw_os_error() {
            Some(errno) => (errno, kernel.map(FailureDetail::Kernel)),
            None => (invalid, Some(FailureDetail::Message(error.to_string()))),
        };
        Self {
            step,
            path,
            errno,
            detail,
        }
    }

    /// The error with all that is known of it.
    pub(super) fn error(&self) -> io::Error {
        let error = io::Error::from_raw_os_error(self.errno);
        match &self.detail {
            Some(FailureDetail::Kernel(detail)) => {
                io::Error::new(error.kind(), format!("{error}; kernel: {detail}"))
            }
            Some(FailureDetail::Message(message)) => io::Error::other(message.clone()),
            None => error,
        }
    }
}

/// Notes which step a system call belongs to.
pub(super) trait During<T> {
    /// The failure of `step`.
    fn during(self, step: SandboxStep) -> Result<T, StepFailure>;
    /// The failure of `step` on `path`.
    fn during_on(self, step: SandboxStep, path: impl Into<PathBuf>) -> Result<T, StepFailure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: SandboxStep) -> Result<T, StepFailure> {
        self.map_err(|error| StepFailure::new(step, None, &error.into(), None))
    }

    fn during_on(self, step: SandboxStep, path: impl Into<PathBuf>) -> Result<T, StepFailure> {
        self.map_err(|error| StepFailure::new(step, Some(path.into()), &error.into(), None))
    }
}

/// Sends `message`.
pub(super) fn send(socket: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    socket.write_all(&frame(message)?)
}

/// The bytes of `message` as they are sent.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The next message; `None` when the other side has closed.
pub(super) fn receive<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame)?;
    Ok(Some(serde_json::from_slice(&frame)?))
}

/// Sends `descriptors`, with one byte to carry them.
pub(super) fn send_descriptors(
    socket: &UnixStream,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space =
        vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(descriptors).size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(b"d")],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The descriptors that [`send_descriptors`] sent; they close on execution.
pub(super) fn receive_descriptors(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_as_sent() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send_descriptors(&left, &[writer.as_fd()]).unwrap();
        send(&mut left, &HelperMessage::Fit).unwrap();
        let received = receive_descriptors(&right).unwrap();
        assert_eq!(received.len(), 1);
        std::fs::File::from(received.into_iter().next().unwrap())
            .write_all(b"x")
            .unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(reader)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "x");
        assert!(matches!(
            receive(&mut right).unwrap(),
            Some(HelperMessage::Fit)
        ));
        drop(left);
        assert!(receive::<HelperMessage>(&mut right).unwrap().is_none());
    }

    #[test]
    fn a_failure_without_an_error_number_keeps_its_message_on_the_way() {
        let arrived = |failed: io::Result<()>, kernel: Option<&str>| {
            let (mut left, mut right) = UnixStream::pair().unwrap();
            let error = failed.unwrap_err();
            let kernel = kernel.map(ToOwned::to_owned);
            let failure = StepFailure::new(SandboxStep::MakeAccounts, None, &error, kernel);
            send(&mut left, &HelperMessage::Failed(failure)).unwrap();
            match receive(&mut right).unwrap() {
                Some(HelperMessage::Failed(failure)) => failure.error(),
                other => panic!("{other:?}"),
            }
        };
        let program = "pwd_mkdb: exit status: 1: pwd_mkdb: line #1 too long";
        assert_eq!(
            arrived(Err(io::Error::other(program)), None).to_string(),
            program
        );
        let full = || io::Error::from(rustix::io::Errno::NOSPC);
        assert_eq!(
            arrived(Err(full()), None).raw_os_error(),
            full().raw_os_error()
        );
        let with_kernel = arrived(Err(full()), Some("no swap")).to_string();
        assert_eq!(with_kernel, format!("{}; kernel: no swap", full()));
    }

    #[test]
    fn an_absurd_length_is_an_error_not_an_allocation() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        left.write_all(&[0xff; 8]).unwrap();
        assert!(receive::<HelperMessage>(&mut right).is_err());
    }
}
