// SPDX-License-Identifier: GPL-3.0-or-later
//! Commands in sandboxes like those of builds: with the final inputs, or with what one build sees.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::EngineError;
use super::planned::{Planned, graph, valid_inputs};
use super::session::Session;
use rustix::io::Errno;

use crate::builder::kept_directory::take_over;
use crate::builder::variation::Variation;
use crate::builder::world::BuildWorld;
use crate::diagnostics::FileError;
use crate::events::cancellation::Cancellation;
use crate::formats::derivation::Environment;
use crate::formats::store_path::StorePath;
use crate::road::plan::{Node, road};
use crate::road::recipe::{Address, InputName};
use crate::sandbox::{
    BuildDirectory, BuildUser, ExitStatusKind, GuestRoot, Mount, ResourceLimits, Sandbox, World,
};
use crate::store::Store;
use crate::store::remove::remove_tree;

/// Where a shell with the final inputs starts, in the sandbox.
const HOME: &str = "/tmp/bootstrap-shell";

/// Where the program `run_phase` is, in the sandbox of a build.
const TOOLS: &str = "/tools";
/// The program, without its first line.
const RUN_PHASE: &str = include_str!("run_phase/run_phase.sh");
/// What it gives the phases in place of the recipe's own.
const RUN_PHASE_PHASES: &str = include_str!("run_phase/phases.sh");

/// What is run in a sandbox, and what it is connected to.
pub struct ShellCommand<'c> {
    /// The program and its arguments; empty is an interactive shell.
    pub command: &'c [String],
    /// The user's own directories that the sandbox shows.
    pub mounts: Vec<Mount>,
    /// Where output goes that does not go to the terminal.
    pub output: OwnedFd,
    /// The kind of terminal, for the variable `TERM`.
    pub terminal: Option<String>,
    /// Ends the command.
    pub cancellation: &'c Cancellation,
}

impl Session {
    /// Runs a command in a sandbox with the final inputs, `packages`, and nothing else. All must be valid.
    ///
    /// # Errors
    /// Where a package is unknown or not valid, or the sandbox cannot be set up.
    pub fn shell(
        &self,
        packages: &[String],
        shell: ShellCommand<'_>,
    ) -> Result<ExitStatusKind, EngineError> {
        let planned = self.plan()?;
        let store = self.store_for_shell()?;
        let mut wanted: Vec<InputName> = Vec::new();
        for package in packages {
            wanted.push(package.parse()?);
        }
        for input in road::final_inputs() {
            if !wanted.contains(&input) {
                wanted.push(input);
            }
        }
        let inputs = valid_inputs(self, &planned, &store, wanted)?;
        let paths: Vec<&StorePath> = inputs.iter().map(|(_, path)| path).collect();
        self.protect(&store, &paths)?;
        let closure = store.closure(paths)?;
        let sandbox = self.sandbox()?;
        sandbox.check()?;
        let user = BuildUser::default();
        let usual = ResourceLimits::of_machine();
        let options = &self.options().build;
        let temporary = self.build_settings().temporary;
        let places = ShellDirectories::create(sandbox.as_ref(), &user, &temporary)?;
        let environment = environment(self, &inputs, shell.terminal.as_deref());
        let bash = environment.get("SHELL").cloned().unwrap_or_default();
        let arguments: Vec<&str> = match shell.command {
            [] => vec!["--norc", "--noprofile", "-i"],
            // bash looks the command up in PATH.
            command => ["-c", "exec \"$@\"", "bash"]
                .into_iter()
                .chain(command.iter().map(String::as_str))
                .collect(),
        };
        let mount = |path: &StorePath| Mount {
            source: self.directories().physical(path),
            target: PathBuf::from(self.shown(path)),
            writable: false,
        };
        let world = World {
            root: GuestRoot::Empty,
            mounts: closure.iter().map(mount).chain(shell.mounts).collect(),
            store_dir: self.directories().store_dir.as_str().to_owned(),
            store_writable: places.store.clone(),
            build_directory: BuildDirectory {
                host: places.home.clone(),
                guest: HOME.into(),
            },
            host_name: "localhost".to_owned(),
            user,
            limits: ResourceLimits {
                memory: options.max_memory,
                processes: options.max_processes.or(usual.processes),
                ..usual
            },
            program: bash.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Environment::from_iter(environment).into_iter().collect(),
            descriptors: Vec::new(),
            output: shell.output,
            network: false,
            processes: false,
            thirty_two_bit: false,
            interactive: true,
        };
        run(sandbox.as_ref(), world, shell.cancellation)
    }

