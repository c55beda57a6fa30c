// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys, exports and substitutes from the command line.

use std::fs;
use std::path::{Path, PathBuf};

use bootstrap::formats::store_path::StoreDir;
use bootstrap::store::directories::Directories;
use bootstrap::store::{StagedOutput, Store};

use crate::World;

mod export;
mod keys;
mod publish;
mod records;
mod substitutes;

/// Puts something where the outputs of `package` belong, as if it had been built.
fn pretend(world: &World, package: &str) {
    pretend_with(world, package, &[]);
}

/// Like [`pretend`]; what is there refers to `references`, which are valid.
fn pretend_with(world: &World, package: &str, references: &[&str]) {
    let (out, _) = world.expect(0, &["show", "--json", package]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir.clone(), Some(&world.path("root")));
    let store = Store::open(directories).unwrap();
    let outputs = shown["outputs"].as_array().unwrap().iter();
    let staged = outputs.map(|output| {
        let path = store_dir.parse(output["path"].as_str().unwrap()).unwrap();
        let staged = store
            .directories()
            .store
            .join(format!("staged-{}", path.name()));
        let text = format!("this is {package} {}", references.join(" "));
        fs::write(&staged, text.trim_end()).unwrap();
        let candidates = references.iter().map(|path| store_dir.parse(path).unwrap());
        StagedOutput {
            staged,
            path,
            candidates: candidates.collect(),
            deriver: None,
        }
    });
    let staged: Vec<StagedOutput> = staged.collect();
    let locks = store
        .lock(staged.iter().map(|output| &output.path))
        .unwrap();
    let prepared = store.prepare_outputs(&locks, staged, &|| true).unwrap();
    prepared.commit().unwrap();
}

pub fn key(world: &World) -> (String, String) {
    let file = world.path("key").to_str().unwrap().to_owned();
    let (public, _) = world.expect(0, &["key", "test-1", &file]);
    (file, public.trim().to_owned())
}

/// Publishes a made-up libc of `world`, signed with the key in the file `secret`; gives the directory.
fn publish_libc(world: &World, secret: &str) -> PathBuf {
    pretend(world, "libc");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    world.expect(0, &["publish", published, "libc", "--key", secret]);
    directory
}

/// The files in `directory` whose names end in `suffix`.
fn ending(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .collect()
}
