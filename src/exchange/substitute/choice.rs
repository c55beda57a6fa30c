// SPDX-License-Identifier: GPL-3.0-or-later
//! Which server each item is taken from, and in which order the items are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;

/// Where an item is taken from.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) server: usize,
    pub(super) info: Arc<NarInfo>,
}

/// What is missing of some items and of all they refer to.
#[derive(Debug, Default)]
pub(super) struct Missing(pub(super) BTreeMap<StorePath, Option<Choice>>);

impl Missing {
    /// What is missing of the closure of `wanted`; the first of it that no server has, where there is one.
    pub(super) fn closure<'m>(
        &'m self,
        wanted: &'m BTreeSet<StorePath>,
    ) -> Result<BTreeMap<&'m StorePath, &'m Choice>, &'m StorePath> {
        let mut closure = BTreeMap::new();
        let mut open: Vec<&StorePath> = wanted.iter().collect();
        while let Some(path) = open.pop() {
            // What is valid is not in here.
            if let Some((path, choice)) = self.0.get_key_value(path) {
                let choice = choice.as_ref().ok_or(path)?;
                if closure.insert(path, choice).is_none() {
                    open.extend(&choice.info.references);
                }
            }
        }
        Ok(closure)
    }
}

/// `choices`, each after those it refers to.
pub(super) fn references_first<'i>(choices: &BTreeMap<&StorePath, &'i Choice>) -> Vec<&'i Choice> {
    let mut order = Vec::with_capacity(choices.len());
    let mut done: BTreeSet<&'i StorePath> = BTreeSet::new();
    let mut open: Vec<&'i Choice> = choices.values().copied().collect();
    while !open.is_empty() {
        let before = open.len();
        for choice in std::mem::take(&mut open) {
            let info = &choice.info;
            let waits = info.references.iter().any(|reference| {
                *reference != info.path
                    && choices.contains_key(reference)
                    && !done.contains(reference)
            });
            match waits {
                true => open.push(choice),
                false => {
                    done.insert(&info.path);
                    order.push(choice);
                }
            }
        }
        if open.len() == before {
            order.append(&mut open);
        }
    }
    order
}

/// Adds to `lacking` those of `choices`, each after those it refers to, that refer to something in it.
pub(super) fn note_referrers(choices: &[&Choice], lacking: &mut BTreeSet<StorePath>) {
    for choice in choices {
        let info = &choice.info;
        if info.references.iter().any(|path| lacking.contains(path)) {
            lacking.insert(info.path.clone());
        }
    }
}
