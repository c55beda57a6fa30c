//! Which seed a run starts from, and `seed list`, `seed show`, `seed update`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::archive::Format;
use crate::fetch::apt::{Apt, PackageIndex};
use crate::fetch::cache::Cache;
use crate::formats::system::System;
use crate::road::recipe::{Recipes, choose_variant};
use crate::road::seed::own;
use crate::road::seed::resolve::{Resolved, Strictness, load, resolve};
use crate::road::seed::update::update as compute_update;
use crate::road::seed::{Archive, Seed, SeedSource};
use crate::show::progress::size;

/// The seed of a run, and the larger roots that its recipes want sources made in.
#[derive(Debug)]
pub struct Chosen {
    /// The seed.
    pub seed: Seed,
    /// The larger roots, by name.
    pub roots: BTreeMap<String, Seed>,
    /// How each seed differs from its lock, by name.
    changes: BTreeMap<String, Vec<String>>,
}

impl Chosen {
    /// The seed and the larger roots, each with how it differs from its lock.
    pub fn all(&self) -> impl Iterator<Item = (&Seed, &[String])> {
        std::iter::once(&self.seed)
            .chain(self.roots.values())
            .map(|seed| {
                let changes = self.changes.get(&seed.name);
                (seed, changes.map_or(&[][..], Vec::as_slice))
            })
    }

    /// The archives of all of them.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.all().flat_map(|(seed, _)| &seed.archives)
    }
}

/// What decides whether an archive has to be fetched, and whom to ask where it is gone.
#[allow(dead_code)] // Seeds are what their locks pin; this goes with the module's move to the engine.
pub struct Asking<'a> {
    /// Whether an archive is there, or not needed.
    pub has: &'a dyn Fn(&Archive) -> bool,
    /// The distribution's index; `None` where nobody is to be asked.
    pub index: Option<&'a dyn PackageIndex>,
}

impl Asking<'_> {
    /// Takes the seeds as they are known on this machine.
    pub const NOBODY: Asking<'static> = Asking {
        has: &|_| true,
        index: None,
    };
}

/// Where seeds are described.
fn source(context: &Context) -> SeedSource {
    match &context.options.seeds {
        Some(directory) => SeedSource::Directory(directory.clone()),
        None => SeedSource::Embedded,
    }
}

/// The name of the run's seed.
fn seed_name(context: &Context) -> &str {
    let named = context.options.seed.as_deref();
    named.unwrap_or(context.system.default_seed())
}

/// The system that a seed is for: what `--seed` without `--system` means.
pub fn system_of(options: &super::arguments::Global, name: &str) -> Result<System, Failure> {
    let source = match &options.seeds {
        Some(directory) => SeedSource::Directory(directory.clone()),
        None => SeedSource::Embedded,
    };
    let description = crate::road::seed::description::Description::load(&source, name)?;
    let system = description.with_pins(None).system.parse();
    system.map_err(|error| Failure::Usage(format!("the seed {name}: {error}")))
}

/// The seed that is no described one: `--seed host`, `--seed-file`.
fn own_seed(context: &Context) -> Result<Option<Seed>, Failure> {
    let is_host = context.options.seed.as_deref() == Some(own::HOST);
    let file = context.options.seed_file.as_deref();
    if !is_host && file.is_none() {
        return Ok(None);
    }
    let model = match is_host {
        true => context.system.default_seed(),
        false => seed_name(context),
    };
    let model = load(&source(context), model)?;
    let cache = Cache::new(&context.directories.cache);
    let places = own::Places {
        cache: &cache,
        state: &context.directories.state,
    };
    Ok(Some(match (is_host, file) {
        (true, Some(_)) => {
            return Err(Failure::Usage(
                "--seed host and --seed-file are two different seeds; leave out one".to_owned(),
            ));
        }
        (_, Some(file)) => own::given(&model, file, places)?,
        (_, None) => own::host(&model, places)?,
    }))
}

