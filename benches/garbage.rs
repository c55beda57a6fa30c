// SPDX-License-Identifier: GPL-3.0-or-later
//! How long the garbage collector takes over a large store.
//!
//! ```text
//! cargo bench --bench garbage -- [PATHS]
//! ```
//!
//! makes a store of PATHS items (100,000 by default) under TMPDIR. Each refers to the ones that are 10,000 and 20,000
//! before it; roots keep every second one.
//! Prints the time of a dry run (wanted: under 2 s for 100,000), the best of five, and that of collecting the other
//! half.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::{Duration, Instant};

use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::store::Store;
use bootstrap::store::add::Text;
use bootstrap::store::directories::Directories;
use bootstrap::store::gc::{CollectOptions, collect};

const RUNS: usize = 5;
/// How many items are added by one call.
const AT_ONCE: usize = 5000;
/// How far before an item the nearest one is that it refers to: an even number, and one that an earlier call has added.
const STEP: usize = 2 * AT_ONCE;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let count = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench")
        .map_or(Ok(100_000), |argument| argument.parse::<usize>())?;
    let directory = tempfile::tempdir()?;
    let store_dir = StoreDir::new("/gnu/store")?;
    let directories = Directories::new(store_dir, Some(directory.path()));
    let store = Store::open(directories.clone())?;
    let start = Instant::now();
    let paths = fill(&store, count)?;
    println!(
        "{count} items, made in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    // With those of the last ones, all of one half: items refer to their own half only.
    let roots = paths.iter().rev().take(STEP).step_by(2).enumerate();
    let roots: BTreeMap<String, StorePath> = roots
        .map(|(number, path)| (format!("root-{number}"), path.clone()))
        .collect();
    store.add_generation("bench", &roots)?;
    // What this process has added, it still holds by temporary roots.
    drop(store);
    let store = Store::open(directories)?;

    let dry = CollectOptions {
        dry_run: true,
        ..CollectOptions::default()
    };
    let mut best = Duration::MAX;
    let mut dead = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        dead = collect(&store, &dry)?.paths.len();
        best = best.min(start.elapsed());
    }
    println!("  dry run: {:.3} s, {dead} dead", best.as_secs_f64());
    let start = Instant::now();
    let freed = collect(&store, &CollectOptions::default())?;
    println!(
        "  collection: {:.3} s, {} removed, {} stay",
        start.elapsed().as_secs_f64(),
        freed.paths.len(),
        freed.live
    );
    if freed.paths.len() != dead || freed.live + dead != count {
        return Err(format!("the dry run found {dead} dead items of {count}").into());
    }
    Ok(())
}

/// Adds `count` items, in the order they are returned in. Each refers to those [`STEP`] and twice [`STEP`] before it.
fn fill(store: &Store, count: usize) -> Result<Vec<StorePath>> {
    let mut paths: Vec<StorePath> = Vec::with_capacity(count);
    while paths.len() < count {
        let first = paths.len();
        let mut content = Vec::new();
        for number in first..count.min(first + AT_ONCE) {
            let before = |distance: usize| Some(paths[number.checked_sub(distance)?].clone());
            let references: BTreeSet<StorePath> =
                [STEP, 2 * STEP].into_iter().filter_map(before).collect();
            content.push((format!("{number} {references:?}"), references));
        }
        let texts: Vec<Text<'_>> = content
            .iter()
            .map(|(text, references)| Text {
                name: "item",
                content: text.as_bytes(),
                references,
            })
            .collect();
        paths.extend(store.add_texts(&texts)?);
    }
    Ok(paths)
}
