// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a sandbox, in words that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ExitStatusKind;

/// Why a sandbox could not be made, or its program not be started.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SandboxError {
    /// No backend for this operating system.
    #[error("there is no sandbox for this system ({system}): builds run on Linux and on FreeBSD")]
    NoBackend {
        /// The operating system's name.
        system: &'static str,
    },
    /// The machine or the user's privileges do not allow sandboxes.
    #[error("this machine does not allow sandboxed builds: {problem}. {remedy}")]
    Unfit {
        /// The step that failed, and why.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The world contradicts itself; the caller's mistake.
    #[error("the sandbox is described wrongly: {0}")]
    BadWorld(String),
    /// A host path that the world names cannot be looked at.
    #[error("the sandbox needs `{}`, which cannot be looked at: {source}", path.display())]
    Source {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The helper process could not be started or told what to do.
    #[error("cannot start the sandbox's helper process `{}`: {source}", helper.display())]
    Helper {
        /// The binary that was to be run.
        helper: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The helper process died before it could say anything.
    #[error(
        "the sandbox's helper process ended without a word ({how}); was it killed for want of memory?"
    )]
    HelperDied {
        /// How it ended.
        how: String,
    },
    /// A step of setting up the world failed, before the program started.
    #[error("cannot {step}{}: {source}{}", on(.path), advice(.remedy))]
    Setup {
        /// The step.
        step: Step,
        /// What it worked on.
        path: Option<PathBuf>,
        /// Why it failed.
        source: io::Error,
        /// What to do about it, when known.
        remedy: Option<String>,
    },
    /// The sandbox is there, but its program cannot be executed.
    #[error("cannot run `{program}` in the sandbox: {source}{}", advice(.remedy))]
    Program {
        /// Guest path of the program.
        program: String,
        /// Why.
        source: io::Error,
        /// What to do about it, when known.
        remedy: Option<String>,
    },
}

impl SandboxError {
    /// Whether the environment is at fault and not the build: the command then ends with status 5.
    pub fn is_environment(&self) -> bool {
        !matches!(self, Self::Program { .. } | Self::BadWorld(_))
    }

    /// What it means if a sandbox for nothing in particular cannot be set up: a failure of which is known what to do
    /// about it makes the machine [`Unfit`](Self::Unfit).
    pub(super) fn of_the_machine(self) -> Self {
        match self {
            Self::Setup {
                step,
                path,
                source,
                remedy: Some(remedy),
            } => Self::Unfit {
                problem: format!("cannot {step}{}: {source}", on(&path)),
                remedy,
            },
            other => other,
        }
    }
}

fn on(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map(|path| format!(" `{}`", path.display()))
        .unwrap_or_default()
}

fn advice(remedy: &Option<String>) -> String {
    remedy
        .as_ref()
        .map(|remedy| format!(". {remedy}"))
        .unwrap_or_default()
}

