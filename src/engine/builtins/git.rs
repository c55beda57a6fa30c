// SPDX-License-Identifier: GPL-3.0-or-later
//! `builtin:git-download`: the files of one commit, with a known hash.
//!
//! The builder is Guix's own, with Guix's attributes:
//!
//! | attribute | value |
//! |---|---|
//! | `url` | the repository's URL, as a Scheme string |
//! | `commit` | a commit's hash, or a tag |
//! | `recursive?` | `#t` where submodules belong to it |
//! | `download-methods` | a list of the ways to use; only `upstream` is ours |
//!
//! A `git` of this machine does the work. URL and commit come from a client, and what git fetches from anywhere: git
//! runs without our privileges and settings, speaks HTTP and its own protocol alone (submodules and redirects
//! included), and runs no hooks. Its files are copied to new inodes before they are looked at.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use miette::Diagnostic;
use rustix::fs::{Gid, Uid};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use crate::builder::builtin::{Builtin, BuiltinError, BuiltinOrder, BuiltinReport};
use crate::builder::error::FailureKind;
use crate::diagnostics::FileError;
use crate::engine::programs;
use crate::events::Kind;
use crate::events::cancellation::Cancellation;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::{visible, visible_lines};
use crate::sandbox::BuildUser;
use crate::store::remove::remove_tree;
use crate::store::{StoreError, nar};

mod checkout;

use checkout::{Checkout, PROTOCOLS};

/// Settings of git that hold for each command, whatever a repository says.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "init.defaultBranch=main",
    "advice.detachedHead=false",
    "http.lowSpeedLimit=1024",
    "http.lowSpeedTime=60",
];

/// Variables of this process that git gets: they say how to reach the network.
const PROXIES: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// So many of the last bytes that git wrote are part of an error.
const SHOWN: usize = 2000;

/// Why git did not give what it should.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GitError {
    /// No directory of PATH has the program.
    #[error("git is missing: none of the directories in PATH has it")]
    #[diagnostic(help("install git, or start the program with a PATH that has it"))]
    Missing,
    /// The network must not be used.
    #[error("{0} is not in the store, and --offline forbids fetching it")]
    #[diagnostic(help("leave out --offline"))]
    Offline(String),
    /// A command of git failed.
    #[error("`git {command}` failed for {url}: {how}{output}")]
    #[diagnostic(help("check that the server answers and has the commit"))]
    Failed {
        /// The command.
        command: &'static str,
        /// The repository.
        url: String,
        /// How it ended.
        how: String,
        /// What it wrote, on lines of its own.
        output: String,
    },
}

/// Fetches commits.
#[derive(Debug)]
pub struct GitDownload {
    /// Whether the network must not be used.
    pub offline: bool,
    /// The place for temporary files.
    pub temporary: PathBuf,
    /// User and group numbers of builds on this machine, which git runs as where this process is root.
    pub owner: (u32, u32),
}

/// The program `git`, if a directory in this process's PATH has it.
pub fn find() -> Option<PathBuf> {
    programs::find("git")
}

impl Builtin for GitDownload {
    fn kind(&self) -> Kind {
        Kind::Download
    }

    fn make(&self, order: &BuiltinOrder<'_>) -> Result<BuiltinReport, BuiltinError> {
        let checkout = Checkout::of(order.job)?;
        let Some(target) = order.outputs.get("out") else {
            return Err(BuiltinError::Derivation(
                "the output of a checkout is called `out`".to_owned(),
            ));
        };
        let shown = visible(without_secrets(&checkout.url).as_ref());
        if self.offline {
            let error = GitError::Offline(shown);
            return Err(BuiltinError::failed(FailureKind::NotFetched, error));
        }
        let git = Git {
            program: find().ok_or(GitError::Missing).map_err(unfit)?,
            place: GitDirectory::create(&self.temporary, self.user()).map_err(unfit)?,
            user: self.user(),
            url: shown,
            cancellation: order.cancellation,
        };
        git.check_out(&checkout)?;
        nar::copy(&git.place.files(), target).map_err(unfit)?;
        remove_git_files(target).map_err(unfit)?;
        Ok(BuiltinReport::default())
    }
}

/// A directory for git's files, which is removed at the end.
struct GitDirectory(PathBuf);

impl GitDirectory {
    /// Makes one in `temporary`, for `user` where that is not this process's.
    fn create(temporary: &Path, user: Option<(u32, u32)>) -> Result<Self, FileError> {
        let failed = FileError::in_store("create", temporary);
        let made = tempfile::Builder::new()
            .prefix("bootstrap-git-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(temporary)
            .map_err(failed)?;
        let place = Self(made.keep());
        let files = place.files();
        let mut builder = DirBuilder::new();
        builder
            .mode(0o700)
            .create(&files)
            .map_err(FileError::in_store("create", &files))?;
        if let Some((uid, gid)) = user {
            for directory in [&files, &place.0] {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::chown(directory, Some(uid), Some(gid)).map_err(|error| {
                    FileError::in_store("give to the build user", directory)(error.into())
                })?;
            }
        }
        Ok(place)
    }

    /// The files of the commit.
    fn files(&self) -> PathBuf {
        self.0.join("files")
    }
}

impl Drop for GitDirectory {
    fn drop(&mut self) {
        // What is left of it is in the place for temporary files.
        let _ = remove_tree(&self.0);
    }
}

impl GitDownload {
    /// User and group numbers that git runs as; `None` where this process cannot change users.
    fn user(&self) -> Option<(u32, u32)> {
        let build_user = BuildUser::default();
        let owner = match self.owner {
            // Builds are in a user namespace there; git never is root.
            (0, _) | (_, 0) => (build_user.uid, build_user.gid),
            owner => owner,
        };
        geteuid().is_root().then_some(owner)
    }
}

/// A program `git` at work.
struct Git<'g> {
    program: PathBuf,
    place: GitDirectory,
    user: Option<(u32, u32)>,
    /// The repository, as it is shown.
    url: String,
    cancellation: &'g Cancellation,
}

