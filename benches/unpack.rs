// SPDX-License-Identifier: GPL-3.0-or-later
//! How fast an archive is unpacked, against its decoder alone and against tar.
//!
//! ```text
//! cargo bench --bench unpack -- [ARCHIVE…]
//! ```
//!
//! unpacks each ARCHIVE (a tar, compressed by gzip or xz; by default one of either, made of 4,000 files of 96 MiB
//! together) under TMPDIR five times, in turn with its decoder alone (`gzip -dc`,
//! `xz -dc`) and with `tar -xf`, and prints the best times and the ratios to both; wanted: no slower than the decoder.

mod common;

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bootstrap::archive::{ArchiveLimits, ArchiveTree, Compression, Format, unpack};

use common::{MIB, candidates, make_tree};

const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let archives: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if !archives.is_empty() {
        return archives.iter().try_for_each(|archive| compare(archive));
    }
    let directory = tempfile::tempdir()?;
    let tree = directory.path().join("tree");
    make_tree(&tree, 4000, 96 * MIB, &candidates(300)?)?;
    for (name, compress) in [("made-up.tar.gz", "gzip -6"), ("made-up.tar.xz", "xz -1")] {
        let archive = directory.path().join(name);
        let script = format!("tar -C \"$1\" -cf - . | {compress} >\"$0\"");
        run(&script, &archive.to_string_lossy(), &tree)?;
        compare(&archive.to_string_lossy())?;
    }
    Ok(())
}

/// Unpacks `archive` in three ways, in turn.
fn compare(archive: &str) -> Result<()> {
    let mut start = Vec::new();
    File::open(archive)?.take(6).read_to_end(&mut start)?;
    let decoder = match Compression::detect(&start) {
        Compression::Gzip => "exec gzip -dc \"$0\"",
        Compression::Xz => "exec xz -dc \"$0\"",
        other => return Err(format!("{archive}: expected gzip or xz, found {other:?}").into()),
    };
    let directory = tempfile::tempdir()?;
    let mut best = [Duration::MAX; 3];
    let mut bytes = 0;
    for number in 0..RUNS {
        // Nothing is removed meanwhile: ext4 is slow to make files where others have just been deleted.
        let tree = |whose| directory.path().join(format!("{whose}-{number}"));
        let start = Instant::now();
        run(decoder, archive, directory.path())?;
        best[0] = best[0].min(start.elapsed());

        let theirs = tree("theirs");
        fs::create_dir(&theirs)?;
        let start = Instant::now();
        run("exec tar -C \"$1\" -xf \"$0\"", archive, &theirs)?;
        best[1] = best[1].min(start.elapsed());

        let start = Instant::now();
        let mut ours = ArchiveTree::create(&tree("ours"), &[], ArchiveLimits::default())?;
        let stop = AtomicBool::new(false);
        unpack(Path::new(archive), Format::Tar, &mut ours, &stop)?;
        best[2] = best[2].min(start.elapsed());
        bytes = ours.unpacked().bytes;
    }
    let [decoded, tar, ours] = best.map(|time| time.as_secs_f64());
    println!(
        "{archive}, {} MiB unpacked: decoder {decoded:.3} s; tar {tar:.3} s; ours {ours:.3} s; ratios {:.3} and {:.3}",
        bytes >> 20,
        ours / decoded,
        ours / tar
    );
    Ok(())
}

fn run(script: &str, archive: &str, directory: &Path) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", script, archive])
        .arg(directory)
        .stdout(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`{script}` failed with {archive}").into()),
    }
}
