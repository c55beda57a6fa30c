//! `export`, `import`, `publish`, `key`, and substitutes for `all` and `build`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use super::context::{Context, Planned, print, print_json};
use super::failure::Failure;
use crate::build::graph::{DOWNLOAD, Todo};
use crate::exchange::guile::{GuilePackage, module};
use crate::exchange::stream::{self, Trust};
use crate::exchange::substitute::Server;
use crate::exchange::{ExchangeError, publish};
use crate::keys::{self, PublicKey, SecretKey};
use crate::plan::{Plan, road};
use crate::progress::size;
use crate::recipe::InputName;
use crate::store::Store;
use crate::store::path::StorePath;

/// What `export` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The packages; none is the final inputs.
    pub packages: &'a [String],
    /// Whether what they refer to is left out.
    pub alone: bool,
    /// Where to; standard output where there is none.
    pub output: Option<&'a Path>,
    /// What to sign with.
    pub key: Option<&'a Path>,
    /// The Guile module to write instead.
    pub guix: Option<&'a Path>,
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Store(error) => Self::from(error),
            other => Self::Exchange(Box::new(other)),
        }
    }
}

/// `bootstrap key NAME FILE`, or `bootstrap key --guix FILE`, of which the command line has one.
pub fn key(name: Option<&str>, file: Option<&Path>, guix: Option<&Path>) -> Result<(), Failure> {
    match (guix, name, file) {
        (Some(file), _, _) => {
            let keys = match SecretKey::read(file) {
                Ok(secret) => vec![secret.public()],
                Err(_) => PublicKey::read(file)?,
            };
            let keys = keys.iter().map(keys::guix::public_key);
            print(&keys.map(|key| format!("{key}\n")).collect::<String>())
        }
        (None, Some(name), Some(file)) => print(&format!("{}\n", SecretKey::generate(name, file)?)),
        _ => Err(Failure::Usage(
            "a new key needs a NAME and a FILE; `--guix FILE` shows one that is there".to_owned(),
        )),
    }
}

/// `bootstrap export`.
pub fn export(context: &Context, wanted: Export<'_>) -> Result<(), Failure> {
    let planned = context.plan()?;
    if let Some(file) = wanted.guix {
        return export_guix(context, &planned, file);
    }
    let store = context.store_to_read()?;
    let paths = outputs(context, &planned, &store, wanted.packages)?;
    let paths = match wanted.alone {
        true => paths,
        false => store.closure(paths.iter())?,
    };
    let items = stream::in_order(&store, &paths)?;
    let key = wanted.key.map(SecretKey::read).transpose()?;
    let (mut sink, location): (Box<dyn Write>, String) = match wanted.output {
        Some(path) => {
            let file = File::create(path).map_err(Failure::writing(path.display().to_string()))?;
            (
                Box::new(BufWriter::with_capacity(1 << 17, file)),
                path.display().to_string(),
            )
        }
        None if io::stdout().is_terminal() => {
            return Err(Failure::Usage(
                "an export is no text for a terminal: give -o FILE, or pipe it into `guix archive --import` or \
                 `nix-store --import`"
                    .to_owned(),
            ));
        }
        None => (
            Box::new(io::stdout().lock()),
            "to standard output".to_owned(),
        ),
    };
    stream::export(&store, &items, key.as_ref(), &mut sink, &location)?;
    let bytes: u64 = items.iter().map(|info| info.nar_size).sum();
    context.note(&format!(
        "exported {} items, {}",
        items.len(),
        size::bytes(bytes)
    ));
    Ok(())
}

