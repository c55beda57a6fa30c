// SPDX-License-Identifier: GPL-3.0-or-later
//! The spawning process's side of a jail.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::record::{JailRecord, Records};
use super::remedies::remedy;
use super::specification::JailSpecification;
use super::user::{ACCOUNTS, without_account};
use super::{kernel, system, teardown};
use crate::limited_file;
use crate::sandbox::check::sensible;
use crate::sandbox::layout::{HostSources, Item, layout};
use crate::sandbox::spawn::{self, Conclusion, HelperCommand, SpawnedHelper};
use crate::sandbox::{
    BuildUser, Finished, ResourceLimits, RunningProgram, Sandbox, SandboxError, World,
};

/// The FreeBSD backend.
#[derive(Debug, Clone)]
pub struct Jails {
    helper: PathBuf,
    records: Records,
}

impl Jails {
    /// Executes this process's own binary, and records its builds in the state directory `state`.
    ///
    /// # Errors
    /// [`SandboxError::Helper`] when the system does not tell where this process's binary is.
    pub fn new(state: &Path) -> Result<Self, SandboxError> {
        let helper = std::env::current_exe().map_err(|source| SandboxError::Helper {
            helper: "bootstrap".into(),
            source,
        })?;
        // Builds are killed before the run.
        system::protect();
        Ok(Self {
            helper,
            records: Records::new(state),
        })
    }

    /// Starts a helper for a new record, with the specification that `make` makes.
    fn start(
        &self,
        make: impl FnOnce(&JailRecord) -> JailSpecification,
        descriptors: Vec<(OwnedFd, i32)>,
        output: Option<OwnedFd>,
    ) -> Result<Jailed, SandboxError> {
        let record = self.records.create();
        let record = record.map_err(|(path, source)| SandboxError::Source { path, source })?;
        let specification = make(&record);
        let stdin = io::stdin();
        let mut passed = vec![record.lock()];
        if specification.interactive {
            passed.push(stdin.as_fd());
        }
        passed.extend(descriptors.iter().map(|(descriptor, _)| descriptor.as_fd()));
        let told = HelperCommand {
            specification: &specification,
            descriptors: &passed,
            output: output.as_ref(),
            interactive: specification.interactive,
            program: &specification.program,
            remedy: |failure| remedy(failure.step, failure.errno, kernel::is_jailed()),
        };
        match spawn::start(&self.helper, told) {
            Ok(helper) => Ok(Jailed { helper, record }),
            Err(error) => {
                // Nothing has been made yet.
                let _ = record.remove();
                Err(error)
            }
        }
    }
}

impl Sandbox for Jails {
    fn check(&self) -> Result<(), SandboxError> {
        if !rustix::process::geteuid().is_root() {
            return Err(SandboxError::Unfit {
                problem: "only root can make jails, and this is another user".to_owned(),
                remedy: "run it as root: su -m root -c 'bootstrap …'".to_owned(),
            });
        }
        let null = fs::File::options().write(true).open("/dev/null");
        let null = null.map_err(|source| SandboxError::Source {
            path: "/dev/null".into(),
            source,
        })?;
        let make = |record: &JailRecord| JailSpecification {
            name: record.name().to_owned(),
            root: record.root().to_owned(),
            record: record.file().to_owned(),
            items: vec![
                Item::Devices {
                    target: "/dev".into(),
                    terminal: false,
                    size: None,
                },
                // Any directory will do: whether nullfs is there.
                Item::Mount {
                    source: "/bin".into(),
                    target: "/bin".into(),
                    point: crate::sandbox::layout::Point::Directory,
                    writable: false,
                },
            ],
            host_name: "localhost".to_owned(),
            user: unaccounted(&BuildUser::default()),
            limits: ResourceLimits::default(),
            network: false,
            interactive: false,
            directory: "/".into(),
            program: "/nothing".into(),
            arguments: vec![],
            environment: vec![],
            descriptors: vec![],
            rehearse: true,
        };
        let mut jailed = self.start(make, vec![], Some(null.into()))?;
        let conclusion = jailed.helper.conclude();
        jailed.helper.await_end();
        match conclusion {
            Ok(Conclusion::Fit) => Ok(()),
            Ok(Conclusion::Finished(finished)) => Err(SandboxError::HelperDied {
                how: finished.status.to_string(),
            }),
            Err(error) => Err(jailed.abandoned(error).of_the_machine()),
        }
    }

    fn spawn(&self, mut world: World) -> Result<Box<dyn RunningProgram>, SandboxError> {
        sensible(&world)?;
        world.user = unaccounted(&world.user);
        let items = layout(&world, &HostSources::inspect(&world)?)?;
        let World {
            build_directory,
            host_name,
            user,
            limits,
            program,
            arguments,
            environment,
            descriptors,
            output,
            network,
            interactive,
            ..
        } = world;
        let numbers = descriptors.iter().map(|&(_, number)| number).collect();
        let make = |record: &JailRecord| JailSpecification {
            name: record.name().to_owned(),
            root: record.root().to_owned(),
            record: record.file().to_owned(),
            items,
            host_name,
            user,
            limits,
            network,
            interactive,
            directory: build_directory.guest,
            program,
            arguments,
            environment: environment
                .iter()
                .map(|(name, value)| bstr::join("=", [name, value]).into())
                .collect(),
            descriptors: numbers,
            rehearse: false,
        };
        let output = (!interactive).then_some(output);
        Ok(Box::new(self.start(make, descriptors, output)?))
    }

    /// The build user, or the next without an account: its number is the same inside and outside of a jail.
    fn outside(&self, user: &BuildUser) -> (u32, u32) {
        let user = unaccounted(user);
        (user.uid, user.gid)
    }

    /// A build user that has no account, of which there is one at a time.
    fn is_of_builds(&self, number: u32) -> bool {
        number == self.outside(&BuildUser::default()).0
    }

    fn clean_leftovers(&self) -> Result<(), SandboxError> {
        teardown::clean_abandoned(&self.records)
    }
}

/// See [`without_account`], of this machine's accounts as they were at first: a build's directories have an owner by
/// then.
fn unaccounted(user: &BuildUser) -> BuildUser {
    static ACCOUNTS_TEXT: OnceLock<String> = OnceLock::new();
    let accounts = ACCOUNTS_TEXT.get_or_init(|| {
        let read = limited_file::read_regular(ACCOUNTS.as_ref(), limited_file::DOCUMENT);
        String::from_utf8_lossy(&read.unwrap_or_default()).into()
    });
    without_account(user, accounts)
}

/// A program in its jail.
struct Jailed {
    helper: SpawnedHelper,
    record: JailRecord,
}

impl Jailed {
    /// Undoes what a helper has left that was killed; `error` is what is said of its end.
    fn abandoned(&self, error: SandboxError) -> SandboxError {
        if matches!(error, SandboxError::HelperDied { .. })
            && let Err(unclean) = teardown::clean(&self.record)
        {
            tracing::warn!("{unclean}");
        }
        error
    }
}

impl RunningProgram for Jailed {
    fn wait(&mut self) -> Result<Finished, SandboxError> {
        let waited = self.helper.wait();
        waited.map_err(|error| self.abandoned(error))
    }

    fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        self.helper.killer()
    }
}
