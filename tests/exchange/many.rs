// SPDX-License-Identifier: GPL-3.0-or-later
//! Installations of more items than are installed at a time, or of items whose references are there already.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::{InstallationNews, InstallationWatch};
use bootstrap::formats::store_path::StorePath;
use bootstrap::store::gc::{self, CollectOptions};
use bootstrap::store::{StagedOutput, Store};

use crate::place::{Place, unobserved};
use crate::{full, substituter};

impl Place {
    /// An item of a few bytes that refers to `references`.
    fn add_small(&self, base_name: &str, references: &[StorePath]) -> StorePath {
        let staged = self.store.directories().store.join("staged");
        let texts: Vec<String> = references.iter().map(full).collect();
        fs::write(&staged, texts.join("\n")).unwrap();
        self.register(StagedOutput {
            staged,
            path: StorePath::from_base_name(base_name).unwrap(),
            candidates: references.iter().cloned().collect(),
            deriver: None,
        })
    }
}

#[test]
fn an_item_of_a_later_batch_waits_for_what_another_server_has_to_deliver() {
    let place = Place::new();
    let leaves: Vec<StorePath> = (0..128)
        .map(|number| place.add_small(&format!("{number:032}-leaf"), &[]))
        .collect();
    let program = place.add_small(&format!("{}-program", "z".repeat(32)), &leaves);
    let (secret, public) = place.key();
    let wanted = BTreeSet::from([program.clone()]);
    let [first, second] = ["first", "second"].map(|name| {
        let directory = place.path(name);
        publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
        directory
    });
    let archive = first.join(format!("nar/{}.nar.zst", leaves[5].base_name()));
    fs::remove_file(archive).unwrap();
    let urls = [first, second].map(|directory| format!("file://{}", directory.display()));

    let other = Place::new();
    let from: Mutex<BTreeMap<StorePath, String>> = Mutex::default();
    let watch = InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|news: InstallationNews<'_>| {
            if let InstallationNews::Installed { info, location } = news {
                let mut from = from.lock().unwrap();
                from.insert(info.path.clone(), location.to_owned());
            }
        },
    };
    let servers = substituter(&[&urls[0], &urls[1]], &[public]);
    let installed = servers.install(&other.store, &[wanted], &watch).unwrap();
    assert_eq!(installed[0].as_ref().unwrap().paths.len(), 129);
    let from = from.into_inner().unwrap();
    assert_eq!(from[&leaves[5]], urls[1]);
    assert_eq!(from[&leaves[6]], urls[0]);
    assert!(other.store.is_valid(&program).unwrap());
    assert!(other.is_tidy());
}

#[test]
fn a_valid_reference_is_kept_from_a_collector_while_what_refers_to_it_is_installed() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = [BTreeSet::from([program.clone()])];
    publish(&place.store, &wanted[0], Some(&secret), &directory).unwrap();
    let url = format!("file://{}", directory.display());
    let servers = substituter(&[&url], &[public]);

    let mut other = Place::new();
    let libraries = [BTreeSet::from([library.clone()])];
    servers
        .install(&other.store, &libraries, &unobserved())
        .unwrap();
    // The roots of this process go with its last handle of the store.
    let directories = other.store.directories().clone();
    other.store = Place::new().store;
    other.store = Store::open(directories).unwrap();
    let watch = InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|news: InstallationNews<'_>| {
            if let InstallationNews::Found(offers) = news {
                assert_eq!(offers.len(), 1);
                gc::collect(&other.store, &CollectOptions::default()).unwrap();
            }
        },
    };
    servers.install(&other.store, &wanted, &watch).unwrap();
    let valid = other.store.valid_paths().unwrap();
    assert_eq!(valid, [library, program].into());
}
