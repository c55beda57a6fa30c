// SPDX-License-Identifier: GPL-3.0-or-later
//! One build's world: what a program may see, write and use up, and who it is while it runs.
//!
//! This file is the vocabulary. A [`World`] says what a sandbox holds, [`layout`] turns it into a list of
//! directories, files, links and mounts (pure data), and a [`Sandbox`] makes it real and runs one program in
//! it. Each platform has its own `Sandbox` in a module of its own: `namespaces` for Linux, [`jail`] for FreeBSD. Adding
//! a platform is adding a folder, and its choice where this file names the others.
//!
//! What every backend guarantees:
//! - The program sees the [`World`]'s root and mounts, `/dev` (null, zero, full, random, urandom, the standard
//!   streams, pseudo-terminals), `/proc` (on FreeBSD where it is asked for), an empty `/tmp`, and an `/etc` of
//!   `passwd`, `group` and `hosts`; nothing else of the machine, and no network but its own loopback.
//! - It can write to `/tmp`, its build directory and the mounts that say so. The store directory itself is
//!   writable, each input inside it is not.
//! - It runs as the build user, cannot gain privileges, and gets exactly the environment, arguments and file
//!   descriptors it was given.
//! - When [`RunningProgram::wait`] returns, no process of the build is left; when this process dies, however it dies,
//!   so does the build.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::BString;
use serde::{Deserialize, Serialize};

mod check;
mod error;
mod executable;
pub mod features;
#[cfg(any(target_os = "freebsd", target_os = "linux"))]
mod helper;
pub mod inherited;
pub mod jail;
pub mod layout;
#[cfg(target_os = "linux")]
pub mod namespaces;
mod process;
mod protocol;
mod resources;
mod spawn;
#[cfg(any(target_os = "freebsd", target_os = "linux"))]
mod terminal;

pub use error::{EXECUTABLE, SandboxError, SandboxStep};
pub use executable::forbids_programs;

/// The argument that makes our own binary play the sandbox's first process instead of the command line.
pub const INIT_ARGUMENT: &str = "sandbox-init";

/// The description of a sandbox. Host paths are the machine's, guest paths what the program sees.
#[derive(Debug)]
pub struct World {
    /// What the guest's `/` is made from.
    pub root: GuestRoot,
    /// What else is visible: one mount per store item of the inputs' closure, and whatever a caller adds.
    pub mounts: Vec<Mount>,
    /// The store directory the program sees, such as `/gnu/store`.
    pub store_dir: String,
    /// Host directory that is the guest's store directory, writable: outputs appear in it. It must belong to
    /// the user that [`Sandbox::outside`] names. Mount points of the inputs are created in it.
    pub store_writable: PathBuf,
    /// Where the program starts, and may write.
    pub build_directory: BuildDirectory,
    /// The host name the program sees; `localhost` for builds.
    pub host_name: String,
    /// Who the program is.
    pub user: BuildUser,
    /// What it may use up.
    pub limits: ResourceLimits,
    /// Guest path of the program; absolute, not searched for.
    pub program: BString,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<BString>,
    /// Its environment, the whole of it.
    pub environment: BTreeMap<BString, BString>,
    /// Further descriptors, each with the number (3 or more) it has in the program.
    pub descriptors: Vec<(OwnedFd, i32)>,
    /// Where standard output and standard error go. Unused when `interactive`.
    pub output: OwnedFd,
    /// Shares the machine's network and sees its `/etc/resolv.conf`, `hosts`, `services` and `nsswitch.conf`: for fixed
    /// outputs, whose bytes are known beforehand, and for nothing else.
    pub network: bool,
    /// The program sees procfs(5) on `/proc`. Has a meaning on FreeBSD only: Linux's programs always have a `/proc`.
    pub processes: bool,
    /// The program is of a 32-bit system that this machine's processor also runs: `uname` and `/proc/cpuinfo` say so.
    /// Has a meaning on Linux only.
    pub thirty_two_bit: bool,
    /// Standard streams are this process's own, for a user's shell. In place of each one that is a terminal the program
    /// gets a pseudo-terminal, which controls its session. Builds read `/dev/null` and have no terminal.
    pub interactive: bool,
}

/// What the guest's `/` is made from. In either case `/` itself is read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestRoot {
    /// Nothing.
    Empty,
    /// A base system's tree, read-only: every entry of that host directory except `dev`, `proc`, `tmp`, `etc`
    /// and the store's first component, which are the sandbox's own.
    Tree(PathBuf),
}

/// A file, directory or symbolic link of the machine that the program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Host path. When it is a symbolic link, the guest gets a link of the same contents.
    pub source: PathBuf,
    /// Guest path, absolute.
    pub target: PathBuf,
    /// Whether the program may write there.
    pub writable: bool,
}

/// The directory a build happens in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildDirectory {
    /// Host path; must belong to the user that [`Sandbox::outside`] names.
    pub host: PathBuf,
    /// Guest path, such as `/tmp/guix-build-hello-2.10.drv-0`: part of what makes a build reproducible.
    pub guest: PathBuf,
}