    /// Runs a command in the sandbox of the build of `node`, called `package`, with its inputs and environment. `host`
    /// is the build directory; an empty one where there is none.
    ///
    /// # Errors
    /// Where an input is not valid, or the sandbox cannot be set up.
    pub fn build_shell(
        &self,
        planned: &Planned,
        store: &Store,
        (node, package): (&Node, &str),
        host: Option<PathBuf>,
        shell: ShellCommand<'_>,
    ) -> Result<ExitStatusKind, EngineError> {
        let graph = graph(&planned.plan, &self.directories().store_dir);
        let job = graph.job(&node.derivation_path, package)?;
        let inputs = graph.inputs_of(job)?;
        self.protect(store, &inputs.iter().copied().collect::<Vec<_>>())?;
        let valid = store.valid_among(inputs.iter().copied())?;
        if let Some(missing) = inputs.iter().find(|path| !valid.contains(**path)) {
            return Err(EngineError::NotBuilt {
                package: package.to_owned(),
                path: self.shown(missing),
            });
        }
        let closure = store.closure(inputs)?;
        let sandbox = self.sandbox()?;
        sandbox.check()?;
        let settings = self.build_settings();
        if let Some(directory) = &host {
            take_over(directory, sandbox.as_ref(), &settings.user)?;
        }
        let places =
            ShellDirectories::create(sandbox.as_ref(), &settings.user, &settings.temporary)?;
        let world = BuildWorld {
            job,
            inputs: &closure,
            directories: self.directories(),
            settings: &settings,
            variation: &Variation::default(),
            store: &places.store,
            directory: host.as_deref().unwrap_or(&places.home),
        };
        let mut world = world.make(None, shell.output);
        world.mounts.extend(shell.mounts);
        world.mounts.push(places.tools(&world.program)?);
        let path = search_path(self, planned, node, job.root.is_some());
        let path = [path.as_str(), TOOLS].join(":");
        let path = path.trim_start_matches(':');
        world.environment.insert("PATH".into(), path.into());
        let own = [
            ("runPhaseDirectory", TOOLS.into()),
            ("runPhaseShell", world.program.clone()),
        ];
        world
            .environment
            .extend(own.map(|(name, value)| (name.into(), value)));
        let prompt = format!("[{package} \\w]\\$ ");
        world.environment.insert("PS1".into(), prompt.into());
        if let Some(terminal) = shell.terminal {
            world.environment.insert("TERM".into(), terminal.into());
        }
        world.arguments = match shell.command {
            [] => vec!["-i".into()],
            command => ["-c", "exec \"$@\"", "sh"]
                .into_iter()
                .chain(command.iter().map(String::as_str))
                .map(Into::into)
                .collect(),
        };
        world.interactive = true;
        run(sandbox.as_ref(), world, shell.cancellation)
    }
}

impl Session {
    /// Opens the store for a shell. Where this user may not change it, it is opened for reading: what the shell uses is
    /// then not protected from garbage collection.
    ///
    /// # Errors
    /// Where the store cannot be made or its database not be opened.
    pub fn store_for_shell(&self) -> Result<Store, EngineError> {
        match self.may_change_store() {
            true => self.store_to_write(),
            false => self.store_to_read(),
        }
    }

    fn may_change_store(&self) -> bool {
        let database = self.directories().state.join("db");
        let found = rustix::fs::access(database, rustix::fs::Access::WRITE_OK);
        !matches!(found, Err(Errno::ACCESS | Errno::ROFS | Errno::PERM))
    }

    /// Keeps `paths` from garbage collection as long as this process runs, where it may.
    fn protect(&self, store: &Store, paths: &[&StorePath]) -> Result<(), EngineError> {
        if self.may_change_store() {
            store.add_temporary_roots(paths.iter().copied())?;
        }
        Ok(())
    }
}

