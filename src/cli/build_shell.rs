//! Shells in the sandbox of a build: `shell --of PKG`, to see what the build saw, and `build --shell-on-failure`, to see
//! where it stopped.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::context::{Context, Planned};
use super::equipment::settings;
use super::failure::Failure;
use super::run::Run;
use super::shell::{Places, ended, failed, standard_error};
use crate::builder::environment::{build_directory, environment};
use crate::builder::error::BuildError;
use crate::builder::variation::Variation;
use crate::formats::store_path::StorePath;
use crate::road::plan::Node;
use crate::sandbox::{self, BuildDirectory, ExitStatusKind, Mount, Root, World};
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
    if node.derivation.builder.starts_with("builtin:") {
        return Err(Failure::Usage(format!(
            "{package} is made by bootstrap itself, in no sandbox; `bootstrap shell --of` takes a package"
        )));
    }
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::Usage(format!(
            "--directory {}: there is no such directory; leave it out for an empty one",
            directory.display()
        )));
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

/// Where there is a terminal, starts a shell in the sandbox of the first build of `run` that failed and whose directory was
/// kept.
pub(super) fn after_failure(of: &Run<'_>) -> Result<(), Failure> {
    let kept = of.errors().iter().find_map(|error| match error {
        BuildError::Failed(failed) => Some((failed.label.as_str(), failed.kept.as_ref()?)),
        _ => None,
    });
    let Some((label, directory)) = kept else {
        return Ok(());
    };
    let context = of.context();
    if !std::io::stdin().is_terminal() {
        context.note(&format!(
            "no shell for {label}: standard input is no terminal; the build directory is {}",
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

/// Runs `command`, or a shell, in the sandbox of the build of `node`, which people call `package`; `host` is the build
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
    let derivation = &node.derivation;
    let store_dir = &context.directories.store_dir;
    let inputs = inputs(planned, node);
    store.add_temporary_roots(inputs.iter())?;
    let valid = store.valid_among(inputs.iter())?;
    if let Some(missing) = inputs.iter().find(|path| !valid.contains(*path)) {
        return Err(Failure::NotBuilt {
            package: package.to_owned(),
            path: context.shown(missing),
        });
    }
    let closure = store.closure(inputs.iter())?;
    let seed = derivation.environment.get("seed");
    let seed = seed.and_then(|seed| store_dir.parse(seed).ok());

    let sandbox = sandbox::platform(&context.directories.state).map_err(failed)?;
    sandbox.check().map_err(failed)?;
    let settings = settings(context);
    let places = Places::create(sandbox.as_ref(), &settings.user)?;
    let mut variables = environment(
        store_dir,
        &node.derivation_path,
        derivation,
        settings.cores,
        String::new(),
        &Variation::default(),
    );
    variables.insert("PATH".to_owned(), search_path(context, planned, node));
    variables.insert("PS1".to_owned(), format!("[{package} \\w]\\$ "));
    if let Ok(terminal) = std::env::var("TERM") {
        variables.insert("TERM".to_owned(), terminal);
    }
    let arguments = match command {
        [] => vec!["-i".to_owned()],
        command => ["-c", "exec \"$@\"", "sh"]
            .into_iter()
            .map(ToOwned::to_owned)
            .chain(command.iter().cloned())
            .collect(),
    };
    let world = World {
        root: match &seed {
            Some(seed) => Root::Tree(context.directories.physical(seed)),
            None => Root::Empty,
        },
        // As in the build: the seed is the root, and not seen in the store.
        mounts: closure
            .iter()
            .filter(|path| Some(*path) != seed.as_ref())
            .map(|path| Mount {
                source: context.directories.physical(path),
                target: PathBuf::from(context.shown(path)),
                writable: false,
            })
            .collect(),
        store_dir: store_dir.as_str().to_owned(),
        store_writable: places.store.clone(),
        build_directory: BuildDirectory {
            host: host.unwrap_or_else(|| places.home.clone()),
            guest: build_directory(&node.derivation_path).into(),
        },
        host_name: Variation::default().host_name().to_owned(),
        user: settings.user,
        limits: settings.limits,
        program: derivation.builder.clone(),
        arguments,
        environment: variables,
        descriptors: Vec::new(),
        output: standard_error()?,
        network: false,
        interactive: true,
    };
    let mut running = sandbox.spawn(world).map_err(failed)?;
    Ok(running.wait().map_err(failed)?.status)
}

/// Everything that the derivation names as input.
fn inputs(planned: &Planned, node: &Node) -> BTreeSet<StorePath> {
    let derivation = &node.derivation;
    let mut inputs: BTreeSet<StorePath> = derivation.input_sources.iter().cloned().collect();
    for dependency in &node.dependencies {
        let dependency = &planned.plan.nodes()[*dependency];
        let names = derivation
            .input_derivations
            .get(&dependency.derivation_path);
        let names = names.into_iter().flatten();
        inputs.extend(names.filter_map(|name| dependency.derivation.output_path(name).cloned()));
    }
    inputs
}

/// Where the build finds programs: in its inputs, and in the seed where that is its root.
fn search_path(context: &Context, planned: &Planned, node: &Node) -> String {
    let mut directories: Vec<String> = node
        .inputs
        .iter()
        .filter(|(_, path)| context.directories.physical(path).join("bin").is_dir())
        .map(|(_, path)| format!("{}/bin", context.shown(path)))
        .collect();
    if node.derivation.environment.contains_key("seed") {
        directories.extend(planned.seeds.seed.search_path.iter().cloned());
    }
    directories.join(":")
}