impl Git<'_> {
    fn check_out(&self, checkout: &Checkout) -> Result<(), BuiltinError> {
        // Beside the files, so that only they are copied.
        let directory = OsString::from("--separate-git-dir=../repository");
        let arguments: [OsString; 3] = ["--quiet".into(), "--template=".into(), directory];
        self.run("init", &arguments)?;
        self.run("remote", &["add", "--", "origin", &checkout.url])?;
        let commit = checkout.commit.as_str();
        let shallow = ["--quiet", "--depth", "1", "--", "origin", commit];
        match self.run("fetch", &shallow) {
            Ok(()) => self.run("checkout", &["--quiet", "FETCH_HEAD"])?,
            Err(BuiltinError::Interrupted) => return Err(BuiltinError::Interrupted),
            // Not every server has commits by their hashes, or a part of the history.
            Err(_) => {
                self.run("fetch", &["--quiet", "--", "origin"])?;
                self.run("checkout", &["--quiet", commit, "--"])?;
            }
        }
        match checkout.recursive {
            true => self.run("submodule", &["update", "--quiet", "--init", "--recursive"]),
            false => Ok(()),
        }
    }

    /// Runs a command of git in the directory of the files. No process of it is left afterwards.
    fn run(
        &self,
        command: &'static str,
        arguments: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<(), BuiltinError> {
        let failed = |how: String, output: String| {
            let url = self.url.clone();
            let error = GitError::Failed {
                command,
                url,
                how,
                output,
            };
            BuiltinError::failed(FailureKind::NotFetched, error)
        };
        let not_run = |error| unfit(FileError::in_store("run", &self.program)(error));
        let (mut output, writer) = io::pipe().map_err(not_run)?;
        let group = Arc::new(AtomicI32::new(0));
        let mut child = {
            let mut git = self.command();
            git.arg(command).args(arguments);
            git.stdout(writer.try_clone().map_err(not_run)?)
                .stderr(writer);
            // The command holds the pipe's end, too, and goes with this block.
            git.spawn().map_err(not_run)?
        };
        let number = i32::try_from(child.id()).unwrap_or_default();
        group.store(number, Ordering::Release);
        let end = {
            let group = Arc::clone(&group);
            move || {
                if let Some(group) = Pid::from_raw(group.swap(0, Ordering::AcqRel)) {
                    // It may have ended.
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        };
        let _stop = self.cancellation.on_cancel(end.clone());
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        // Ends with the last process that has the pipe.
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
            if text.len() > 2 * SHOWN {
                text.drain(..text.len() - SHOWN);
            }
        }
        let ended = child.wait();
        end();
        if self.cancellation.is_cancelled() {
            return Err(BuiltinError::Interrupted);
        }
        let ended = ended.map_err(not_run)?;
        if ended.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&text);
        let text = visible_lines(text.trim_end());
        let output = match text.is_empty() {
            true => String::new(),
            false => format!("\n{text}"),
        };
        Err(failed(ended.to_string(), output))
    }

    fn command(&self) -> Command {
        let mut git = Command::new(&self.program);
        git.current_dir(self.place.files())
            .stdin(Stdio::null())
            .process_group(0)
            .env_clear();
        if let Some((uid, gid)) = self.user {
            // The standard library takes away root's other groups, too.
            git.uid(uid).gid(gid);
        }
        // `git submodule` is a script that needs a few programs.
        let own = self.program.parent().unwrap_or(Path::new("/"));
        let path = [
            own,
            Path::new("/usr/local/bin"),
            Path::new("/usr/bin"),
            Path::new("/bin"),
        ];
        git.env("PATH", std::env::join_paths(path).unwrap_or_default())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            // As Guix: the hash of the files is known.
            .env("GIT_SSL_NO_VERIFY", "true");
        for name in PROXIES {
            if let Some(value) = std::env::var_os(name) {
                git.env(name, value);
            }
        }
        for setting in SETTINGS {
            git.args(["-c", setting]);
        }
        git
    }
}

/// `error`, whose cause is this machine.
fn unfit(error: impl Diagnostic + Send + Sync + 'static) -> BuiltinError {
    BuiltinError::failed(FailureKind::Environment, error)
}

/// Removes the files `.git`, which say where a repository is, of a checkout and of its submodules.
fn remove_git_files(directory: &Path) -> Result<(), StoreError> {
    let fail = FileError::in_store("list", directory);
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(FileError::in_store("list", directory))?;
        let path = entry.path();
        if entry.file_name() == ".git" {
            remove_tree(&path)?;
            continue;
        }
        let kind = entry.file_type();
        if kind
            .map_err(FileError::in_store("examine", &path))?
            .is_dir()
        {
            remove_git_files(&path)?;
        }
    }
    Ok(())
}
