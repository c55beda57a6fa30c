// SPDX-License-Identifier: GPL-3.0-or-later
//! The nodes before the first build: downloads, seeds, and sources completed in a larger root.

use std::collections::{BTreeMap, BTreeSet};

use super::planner::Planner;
use super::{Node, NodeKind, PlanError};
use crate::fetch::{Location, attributes, mirrors};
use crate::formats::derivation::{Derivation, Environment, Output};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{FixedOutputMethod, StorePath};
use crate::formats::system::System;
use crate::road::recipe::{Recipe, RecipeText, Source};
use crate::road::seed::{Seed, SeedArchive};

/// A file to download: what its derivation says.
pub(super) struct SourceDownload<'a> {
    pub file: &'a str,
    pub sha256: Sha256Digest,
    /// The size that the derivation says.
    pub size: Option<u64>,
    /// The size for forecasts, which the derivation does not hold.
    pub expected: Option<u64>,
    /// In the order to try them.
    pub locations: &'a [Location],
}

impl<'a> SourceDownload<'a> {
    pub fn of_source(source: &'a Source) -> Self {
        Self {
            file: &source.file,
            sha256: source.sha256,
            size: None,
            expected: source.size,
            locations: &source.locations,
        }
    }

    pub fn of_archive(archive: &'a SeedArchive) -> Self {
        Self {
            file: &archive.name,
            sha256: archive.sha256,
            size: archive.size,
            expected: archive.size,
            locations: &archive.locations,
        }
    }
}

