// SPDX-License-Identifier: GPL-3.0-or-later
//! `shell`: a sandbox with the final inputs and nothing else, to try things in.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::failure::Failure;
use crate::engine::{EngineError, Planned, valid_inputs};
use crate::formats::derivation::Environment;
use crate::formats::store_path::StorePath;
use crate::road::plan::road;
use crate::road::recipe::{Address, InputName};
use crate::sandbox::{
    self, BuildDirectory, BuildUser, ExitStatusKind, Limits, Mount, Root, Sandbox, SandboxError,
    World,
};
use crate::store::Store;
use crate::store::remove::remove_tree;

/// Where the shell starts, in the sandbox.
const HOME: &str = "/tmp/bootstrap-shell";

/// `bootstrap shell [PKG…] [-- CMD]`.
pub fn shell(context: &Context, packages: &[String], command: &[String]) -> Result<(), Failure> {
    let planned = context.plan()?;
    // Open for writing: what the shell uses must not be collected under it.
    let store = context.store_to_write()?;
    let inputs = inputs(context, &planned, &store, packages)?;
    let paths: Vec<&StorePath> = inputs.iter().map(|(_, path)| path).collect();
    store.add_temporary_roots(paths.iter().copied())?;
    let closure = store.closure(paths)?;
    let sandbox = sandbox::platform(&context.directories.state).map_err(failed)?;
    sandbox.check().map_err(failed)?;
    let user = BuildUser::default();
    let usual = Limits::of_machine();
    let places = Places::create(sandbox.as_ref(), &user)?;
    let environment = environment(context, &inputs);
    let bash = environment.get("SHELL").cloned().unwrap_or_default();
    let arguments = match command {
        [] => vec![
            "--norc".to_owned(),
            "--noprofile".to_owned(),
            "-i".to_owned(),
        ],
        // bash looks the command up in PATH.
        command => ["-c", "exec \"$@\"", "bash"]
            .into_iter()
            .map(ToOwned::to_owned)
            .chain(command.iter().cloned())
            .collect(),
    };
    let mount = |path: &StorePath| Mount {
        source: context.directories.physical(path),
        target: PathBuf::from(context.shown(path)),
        writable: false,
    };
    let world = World {
        root: Root::Empty,
        mounts: closure.iter().map(mount).collect(),
        store_dir: context.directories.store_dir.as_str().to_owned(),
        store_writable: places.store.clone(),
        build_directory: BuildDirectory {
            host: places.home.clone(),
            guest: HOME.into(),
        },
        host_name: "localhost".to_owned(),
        user,
        limits: Limits {
            memory: context.options.max_memory,
            processes: context.options.max_processes.or(usual.processes),
            ..usual
        },
        program: bash.into(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        environment: Environment::from_iter(environment).into_iter().collect(),
        descriptors: Vec::new(),
        output: standard_error()?,
        network: false,
        interactive: true,
    };
    ended(run(context, sandbox.as_ref(), world)?)
}

/// Runs the program of `world` to its end, which a signal to this process brings about: its directories are then
/// removed.
pub(super) fn run(
    context: &Context,
    sandbox: &dyn Sandbox,
    world: World,
) -> Result<ExitStatusKind, Failure> {
    let cancellation = context.interruption();
    let mut running = sandbox.spawn(world).map_err(failed)?;
    let _stop = cancellation.on_cancel(running.killer());
    Ok(running.wait().map_err(failed)?.status)
}

/// What the end of the command means for ours.
pub(super) fn ended(status: ExitStatusKind) -> Result<(), Failure> {
    match status {
        ExitStatusKind::Exited(0) => Ok(()),
        ExitStatusKind::Exited(status) => Err(Failure::Command(u8::try_from(status).unwrap_or(1))),
        // As shells report a death by signal.
        ExitStatusKind::Signaled(signal) => {
            Err(Failure::Command(u8::try_from(128 + signal).unwrap_or(1)))
        }
    }
}

pub(super) fn failed(source: SandboxError) -> Failure {
    EngineError::from(source).into()
}

/// The final inputs and `packages`, in search order, named packages first. All must be valid.
fn inputs(
    context: &Context,
    planned: &Planned,
    store: &Store,
    packages: &[String],
) -> Result<Vec<(InputName, StorePath)>, Failure> {
    let mut wanted: Vec<InputName> = Vec::new();
    for package in packages {
        wanted.push(package.parse()?);
    }
    for input in road::final_inputs() {
        if !wanted.contains(&input) {
            wanted.push(input);
        }
    }
    Ok(valid_inputs(&context.session, planned, store, wanted)?)
}

/// Search paths as the phase `set-paths` makes them in final builds, and what an interactive shell wants.
fn environment(context: &Context, inputs: &[(InputName, StorePath)]) -> BTreeMap<String, String> {
    // gcc knows its own headers and libc's; naming them here would move them before libstdc++'s.
    let of_compiler = |input: &InputName| {
        ["libc", "gcc"].contains(&input.address.name.as_str()) && input.output == "out"
    };
    let search = |directory: &str, keep: &dyn Fn(&InputName) -> bool| -> String {
        let directories: Vec<String> = inputs
            .iter()
            .filter(|(input, path)| {
                keep(input) && context.directories.physical(path).join(directory).is_dir()
            })
            .map(|(_, path)| format!("{}/{directory}", context.shown(path)))
            .collect();
        directories.join(":")
    };
    let headers = search("include", &|input| !of_compiler(input));
    let bash = InputName::out(Address::after_stage0("bash"));
    let bash = inputs.iter().find(|(input, _)| *input == bash);
    let bash = bash.map(|(_, path)| format!("{}/bin/bash", context.shown(path)));
    let bash = bash.unwrap_or_default();
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), search("bin", &|_| true)),
        ("LIBRARY_PATH".to_owned(), search("lib", &|_| true)),
        ("C_INCLUDE_PATH".to_owned(), headers.clone()),
        ("CPLUS_INCLUDE_PATH".to_owned(), headers),
        ("SHELL".to_owned(), bash.clone()),
        ("CONFIG_SHELL".to_owned(), bash),
        ("HOME".to_owned(), HOME.to_owned()),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
        (
            "NIX_STORE".to_owned(),
            context.directories.store_dir.as_str().to_owned(),
        ),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("PS1".to_owned(), "[bootstrap \\w]\\$ ".to_owned()),
    ]);
    environment.retain(|_, value| !value.is_empty());
    if let Ok(terminal) = std::env::var("TERM") {
        environment.insert("TERM".to_owned(), terminal);
    }
    environment
}

