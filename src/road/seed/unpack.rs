// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes a seed's tree from its archives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::SeedError;
use crate::archive::{self, ArchiveLimits, ArchiveTree, Format, MERGED_USR, Unpacked};
use crate::diagnostics::FileError;
use crate::formats::derivation::Environment;
use crate::formats::visible::visible;

/// What separates a link's path from its target.
const ARROW: &str = " -> ";

/// What goes into a seed's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The format of all archives. Debian's packages get a merged `/usr`.
    pub format: Format,
    /// The archives, unpacked in this order.
    pub archives: Vec<PathBuf>,
    /// Symbolic links made after that: absolute path to target.
    pub links: BTreeMap<String, String>,
    /// Files made after that: absolute path to contents.
    pub files: BTreeMap<String, String>,
}

/// Something that makes seeds; [`Unpacker`] is the one there is.
pub trait SeedUnpacker: Send + Sync {
    /// Makes the tree of `contents` in the new directory `target`. On an error `target` holds a part of it.
    fn unpack(
        &self,
        contents: &Contents,
        target: &Path,
        stop: &AtomicBool,
    ) -> Result<Unpacked, SeedError>;
}

/// Unpacks with [`crate::archive`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpacker;

impl SeedUnpacker for Unpacker {
    fn unpack(
        &self,
        contents: &Contents,
        target: &Path,
        stop: &AtomicBool,
    ) -> Result<Unpacked, SeedError> {
        unpack(contents, target, ArchiveLimits::default(), stop)
    }
}

/// Makes the tree of `contents` in the new directory `target`, unless another thread sets `stop` before it is done.
pub fn unpack(
    contents: &Contents,
    target: &Path,
    limits: ArchiveLimits,
    stop: &AtomicBool,
) -> Result<Unpacked, SeedError> {
    let merged = match contents.format {
        Format::Deb => MERGED_USR,
        Format::Tar => &[],
    };
    let mut tree = ArchiveTree::create(target, merged, limits)?;
    for path in &contents.archives {
        archive::unpack(path, contents.format, &mut tree, stop)?;
    }
    let label = "of the seed's description";
    for (path, link) in &contents.links {
        tree.symlink(label, path, link)?;
    }
    for (path, text) in &contents.files {
        tree.file(label, path, text.as_bytes(), false)?;
    }
    check_names(target)?;
    Ok(tree.unpacked())
}

/// Checks the names in the top folder of a seed's tree, which become mount points and links of each build's root.
pub(super) fn check_names(target: &Path) -> Result<(), SeedError> {
    let entries = std::fs::read_dir(target).map_err(FileError::in_store("list", target))?;
    for entry in entries {
        let name = entry
            .map_err(FileError::in_store("list", target))?
            .file_name();
        if name.to_str().is_none() {
            return Err(SeedError::Name(visible(name.as_encoded_bytes())));
        }
    }
    Ok(())
}

/// The variables `format`, `archives`, `links` and `files` of a `builtin:unpack-seed` derivation.
pub(super) fn environment(
    format: Format,
    archives: &[String],
    links: &BTreeMap<String, String>,
    files: &BTreeMap<String, String>,
) -> Environment {
    let format = match format {
        Format::Deb => "deb",
        Format::Tar => "tar",
    };
    let links: Vec<String> = links
        .iter()
        .map(|(path, target)| format!("{path}{ARROW}{target}"))
        .collect();
    // A map of texts always has a JSON form.
    let files = serde_json::to_string(files).unwrap_or_default();
    [
        ("format", format.to_owned()),
        ("archives", archives.join(" ")),
        ("links", links.join("\n")),
        ("files", files),
    ]
    .into()
}

impl Contents {
    /// Reads what [`Seed::environment`](super::Seed::environment) wrote. `physical` makes an archive's store path a
    /// path on disk.
    pub fn from_environment(
        environment: &Environment,
        physical: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, SeedError> {
        let wrong = SeedError::Environment;
        let variable = |name: &str| {
            environment
                .text(name)
                .ok_or_else(|| wrong(format!("the variable `{name}` is missing")))
        };
        let format = match variable("format")? {
            "deb" => Format::Deb,
            "tar" => Format::Tar,
            other => return Err(wrong(format!("format `{other}`: expected `deb` or `tar`"))),
        };
        let archives: Vec<PathBuf> = variable("archives")?
            .split_whitespace()
            .map(|path| {
                physical(path).ok_or_else(|| wrong(format!("archive `{path}` is not a store path")))
            })
            .collect::<Result<_, _>>()?;
        if archives.is_empty() {
            return Err(wrong("the variable `archives` names none".to_owned()));
        }
        let mut links = BTreeMap::new();
        for line in environment.text("links").unwrap_or_default().lines() {
            let (path, target) = line
                .split_once(ARROW)
                .ok_or_else(|| wrong(format!("link `{line}`: expected PATH -> TARGET")))?;
            links.insert(path.to_owned(), target.to_owned());
        }
        let files = match environment.text("files") {
            Some(json) => serde_json::from_str(json)
                .map_err(|error| wrong(format!("the variable `files`: {error}")))?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            format,
            archives,
            links,
            files,
        })
    }
}
