// SPDX-License-Identifier: GPL-3.0-or-later
//! What several benchmarks need: made-up trees, and how much memory was needed at most.

#![allow(dead_code)] // No benchmark needs all of it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir, StorePath, fixed_output_path};

/// Bytes in a MiB.
pub const MIB: usize = 1024 * 1024;

/// Made-up store paths, for trees to refer to.
pub fn candidates(count: usize) -> Result<BTreeSet<StorePath>, Box<dyn Error>> {
    let store_dir = StoreDir::new("/gnu/store")?;
    let path = |index: usize| {
        let digest = Sha256Digest::of(index.to_le_bytes());
        fixed_output_path(&store_dir, "candidate", FixedOutputMethod::Flat, digest)
    };
    Ok((0..count).map(path).collect::<Result<_, _>>()?)
}

/// Files of the usual kinds in directories of 100: half machine code (random bytes, some zeros), half text with a
/// reference now and then. The sizes vary from none to twice the mean.
pub fn make_tree(
    root: &Path,
    files: usize,
    bytes: usize,
    candidates: &BTreeSet<StorePath>,
) -> Result<(), Box<dyn Error>> {
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

/// Makes the system forget how much memory this process has had at most; one that cannot do so does not tell it either.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process has had since it was last forgotten, in MiB; 0 where the system does not tell.
pub fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<f64>().ok())
        .map_or(0.0, |kib| kib / 1024.0)
}

/// Does `work`: how long it took, and by how many MiB memory grew meanwhile at most.
pub fn measure<T>(
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<(T, Duration, f64), Box<dyn Error>> {
    forget_peak();
    let before = peak();
    let start = Instant::now();
    let made = work()?;
    let elapsed = start.elapsed();
    Ok((made, elapsed, (peak() - before).max(0.0)))
}
