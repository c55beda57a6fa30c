// SPDX-License-Identifier: GPL-3.0-or-later
//! How fast a tree is hashed and scanned for references, against well-known programs.
//!
//! ```text
//! cargo bench --bench nar -- [SMALL-FILES SMALL-MIB LARGE-FILES LARGE-MIB]
//! ```
//!
//! makes two trees under TMPDIR (by default 100,000 files of 1,434 MiB together, and 4 files of 2,048 MiB), warms the
//! cache, and prints the best of five runs each, taken in turn so that a busy machine disturbs all alike:
//!
//! - few large files: `hash_and_scan` against `sha256sum` of the same bytes; wanted: at most 1.15;
//! - many small files: `hash_and_scan` against `nix-store --dump TREE | sha256sum`; wanted: at most 0.6;
//! - copying the many small files into a store and making them valid, against `nix-store --add TREE`; wanted: less.
//!
//! Beside the times of ours it says by how much memory grew meanwhile; wanted: not with the tree.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir, StorePath, fixed_output_path};
use bootstrap::store::Store;
use bootstrap::store::directories::Directories;
use bootstrap::store::nar;
use bootstrap::store::remove::remove_tree;
use bootstrap::store::scan::{Scanned, hash_and_scan};

use common::{MIB, candidates, make_tree, measure};

const RUNS: usize = 5;
/// Adding writes the whole tree, so fewer of these.
const ADDING_RUNS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let sizes = arguments
        .map(|argument| argument.parse())
        .collect::<std::result::Result<Vec<usize>, _>>()?;
    let [small_files, small_mib, large_files, large_mib] = match sizes.as_slice() {
        [] => [100_000, 1434, 4, 2048],
        [a, b, c, d] => [*a, *b, *c, *d],
        _ => {
            return Err(
                "expected no arguments, or: SMALL-FILES SMALL-MIB LARGE-FILES LARGE-MIB".into(),
            );
        }
    };
    let candidates = candidates(300)?;
    let directory = tempfile::tempdir()?;

    let large = directory.path().join("large");
    make_tree(&large, large_files, large_mib * MIB, &candidates)?;
    println!("{large_files} files, {large_mib} MiB");
    compare(
        "sha256sum",
        "exec sha256sum \"$0\"/*/*",
        &large,
        &candidates,
    )?;
    fs::remove_dir_all(&large)?;

    let small = directory.path().join("small");
    make_tree(&small, small_files, small_mib * MIB, &candidates)?;
    println!("{small_files} files, {small_mib} MiB");
    let scanned = compare(
        "nix-store --dump | sha256sum",
        "nix-store --dump \"$0\" | sha256sum",
        &small,
        &candidates,
    )?;
    let expected = Command::new("sh")
        .args(["-c", "nix-store --dump \"$0\" | sha256sum"])
        .arg(&small)
        .output()?;
    let expected = String::from_utf8(expected.stdout)?;
    if !expected.starts_with(&scanned.nar_sha256.to_base16()) {
        return Err(format!(
            "hashes differ: {} here, {expected} by nix-store",
            scanned.nar_sha256
        )
        .into());
    }
    adding(&small, scanned.nar_sha256, directory.path())
}

/// Copies `tree`, whose archive has the digest `sha256`, into a store of ours and one of Nix's, in turn and each time
/// again.
fn adding(tree: &Path, sha256: Sha256Digest, directory: &Path) -> Result<()> {
    let store_dir = StoreDir::new("/gnu/store")?;
    let path = fixed_output_path(&store_dir, "tree", FixedOutputMethod::Recursive, sha256)?;
    let mut best = [Duration::MAX; 2];
    let mut grown = 0.0_f64;
    for run in 0..ADDING_RUNS {
        // Nothing is removed meanwhile: ext4 is slow to make files where others have just been deleted.
        let [ours, theirs] = ["ours", "theirs"].map(|name| directory.join(format!("{name}-{run}")));
        let start = Instant::now();
        let mut command = Command::new("nix-store");
        command.arg("--add").arg(tree).stdout(Stdio::null());
        for (variable, place) in [
            ("NIX_STORE_DIR", "store"),
            ("NIX_STATE_DIR", "state"),
            ("NIX_LOG_DIR", "log"),
            ("NIX_CONF_DIR", "conf"),
        ] {
            command.env(variable, theirs.join(place));
        }
        if !command.status()?.success() {
            return Err("`nix-store --add` failed".into());
        }
        best[0] = best[0].min(start.elapsed());

        let store = Store::open(Directories::new(store_dir.clone(), Some(&ours)))?;
        let ((), elapsed, more) = measure(|| add(&store, tree, &path))?;
        best[1] = best[1].min(elapsed);
        grown = grown.max(more);
        if store.path_info(&path)?.map(|info| info.nar_sha256) != Some(sha256) {
            return Err("another tree was added".into());
        }
    }
    // Store items are read-only, so the temporary directory cannot go with them in it.
    for run in 0..ADDING_RUNS {
        for name in ["ours", "theirs"] {
            remove_tree(&directory.join(format!("{name}-{run}")))?;
        }
    }
    let [theirs, ours] = best.map(|time| time.as_secs_f64());
    println!(
        "  nix-store --add: {theirs:.3} s; into our store: {ours:.3} s, {grown:.0} MiB more memory; ratio {:.3}",
        ours / theirs
    );
    Ok(())
}

/// Copies `tree` to `path` of `store`: one thread reads it as an archive, another unpacks, hashes and registers that.
fn add(store: &Store, tree: &Path, path: &StorePath) -> Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    // The reader goes with the closure, also where it fails: that ends the thread that writes.
    std::thread::scope(move |scope| {
        let dumped = scope.spawn(move || nar::dump(tree, &mut writer));
        let locks = store.lock([path])?;
        store
            .unpack_output(&locks, path, &mut reader, &BTreeSet::new(), None)?
            .commit()?;
        match dumped.join() {
            Ok(dumped) => Ok(dumped?),
            Err(_) => Err("the thread that reads the tree died".into()),
        }
    })
}

/// Runs both in turn, and prints the best times and their ratio.
fn compare(
    name: &str,
    script: &str,
    tree: &Path,
    candidates: &BTreeSet<StorePath>,
) -> Result<Scanned> {
    let mut best = [Duration::MAX; 2];
    let mut scanned = hash_and_scan(tree, candidates)?;
    let mut grown = 0.0_f64;
    for _ in 0..RUNS {
        let start = Instant::now();
        let status = Command::new("sh")
            .args(["-c", script])
            .arg(tree)
            .stdout(Stdio::null())
            .status()?;
        best[0] = best[0].min(start.elapsed());
        if !status.success() {
            return Err(format!(
                "`{script}` failed: is nix-bin installed (apt-get install nix-bin)?"
            )
            .into());
        }
        let (again, elapsed, more) = measure(|| Ok(hash_and_scan(tree, candidates)?))?;
        scanned = again;
        best[1] = best[1].min(elapsed);
        grown = grown.max(more);
    }
    let [theirs, ours] = best.map(|time| time.as_secs_f64());
    println!(
        "  {name}: {theirs:.3} s; hash_and_scan: {ours:.3} s, {:.0} MiB/s, {} references found, {grown:.0} MiB more \
         memory; ratio {:.3}",
        scanned.nar_size as f64 / MIB as f64 / ours,
        scanned.references.len(),
        ours / theirs
    );
    Ok(scanned)
}