impl Planner<'_> {
    /// The node that downloads `download`, labelled `CLASS/FILE`. Where two files share a name, the second
    /// label says its hash as well.
    pub(super) fn download(
        &mut self,
        class: &str,
        recipe: Option<&Recipe>,
        download: &SourceDownload<'_>,
    ) -> Result<usize, PlanError> {
        let mut environment = Environment::from([
            ("name", download.file.to_owned()),
            ("url", attributes::write_urls(download.locations)),
            ("sha256", download.sha256.to_base16()),
        ]);
        if let Some(size) = download.size {
            environment.insert("size", size.to_string());
        }
        let mut label = format!("{class}/{}", download.file);
        // `mirror://` stays, as in Guix: this program knows the servers itself, and the user may have named others.
        // Guix reads them in the file.
        let mut input_sources = BTreeSet::new();
        let is_mirror = |location: &Location| location.to_string().starts_with("mirror://");
        if download.locations.iter().any(is_mirror) {
            let text = RecipeText {
                name: "mirrors".to_owned(),
                contents: mirrors::scheme_list().into_bytes(),
            };
            let mirrors = self.text(&label, &text)?;
            environment.insert("mirrors", self.shown(&mirrors));
            input_sources.insert(mirrors);
        }
        let output = Output::fixed(FixedOutputMethod::Flat, download.sha256);
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), output)]),
            system: self.settings.system.name().to_owned(),
            builder: "builtin:download".into(),
            environment,
            input_sources,
            ..Derivation::default()
        };
        let (path, derivation) = self.instantiate(&label, download.file, derivation)?;
        if let Some(index) = self.by_derivation.get(&path) {
            return Ok(*index);
        }
        if self.by_label.contains_key(&label) {
            label = format!("{label}@{}", &download.sha256.to_base16()[..8]);
        }
        Ok(self.add(Node {
            label,
            kind: NodeKind::Download,
            recipe: recipe.map(|recipe| recipe.name.clone()),
            stage: None,
            name: download.file.to_owned(),
            derivation_path: path,
            derivation,
            size: download.expected,
            typical: None,
            outputs: vec!["out".to_owned()],
            inputs: Vec::new(),
            dependencies: BTreeSet::new(),
        }))
    }

    /// The node that unpacks `root`.
    pub(super) fn root(&mut self, root: &Seed) -> Result<usize, PlanError> {
        let label = format!("seed/{}", root.name);
        if let Some(index) = self.by_label.get(&label) {
            return Ok(*index);
        }
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            system: root.system.clone(),
            builder: "builtin:unpack-seed".into(),
            ..Derivation::default()
        };
        let mut dependencies = BTreeSet::new();
        let mut archives = Vec::new();
        for archive in &root.archives {
            let index = self.download("seed", None, &SourceDownload::of_archive(archive))?;
            archives.push(self.depend(&mut derivation, &mut dependencies, index, "out"));
        }
        derivation.environment = root.environment(&archives);
        derivation.environment.insert("name", root.name.as_str());
        let (path, derivation) = self.instantiate(&label, &root.name, derivation)?;
        Ok(self.add(Node {
            label,
            kind: NodeKind::Seed,
            recipe: None,
            stage: None,
            name: root.name.clone(),
            derivation_path: path,
            derivation,
            size: None,
            typical: None,
            outputs: vec!["out".to_owned()],
            inputs: Vec::new(),
            dependencies,
        }))
    }

    /// The node whose output is the source of `recipe`: the download, or what is made of it in a larger root.
    pub(super) fn source(
        &mut self,
        recipe: &Recipe,
        source: &Source,
    ) -> Result<Option<usize>, PlanError> {
        let archive = self.download("source", Some(recipe), &SourceDownload::of_source(source))?;
        let Some(regenerate) = &source.regenerate else {
            return Ok(Some(archive));
        };
        let label = format!("regenerate/{}", recipe.name);
        if let Some(index) = self.by_label.get(&label) {
            return Ok(Some(*index));
        }
        let roots = self.roots;
        let root = roots.get(regenerate.root.get_ref());
        let system_of = |root: &Seed| root.system.parse::<System>().ok();
        let Some((root, system)) = root.and_then(|root| Some((root, system_of(root)?))) else {
            self.unknown_root(recipe, &regenerate.root);
            return Ok(None);
        };
        let root_index = self.root(root)?;
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            // The root's and not ours: every system has the same item, and takes it from a machine of the root's.
            system: system.name().to_owned(),
            builder: root.shell.as_str().into(),
            ..Derivation::default()
        };
        let mut dependencies = BTreeSet::new();
        let archive = self.depend(&mut derivation, &mut dependencies, archive, "out");
        let seed = self.depend(&mut derivation, &mut dependencies, root_index, "out");
        let script = self.text(&label, &regenerate.script)?;
        derivation.arguments = vec!["-eu".into(), self.shown(&script).into()];
        derivation.input_sources.insert(script);
        let name = format!("{}-{}-source", recipe.name, recipe.version);
        let environment = [
            ("name", name.clone()),
            ("pname", recipe.name.clone()),
            ("version", recipe.version.clone()),
            ("system", system.name().to_owned()),
            ("triplet", system.triplet(root.release.as_deref())),
            ("source", archive),
            ("disallowedReferences", seed.clone()),
            ("seed", seed),
        ];
        derivation.environment = environment.into();
        let (path, derivation) = self.instantiate(&label, &name, derivation)?;
        Ok(Some(self.add(Node {
            label,
            kind: NodeKind::Regenerate,
            recipe: Some(recipe.name.clone()),
            stage: None,
            name,
            derivation_path: path,
            derivation,
            size: None,
            typical: None,
            outputs: vec!["out".to_owned()],
            inputs: Vec::new(),
            dependencies,
        })))
    }

    /// Makes `index` an input of `derivation` and gives the path of its `output` as text.
    pub(super) fn depend(
        &self,
        derivation: &mut Derivation,
        dependencies: &mut BTreeSet<usize>,
        index: usize,
        output: &str,
    ) -> String {
        let node = &self.nodes[index];
        dependencies.insert(index);
        derivation
            .input_derivations
            .entry(node.derivation_path.clone())
            .or_default()
            .insert(output.to_owned());
        let path = node.derivation.output_path(output);
        path.map(|path| self.shown(path)).unwrap_or_default()
    }

    /// `path` with the store directory.
    pub(super) fn shown(&self, path: &StorePath) -> String {
        self.settings.store_dir.display(path)
    }
}