/// The seeds of a run with `recipes`. Says what differs from the lock, where something does.
pub fn choose(
    context: &Context,
    recipes: &Recipes,
    _asking: &Asking<'_>,
) -> Result<Chosen, Failure> {
    let mut changes = BTreeMap::new();
    let mut resolved = |name: &str| -> Result<Seed, Failure> {
        let resolved = resolved(context, name)?;
        let shown = resolved.changes.iter().map(ToString::to_string).collect();
        changes.insert(name.to_owned(), shown);
        Ok(resolved.seed)
    };
    let seed = match own_seed(context)? {
        Some(seed) => seed,
        None => resolved(seed_name(context))?,
    };
    if seed.system != context.system.name() {
        return Err(Failure::Usage(format!(
            "the seed {} is for {}, not for {}; leave out --system, or choose another seed with --seed",
            seed.name, seed.system, context.system
        )));
    }
    // Only those that are wanted: each costs the reading of its lock.
    let wanted: BTreeSet<&str> = recipes
        .iter()
        .filter_map(|recipe| choose_variant(&recipe.sources, &seed.preferred_variant))
        .filter_map(|source| Some(source.regenerate.as_ref()?.root.get_ref().as_str()))
        .collect();
    let known = source(context).names()?;
    let mut roots = BTreeMap::new();
    for name in wanted {
        // One that nobody describes is reported where the recipe names it.
        if known.iter().any(|known| known == name) {
            roots.insert(name.to_owned(), resolved(name)?);
        }
    }
    Ok(Chosen {
        seed,
        roots,
        changes,
    })
}

/// The seed called `name`. Says so where something is used in place of what its lock pins; only once, when that is
/// decided.
fn resolved(context: &Context, name: &str) -> Result<Resolved, Failure> {
    let strictness = match context.options.locked {
        true => Strictness::Locked,
        false => Strictness::Replace,
    };
    let resolved = resolve(
        &source(context),
        name,
        &context.directories.state,
        strictness,
    )?;
    if let Some(notice) = resolved.notice() {
        context.note(&notice);
    }
    Ok(resolved)
}

#[derive(Debug, Serialize)]
struct ListedSeed {
    name: String,
    system: String,
    default: bool,
    archives: Option<usize>,
    bytes: Option<u64>,
}

