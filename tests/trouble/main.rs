// SPDX-License-Identifier: GPL-3.0-or-later
//! What users meet when something is wrong, from end to end: the real command line, sandbox and store, and a road of
//! tiny packages. Each test pins the exit status, the words, and that nothing half-done is left.

#![cfg(target_os = "linux")]
// These lints spare test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod failures;
mod limits;
mod machine;
mod pins;
mod runs;
#[allow(dead_code)] // Shared with tests that need more of it.
#[path = "../server/mod.rs"]
mod server;
mod shells;
#[path = "../signals/mod.rs"]
mod signals;
#[allow(dead_code)] // Shared with tests that need more of it.
#[path = "../small/mod.rs"]
mod small;
#[allow(dead_code)] // Shared with tests that need more of it.
#[path = "../verify/world.rs"]
mod world;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use world::World;

/// Status, standard output and standard error.
fn result(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// What a run that ended has no reason to leave in the store directory: locks, and places where builds are staged.
fn leftovers(world: &World) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(world.path("root/gnu/store")) else {
        return Vec::new();
    };
    let mut left: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "chroot" || extension == "lock")
        })
        .collect();
    left.sort();
    left
}

/// The archive of the seed `one` in the cache.
fn seed_archive(world: &World) -> PathBuf {
    let toml = fs::read_to_string(world.path("seeds/one.toml")).unwrap();
    let sha256 = toml
        .lines()
        .find_map(|line| line.strip_prefix("sha256 = \"")?.strip_suffix('"'))
        .unwrap();
    world.path(&format!("root/var/cache/bootstrap/files/{sha256}"))
}

/// The manifests of the runs that made something, oldest first.
fn manifests(world: &World) -> Vec<serde_json::Value> {
    let mut files: Vec<PathBuf> = fs::read_dir(world.path("root/var/guix/bootstrap/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
        .collect()
}

/// Starts `command` without a terminal and without printing.
fn start(command: &mut Command) -> std::process::Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
