//! `build --shell-on-failure`: a shell in the sandbox of a build that failed, where it stopped.

use std::io::IsTerminal;

use super::equipment::settings;
use super::failure::Failure;
use super::run::Run;
use super::shell::{Places, failed, standard_error};
use crate::build::environment::{build_directory, environment};
use crate::build::error::BuildError;
use crate::build::variation::Variation;
use crate::plan::Node;
use crate::sandbox::{self, BuildDirectory, Mount, Root, World};
use crate::store::path::StorePath;

/// Starts a shell in the sandbox of the first build of `run` that failed and whose directory was kept.
pub fn shell(run: &Run<'_>) -> Result<(), Failure> {
    let kept = run.errors().iter().find_map(|error| match error {
        BuildError::Failed(failed) => Some((failed.label.as_str(), failed.kept.as_ref()?)),
        _ => None,
    });
    let Some((label, directory)) = kept else {
        return Ok(());
    };
    let context = run.context();
    if !std::io::stdin().is_terminal() {
        context.note(&format!(
            "no shell for {label}: standard input is no terminal; the build directory is {}",
            directory.display()
        ));
        return Ok(());
    }
    let Some(node) = run.planned.plan.get(label) else {
        return Ok(());
    };
    let inputs = inputs(run, node)?;
    let closure = run.store.closure(&inputs)?;
    let store_dir = &context.directories.store_dir;
    let seed = node
        .derivation
        .environment
        .get("seed")
        .and_then(|text| store_dir.parse(text).ok());
    let sandbox = sandbox::platform(&context.directories.state).map_err(failed)?;
    let settings = settings(context);
    let places = Places::create(sandbox.as_ref(), &settings.user)?;
    let mounts = closure.iter().filter(|path| Some(*path) != seed.as_ref());
    let mut variables = environment(
        store_dir,
        &node.derivation_path,
        &node.derivation,
        settings.cores,
        String::new(),
        &Variation::default(),
    );
    if let Ok(terminal) = std::env::var("TERM") {
        variables.insert("TERM".to_owned(), terminal);
    }
    variables.insert("PS1".to_owned(), format!("[{label} \\w]\\$ "));
    context.note(&format!(
        "{label} failed; this is its sandbox, with its variables but without what its phases set. What is written to the \
         store is lost; `exit` ends it. The build directory stays in {}",
        directory.display()
    ));
    let world = World {
        root: match &seed {
            Some(seed) => Root::Tree(context.directories.physical(seed)),
            None => Root::Empty,
        },
        mounts: mounts
            .map(|path| Mount {
                source: context.directories.physical(path),
                target: context.shown(path).into(),
                writable: false,
            })
            .collect(),
        store_dir: store_dir.as_str().to_owned(),
        store_writable: places.store.clone(),
        build_directory: BuildDirectory {
            host: directory.clone(),
            guest: build_directory(&node.derivation_path).into(),
        },
        host_name: Variation::default().host_name().to_owned(),
        user: settings.user,
        limits: settings.limits,
        program: node.derivation.builder.clone(),
        arguments: vec!["-i".to_owned()],
        environment: variables,
        descriptors: Vec::new(),
        output: standard_error()?,
        network: false,
        interactive: true,
    };
    let mut running = sandbox.spawn(world).map_err(failed)?;
    running.wait().map_err(failed)?;
    Ok(())
}

/// What the build of `node` was given.
fn inputs(run: &Run<'_>, node: &Node) -> Result<Vec<StorePath>, Failure> {
    let nodes = run.planned.plan.nodes();
    let mut inputs: Vec<StorePath> = node.derivation.input_sources.iter().cloned().collect();
    for index in &node.dependencies {
        let input = &nodes[*index];
        let used = node
            .derivation
            .input_derivations
            .get(&input.derivation_path);
        let used = used.into_iter().flatten();
        inputs.extend(
            used.filter_map(|output| input.derivation.output_path(output))
                .cloned(),
        );
    }
    Ok(inputs)
}
