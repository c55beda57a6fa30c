// SPDX-License-Identifier: GPL-3.0-or-later
//! A sandbox to ask questions: its directories on the machine, and the probe in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bootstrap::sandbox::namespaces::Namespaces;
use bootstrap::sandbox::{
    BuildDirectory, BuildUser, Finished, GuestRoot, Mount, ResourceLimits, RunningProgram, Sandbox,
    SandboxError, World,
};
use rustix::fs::{FlockOperation, flock};

/// The binary under test, which a run of these tests as another user finds elsewhere.
pub fn helper() -> PathBuf {
    match std::env::var_os("SANDBOX_TEST_HELPER") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_bootstrap").into(),
    }
}

pub fn sandbox() -> Namespaces {
    Namespaces::new(helper())
}

/// The probe, compiled once.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        if let Some(path) = std::env::var_os("SANDBOX_TEST_PROBE") {
            return path.into();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/probe.c");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (program, fresh) = (
            directory.join("sandbox-probe"),
            directory.join(format!("sandbox-probe.{}", std::process::id())),
        );
        let compiled = Command::new("cc")
            .args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&fresh, &source])
            .status()
            .expect("these tests need a C compiler");
        assert!(compiled.success(), "cc -static failed");
        fs::rename(fresh, &program).unwrap();
        program
    })
}

/// The directories of one build, and what its world is to be; the tests change its fields.
pub struct Guest {
    pub directory: tempfile::TempDir,
    pub sandbox: Namespaces,
    pub root: GuestRoot,
    pub mounts: Vec<Mount>,
    pub environment: BTreeMap<String, String>,
    pub descriptors: Vec<(OwnedFd, i32)>,
    pub limits: ResourceLimits,
    pub network: bool,
    pub thirty_two_bit: bool,
    pub interactive: bool,
    pub program: String,
}

/// How a program ended, and what it said.
pub struct Answer {
    pub finished: Finished,
    pub output: String,
}

impl Guest {
    /// An empty root with one input, the probe.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = sandbox();
        let (uid, gid) = sandbox.outside(&BuildUser::default());
        for name in ["chroot", "build"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
        let item = directory.path().join("probe-1.0");
        fs::create_dir(&item).unwrap();
        fs::copy(probe(), item.join("probe")).unwrap();
        // Where writing fails, it must be the mount that forbids it.
        fs::set_permissions(item.join("probe"), PermissionsExt::from_mode(0o777)).unwrap();
        fs::write(item.join("text"), "text\n").unwrap();
        fs::set_permissions(item.join("text"), PermissionsExt::from_mode(0o666)).unwrap();
        fs::set_permissions(&item, PermissionsExt::from_mode(0o777)).unwrap();
        let mut guest = Self {
            directory,
            sandbox,
            root: GuestRoot::Empty,
            mounts: Vec::new(),
            environment: BTreeMap::new(),
            descriptors: Vec::new(),
            limits: ResourceLimits::default(),
            network: false,
            thirty_two_bit: false,
            interactive: false,
            program: "/gnu/store/probe-1.0/probe".to_owned(),
        };
        guest.mount(&item, "/gnu/store/probe-1.0", false);
        guest
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn mount(&mut self, source: &Path, target: &str, writable: bool) {
        self.mounts.push(Mount {
            source: source.to_owned(),
            target: target.into(),
            writable,
        });
    }

    /// What the program gets to see, given its `commands`.
    pub fn world(&mut self, commands: &[&str], output: OwnedFd) -> World {
        World {
            root: self.root.clone(),
            mounts: self.mounts.clone(),
            store_dir: "/gnu/store".to_owned(),
            store_writable: self.path("chroot"),
            build_directory: BuildDirectory {
                host: self.path("build"),
                guest: "/tmp/guix-build-x.drv-0".into(),
            },
            host_name: "localhost".to_owned(),
            user: BuildUser::default(),
            limits: self.limits.clone(),
            program: self.program.as_str().into(),
            arguments: commands.iter().map(|&command| command.into()).collect(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            descriptors: std::mem::take(&mut self.descriptors),
            output,
            network: self.network,
            processes: false,
            thirty_two_bit: self.thirty_two_bit,
            interactive: self.interactive,
        }
    }

    /// Starts the probe; its output is to be read from the pipe.
    pub fn start(
        &mut self,
        commands: &[&str],
    ) -> Result<(Box<dyn RunningProgram>, File), SandboxError> {
        let (reader, writer) = pipe();
        let world = self.world(commands, writer);
        Ok((self.sandbox.spawn(world)?, reader))
    }

    /// Runs the probe to its end.
    pub fn try_run(&mut self, commands: &[&str]) -> Result<Answer, SandboxError> {
        let (mut running, mut reader) = self.start(commands)?;
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        let finished = running.wait()?;
        Ok(Answer { finished, output })
    }

    /// Runs the probe to its end, which must be a success, and gives its output.
    pub fn ask(&mut self, commands: &[&str]) -> String {
        let answer = self.try_run(commands).unwrap();
        assert!(
            answer.finished.status.is_success(),
            "{}: {}",
            answer.finished.status,
            answer.output
        );
        answer.output
    }
}

/// A pipe: where to read, where to write.
pub fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer)
}

/// Whether no process holds a lock on `path`: those that would are dead.
pub fn is_unlocked(path: &Path) -> bool {
    let file = File::options().write(true).open(path).unwrap();
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}
