// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper process: it receives the specification and executes the program. [`spawn`](super::spawn) is the other
//! side.

use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bstr::BString;

use rustix::io::fcntl_dupfd_cloexec;
use serde::de::DeserializeOwned;

use super::SandboxStep;
use super::process;
use super::protocol::{During, HelperMessage, StepFailure};
use crate::process_messages::{receive, receive_descriptors, send, take_stdin};

/// A specification with what came with it.
pub(super) struct Received<S> {
    pub specification: S,
    /// To the spawning process. Its end is the order to stop.
    pub socket: UnixStream,
    /// In the order in which they were sent.
    pub descriptors: Vec<OwnedFd>,
    /// `/dev/null` of the machine, which is standard input too.
    pub null: OwnedFd,
}

/// The helper's whole life. `start` fails where this process was not started by this program.
pub(super) fn live(start: impl FnOnce() -> io::Result<()>) -> ! {
    let status = match start() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("bootstrap: only bootstrap itself runs this command: {error}");
            5
        }
    };
    process::exit_now(status)
}

/// Receives the specification from the socket, which is standard input. `None` where there is nothing to make: the
/// spawning process is gone, or the specification was wrong, which has been reported.
pub(super) fn receive_specification<S: DeserializeOwned>() -> io::Result<Option<Received<S>>> {
    let (mut socket, null) = take_stdin()?;
    let descriptors = receive_descriptors(&socket)?;
    let specification = match receive(&mut socket) {
        Ok(Some(specification)) => specification,
        Ok(None) => return Ok(None),
        Err(error) => {
            let failure = Err(error).during(SandboxStep::ReadSpecification);
            let reported =
                failure.or_else(|failure| send(&mut socket, &HelperMessage::Failed(failure)));
            return reported.map(|()| None);
        }
    };
    Ok(Some(Received {
        specification,
        socket,
        descriptors,
        null,
    }))
}

/// A program with what it is given, in the form that the system takes.
pub(super) struct Execution {
    program: CString,
    /// The last component of the program's name first, as with guix-daemon.
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Execution {
    /// Fails on a NUL in any of them; `environment` is `NAME=VALUE`s.
    pub(super) fn new(
        program: &BString,
        arguments: &[BString],
        environment: &[BString],
    ) -> Result<Self, StepFailure> {
        let strings = |strings: &[BString]| -> Result<Vec<CString>, NulError> {
            let strings = strings.iter();
            strings
                .map(|string| CString::new(string.as_slice()))
                .collect()
        };
        let program = CString::new(program.as_slice()).during(SandboxStep::Execute)?;
        let mut arguments = strings(arguments).during(SandboxStep::Execute)?;
        let name = program.to_bytes().rsplit(|byte| *byte == b'/').next();
        arguments.insert(
            0,
            CString::new(name.unwrap_or_default()).during(SandboxStep::Execute)?,
        );
        Ok(Self {
            program,
            arguments,
            environment: strings(environment).during(SandboxStep::Execute)?,
        })
    }

    /// Becomes the program; returns only on failure.
    pub(super) fn execute(&self) -> io::Error {
        process::execute(&self.program, &self.arguments, &self.environment)
    }
}

/// Gives `descriptors` the numbers that the program expects, and `socket` one that is none of those.
pub(super) fn place_descriptors(
    socket: &mut UnixStream,
    descriptors: &mut [OwnedFd],
    numbers: &[i32],
) -> Result<(), StepFailure> {
    let step = SandboxStep::PlaceDescriptors;
    // Out of the way of the numbers that the program expects.
    let beyond = numbers.iter().max().unwrap_or(&2) + 1;
    *socket = fcntl_dupfd_cloexec(&*socket, beyond).during(step)?.into();
    for descriptor in descriptors.iter_mut() {
        let moved = fcntl_dupfd_cloexec(&*descriptor, beyond).during(step)?;
        // Not closed: its number may be one of those placed below.
        std::mem::forget(std::mem::replace(descriptor, moved));
    }
    for (descriptor, &number) in descriptors.iter().zip(numbers) {
        process::place(descriptor, number).during(step)?;
    }
    Ok(())
}
