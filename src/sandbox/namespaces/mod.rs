// SPDX-License-Identifier: GPL-3.0-or-later
//! Linux's sandbox: namespaces, entered by a helper process that is our own binary executed again.
//!
//! Three processes carry a build: the *helper*, outside, which watches; the sandbox's *first process*, which
//! sets up the world and reaps; and the *program*. No process with threads is ever forked. The specification
//! goes over a socket, not in arguments, which any user can read. The module `init` says which process ends when.
//!
//! No privileges are needed where the system lets users make user namespaces. Root gets builds that run as the
//! build user outside, too; anyone else's run as the caller, who inside has the build user's number.
//!
//! Needs Linux 5.2 (2019), and is at its best from 5.12 on.

mod features;
mod filter;
mod init;
mod mounts;
mod program;
mod remedies;
mod server;
mod specification;
mod system;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub(super) use features::features;
use rustix::thread::CapabilitySet;
use server::HelperServer;
use specification::NamespaceSpecification;

use super::check::sensible;
use super::features::version;
use super::layout::{HostSources, Item, Point, layout};
use super::spawn::{self, Conclusion, HelperCommand, SpawnedHelper};
use super::{BuildUser, ResourceLimits, RunningProgram, Sandbox, SandboxError, World};
use crate::diagnostics::FileError;

/// The Linux backend.
#[derive(Debug, Clone)]
pub struct Namespaces {
    helper: PathBuf,
    server: Arc<HelperServer>,
    old_kernel: bool,
    /// The maps of users and groups of this process's user namespace; `None` for one without.
    maps: OnceLock<[Option<String>; 2]>,
}

impl Default for Namespaces {
    /// Executes this process's own binary, even when its file has been replaced meanwhile.
    fn default() -> Self {
        Self::new("/proc/self/exe")
    }
}

impl Namespaces {
    /// Executes `helper`, a binary that calls [`init_main`](super::init_main) for its first argument.
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        let helper = helper.into();
        Self {
            server: HelperServer::of_process(&helper),
            helper,
            old_kernel: is_old(&features::release()),
            maps: OnceLock::new(),
        }
    }

    /// Uses nothing newer than Linux 5.2; for tests of that way.
    #[doc(hidden)]
    pub fn as_on_old_kernels(mut self) -> Self {
        self.old_kernel = true;
        self
    }

    /// Starts a helper and tells it `specification`. An interactive one is executed, since it needs the terminal of
    /// this process's session; others come from the fork server, where there is one.
    fn start(
        &self,
        specification: &NamespaceSpecification,
        descriptors: &[BorrowedFd<'_>],
        output: Option<OwnedFd>,
    ) -> Result<SpawnedHelper, SandboxError> {
        let output = output.as_ref();
        let told = || HelperCommand {
            specification,
            descriptors,
            output,
            interactive: specification.interactive,
            program: &specification.program,
            remedy: |failure| remedies::remedy(failure, &|path| fs::read_to_string(path).ok()),
        };
        // A rehearsal needs no server, and leaves none.
        if let Some(output) = output.filter(|_| !specification.rehearse) {
            let fork = |socket| self.server.fork(&socket, output);
            match spawn::start_with(&self.helper, told(), fork) {
                Ok(started) => return Ok(started),
                Err(error) => tracing::debug!("a helper without the fork server: {error}"),
            }
        }
        spawn::start(&self.helper, told())
    }
}

