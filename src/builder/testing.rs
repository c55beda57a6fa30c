// SPDX-License-Identifier: GPL-3.0-or-later
//! Graphs of made-up items for the tests of this module.

use std::collections::BTreeMap;

use super::graph::{BuildGraph, BuildJob};
use crate::events::Kind;
use crate::formats::derivation::{Derivation, Output};
use crate::formats::store_path::StorePath;

/// Derivations by label. Their paths are made up: nothing here goes into a store.
#[derive(Debug, Default)]
pub(crate) struct Items {
    items: BTreeMap<String, (StorePath, Derivation)>,
}

fn made_up(name: &str) -> StorePath {
    let digest = crate::formats::hash::Sha256Digest::of(name);
    let hash = crate::formats::base32::encode(&digest.0[..20]);
    StorePath::from_base_name(&format!("{hash}-{}", name.replace(['/', ':'], "-"))).unwrap()
}

impl Items {
    /// Items with one output each, and the labels of their inputs.
    pub(crate) fn new(items: &[(&str, &[&str])]) -> Self {
        let mut all = Self::default();
        for (label, inputs) in items {
            let mut derivation = Derivation {
                builder: "/bin/sh".into(),
                ..Derivation::default()
            };
            let output = Output {
                path: Some(made_up(label)),
                ..Output::default()
            };
            derivation.outputs.insert("out".into(), output);
            let path = made_up(&format!("{label}.drv"));
            all.items.insert((*label).to_owned(), (path, derivation));
            for input in *inputs {
                all.use_output(label, input, "out");
            }
        }
        all
    }

    /// Makes `label` a download.
    pub(crate) fn download(&mut self, label: &str) {
        self.items.get_mut(label).unwrap().1.builder = "builtin:download".into();
    }

    /// Sets a variable of `label`.
    pub(crate) fn set(&mut self, label: &str, name: &str, value: &str) {
        let item = self.items.get_mut(label).unwrap();
        item.1.environment.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn add_output(&mut self, label: &str, name: &str) {
        let output = Output {
            path: Some(made_up(&format!("{label}:{name}"))),
            ..Output::default()
        };
        let item = self.items.get_mut(label).unwrap();
        item.1.outputs.insert(name.to_owned(), output);
    }

    pub(crate) fn use_output(&mut self, label: &str, input: &str, output: &str) {
        let input = self.items[input].0.clone();
        let item = self.items.get_mut(label).unwrap();
        let names = item.1.input_derivations.entry(input).or_default();
        names.insert(output.to_owned());
    }

    pub(crate) fn forget(&mut self, label: &str) {
        self.items.remove(label);
    }

    pub(crate) fn path(&self, label: &str) -> &StorePath {
        &self.items[label].0
    }

    /// The output `LABEL` or `LABEL:OUTPUT`.
    pub(crate) fn output(&self, label: &str) -> StorePath {
        let (label, output) = label.split_once(':').unwrap_or((label, "out"));
        self.items[label].1.output_path(output).unwrap().clone()
    }

    pub(crate) fn graph(&self) -> BuildGraph<'_> {
        self.items
            .iter()
            .map(|(label, (path, derivation))| BuildJob {
                label,
                path,
                derivation,
                size: None,
                typical: None,
                kind: match derivation.builtin() {
                    Some("download") => Kind::Download,
                    _ => Kind::Build,
                },
                root: None,
            })
            .collect()
    }
}
