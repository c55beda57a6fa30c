// SPDX-License-Identifier: GPL-3.0-or-later
//! What giving and taking items costs: publishing, installing from a server, and the report of a run.
//!
//! ```text
//! cargo bench --bench exchange -- [DIRECTORY…]
//! ```
//!
//! takes each directory for a store item (by default twenty made-up ones of 2 to 24 MiB), and prints
//!
//! - what `publish` takes on one core and on all, and how many times as fast all are; wanted: at least 0.8 of the
//!   cores;
//! - what it takes to install all from an HTTP server on this machine, against decoding the same archives with zstd,
//!   hashing what comes out and writing the files on the same disk, on all cores; wanted: at most 1.25, for what is
//!   fetched, searched for references, made canonical and recorded; and what decoding and hashing alone take; and by
//!   how much memory grew;
//! - what `bootstrap report` takes where as many runs as are kept, fifty, each made everything; wanted: at most 200 ms.
//!
//! Where something wanted is missed it says so at the end, and exits with status 1.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bootstrap::builder::history::FinishedItem;
use bootstrap::events::cancellation::Cancellation;
use bootstrap::events::{Event, Kind, Made, PhaseTime, PlannedItem, Summary};
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::{InstallationWatch, Server, Substituter};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::keys::SecretKey;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir, StorePath, fixed_output_path};
use bootstrap::show::progress::Reporter;
use bootstrap::show::records::{Recorder, Runs};
use bootstrap::store::directories::Directories;
use bootstrap::store::nar;
use bootstrap::store::{StagedOutput, Store};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use common::{forget_peak, peak};