/// `bootstrap seed list`.
pub fn list(context: &Context) -> Result<(), Failure> {
    let source = source(context);
    let mut rows = Vec::new();
    for name in source.names()? {
        let description = crate::road::seed::description::Description::load(&source, &name)?;
        // A seed without a lock is still one: `seed update` makes it.
        let seed = load(&source, &name).ok();
        let system_name = description.with_pins(None).system;
        let system = system_name.parse::<System>().ok();
        rows.push(ListedSeed {
            default: system.is_some_and(|system| system.default_seed() == name),
            system: system_name,
            archives: seed.as_ref().map(|seed| seed.archives.len()),
            bytes: seed.as_ref().and_then(total_size),
            name,
        });
    }
    if context.options.json {
        return print_json(&rows);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let lines: String = rows
        .iter()
        .map(|row| {
            let archives = match (row.archives, row.bytes) {
                (Some(1), None) => "1 archive".to_owned(),
                (Some(1), Some(bytes)) => format!("1 archive, {}", size::bytes(bytes)),
                (Some(count), None) => format!("{count} archives"),
                (Some(count), Some(bytes)) => format!("{count} archives, {}", size::bytes(bytes)),
                (None, _) => format!("no lock: run `bootstrap seed update {}`", row.name),
            };
            let default = if row.default { "  (default)" } else { "" };
            format!(
                "{:<width$}  {:<14}  {archives}{default}\n",
                row.name, row.system
            )
        })
        .collect();
    print(&context.invocation.complete(&lines))
}

/// The size of all archives, where each is known.
fn total_size(seed: &Seed) -> Option<u64> {
    seed.archives.iter().map(|archive| archive.size).sum()
}

#[derive(Debug, Serialize)]
struct ShownSeed {
    name: String,
    system: String,
    format: &'static str,
    source_variant: String,
    shell: String,
    search_path: Vec<String>,
    archives: Vec<ShownArchive>,
    links: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impure: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownArchive {
    name: String,
    sha256: String,
    size: Option<u64>,
    locations: Vec<String>,
}

/// `bootstrap seed show [NAME]`.
pub fn show(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let own = match name {
        None => own_seed(context)?,
        Some(_) => None,
    };
    let seed = match own {
        Some(seed) => seed,
        None => {
            let name = name.unwrap_or(seed_name(context));
            resolved(context, name)?.seed
        }
    };
    let shown = ShownSeed {
        format: match seed.format {
            Format::Deb => "deb",
            Format::Tar => "tar",
        },
        archives: seed
            .archives
            .iter()
            .map(|archive| ShownArchive {
                name: archive.name.clone(),
                sha256: archive.sha256.to_base16(),
                size: archive.size,
                locations: archive.locations.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        name: seed.name,
        system: seed.system,
        source_variant: seed.preferred_variant,
        shell: seed.shell,
        search_path: seed.search_path,
        links: seed.links,
        files: seed.files,
        impure: seed.impure,
    };
    if context.options.json {
        return print_json(&shown);
    }
    let mut text = format!(
        "name: {}\nsystem: {}\nformat: {}\nsource-variant: {}\nshell: {}\nsearch-path: {}\n",
        shown.name,
        shown.system,
        shown.format,
        shown.source_variant,
        shown.shell,
        shown.search_path.join(":")
    );
    if let Some(reason) = &shown.impure {
        text.push_str(&format!("impure: {reason}\n"));
    }
    for archive in &shown.archives {
        let size = archive.size.map_or_else(|| "?".to_owned(), size::bytes);
        text.push_str(&format!(
            "archive: {} {} {size}\n",
            archive.sha256, archive.name
        ));
        for location in &archive.locations {
            text.push_str(&format!("  from: {location}\n"));
        }
    }
    for (link, target) in &shown.links {
        text.push_str(&format!("link: {link} -> {target}\n"));
    }
    for path in shown.files.keys() {
        text.push_str(&format!("file: {path}\n"));
    }
    print(&text)
}

#[derive(Debug, Serialize)]
struct ShownUpdate<'a> {
    name: &'a str,
    file: Option<String>,
    changes: Vec<String>,
}

/// `bootstrap seed update [NAME]`: into the folder of `--seeds`, or to standard output.
pub fn update(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let name = name.unwrap_or(seed_name(context));
    let source = source(context);
    if context.options.offline {
        return Err(Failure::Usage(
            "--offline: the index of packages cannot be asked; leave it out".to_owned(),
        ));
    }
    let description = crate::road::seed::description::Description::load(&source, name)?;
    // Without a lock: what it says is about to be written.
    let Some(distribution) = description.with_pins(None).distribution else {
        return Err(Failure::Usage(format!(
            "the seed {name} is one archive with a hash of its own: there is nothing to update; a new release is a new \
             file seeds/NAME.toml"
        )));
    };
    let apt = Apt::new(&context.directories.cache, distribution.apt_settings());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let epoch = now.map_or(0, |since| since.as_secs());
    let update = compute_update(&source, name, &apt, epoch)?;
    let changes: Vec<String> = update.changes.iter().map(ToString::to_string).collect();
    let SeedSource::Directory(directory) = &source else {
        context.note(&format!(
            "{} changes; this is the new lock: write it to seeds/{name}.lock of the project and build the tool again, or \
             give --seeds a folder",
            changes.len()
        ));
        return print(&update.text);
    };
    let path = directory.join(format!("{name}.lock"));
    std::fs::write(&path, &update.text).map_err(Failure::writing(path.display().to_string()))?;
    if context.options.json {
        return print_json(&ShownUpdate {
            name,
            file: Some(path.display().to_string()),
            changes,
        });
    }
    let mut text: String = changes.iter().map(|change| format!("{change}\n")).collect();
    text.push_str(&format!(
        "wrote {} with {} changes\n",
        path.display(),
        changes.len()
    ));
    print(&text)
}
