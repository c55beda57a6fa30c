// SPDX-License-Identifier: GPL-3.0-or-later
//! What the spawning process and the helper process say to each other over their socket.
//!
//! The spawning process sends one specification (each backend has its own) with its descriptors, and never
//! anything after it: when its end closes, for whatever reason, the sandbox dies. The helper, or another process
//! of the sandbox that is still our own program, answers with [`HelperMessage`]s. Both are
//! [messages between processes](crate::process_messages).

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Finished, SandboxStep};

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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::process_messages::{receive, send};

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
}
