// SPDX-License-Identifier: GPL-3.0-or-later
//! Shells in the sandbox of a build: `shell --of PKG`, to see what the build saw, and `build --shell-on-failure`, to
//! see where it stopped.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::failure::Failure;
use super::shell::{self, Places, ended, failed, standard_error};
use crate::builder::error::BuildError;
use crate::builder::variation::Variation;
use crate::builder::world::BuildWorld;
use crate::engine::{EngineError, Planned, Run, graph};
use crate::road::plan::Node;
use crate::sandbox::{self, ExitStatusKind};
use crate::store::Store;

/// `bootstrap shell --of PKG [--directory DIR] [-- CMD]`.
pub fn shell(
    context: &Context,
    package: &str,
    directory: Option<&Path>,
    command: &[String],
) -> Result<(), Failure> {
    let planned = context.plan()?;
    let node = &planned.plan.nodes()[planned.plan.find(package)?];
    if node.derivation.builtin().is_some() {
        return Err(Failure::usage(
            format!("{package} is made by bootstrap itself, without a sandbox"),
            "`bootstrap shell --of` takes a package",
        ));
    }
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::usage(
            format!("--directory {}: no such directory", directory.display()),
            "leave it out for an empty one",
        ));
    }
    let host = directory.map(std::path::absolute).transpose();
    let host = host.map_err(|error| Failure::Io {
        action: "resolve",
        what: "--directory".to_owned(),
        error,
    })?;
    // Open for writing: what the shell uses must not be collected under it.
    let store = context.store_to_write()?;
    let status = run(context, &planned, &store, node, package, host, command)?;
    ended(status)
}

/// Where there is a terminal, starts a shell in the sandbox of the first build of `run` that failed and whose directory
/// was kept.
pub(super) fn after_failure(context: &Context, of: &Run<'_>) -> Result<(), Failure> {
    let kept = of.report.errors.iter().find_map(|error| match error {
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
    let Some(node) = of.planned.plan.get(label) else {
        return Ok(());
    };
    context.note(&format!(
        "{label} failed; this is its sandbox, with its variables but without what its phases set. What is written to the \
         store is lost; `exit` ends it. The build directory stays in {}",
        directory.display()
    ));
    let host = Some(directory.clone());
    // The run has failed, whatever the shell says.
    run(context, &of.planned, &of.store, node, label, host, &[]).map(drop)
}

/// Runs `command`, or a shell, in the sandbox of the build of `node`, the package `package`; `host` is the build
/// directory, an empty one where there is none.
fn run(
    context: &Context,
    planned: &Planned,
    store: &Store,
    node: &Node,
    package: &str,
    host: Option<PathBuf>,
    command: &[String],
) -> Result<ExitStatusKind, Failure> {
    let graph = graph(&planned.plan, &context.directories.store_dir);
    let job = graph
        .job(&node.derivation_path, package)
        .map_err(EngineError::from)?;
    let inputs = graph.inputs_of(job).map_err(EngineError::from)?;
    store.add_temporary_roots(inputs.iter().copied())?;
    let valid = store.valid_among(inputs.iter().copied())?;
    if let Some(missing) = inputs.iter().find(|path| !valid.contains(**path)) {
        return Err(EngineError::NotBuilt {
            package: package.to_owned(),
            path: context.shown(missing),
        }
        .into());
    }
    let closure = store.closure(inputs)?;

    let sandbox = sandbox::platform(&context.directories.state).map_err(failed)?;
    sandbox.check().map_err(failed)?;
    let settings = context.session.build_settings();
    let places = Places::create(sandbox.as_ref(), &settings.user)?;
    let world = BuildWorld {
        job,
        inputs: &closure,
        directories: &context.directories,
        settings: &settings,
        variation: &Variation::default(),
        store: &places.store,
        directory: host.as_deref().unwrap_or(&places.home),
    };
    let mut world = world.make(String::new(), standard_error()?);
    let path = search_path(context, planned, node, job.root.is_some());
    world.environment.insert("PATH".into(), path.into());
    let prompt = format!("[{package} \\w]\\$ ");
    world.environment.insert("PS1".into(), prompt.into());
    if let Ok(terminal) = std::env::var("TERM") {
        world.environment.insert("TERM".into(), terminal.into());
    }
    world.arguments = match command {
        [] => vec!["-i".into()],
        command => ["-c", "exec \"$@\"", "sh"]
            .into_iter()
            .chain(command.iter().map(String::as_str))
            .map(Into::into)
            .collect(),
    };
    world.interactive = true;
    shell::run(context, sandbox.as_ref(), world)
}

/// Where the build finds programs: in its inputs, and in the seed where that is its root.
fn search_path(context: &Context, planned: &Planned, node: &Node, has_root: bool) -> String {
    let mut directories: Vec<String> = node
        .inputs
        .iter()
        .filter(|(_, path)| context.directories.physical(path).join("bin").is_dir())
        .map(|(_, path)| format!("{}/bin", context.shown(path)))
        .collect();
    if has_root {
        directories.extend(planned.seeds.seed.search_path.iter().cloned());
    }
    directories.join(":")
}
