// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a sandbox. Hints are apart from the messages.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ExitStatusKind;
use crate::diagnostics::FileError;
use crate::formats::visible::visible_path;

/// Why a sandbox could not be made, or its program not be started.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SandboxError {
    /// No backend for this operating system.
    #[error("there is no sandbox for {system}")]
    #[diagnostic(help("build on Linux or on FreeBSD"))]
    NoBackend {
        /// The operating system's name.
        system: &'static str,
    },
    /// The machine or the user's privileges do not allow sandboxes.
    #[error("this machine does not allow sandboxed builds: {problem}")]
    #[diagnostic(help("{remedy}"))]
    Unfit {
        /// The step that failed, and why.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The world contradicts itself; the caller's mistake.
    #[error("invalid sandbox description: {0}")]
    BadWorld(String),
    /// A host path that the world names cannot be read.
    #[error(
        "the sandbox needs `{}`, which cannot be read: {source}",
        visible_path(path)
    )]
    Source {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory cannot be given to the build user.
    #[error("cannot give `{}` to the build user: {source}", visible_path(path))]
    #[diagnostic(help(
        "this is root without CAP_CHOWN, or the file system keeps no owners: run this as another user, or allow it (for Docker \
         and podman: --cap-add CHOWN)"
    ))]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory for temporary files cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Temporary(FileError),
    /// A directory that a build runs programs in is on a file system that forbids it.
    #[error(
        "no program can run in `{}`: its file system is mounted noexec",
        visible_path(path)
    )]
    #[diagnostic(help("{}", EXECUTABLE))]
    NoExecution {
        /// The directory.
        path: PathBuf,
    },
    /// The helper process could not be started.
    #[error(
        "cannot start the sandbox's helper process `{}`: {source}",
        visible_path(helper)
    )]
    #[diagnostic(help("{}", of_start(source)))]
    Helper {
        /// The binary that was to be run.
        helper: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The helper process died before it reported anything.
    #[error("the sandbox's helper process ended without a report: {how}")]
    #[diagnostic(help("the system may have killed it because memory ran out: see its log"))]
    HelperDied {
        /// How it ended.
        how: String,
    },
    /// A step of setting up the world failed, before the program started.
    #[error("cannot {step}{}: {source}", on(.path))]
    #[diagnostic(help("{}", remedy.as_deref().unwrap_or_default()))]
    Setup {
        /// The step.
        step: SandboxStep,
        /// What it worked on.
        path: Option<PathBuf>,
        /// Why it failed.
        source: io::Error,
        /// What to do about it, when known.
        remedy: Option<String>,
    },
    /// The sandbox is there, but its program cannot be executed.
    #[error("cannot run `{program}` in the sandbox: {source}")]
    #[diagnostic(help("{}", remedy.as_deref().unwrap_or_default()))]
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

    /// The error of a sandbox for no build in particular: a failed step with a known remedy makes the machine
    /// [`Unfit`](Self::Unfit).
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
        .map(|path| format!(" `{}`", visible_path(path)))
        .unwrap_or_default()
}

/// What to do about a file system without programs.
pub const EXECUTABLE: &str = "set TMPDIR to a directory of another file system, put the store elsewhere with --root, or mount \
     it again: mount -o remount,exec";

/// What to do about a process that cannot be started.
fn of_start(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::AGAIN) => {
            "no more processes are allowed: end some, or raise the limit (ulimit -u; pids.max of the control group)"
        }
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
            "too many files are open: raise the limit (ulimit -n)"
        }
        // On Linux it is found by /proc.
        Some(rustix::io::Errno::NOENT) if cfg!(target_os = "linux") => {
            "where /proc is not mounted: mount -t proc proc /proc"
        }
        Some(rustix::io::Errno::NOMEM) => "free memory, or build less at a time (-j, --cores)",
        _ => "",
    }
}

/// A step on the way from nothing to the running program. Displays as what follows "cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxStep {
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
    /// Make the databases of accounts.
    MakeAccounts,
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
    /// Choose the personality of a 32-bit system.
    ChoosePersonality,
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

impl fmt::Display for SandboxStep {
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
            Self::MakeAccounts => "make the databases of accounts in",
            Self::BringUpLoopback => "bring up the loopback interface",
            Self::NameHost => "set the host name",
            Self::Fork => "make the program's process",
            Self::OpenTerminal => "make a pseudo-terminal",
            Self::FilterCalls => "install the system-call filter",
            Self::LeaveSession => "leave the terminal session",
            Self::ChoosePersonality => "choose the personality of a 32-bit system",
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
    use crate::diagnostics::help_of;

    fn failed(remedy: Option<&str>) -> SandboxError {
        SandboxError::Setup {
            step: SandboxStep::MountSource,
            path: Some("/j/b/bin".into()),
            source: io::Error::other("no such file system"),
            remedy: remedy.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn messages_and_hints_are_apart() {
        let failed = failed(Some("as root: kldload nullfs"));
        assert_eq!(
            failed.to_string(),
            "cannot mount on `/j/b/bin`: no such file system"
        );
        assert_eq!(help_of(&failed), "as root: kldload nullfs");
        let unfit = failed.of_the_machine();
        assert_eq!(
            unfit.to_string(),
            "this machine does not allow sandboxed builds: cannot mount on `/j/b/bin`: no such file system"
        );
        assert_eq!(help_of(&unfit), "as root: kldload nullfs");
        let program = SandboxError::Program {
            program: "/bin/sh".into(),
            source: io::Error::other("no such file"),
            remedy: Some("add the item that holds it to the inputs".into()),
        };
        assert_eq!(
            program.to_string(),
            "cannot run `/bin/sh` in the sandbox: no such file"
        );
        assert!(help_of(&program).contains("inputs"));
    }

    #[test]
    fn a_failure_without_a_known_remedy_says_nothing_about_the_machine() {
        let failed = failed(None).of_the_machine();
        assert_eq!(help_of(&failed), "");
        assert_eq!(
            failed.to_string(),
            "cannot mount on `/j/b/bin`: no such file system"
        );
    }
}
