//! How fast a tree is hashed and scanned for references, against the programs that people know.
//!
//! ```text
//! cargo bench --bench nar -- [SMALL-FILES SMALL-MIB LARGE-FILES LARGE-MIB]
//! ```
//!
//! makes two trees under TMPDIR (by default 100,000 files of 1,434 MiB together, and 4 files of 2,048 MiB), warms the cache,
//! and prints the best of five runs each, taken in turn so that a busy machine disturbs all alike:
//!
//! - few large files: `hash_and_scan` against `sha256sum` of the same bytes; wanted: at most 1.15;
//! - many small files: `hash_and_scan` against `nix-store --dump TREE | sha256sum`; wanted: at most 0.6.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::hash::Sha256Digest;
use bootstrap::store::path::{FixedOutputMethod, StoreDir, StorePath, fixed_output_path};
use bootstrap::store::scan::{Scanned, hash_and_scan};

const RUNS: usize = 5;
const MIB: usize = 1024 * 1024;

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
    Ok(())
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
        let start = Instant::now();
        scanned = hash_and_scan(tree, candidates)?;
        best[1] = best[1].min(start.elapsed());
    }
    let [theirs, ours] = best.map(|time| time.as_secs_f64());
    println!(
        "  {name}: {theirs:.3} s; hash_and_scan: {ours:.3} s, {:.0} MiB/s, {} references found; ratio {:.3}",
        scanned.nar_size as f64 / MIB as f64 / ours,
        scanned.references.len(),
        ours / theirs
    );
    Ok(scanned)
}

fn candidates(count: usize) -> Result<BTreeSet<StorePath>> {
    let store_dir = StoreDir::new("/gnu/store")?;
    let path = |index: usize| {
        let digest = Sha256Digest::of(index.to_le_bytes());
        fixed_output_path(&store_dir, "candidate", FixedOutputMethod::Flat, digest)
    };
    Ok((0..count)
        .map(path)
        .collect::<std::result::Result<_, _>>()?)
}

/// Files of the usual kinds in directories of 100: half machine code (random bytes, some zeros), half text with a reference now
/// and then. The sizes vary from none to twice the mean.
fn make_tree(
    root: &Path,
    files: usize,
    bytes: usize,
    candidates: &BTreeSet<StorePath>,
) -> Result<()> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut binary = Vec::new();
    let mut text = String::new();
    while binary.len() < 4 * MIB {
        binary.extend_from_slice(&next().to_le_bytes());
        if next() % 4 == 0 {
            binary.extend_from_slice(&[0; 24]);
        }
    }
    while text.len() < 4 * MIB {
        let word = next();
        for letter in 0..2 + word % 9 {
            text.push(char::from(b'a' + ((word >> (letter * 6)) % 26) as u8));
        }
        text.push(if word % 11 == 0 { '\n' } else { ' ' });
        if word % 5000 == 0
            && let Some(path) = candidates.iter().nth(next() as usize % candidates.len())
        {
            text.push_str(&format!("/gnu/store/{}/bin ", path.base_name()));
        }
    }
    let mean = bytes / files.max(1);
    for index in 0..files {
        let directory = root.join(format!("{:04}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&directory)?;
        }
        // Sizes come in pairs around the mean; few files are all of the mean.
        let deviation = if files < 100 {
            0
        } else {
            (index / 4) * 7919 % mean.max(1)
        };
        let size = if index / 2 % 2 == 0 {
            mean - deviation
        } else {
            mean + deviation
        };
        let source = if index % 2 == 0 {
            binary.as_slice()
        } else {
            text.as_bytes()
        };
        let mut file = fs::File::create(directory.join(format!("{index}")))?;
        let mut left = size;
        while left > 0 {
            let start = next() as usize % (source.len() / 2);
            let part = &source[start..source.len().min(start + left)];
            std::io::Write::write_all(&mut file, part)?;
            left -= part.len();
        }
    }
    Ok(())
}
