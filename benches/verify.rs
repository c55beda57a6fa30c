//! How fast the store on this machine is verified, against `sha256sum` on as many cores.
//!
//! ```text
//! cargo bench --bench verify -- [ROOT]
//! ```
//!
//! reads the whole store at /gnu/store (below ROOT, where given) with both in turn, five times, and prints the best times and
//! their ratio; wanted: at most 1.15. Nothing is written to the store.

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::directories::Directories;
use bootstrap::store::path::StoreDir;
use bootstrap::store::{Access, OpenOptions, Store};
use bootstrap::verify::whole;

const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let root = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench");
    let directories =
        Directories::new(StoreDir::new("/gnu/store")?, root.as_deref().map(Path::new));
    let store = Store::open_with(
        directories.clone(),
        OpenOptions {
            access: Access::ReadOnly,
            ..OpenOptions::default()
        },
    )?;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let script = "find \"$0\" -type f -print0 | xargs -0 -n 64 -P \"$1\" sha256sum";
    let mut best = [Duration::MAX; 2];
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
        let report = whole::everything(&store, cores)?;
        best[1] = best[1].min(start.elapsed());
        items = report.items.len();
        bytes = report.bytes;
        if report.damaged().next().is_some() {
            return Err("the store is damaged: see `bootstrap verify`".into());
        }
    }
    let [theirs, ours] = best.map(|time| time.as_secs_f64());
    println!(
        "{items} items, {} MiB, {cores} cores: sha256sum {theirs:.3} s; verify {ours:.3} s; ratio {:.3}",
        bytes >> 20,
        ours / theirs
    );
    Ok(())
}