/// `bootstrap export --guix FILE`.
fn export_guix(context: &Context, planned: &Planned, file: &Path) -> Result<(), Failure> {
    let inputs = road::final_inputs();
    let mut packages: Vec<GuilePackage> = Vec::new();
    for input in &inputs {
        if packages
            .iter()
            .any(|package| package.name == input.address.name)
        {
            continue;
        }
        let node = &planned.plan.nodes()[planned.plan.find(&input.address.to_string())?];
        let recipe = node
            .recipe
            .as_deref()
            .and_then(|name| planned.recipes.get(name));
        packages.push(GuilePackage {
            name: input.address.name.clone(),
            version: recipe.map_or_else(String::new, |recipe| recipe.version.clone()),
            synopsis: recipe.map_or_else(String::new, |recipe| recipe.synopsis.clone()),
            home_page: recipe.map_or_else(String::new, |recipe| recipe.home_page.clone()),
            license: recipe.map_or_else(String::new, |recipe| recipe.license.clone()),
            outputs: node.outputs.clone(),
            derivation: context.shown(&node.derivation_path),
        });
    }
    let name = file
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned());
    let text = module(
        &format!("({})", name.unwrap_or_default()),
        &packages,
        &inputs,
    );
    std::fs::write(file, text).map_err(Failure::writing(file.display().to_string()))
}

/// `bootstrap import`.
pub fn import(context: &Context, file: Option<&Path>, unsigned: bool) -> Result<(), Failure> {
    let keys = trusted_keys(context)?;
    let trust = match unsigned {
        true => Trust::Everybody,
        false => Trust::Keys(&keys),
    };
    let store = context.store_to_write()?;
    let (mut source, location): (Box<dyn Read>, String) = match file {
        Some(path) => {
            let file = File::open(path).map_err(Failure::reading(path))?;
            (Box::new(file), path.display().to_string())
        }
        None => (Box::new(io::stdin().lock()), "standard input".to_owned()),
    };
    let scratch = store.directories().state.join("bootstrap");
    let imported = stream::import(&store, &mut source, trust, &scratch, &location)?;
    let paths: Vec<String> = imported.iter().map(|path| context.shown(path)).collect();
    match context.options.json {
        true => print_json(&paths),
        false => print(
            &paths
                .iter()
                .map(|path| format!("{path}\n"))
                .collect::<String>(),
        ),
    }
}

/// `bootstrap publish`.
pub fn publish(
    context: &Context,
    directory: &Path,
    packages: &[String],
    key: Option<&Path>,
) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let key = key.map(SecretKey::read).transpose()?;
    let paths = outputs(context, &planned, &store, packages)?;
    let published = publish::publish(&store, &paths, key.as_ref(), directory)?;
    if context.options.json {
        return print_json(&published);
    }
    context.note(&format!(
        "published {} items, {}; {} were there already",
        published.written,
        size::bytes(published.bytes),
        published.kept
    ));
    if key.is_none() {
        context.note("nothing is signed: others will not take it; make a key with `bootstrap key NAME FILE`, give it with --key");
    }
    Ok(())
}

/// The outputs of `packages`, or of everything that is asked for by `all`. All must be valid.
fn outputs(
    context: &Context,
    planned: &Planned,
    store: &Store,
    packages: &[String],
) -> Result<BTreeSet<StorePath>, Failure> {
    let plan = &planned.plan;
    let mut wanted: Vec<(usize, Option<String>)> = Vec::new();
    for package in packages {
        let input = package.parse::<InputName>();
        let input = input.map_err(|error| Failure::Usage(error.to_string()))?;
        let output = package.contains(':').then(|| input.output.clone());
        wanted.push((plan.find(&input.address.to_string())?, output));
    }
    if packages.is_empty() {
        wanted = plan
            .everything()?
            .into_iter()
            .map(|index| (index, None))
            .collect();
    }
    let mut paths: BTreeMap<StorePath, String> = BTreeMap::new();
    for (index, output) in &wanted {
        let node = &plan.nodes()[*index];
        let before = paths.len();
        for (name, path) in node.output_paths() {
            if output.as_deref().is_none_or(|output| output == name) {
                paths.insert(path.clone(), node.label.clone());
            }
        }
        if let Some(output) = output.as_ref().filter(|_| paths.len() == before) {
            return Err(Failure::Usage(format!(
                "{} has no output `{output}`; it has {}",
                node.label,
                node.outputs.join(", ")
            )));
        }
    }
    let valid = store.valid_among(paths.keys())?;
    if let Some((path, package)) = paths.iter().find(|(path, _)| !valid.contains(*path)) {
        return Err(Failure::NotBuilt {
            package: package.clone(),
            path: context.shown(path),
        });
    }
    Ok(paths.into_keys().collect())
}

