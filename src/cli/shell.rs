// SPDX-License-Identifier: GPL-3.0-or-later
//! `shell`: a sandbox with the final inputs, `shell --of PKG`: that of a build, and `build --shell-on-failure`: that of
//! one that failed.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;

use super::context::Context;
use super::failure::CommandFailure;
use crate::builder::error::BuildError;
use crate::diagnostics::FileError;
use crate::engine::{FinishedRun, ShellCommand};
use crate::sandbox::{ExitStatusKind, Mount};

/// Where the sandbox has the user's own directories.
const MOUNTS: &str = "/mnt";

/// `bootstrap shell [PKG…] [--mount DIR] [-- CMD]`.
pub fn shell(
    context: &Context,
    packages: &[String],
    mounts: &[String],
    command: &[String],
) -> Result<(), CommandFailure> {
    let command = shell_command(context, mounts, command)?;
    ended(context.session.shell(packages, command)?)
}

/// `bootstrap shell --of PKG [--directory DIR] [--mount DIR] [-- CMD]`.
pub fn of_build(
    context: &Context,
    package: &str,
    directory: Option<&Path>,
    mounts: &[String],
    command: &[String],
) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let node = &planned.plan.nodes()[planned.plan.find(package)?];
    if node.derivation.builtin().is_some() {
        return Err(CommandFailure::usage(
            format!("{package} is made by bootstrap itself, without a sandbox"),
            "`bootstrap shell --of` takes a package",
        ));
    }
    if let Some(directory) = directory {
        let found = std::fs::metadata(directory)
            .map_err(FileError::named_by_user("use the directory", directory))?;
        if !found.is_dir() {
            return Err(CommandFailure::usage(
                format!("--directory {}: not a directory", directory.display()),
                "leave it out for an empty one",
            ));
        }
    }
    let host = directory.map(|directory| {
        let absolute = std::path::absolute(directory);
        absolute.map_err(FileError::named_by_user("resolve", directory))
    });
    let host = host.transpose()?;
    let session = &context.session;
    let store = session.store_for_shell()?;
    let command = shell_command(context, mounts, command)?;
    ended(session.build_shell(&planned, &store, (node, package), host, command)?)
}

/// Where there is a terminal, starts a shell in the sandbox of the first build of `run` that failed and whose directory
/// was kept.
pub(super) fn after_failure(
    context: &Context,
    run: &FinishedRun<'_>,
) -> Result<(), CommandFailure> {
    let kept = run.report.errors.iter().find_map(|error| match error {
        BuildError::Failed(failed) => Some((failed.label.as_str(), failed.kept.as_ref()?)),
        _ => None,
    });
    let Some((label, directory)) = kept else {
        return Ok(());
    };
    if !std::io::stdin().is_terminal() {
        context.note(&format!(
            "no shell for {label}: standard input is not a terminal; the build directory is {}",
            directory.display()
        ));
        return Ok(());
    }
    let Some(node) = run.planned.plan.get(label) else {
        return Ok(());
    };
    context.note(&format!(
        "{label} failed; this is its sandbox, with its variables but without what its phases set. What is written to the \
         store is lost; `exit` ends it. The build directory stays in {}",
        directory.display()
    ));
    let host = Some(directory.clone());
    let command = shell_command(context, &[], &[])?;
    let session = &context.session;
    // The run has failed, whatever the shell's end.
    session.build_shell(&run.planned, &run.store, (node, label), host, command)?;
    Ok(())
}

/// `command`, connected to this process' terminal.
fn shell_command<'c>(
    context: &'c Context,
    mounts: &[String],
    command: &'c [String],
) -> Result<ShellCommand<'c>, CommandFailure> {
    let output = std::io::stderr().as_fd().try_clone_to_owned();
    Ok(ShellCommand {
        command,
        mounts: own_mounts(mounts)?,
        output: output.map_err(CommandFailure::writing("to standard error"))?,
        terminal: std::env::var("TERM").ok(),
        cancellation: context.interruption(),
    })
}

/// The mounts that `--mount DIR` and `--mount DIR:rw` ask for: each directory at `/mnt/NAME`, NAME being its own.
fn own_mounts(wanted: &[String]) -> Result<Vec<Mount>, CommandFailure> {
    let mut mounts: Vec<Mount> = Vec::new();
    for text in wanted {
        let (directory, writable) = match text.strip_suffix(":rw") {
            Some(directory) => (directory, true),
            None => (text.as_str(), false),
        };
        let resolved = std::fs::canonicalize(directory);
        let source = resolved.map_err(FileError::named_by_user("resolve", Path::new(directory)))?;
        let Some(name) = source.file_name().filter(|_| source.is_dir()) else {
            return Err(CommandFailure::usage(
                format!("--mount {directory}: not a directory with a name"),
                "name a directory below `/`",
            ));
        };
        let target = Path::new(MOUNTS).join(name);
        if mounts.iter().any(|other| other.target == target) {
            return Err(CommandFailure::usage(
                format!(
                    "--mount {directory}: {} is another directory already",
                    target.display()
                ),
                "mount the directory above both",
            ));
        }
        mounts.push(Mount {
            source,
            target,
            writable,
        });
    }
    Ok(mounts)
}

/// What the end of the command means for ours.
fn ended(status: ExitStatusKind) -> Result<(), CommandFailure> {
    match status {
        ExitStatusKind::Exited(0) => Ok(()),
        ExitStatusKind::Exited(status) => {
            Err(CommandFailure::Command(u8::try_from(status).unwrap_or(1)))
        }
        // As shells report a death by signal.
        ExitStatusKind::Signaled(signal) => Err(CommandFailure::Command(
            u8::try_from(128 + signal).unwrap_or(1),
        )),
    }
}
