// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads `seeds/NAME.toml`.
//!
//! Keys: `name` (as the file), `system`, `kind`, `source-variant`, `shell`, `search-path`, `[links]` and `[files]`;
//! with `kind = "archive"` also `url` or `urls`, `sha256` and `size`, and `release` where it is a FreeBSD release; with
//! `kind = "debian"` also `release`, `architecture`, `packages` and `exclude`. A seed with a `base` has all of that
//! seed's packages, links and files besides its own, and takes from it every key that it does not give itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::pins::Pins;
use super::{Distribution, Seed, SeedArchive, SeedError, SeedSource, store_name};
use crate::archive::Format;
use crate::fetch::Location;
use crate::fetch::location::is_package;
use crate::formats::hash::Sha256Digest;

/// The longest chain of bases; more is a circle.
const BASES: usize = 8;

/// A description, with its base's added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The seed's name.
    pub name: String,
    system: String,
    preferred_variant: String,
    shell: String,
    search_path: Vec<String>,
    links: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    /// What it is made of.
    pub kind: SeedKind,
}

/// What a seed is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedKind {
    /// One tar.
    Archive {
        /// The tar.
        archive: SeedArchive,
        /// The FreeBSD release it is.
        release: Option<String>,
    },
    /// Debian packages.
    Debian {
        /// Where they are from.
        distribution: Distribution,
        /// What is asked for; what these depend on is added.
        packages: BTreeSet<String>,
        /// What is left out, with everything that only this depends on.
        exclude: BTreeSet<String>,
    },
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DescriptionFile {
    name: String,
    base: Option<String>,
    system: Option<String>,
    kind: Option<KindName>,
    source_variant: Option<String>,
    shell: Option<String>,
    search_path: Option<Vec<String>>,
    release: Option<String>,
    architecture: Option<String>,
    #[serde(default)]
    packages: BTreeSet<String>,
    #[serde(default)]
    exclude: BTreeSet<String>,
    url: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
    sha256: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindName {
    Archive,
    Debian,
}

impl Description {
    /// Reads the description of the seed `name`, and of its bases.
    pub fn load(source: &SeedSource, name: &str) -> Result<Self, SeedError> {
        let mut file = read(source, name)?;
        let mut next = file.base.take();
        for _ in 0..BASES {
            let Some(base) = next else {
                return check(&source.display(&format!("{name}.toml")), file);
            };
            let mut base = read(source, &base)?;
            next = base.base.take();
            file = merge(file, base);
        }
        Err(SeedError::Invalid {
            file: source.display(&format!("{name}.toml")),
            reason: "its chain of `base` seeds does not end".to_owned(),
        })
    }

    /// The seed that this and, for one of packages, `pins` describe.
    pub fn with_pins(&self, pins: Option<&Pins>) -> Seed {
        let (format, archives, distribution) = match &self.kind {
            SeedKind::Archive { archive, .. } => (Format::Tar, vec![archive.clone()], None),
            SeedKind::Debian { distribution, .. } => {
                let archives = pins.map(Pins::archives).unwrap_or_default();
                let snapshot = pins.and_then(Pins::snapshot).map(ToString::to_string);
                let distribution = Distribution {
                    snapshot,
                    ..distribution.clone()
                };
                (Format::Deb, archives, Some(distribution))
            }
        };
        Seed {
            name: self.name.clone(),
            system: self.system.clone(),
            preferred_variant: self.preferred_variant.clone(),
            shell: self.shell.clone(),
            search_path: self.search_path.clone(),
            format,
            archives,
            links: self.links.clone(),
            files: self.files.clone(),
            distribution,
            release: match &self.kind {
                SeedKind::Archive { release, .. } => release.clone(),
                SeedKind::Debian { .. } => None,
            },
            impure: None,
        }
    }
}

fn read(source: &SeedSource, name: &str) -> Result<DescriptionFile, SeedError> {
    let file_name = format!("{name}.toml");
    let file = source.display(&file_name);
    let unknown = || -> Result<SeedError, SeedError> {
        Ok(SeedError::Unknown {
            name: name.to_owned(),
            known: source.names()?,
        })
    };
    if !is_package(name) {
        return Err(unknown()?);
    }
    let Some(text) = source.read(&file_name)? else {
        return Err(unknown()?);
    };
    let parsed: DescriptionFile =
        toml::from_str(&text).map_err(|error| SeedError::Description {
            file: file.clone(),
            error: Box::new(error),
        })?;
    if parsed.name != name {
        return Err(SeedError::Invalid {
            file,
            reason: format!(
                "`name` is `{}`, expected `{name}` as the file's name says",
                parsed.name
            ),
        });
    }
    Ok(parsed)
}

/// `file` with what `base` adds.
fn merge(file: DescriptionFile, base: DescriptionFile) -> DescriptionFile {
    let mut links = base.links;
    links.extend(file.links);
    let mut files = base.files;
    files.extend(file.files);
    // What the seed itself asks for is not left out because its base does without.
    let mut exclude: BTreeSet<String> = base.exclude.difference(&file.packages).cloned().collect();
    exclude.extend(file.exclude);
    let mut packages = base.packages;
    packages.extend(file.packages);
    DescriptionFile {
        name: file.name,
        base: None,
        system: file.system.or(base.system),
        kind: file.kind.or(base.kind),
        source_variant: file.source_variant.or(base.source_variant),
        shell: file.shell.or(base.shell),
        search_path: file.search_path.or(base.search_path),
        release: file.release.or(base.release),
        architecture: file.architecture.or(base.architecture),
        packages,
        exclude,
        url: file.url.or(base.url),
        urls: if file.urls.is_empty() {
            base.urls
        } else {
            file.urls
        },
        sha256: file.sha256.or(base.sha256),
        size: file.size.or(base.size),
        links,
        files,
    }
}

/// Checks that every key that is needed is there and makes sense.
fn check(file: &str, description: DescriptionFile) -> Result<Description, SeedError> {
    let invalid = |reason: String| SeedError::Invalid {
        file: file.to_owned(),
        reason,
    };
    let needed = |key: &str, value: Option<String>| {
        value.ok_or_else(|| invalid(format!("the key `{key}` is missing")))
    };
    let absolute = |what: &str, path: &String| {
        let plain = path.starts_with('/')
            && path.len() > 1
            && !path
                .split('/')
                .skip(1)
                .any(|part| matches!(part, "" | "." | ".."));
        if plain && !path.contains(['\n', '\0']) && !path.contains(" -> ") {
            return Ok(());
        }
        Err(invalid(format!(
            "{what} `{path}`: expected an absolute path without `.` and `..`"
        )))
    };
    let kind = description.kind.ok_or_else(|| {
        invalid("the key `kind` is missing: expected \"archive\" or \"debian\"".to_owned())
    })?;
    let search_path = description
        .search_path
        .clone()
        .ok_or_else(|| invalid("the key `search-path` is missing".to_owned()))?;
    let shell = needed("shell", description.shell.clone())?;
    absolute("`shell`", &shell)?;
    for directory in &search_path {
        absolute("`search-path`", directory)?;
    }
    for (path, target) in &description.links {
        absolute("`links`", path)?;
        if target.is_empty() || target.contains(['\n', '\0']) {
            return Err(invalid(format!("the link `{path}` has an unusable target")));
        }
    }
    for path in description.files.keys() {
        absolute("`files`", path)?;
    }
    let kind = match kind {
        KindName::Archive => SeedKind::Archive {
            archive: check_archive(&description, &invalid)?,
            release: description.release,
        },
        KindName::Debian => {
            let names = description.packages.iter().chain(&description.exclude);
            if let Some(name) = names.into_iter().find(|name| !is_package(name)) {
                return Err(invalid(format!("`{name}` cannot be a package's name")));
            }
            if description.packages.is_empty() {
                return Err(invalid("the key `packages` is missing".to_owned()));
            }
            if let Some(both) = description
                .packages
                .intersection(&description.exclude)
                .next()
            {
                return Err(invalid(format!(
                    "`{both}` is in `packages` and in `exclude`"
                )));
            }
            SeedKind::Debian {
                distribution: Distribution {
                    release: needed("release", description.release)?,
                    architecture: needed("architecture", description.architecture)?,
                    snapshot: None,
                },
                packages: description.packages,
                exclude: description.exclude,
            }
        }
    };
    Ok(Description {
        name: description.name,
        system: needed("system", description.system)?,
        preferred_variant: needed("source-variant", description.source_variant)?,
        shell,
        search_path,
        links: description.links,
        files: description.files,
        kind,
    })
}

fn check_archive(
    description: &DescriptionFile,
    invalid: &dyn Fn(String) -> SeedError,
) -> Result<SeedArchive, SeedError> {
    if !description.packages.is_empty() || !description.exclude.is_empty() {
        return Err(invalid(
            "`packages` and `exclude` are for seeds of kind \"debian\"".to_owned(),
        ));
    }
    let digest = description
        .sha256
        .as_deref()
        .ok_or_else(|| invalid("the key `sha256` is missing".to_owned()))?;
    let sha256 = Sha256Digest::from_base16(digest).map_err(|error| invalid(error.to_string()))?;
    let mut locations = Vec::new();
    for url in description.url.iter().chain(&description.urls) {
        locations.push(
            url.parse::<Location>()
                .map_err(|error| invalid(error.to_string()))?,
        );
    }
    let file = locations.first().and_then(|location| match location {
        Location::Url(url) => url.rsplit('/').next(),
        _ => None,
    });
    let file =
        file.ok_or_else(|| invalid("the key `url` is missing, or is not a URL".to_owned()))?;
    Ok(SeedArchive {
        // Each release calls its archive base.txz; the seed's name tells them apart in the store.
        name: store_name(&format!("{}-{file}", description.name)),
        sha256,
        size: description.size,
        locations,
    })
}