fn trusted_keys(context: &Context) -> Result<Vec<PublicKey>, Failure> {
    let text = context.options.trusted_keys.as_deref().unwrap_or_default();
    Ok(PublicKey::parse_all("--trusted-keys", text)?)
}

/// Installs from substitute servers what it can of `todo`: from the items that are wanted towards those they are built
/// from, which are left alone where what needs them came from a server.
pub(super) fn substitute(
    context: &Context,
    plan: &Plan,
    wanted: &[usize],
    todo: &Todo<'_>,
    store: &Store,
) -> Result<(), Failure> {
    let urls = context
        .options
        .substitute_urls
        .as_deref()
        .unwrap_or_default();
    if urls.trim().is_empty() || context.options.offline {
        return Ok(());
    }
    let keys = trusted_keys(context)?;
    if keys.is_empty() {
        return Err(Failure::Usage(
            "--substitute-urls without --trusted-keys: nothing that a server offers could be believed; give the public key \
             that its owner has published"
                .to_owned(),
        ));
    }
    let mut servers = Vec::new();
    for url in urls.split_whitespace() {
        servers.push((url, Server::new(url)?));
    }
    let asked: BTreeSet<&StorePath> = wanted
        .iter()
        .map(|index| &plan.nodes()[*index].derivation_path)
        .collect();
    // Of each task, whether it need not be done; from the items that are wanted towards those they are built from.
    let mut done: Vec<Option<bool>> = vec![None; todo.tasks.len()];
    let mut open: Vec<usize> = (0..todo.tasks.len()).rev().collect();
    let (mut items, mut bytes) = (0, 0);
    while !open.is_empty() {
        // All that is known to be needed is asked for at once, and installed on all cores.
        let mut needed: Vec<usize> = Vec::new();
        open.retain(|&number| {
            let task = &todo.tasks[number];
            let is_done = |dependant: &usize| done[*dependant];
            let mut dependants = task.dependants.iter().map(is_done);
            if asked.contains(task.job.path) || dependants.clone().any(|done| done == Some(false)) {
                needed.push(number);
                return false;
            }
            if dependants.all(|done| done == Some(true)) {
                done[number] = Some(true);
            }
            done[number].is_none()
        });
        for number in &needed {
            done[*number] = Some(false);
        }
        needed.retain(|number| todo.tasks[*number].job.derivation.builder != DOWNLOAD);
        let mut dead = Vec::new();
        for (place, (url, server)) in servers.iter().enumerate() {
            needed.retain(|number| done[*number] == Some(false));
            let outputs = |number: &usize| {
                let outputs = todo.tasks[*number].job.derivation.outputs.values();
                outputs.filter_map(|output| output.path.clone()).collect()
            };
            let sets: Vec<BTreeSet<StorePath>> = needed.iter().map(outputs).collect();
            let installed = match server.install(store, &sets, &keys) {
                Ok(installed) => installed,
                Err(error @ ExchangeError::Server { .. }) => {
                    // What a server does not give is built; it is not asked again.
                    context.note(&format!("{error}; going on without this server"));
                    dead.push(place);
                    // What came before it broke down is there.
                    let valid = store.valid_among(sets.iter().flatten())?;
                    for (number, set) in needed.iter().zip(&sets) {
                        done[*number] = Some(set.is_subset(&valid));
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for (number, installed) in needed.iter().zip(installed) {
                let Some(installed) = installed else {
                    continue;
                };
                done[*number] = Some(true);
                items += installed.paths.len();
                bytes += installed.nar_bytes;
                context.note(&format!(
                    "{}: from {url}, {}",
                    todo.tasks[*number].job.label,
                    size::bytes(installed.nar_bytes)
                ));
            }
        }
        for place in dead.into_iter().rev() {
            servers.remove(place);
        }
    }
    if items > 0 {
        context.note(&format!("installed {items} items, {}", size::bytes(bytes)));
    }
    Ok(())
}

/// A place given as `-` is standard input or output.
pub(super) fn place(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path)
        .filter(|path| *path != Path::new("-"))
}