/// The account a program runs under. It need not exist on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildUser {
    /// User number the program sees.
    pub uid: u32,
    /// Group number the program sees, also as its only supplementary group; where the caller lacks privileges, its own
    /// supplementary groups stay beside it, without names or use.
    pub gid: u32,
    /// The name both have in the guest's `/etc/passwd` and `/etc/group`.
    pub name: String,
}

impl Default for BuildUser {
    /// guix-daemon's: what builds record of their user is the same there and here. Its numbers are those of the first
    /// build user and of the build users' group, as a rule.
    fn default() -> Self {
        Self {
            uid: 30001,
            gid: 30000,
            name: "nixbld".to_owned(),
        }
    }
}

/// What a program may use up; `None` means no limit of our own. A limit above what this process itself may use
/// becomes that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Address space of each process, in bytes.
    pub memory: Option<u64>,
    /// Processes and threads at a time.
    pub processes: Option<u64>,
    /// Size of any file written, in bytes.
    pub file_size: Option<u64>,
    /// Descriptors open at a time in each process.
    pub open_files: Option<u64>,
    /// Bytes that `/tmp` and `/dev/shm` may hold, each. `None`: half the machine's memory.
    pub temporary: Option<u64>,
    /// Processors it may run on. More than there are is all of them.
    pub processors: Option<usize>,
    /// Which of the processors is the first of those, counted from 0 and, beyond the last, from 0 again.
    pub first_processor: usize,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatusKind {
    /// It returned this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl ExitStatusKind {
    /// Whether it returned 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// What is known of a program that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How the program itself ended, whatever became of those it left behind (they were killed).
    pub status: ExitStatusKind,
    /// Processor time in user mode, of all the sandbox's processes.
    pub user_time: Duration,
    /// Processor time in the kernel, of all the sandbox's processes.
    pub system_time: Duration,
    /// Largest resident set of any one of its processes, in bytes.
    pub max_rss: u64,
}

/// A way to make a [`World`] real. Shared by the threads of a run.
pub trait Sandbox: Send + Sync {
    /// Whether this machine and this user can run sandboxes at all, found out by setting one up.
    ///
    /// # Errors
    /// [`SandboxError::Unfit`], naming what is missing and how to get it.
    fn check(&self) -> Result<(), SandboxError>;

    /// Starts the world's program and does not wait for it.
    ///
    /// # Errors
    /// A world that makes no sense, a host path that is missing, a process that the system refuses. What fails later,
    /// inside, such as a program that does not exist, is an error of [`RunningProgram::wait`].
    fn spawn(&self, world: World) -> Result<Box<dyn RunningProgram>, SandboxError>;

    /// User and group numbers that a build by `user` has outside, and so must own its writable directories. Always the
    /// same in one process. Where the system allows it no other program's processes have them, which could kill the
    /// build otherwise.
    fn outside(&self, user: &BuildUser) -> (u32, u32);

    /// Whether `number` is a user number that builds of some process of this program have outside, and no account.
    fn is_of_builds(&self, number: u32) -> bool;

    /// Removes what an earlier run, killed, has left on the machine (mounts, jails).
    ///
    /// # Errors
    /// What could not be removed.
    fn clean_leftovers(&self) -> Result<(), SandboxError>;
}

/// A program in its sandbox. Dropping it kills the program.
pub trait RunningProgram: Send {
    /// Waits until the program has ended and all that it left behind is dead. Once it has, says the same again.
    ///
    /// # Errors
    /// The sandbox could not be set up, or the program not started: then it has not run at all.
    fn wait(&mut self) -> Result<Finished, SandboxError>;

    /// A function for other threads that kills everything in the sandbox; harmless once it has ended.
    fn killer(&self) -> Box<dyn Fn() + Send + Sync>;

    /// Kills everything in the sandbox; [`wait`](Self::wait) then says so.
    fn kill(&self) {
        self.killer()();
    }
}

/// The kernel features that this system's sandbox uses, as far as they can be seen without making one. None where there
/// is no backend.
pub fn kernel_features() -> Vec<features::Feature> {
    #[cfg(target_os = "linux")]
    return namespaces::features();
    #[cfg(target_os = "freebsd")]
    return jail::features::probe();
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    Vec::new()
}

/// Prepares this process, before it has threads, for what the system lets it do.
pub fn prepare_process() {
    #[cfg(target_os = "linux")]
    namespaces::allow_threads();
}

/// This system's sandbox. What outlives a killed run is recorded in the state directory `state`.
///
/// # Errors
/// [`SandboxError::NoBackend`] where there is none.
pub fn platform(state: &Path) -> Result<Box<dyn Sandbox>, SandboxError> {
    // Not every backend leaves anything.
    let _ = state;
    #[cfg(target_os = "linux")]
    return Ok(Box::new(namespaces::Namespaces::default()));
    #[cfg(target_os = "freebsd")]
    return Ok(Box::new(jail::Jails::new(state)?));
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    Err(SandboxError::NoBackend {
        system: std::env::consts::OS,
    })
}

/// Plays the sandbox's first process and never returns: what `main` does, before anything else, when its first
/// argument is [`INIT_ARGUMENT`].
pub fn init_main() -> ! {
    #[cfg(target_os = "linux")]
    namespaces::init_main();
    #[cfg(target_os = "freebsd")]
    jail::init_main();
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    std::process::exit(5);
}