/// Runs the program of `world` to its end, which a cancellation brings about: its directories are then removed.
fn run(
    sandbox: &dyn Sandbox,
    world: World,
    cancellation: &Cancellation,
) -> Result<ExitStatusKind, EngineError> {
    let mut running = sandbox.spawn(world)?;
    let _stop = cancellation.on_cancel(running.killer());
    Ok(running.wait()?.status)
}

/// Search paths as the phase `set-paths` makes them in final builds, and what an interactive shell wants.
fn environment(
    session: &Session,
    inputs: &[(InputName, StorePath)],
    terminal: Option<&str>,
) -> BTreeMap<String, String> {
    // gcc knows its own headers and libc's; naming them here would move them before libstdc++'s.
    let of_compiler = |input: &InputName| {
        ["libc", "gcc"].contains(&input.address.name.as_str()) && input.output == "out"
    };
    let search = |directory: &str, keep: &dyn Fn(&InputName) -> bool| -> String {
        let directories: Vec<String> = inputs
            .iter()
            .filter(|(input, path)| {
                keep(input)
                    && session
                        .directories()
                        .physical(path)
                        .join(directory)
                        .is_dir()
            })
            .map(|(_, path)| format!("{}/{directory}", session.shown(path)))
            .collect();
        directories.join(":")
    };
    let headers = search("include", &|input| !of_compiler(input));
    let bash = InputName::out(Address::after_stage0("bash"));
    let bash = inputs.iter().find(|(input, _)| *input == bash);
    let bash = bash.map(|(_, path)| format!("{}/bin/bash", session.shown(path)));
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
            session.directories().store_dir.as_str().to_owned(),
        ),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("PS1".to_owned(), "[bootstrap \\w]\\$ ".to_owned()),
    ]);
    environment.retain(|_, value| !value.is_empty());
    if let Some(terminal) = terminal {
        environment.insert("TERM".to_owned(), terminal.to_owned());
    }
    environment
}

/// Where the build finds programs: in its inputs, and in the seed where that is its root.
fn search_path(session: &Session, planned: &Planned, node: &Node, has_root: bool) -> String {
    let mut directories: Vec<String> = node
        .inputs
        .iter()
        .filter(|(_, path)| session.directories().physical(path).join("bin").is_dir())
        .map(|(_, path)| format!("{}/bin", session.shown(path)))
        .collect();
    if has_root {
        directories.extend(planned.seeds.seed.search_path.iter().cloned());
    }
    directories.join(":")
}

/// The directories of this machine that the sandbox writes to; dropping it removes them.
struct ShellDirectories {
    /// Only its owner can enter it: what a program inside makes, such as a set-user-ID file, stays out of reach of the
    /// machine's users.
    directory: PathBuf,
    store: PathBuf,
    home: PathBuf,
}

impl ShellDirectories {
    fn create(
        sandbox: &dyn Sandbox,
        user: &BuildUser,
        temporary: &Path,
    ) -> Result<Self, EngineError> {
        let place = temporary;
        let failed = |path: &Path| FileError::in_store("create", path.to_owned());
        // A directory's mode would be that of the umask, 0755 mostly; the name is random.
        let directory = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .prefix("bootstrap-shell-")
            .tempdir_in(place)
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

impl ShellDirectories {
    /// The directory of `run_phase`, which `shell` runs.
    fn tools(&self, shell: &[u8]) -> Result<Mount, EngineError> {
        let tools = self.directory.join("tools");
        let failed = |path: &Path| FileError::in_store("create", path.to_owned());
        // The group and others read it as the build user.
        let created = DirBuilder::new().mode(0o755).create(&tools);
        created.map_err(failed(&tools))?;
        let program = [b"#!", shell, b"\n", RUN_PHASE.as_bytes()].concat();
        for (name, mode, contents) in [
            ("run_phase", 0o755, program.as_slice()),
            ("phases.sh", 0o644, RUN_PHASE_PHASES.as_bytes()),
        ] {
            let path = tools.join(name);
            let written = File::create_new(&path).and_then(|mut file| {
                file.set_permissions(Permissions::from_mode(mode))?;
                file.write_all(contents)
            });
            written.map_err(failed(&path))?;
        }
        Ok(Mount {
            source: tools,
            target: TOOLS.into(),
            writable: false,
        })
    }
}

impl Drop for ShellDirectories {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            tracing::warn!("{error}");
        }
    }
}