impl Sandbox for Namespaces {
    fn check(&self) -> Result<(), SandboxError> {
        let user = BuildUser::default();
        let outside = self.outside(&user);
        // As a build's directories are: only this user may enter it, and what is in it is the build user's.
        let place = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o700))
            .prefix("bootstrap-check-")
            .tempdir();
        let unusable = FileError::temporary("use", std::env::temp_dir());
        let place = place.map_err(|error| SandboxError::Temporary(unusable(error)))?;
        let directory = place.path().join("build");
        let unusable = FileError::temporary("make", &directory);
        fs::create_dir(&directory).map_err(|error| SandboxError::Temporary(unusable(error)))?;
        let owned = chown(&directory, Some(outside.0), Some(outside.1));
        owned.map_err(|source| SandboxError::Owner {
            path: directory.clone(),
            source,
        })?;
        let specification = NamespaceSpecification {
            outside,
            items: vec![
                Item::Devices {
                    target: "/dev".into(),
                    terminal: false,
                    size: None,
                },
                Item::Processes {
                    target: "/proc".into(),
                    asked: false,
                },
                Item::Mount {
                    source: directory,
                    target: "/build".into(),
                    point: Point::Directory,
                    writable: true,
                },
            ],
            host_name: "localhost".to_owned(),
            user,
            limits: ResourceLimits::default(),
            network: false,
            thirty_two_bit: false,
            interactive: false,
            directory: "/build".into(),
            program: "/nothing".into(),
            arguments: vec![],
            environment: vec![],
            descriptors: vec![],
            rehearse: true,
            old_kernel: self.old_kernel,
        };
        let null = fs::File::options().write(true).open("/dev/null");
        let null = null.map_err(|source| SandboxError::Source {
            path: "/dev/null".into(),
            source,
        })?;
        let mut helper = self.start(&specification, &[], Some(null.into()))?;
        let conclusion = helper.conclude();
        helper.await_end();
        match conclusion {
            Ok(Conclusion::Fit) => Ok(()),
            Ok(Conclusion::Finished(finished)) => Err(SandboxError::HelperDied {
                how: finished.status.to_string(),
            }),
            Err(error) => Err(error.of_the_machine()),
        }
    }

    fn spawn(&self, world: World) -> Result<Box<dyn RunningProgram>, SandboxError> {
        sensible(&world)?;
        let items = layout(&world, &HostSources::inspect(&world)?)?;
        let mut descriptors = Vec::new();
        let stdin = io::stdin();
        if world.interactive {
            descriptors.push(stdin.as_fd());
        }
        descriptors.extend(world.descriptors.iter().map(|(fd, _)| fd.as_fd()));
        let specification = NamespaceSpecification {
            items,
            outside: self.outside(&world.user),
            host_name: world.host_name,
            user: world.user,
            limits: world.limits,
            network: world.network,
            thirty_two_bit: world.thirty_two_bit,
            interactive: world.interactive,
            directory: world.build_directory.guest,
            program: world.program,
            arguments: world.arguments,
            environment: world
                .environment
                .iter()
                .map(|(name, value)| bstr::join("=", [name, value]).into())
                .collect(),
            descriptors: world
                .descriptors
                .iter()
                .map(|&(_, number)| number)
                .collect(),
            rehearse: false,
            old_kernel: self.old_kernel,
        };
        let output = (!world.interactive).then_some(world.output);
        Ok(Box::new(self.start(
            &specification,
            &descriptors,
            output,
        )?))
    }

    /// A number of this process's own for root with all that it takes; where the machine (a container, perhaps) lacks
    /// it, the build user itself; else the caller. Root without CAP_SYS_ADMIN makes a user namespace as other users do,
    /// and then only its own files are within reach.
    fn outside(&self, user: &BuildUser) -> (u32, u32) {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let own = own_number();
        let map = |file: &str| fs::read_to_string(file).ok();
        let maps = self
            .maps
            .get_or_init(|| [map("/proc/self/uid_map"), map("/proc/self/gid_map")]);
        let has = |map: &Option<String>, number| {
            // Without the file there are no user namespaces, and no numbers missing.
            map.as_ref().is_none_or(|map| is_mapped(map, number))
        };
        let numbers = [(own, own), (user.uid, user.gid)];
        let usable = |(uid, gid): &(u32, u32)| has(&maps[0], *uid) && has(&maps[1], *gid);
        match numbers.into_iter().find(usable) {
            Some(numbers) if uid.is_root() && is_administrator() => numbers,
            _ => (uid.as_raw(), gid.as_raw()),
        }
    }

    fn is_of_builds(&self, number: u32) -> bool {
        (FIRST_OUTSIDE..FIRST_OUTSIDE + PROCESS_NUMBERS).contains(&number)
    }

    /// Nothing to do: namespaces, and the mounts in them, end with their processes.
    fn clean_leftovers(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

/// The lowest of the numbers that builds have outside. Directories of users and containers give out lower ones;
/// systemd keeps some for itself from 2,147,352,576 on.
const FIRST_OUTSIDE: u32 = 2_001_000_000;

/// Linux's process numbers are below this (proc_sys_kernel(5), `pid_max`).
const PROCESS_NUMBERS: u32 = 4_194_305;

/// The user number that this process's builds have outside, which nothing else on the machine has.
///
/// guix-daemon and Nix kill all processes of their build users, of which 30001 is the customary first, before and after
/// each build. Before Linux 5.14 a limit on processes also counts those of the same user in other sandboxes.
fn own_number() -> u32 {
    FIRST_OUTSIDE + std::process::id()
}

/// Whether this process may mount, and not only in a user namespace of its own.
fn is_administrator() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether `number` is in `map`, a user namespace's: lines of first number inside, first outside, length.
fn is_mapped(map: &str, number: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(length))) => {
                (inside..inside.saturating_add(length)).contains(&number.into())
            }
            _ => false,
        }
    })
}

/// Whether a kernel of that `release` lacks a call that the usual way needs.
fn is_old(release: &str) -> bool {
    version(release).is_some_and(|version| version < features::CURRENT)
}

/// See [`super::prepare_process`].
pub(super) fn allow_threads() {
    if system::is_clone3_refused()
        && let Err(error) = filter::allow_threads()
    {
        eprintln!("bootstrap: cannot make clone3 fall back to clone: {error}");
    }
}

/// See [`super::init_main`].
pub(super) fn init_main() -> ! {
    // Execution through /proc/self/exe has named this process `exe`.
    let _ = rustix::thread::set_name(c"sandbox-init");
    match server::is_server() {
        true => server::main(),
        false => init::main(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_12_get_the_old_way() {
        for (release, old) in [
            ("5.11.22", true),
            ("5.4.0-150-generic", true),
            ("5.12.0", false),
            ("6.1.0", false),
            ("odd", false),
        ] {
            assert_eq!(is_old(release), old, "{release}");
        }
    }

    #[test]
    fn numbers_are_looked_up_in_the_map_of_a_user_namespace() {
        assert!(is_mapped("         0          0 4294967295\n", 30001));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 30001));
        assert!(!is_mapped("0 1000 1\n", 30001));
        assert!(!is_mapped("", 30001));
    }
}
