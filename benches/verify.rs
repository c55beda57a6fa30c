// SPDX-License-Identifier: GPL-3.0-or-later
//! How fast a store is verified, against `sha256sum` on as many cores.
//!
//! ```text
//! cargo bench --bench verify -- [ROOT]
//! ```
//!
//! reads a whole store with both in turn, and with the command as users run it, five times, and prints the best times
//! and their ratios; wanted: at most 1.15. The store is the one below ROOT, else the one in place at /gnu/store, to
//! which nothing is written; where there is none, one with twenty made-up items of 1,000 MiB together is made under
//! TMPDIR.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir, fixed_output_path};
use bootstrap::store::directories::Directories;
use bootstrap::store::remove::remove_tree;
use bootstrap::store::{Access, OpenOptions, StagedOutput, Store};
use bootstrap::verify::whole;

use common::{MIB, candidates, make_tree};

const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let mut root = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench")
        .map(PathBuf::from);
    let store_dir = StoreDir::new("/gnu/store")?;
    let mut directories = Directories::new(store_dir.clone(), root.as_deref());
    let temporary = tempfile::tempdir()?;
    if root.is_none() && !directories.state.join("db/db.sqlite").exists() {
        println!("there is no store at {store_dir}: one is made up");
        directories = Directories::new(store_dir, Some(temporary.path()));
        root = Some(temporary.path().to_owned());
        fill(&Store::open(directories.clone())?)?;
    }
    let store = Store::open_with(
        directories.clone(),
        OpenOptions {
            access: Access::ReadOnly,
            ..OpenOptions::default()
        },
    )?;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let script = "find \"$0\" -type f -print0 | xargs -0 -n 64 -P \"$1\" sha256sum";
    let mut best = [Duration::MAX; 3];
    let (mut items, mut bytes) = (0, 0);
    for _ in 0..RUNS {
        let start = Instant::now();
        let status = Command::new("sh")
            .args(["-c", script])
            .arg(&directories.store)
            .arg(cores.to_string())
            .stdout(Stdio::null())
            .status()?;
        best[0] = best[0].min(start.elapsed());
        if !status.success() {
            return Err(format!("`{script}` failed").into());
        }
        let start = Instant::now();
        let report = whole::everything(&store, cores, &|| true)?;
        best[1] = best[1].min(start.elapsed());
        items = report.items.len();
        bytes = report.bytes;
        if report.damaged().next().is_some() {
            return Err("the store is damaged: see `bootstrap verify`".into());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.arg("verify");
        if let Some(root) = &root {
            command.arg("--root").arg(root);
        }
        let start = Instant::now();
        let status = command.stdout(Stdio::null()).status()?;
        best[2] = best[2].min(start.elapsed());
        if !status.success() {
            return Err("`bootstrap verify` failed".into());
        }
    }
    let [theirs, ours, command] = best.map(|time| time.as_secs_f64());
    println!(
        "{items} items, {} MiB, {cores} cores: sha256sum {theirs:.3} s; verify {ours:.3} s; ratio {:.3}; the command \
         {command:.3} s, ratio {:.3}",
        bytes >> 20,
        ours / theirs,
        command / theirs
    );
    // Its directories are read-only, which only root could remove without further ado.
    remove_tree(temporary.path())?;
    Ok(())
}

/// Makes items of the usual kinds of files.
fn fill(store: &Store) -> Result<()> {
    let candidates = candidates(300)?;
    for number in 0..20_usize {
        let staged = store.directories().store.join("staged");
        make_tree(&staged, 500, 50 * MIB, &candidates)?;
        let digest = Sha256Digest::of(number.to_le_bytes());
        let store_dir = &store.directories().store_dir;
        let path = fixed_output_path(store_dir, "item", FixedOutputMethod::Recursive, digest)?;
        let locks = store.lock([&path])?;
        let output = StagedOutput {
            staged,
            path,
            candidates: BTreeSet::new(),
            deriver: None,
        };
        store
            .prepare_outputs(&locks, vec![output], &|| true)?
            .commit()?;
    }
    Ok(())
}