const RUNS: usize = 3;
/// How many runs are recorded when the report is made: older ones are removed.
const RECORDED: usize = 50;
/// What is wanted: how many times as fast all cores publish, for each of them; how many times as long as decoding,
/// hashing and writing installing takes at most; and what the report takes at most.
const PUBLISH_MIN: f64 = 0.8;
const INSTALL_MAX: f64 = 1.25;
const REPORT_MAX: Duration = Duration::from_millis(200);
const MIB: f64 = 1024.0 * 1024.0;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<ExitCode> {
    // Cargo adds `--bench`.
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let mut trees: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    if trees.is_empty() {
        for number in 0..20 {
            let tree = place("trees").join(format!("tree-{number}"));
            let mib = if number == 0 { 24 } else { 2 + number % 5 };
            make_tree(&tree, number, mib)?;
            trees.push(tree);
        }
    }
    let store = open(&place("from"))?;
    let (paths, bytes) = fill(&store, &trees)?;
    println!("{} items, {:.0} MiB", paths.len(), bytes as f64 / MIB);
    SecretKey::generate("bench-1", &place("key"))?;
    let key = SecretKey::read(&place("key"))?;
    let directories = [place("one"), place("all")];
    let missed = [
        publishing(&store, &paths, &key, &directories)?,
        installing(&directories[1], &paths, &key, &place("to"), bytes)?,
        reporting(&place("report"))?,
    ];
    let missed: Vec<String> = missed.into_iter().flatten().collect();
    for missed in &missed {
        println!("missed: {missed}");
    }
    Ok(match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn open(root: &Path) -> Result<Store> {
    let store_dir = StoreDir::new("/gnu/store")?;
    Ok(Store::open(Directories::new(store_dir, Some(root)))?)
}

/// Takes every tree into the store: the paths, and the size of all archives.
fn fill(store: &Store, trees: &[PathBuf]) -> Result<(BTreeSet<StorePath>, u64)> {
    let mut paths = BTreeSet::new();
    let mut bytes = 0;
    for (number, tree) in trees.iter().enumerate() {
        let staged = store.directories().store.join("staged");
        let copied = Command::new("cp")
            .arg("-R")
            .arg(tree)
            .arg(&staged)
            .status()?;
        if !copied.success() {
            return Err(format!("cannot copy {}", tree.display()).into());
        }
        let digest = Sha256Digest::of(number.to_le_bytes());
        let store_dir = &store.directories().store_dir;
        let path = fixed_output_path(store_dir, "item", FixedOutputMethod::Recursive, digest)?;
        paths.insert(path.clone());
        let locks = store.lock([&path])?;
        let output = StagedOutput {
            staged,
            path,
            candidates: BTreeSet::new(),
            deriver: None,
        };
        for info in store
            .prepare_outputs(&locks, vec![output], &|| true)?
            .commit()?
        {
            bytes += info.nar_size;
        }
    }
    Ok((paths, bytes))
}

/// Prints what publishing takes; gives what was missed of what is wanted, as the others below do.
fn publishing(
    store: &Store,
    paths: &BTreeSet<StorePath>,
    key: &SecretKey,
    directories: &[PathBuf; 2],
) -> Result<Option<String>> {
    let mut best = [Duration::MAX; 2];
    let cores = std::thread::available_parallelism()?.get();
    for _ in 0..RUNS {
        for (number, directory) in directories.iter().enumerate() {
            let threads = if number == 0 { 1 } else { cores };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            let _ = fs::remove_dir_all(directory);
            let start = Instant::now();
            pool.install(|| publish(store, paths, Some(key), directory))?;
            best[number] = best[number].min(start.elapsed());
        }
    }
    let [one, all] = best.map(|time| time.as_secs_f64());
    println!(
        "publish: {one:.2} s on one core, {all:.2} s on all; {:.2} times as fast on {cores}",
        one / all
    );
    let (faster, wanted) = (one / all, PUBLISH_MIN * cores as f64);
    Ok((faster < wanted).then(|| {
        format!(
            "publish: wanted at least {wanted:.2} times as fast on {cores} cores, saw {faster:.2}"
        )
    }))
}

fn installing(
    published: &Path,
    paths: &BTreeSet<StorePath>,
    key: &SecretKey,
    root: &Path,
    bytes: u64,
) -> Result<Option<String>> {
    let url = serve(published)?;
    let keys = [key.public()];
    let archives: Vec<PathBuf> = paths
        .iter()
        .map(|path| published.join(format!("nar/{}.nar.zst", path.base_name())))
        .collect();
    let decode_all = |directory: Option<&Path>| {
        let numbered = archives.par_iter().enumerate();
        let decoded = numbered.map(|(number, archive)| {
            decode(
                archive,
                directory.map(|directory| directory.join(number.to_string())),
            )
        });
        let decoded: u64 = decoded.collect::<Result<Vec<u64>>>()?.iter().sum();
        match decoded == bytes {
            true => Ok(()),
            false => Err(format!(
                "expected {bytes} bytes in the archives, saw {decoded}"
            )),
        }?;
        Result::Ok(())
    };
    let mut best = [Duration::MAX; 3];
    let mut grown = 0.0_f64;
    for run in 0..RUNS {
        // Nothing is removed meanwhile: ext4 is slow to make files where others have just been deleted.
        let root = root.join(run.to_string());
        let start = Instant::now();
        decode_all(None)?;
        best[0] = best[0].min(start.elapsed());
        let directory = root.join("decoded");
        fs::create_dir_all(&directory)?;
        let start = Instant::now();
        decode_all(Some(&directory))?;
        // As an install does before it says that something is valid.
        rustix::fs::sync();
        best[1] = best[1].min(start.elapsed());
        let store = open(&root)?;
        forget_peak();
        let before = peak();
        let start = Instant::now();
        // A set for each, as `all` asks for its final inputs.
        let sets: Vec<_> = paths.iter().map(|path| [path.clone()].into()).collect();
        let server = Substituter::new(vec![Server::new(&url)?], keys.to_vec());
        let watch = InstallationWatch {
            cancellation: Cancellation::new(),
            news: &|_| {},
        };
        let installed = server.install(&store, &sets, &watch)?;
        best[2] = best[2].min(start.elapsed());
        grown = grown.max(peak() - before);
        let installed = installed.iter().flatten().map(|set| set.nar_bytes);
        if installed.sum::<u64>() != bytes {
            return Err("not everything was installed".into());
        }
    }
    let [decode, write, install] = best.map(|time| time.as_secs_f64());
    let ratio = install / write;
    println!(
        "zstd and SHA-256: {decode:.2} s, written too {write:.2} s; install: {install:.2} s, {:.0} MiB/s; ratio {:.2} and {ratio:.2}; {grown:.0} MiB more memory at most",
        bytes as f64 / MIB / install,
        install / decode,
    );
    Ok((ratio > INSTALL_MAX)
        .then(|| format!("install: wanted a ratio of at most {INSTALL_MAX:.2}, saw {ratio:.2}")))
}

/// Decodes and hashes `archive`, and unpacks it to `target`, where there is one: the number of bytes.
fn decode(archive: &Path, target: Option<PathBuf>) -> Result<u64> {
    let decoder = zstd::stream::read::Decoder::new(File::open(archive)?)?;
    let mut hashing = Hashing(Sha256::new(), 0, decoder);
    match target {
        Some(target) => nar::restore(&mut hashing, &target)?,
        None => {
            let mut reader = BufReader::with_capacity(1 << 17, &mut hashing);
            io::copy(&mut reader, &mut io::sink())?;
        }
    }
    std::hint::black_box(hashing.0.finalize());
    Ok(hashing.1)
}

/// Hashes and counts what is read.
struct Hashing<R>(Sha256, u64, R);

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.2.read(buffer)?;
        self.0.update(&buffer[..count]);
        self.1 += count as u64;
        Ok(count)
    }
}

/// Serves `directory` by HTTP as long as this process runs: the URL.
fn serve(directory: &Path) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            // An early disconnect shows in what was not installed.
            std::thread::spawn(move || answer(&stream, &directory).ok());
        }
    });
    Ok(url)
}