/// The directories of this machine that the sandbox writes to; dropping it removes them.
pub(super) struct Places {
    /// Only its owner can enter it: what a program inside makes, such as a set-user-ID file, stays out of reach of the
    /// machine's users.
    directory: PathBuf,
    pub(super) store: PathBuf,
    pub(super) home: PathBuf,
}

impl Places {
    pub(super) fn create(sandbox: &dyn Sandbox, user: &BuildUser) -> Result<Self, Failure> {
        let place = std::env::temp_dir();
        let failed = |path: &Path| {
            let what = path.display().to_string();
            |error| Failure::Io {
                action: "create",
                what,
                error,
            }
        };
        // Of mode 0700, with a random name.
        let directory = tempfile::Builder::new()
            .prefix("bootstrap-shell-")
            .tempdir_in(&place)
            .map_err(failed(&place.join("bootstrap-shell-")))?
            .keep();
        let places = Self {
            store: directory.join("store"),
            home: directory.join("home"),
            directory,
        };
        let (uid, gid) = sandbox.outside(user);
        for path in [&places.store, &places.home] {
            let created = DirBuilder::new().mode(0o755).create(path);
            let given = created.and_then(|()| std::os::unix::fs::chown(path, Some(uid), Some(gid)));
            given.map_err(failed(path))?;
        }
        Ok(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            tracing::warn!("{error}");
        }
    }
}

/// A copy of standard error, which an interactive sandbox does not use.
pub(super) fn standard_error() -> Result<OwnedFd, Failure> {
    use std::os::fd::AsFd;
    let copy = std::io::stderr().as_fd().try_clone_to_owned();
    copy.map_err(Failure::writing("to standard error"))
}
