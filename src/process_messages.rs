// SPDX-License-Identifier: GPL-3.0-or-later
//! Messages between processes of this program, over a pair of local sockets.
//!
//! A message is JSON with its length before it (four bytes, little-endian): a stream socket, because a message may be
//! longer than a datagram. Descriptors go before it, with a byte of their own.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Descriptors that one message can carry; the kernel's `SCM_MAX_FD`.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Longest message believed: a length beyond it means that the two sides are not the same program.
const LONGEST: usize = 64 << 20;

/// Standard input as the socket that it is, which nothing that this process starts inherits, and `/dev/null`, open for
/// both reading and writing, which takes its place.
pub(crate) fn take_stdin() -> io::Result<(UnixStream, OwnedFd)> {
    let socket = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null: OwnedFd = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into();
    rustix::stdio::dup2_stdin(&null)?;
    Ok((UnixStream::from(socket), null))
}

/// Sends `message`.
pub(crate) fn send(socket: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    socket.write_all(&frame(message)?)
}

/// The bytes of `message` as they are sent.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The next message; `None` when the other side has closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<Option<T>> {
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
pub(crate) fn send_descriptors(
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
pub(crate) fn receive_descriptors(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
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
        send(&mut left, &"fit").unwrap();
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
        assert_eq!(receive(&mut right).unwrap(), Some("fit".to_owned()));
        drop(left);
        assert!(receive::<String>(&mut right).unwrap().is_none());
    }

    #[test]
    fn an_absurd_length_is_an_error_not_an_allocation() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        left.write_all(&[0xff; 8]).unwrap();
        assert!(receive::<String>(&mut right).is_err());
    }
}