fn answer(mut stream: &std::net::TcpStream, directory: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let name = request.split(' ').nth(1).unwrap_or_default();
    match File::open(directory.join(name.trim_start_matches('/'))) {
        Ok(mut file) => {
            let size = file.metadata()?.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
            )?;
            io::copy(&mut file, &mut stream).map(drop)
        }
        Err(_) => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// Half random bytes with zeros between them, half words, in files of 16 KiB.
fn make_tree(root: &Path, seed: u64, mib: u64) -> Result<()> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed << 32);
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for number in 0..mib * 64 {
        let directory = root.join(format!("{:03}", number / 64));
        fs::create_dir_all(&directory)?;
        let mut content = Vec::with_capacity(16 << 10);
        while content.len() < 16 << 10 {
            let word = next();
            match number % 2 {
                0 => {
                    content.extend(word.to_le_bytes());
                    content.extend([0; 8]);
                }
                _ => content.extend(format!("word{} ", word % 5000).bytes()),
            }
        }
        fs::write(directory.join(number.to_string()), content)?;
    }
    Ok(())
}

/// The program's report of a bootstrap whose every item is recorded in as many runs as are kept.
fn reporting(root: &Path) -> Result<Option<String>> {
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command
            .env("BOOTSTRAP_CONFIG", "/dev/null")
            .arg("--root")
            .arg(root)
            .args(arguments);
        command
    };
    let graph = program(&["graph", "--json"]).output()?;
    let graph: serde_json::Value = serde_json::from_slice(&graph.stdout)?;
    let store_dir = StoreDir::new("/gnu/store")?;
    let directories = Directories::new(store_dir, Some(root));
    Store::open(directories.clone())?;
    let nodes = graph["nodes"].as_array().ok_or("no nodes in the graph")?;
    let mut history = Vec::new();
    for _ in 0..RECORDED {
        history = record(nodes, &Runs::new(&directories.state))?;
    }
    fs::write(directories.state.join("bootstrap/builds.jsonl"), history)?;
    let file = root.join("report.html");
    let mut best = Duration::MAX;
    for _ in 0..2 * RUNS {
        let start = Instant::now();
        let arguments = ["report", "-o", file.to_str().unwrap_or_default()];
        let output = program(&arguments).output()?;
        best = best.min(start.elapsed());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
    }
    println!(
        "report of {} items in {RECORDED} runs: {:.0} ms, {:.0} KiB",
        nodes.len(),
        best.as_secs_f64() * 1000.0,
        fs::metadata(&file)?.len() as f64 / 1024.0
    );
    Ok((best > REPORT_MAX).then(|| {
        format!(
            "report: wanted at most {} ms, saw {}",
            REPORT_MAX.as_millis(),
            best.as_millis()
        )
    }))
}

/// Records a run among `runs` that makes all `nodes` of the graph; gives what the history has of it.
fn record(nodes: &[serde_json::Value], runs: &Runs) -> Result<Vec<u8>> {
    let mut recorder = Recorder::new(runs);
    let mut history = Vec::new();
    recorder.report(&Event::RunStarted {
        builds: nodes.len(),
        downloads: 0,
        reused: 0,
    });
    recorder.report(&Event::Planned {
        items: nodes
            .iter()
            .map(|node| PlannedItem {
                item: node["label"].as_str().unwrap_or_default().to_owned(),
                kind: Kind::Build,
                inputs: Vec::new(),
                seconds: None,
                guessed: false,
            })
            .collect(),
        jobs: 2,
        downloads: 4,
        cores: 2,
    });
    for (number, node) in nodes.iter().enumerate() {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let derivation = text("derivation");
        let derivation = derivation.trim_start_matches("/gnu/store/").to_owned();
        let phases = ["unpack", "configure", "build", "check", "install", "strip"];
        let (item, kind) = (text("label"), Kind::Build);
        recorder.report(&Event::Started {
            item: item.clone(),
            kind,
            derivation: derivation.clone(),
            log: None,
        });
        for phase in phases {
            recorder.report(&Event::PhaseStarted {
                item: item.clone(),
                phase: phase.to_owned(),
            });
            recorder.report(&Event::PhaseEnded {
                item: item.clone(),
                phase: phase.to_owned(),
                seconds: 10.0,
                succeeded: true,
            });
        }
        recorder.report(&Event::Processor { busy: 1.5 });
        let made = Made {
            elsewhere: false,
            cached: kind == Kind::Download,
            outputs: Vec::new(),
            seconds: 60.0,
            user_seconds: 90.0,
            system_seconds: 9.0,
            phases: (0..)
                .zip(phases)
                .map(|(number, phase)| PhaseTime {
                    phase: phase.to_owned(),
                    seconds: 10.0,
                    start: Some(10.0 * f64::from(number)),
                })
                .collect(),
        };
        recorder.report(&Event::Finished {
            item: item.clone(),
            kind,
            made: made.clone(),
        });
        let started = 1_795_400_000 + 30 * number as u64;
        history.extend(serde_json::to_vec(&FinishedItem {
            item,
            kind,
            derivation,
            started,
            ended: started + 60,
            cores: 2,
            made,
        })?);
        history.push(b'\n');
    }
    recorder.report(&Event::RunFinished {
        summary: Summary::default(),
    });
    Ok(history)
}