/// A step on the way from nothing to the running program. Displays as what follows "cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Read what the sandbox is to hold.
    ReadSpecification,
    /// Give up the caller's supplementary groups.
    LeaveGroups,
    /// Make user, mount, process, network, IPC, host-name and control-group namespaces.
    CreateNamespaces,
    /// Say which outside user the build user is.
    MapUser,
    /// Become the build user.
    BecomeUser,
    /// Tie the first process's life to the helper's.
    TieLife,
    /// Keep mounts from spreading to the machine.
    SeparateMounts,
    /// Take hold of a host path that is to be mounted.
    OpenSource,
    /// Make a mount read-only, or without set-user-ID programs and devices.
    RestrictMount,
    /// Make the root file system.
    MountRoot,
    /// Make `/proc`.
    MountProcesses,
    /// Make the root file system the only one visible.
    EnterRoot,
    /// Make a directory, file or link of the world, or a place to mount on.
    MakeEntry,
    /// Mount a host path in its place.
    MountSource,
    /// Mount an empty file system in memory.
    MountTemporary,
    /// Make `/dev` with its pseudo-terminals.
    MakeDevices,
    /// Forbid further namespaces inside.
    ForbidNamespaces,
    /// Bring up the loopback interface.
    BringUpLoopback,
    /// Set the host name.
    NameHost,
    /// Make the process that becomes the program.
    Fork,
    /// Make a pseudo-terminal for an interactive program, or give it to the program.
    OpenTerminal,
    /// Leave the session and its terminal.
    LeaveSession,
    /// Refuse the system calls that no build may make.
    FilterCalls,
    /// Switch address-space randomisation off.
    FixAddresses,
    /// Limit memory, processes, file sizes, open files.
    LimitResources,
    /// Enter the build directory.
    EnterBuildDirectory,
    /// Give up every privilege for good.
    DropPrivileges,
    /// Put the descriptors where the program expects them.
    PlaceDescriptors,
    /// Execute the program.
    Execute,
    /// Wait for the program.
    Wait,
    /// Make a jail.
    MakeJail,
    /// Enter the jail.
    EnterJail,
    /// Remove the jail with its processes.
    RemoveJail,
    /// Undo a mount.
    Unmount,
    /// Remove the record of a build.
    ForgetBuild,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ReadSpecification => "read the sandbox's description",
            Self::LeaveGroups => "give up supplementary groups",
            Self::CreateNamespaces => "create namespaces",
            Self::MapUser => "map the build user to a user of this machine",
            Self::BecomeUser => "become the build user",
            Self::TieLife => "tie the sandbox's life to this process's",
            Self::SeparateMounts => "separate the sandbox's mounts from the machine's",
            Self::OpenSource => "open for mounting",
            Self::RestrictMount => "restrict the mount of",
            Self::MountRoot => "mount the sandbox's root",
            Self::MountProcesses => "mount /proc",
            Self::EnterRoot => "enter the sandbox's root",
            Self::MakeEntry => "create in the sandbox",
            Self::MountSource => "mount on",
            Self::MountTemporary => "mount an empty file system on",
            Self::MakeDevices => "make the devices",
            Self::ForbidNamespaces => "forbid further namespaces in the sandbox",
            Self::BringUpLoopback => "bring up the loopback interface",
            Self::NameHost => "set the host name",
            Self::Fork => "make the program's process",
            Self::OpenTerminal => "make a pseudo-terminal",
            Self::FilterCalls => "install the system-call filter",
            Self::LeaveSession => "leave the terminal session",
            Self::FixAddresses => "switch off address-space randomisation",
            Self::LimitResources => "limit resources",
            Self::EnterBuildDirectory => "enter the build directory",
            Self::DropPrivileges => "drop privileges",
            Self::PlaceDescriptors => "place the program's file descriptors",
            Self::Execute => "execute",
            Self::Wait => "wait for the program",
            Self::MakeJail => "make the jail",
            Self::EnterJail => "enter the jail",
            Self::RemoveJail => "remove the jail",
            Self::Unmount => "unmount",
            Self::ForgetBuild => "forget the build recorded in",
        })
    }
}

impl fmt::Display for ExitStatusKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(formatter, "exit status {status}"),
            Self::Signaled(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(remedy: Option<&str>) -> SandboxError {
        SandboxError::Setup {
            step: Step::MountSource,
            path: Some("/j/b/bin".into()),
            source: io::Error::other("no such file system"),
            remedy: remedy.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn what_is_wrong_and_what_to_do_about_it_are_one_line() {
        let failed = failed(Some("As root: kldload nullfs."));
        assert_eq!(
            failed.to_string(),
            "cannot mount on `/j/b/bin`: no such file system. As root: kldload nullfs."
        );
        assert_eq!(
            failed.of_the_machine().to_string(),
            "this machine does not allow sandboxed builds: cannot mount on `/j/b/bin`: no such file system. \
             As root: kldload nullfs."
        );
        let program = SandboxError::Program {
            program: "/bin/sh".into(),
            source: io::Error::other("no such file"),
            remedy: Some("Is it there?".into()),
        };
        assert_eq!(
            program.to_string(),
            "cannot run `/bin/sh` in the sandbox: no such file. Is it there?"
        );
    }

    #[test]
    fn a_failure_that_nobody_knows_a_remedy_for_is_no_judgement_of_the_machine() {
        let failed = failed(None).of_the_machine();
        assert_eq!(
            failed.to_string(),
            "cannot mount on `/j/b/bin`: no such file system"
        );
    }
}
