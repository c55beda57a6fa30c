// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap daemon` and guix-daemon side by side, on the same machine and in the same run.
//!
//! ```text
//! BOOTSTRAP_GUIX_ROOT=DIR cargo bench --bench daemon -- [--quick] [--only=WORD]
//! ```
//!
//! DIR is a root with Guix, which `tools/guix-root.sh` makes; it is not changed. Each daemon runs in a copy-on-write
//! root of its own, in memory, and gets the same requests from the same client, row by row in turn. Prints a table:
//! the times, their ratio, and the ratio that is wanted. Needs root, a C compiler and some GiB of memory. `--quick`
//! takes sizes that need less than five minutes, and `--only` the rows whose name has WORD.

#[path = "common/daemons.rs"]
mod daemons;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use daemons::{Client, Daemon, Result, Skip, skip_info, skip_long};

/// What the script that starts the daemons gives to this program, before their directories.
const MEASURE: &str = "--measure";

/// The names of the daemons: of their roots in the script's directory.
const DAEMONS: [&str; 2] = ["guix", "bootstrap"];

/// How much is asked for.
struct Sizes {
    builds: usize,
    files: usize,
    large: usize,
    queries: usize,
    connections: usize,
    clients: usize,
    garbage: usize,
}

impl Sizes {
    fn of(quick: bool) -> Self {
        match quick {
            true => Self {
                builds: 30,
                files: 5_000,
                large: 256 << 20,
                queries: 20_000,
                connections: 20,
                clients: 50,
                garbage: 5_000,
            },
            false => Self {
                builds: 100,
                files: 95_000,
                large: 1 << 30,
                queries: 100_000,
                connections: 100,
                clients: 200,
                garbage: 100_000,
            },
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("--only="));
    let place = arguments.iter().position(|argument| argument == MEASURE);
    let done = match place.and_then(|place| arguments.get(place + 1)) {
        Some(place) => measure(Path::new(place), &Sizes::of(quick), only.unwrap_or("")),
        None => start(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has the script start both daemons and run this program again.
fn start(arguments: &[String]) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guix/bench.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(env!("CARGO_BIN_EXE_bootstrap"));
    command.arg(std::env::current_exe()?);
    let known = |argument: &&String| *argument == "--quick" || argument.starts_with("--only=");
    command.args(arguments.iter().filter(known));
    match command.status()?.success() {
        true => Ok(()),
        false => Err("the daemons could not be measured".into()),
    }
}

/// A row of the table.
struct Row {
    what: String,
    times: [Duration; 2],
    goal: &'static str,
}

impl Row {
    fn print(&self) {
        let [theirs, ours] = self.times.map(|time| time.as_secs_f64());
        println!(
            "| {} | {:.3} s | {:.3} s | {:.2} | {} |",
            self.what,
            theirs,
            ours,
            theirs / ours.max(1e-9),
            self.goal
        );
        // Long rows follow: what is known should be seen.
        let _ = std::io::stdout().flush();
    }
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Measures the daemons whose roots are in `place`: the rows that have `only` in their names.
fn measure(place: &Path, sizes: &Sizes, only: &str) -> Result<()> {
    let tree = Tree::executable(std::fs::read(place.join("builder"))?).to_nar()?;
    let mut daemons = Vec::new();
    for name in DAEMONS {
        let socket = place
            .join("mounts")
            .join(name)
            .join("root/var/guix/daemon-socket/socket");
        let builder = Client::connect(&socket)?.add("builder", &mut tree.as_slice())?;
        daemons.push(Daemon {
            name,
            socket,
            builder,
            serial: 0,
        });
    }
    println!("| what | guix-daemon | bootstrap | ratio | goal |\n|---|---|---|---|---|");
    let mut bench = Bench {
        daemons,
        only: only.to_owned(),
    };
    bench.builds(sizes.builds)?;
    bench.small_files(sizes.files)?;
    bench.large_file(sizes.large)?;
    bench.queries(sizes.queries)?;
    bench.connections(sizes.connections)?;
    bench.clients(sizes.clients)?;
    bench.garbage(sizes.garbage)
}

/// The daemons, and what is asked of them.
struct Bench {
    daemons: Vec<Daemon>,
    only: String,
}

impl Bench {
    fn is_wanted(&self, what: &str) -> bool {
        what.contains(&self.only)
    }

    /// Has each daemon do `work`, and prints what it took. `None` for a row that is not wanted.
    fn row(
        &mut self,
        what: String,
        goal: &'static str,
        mut work: impl FnMut(&mut Daemon) -> Result<Duration>,
    ) -> Result<Option<[Duration; 2]>> {
        if !self.is_wanted(&what) {
            return Ok(None);
        }
        let mut times = [Duration::ZERO; 2];
        for (daemon, time) in self.daemons.iter_mut().zip(&mut times) {
            *time = work(daemon).map_err(|error| format!("{}: {what}: {error}", daemon.name))?;
        }
        Row { what, times, goal }.print();
        Ok(Some(times))
    }

    fn builds(&mut self, count: usize) -> Result<()> {
        let prepared = |daemon: &mut Daemon| -> Result<(Client, Vec<String>)> {
            let mut client = daemon.client()?;
            client.set_options()?;
            let derivations = daemon.derivations(&mut client, count)?;
            Ok((client, derivations))
        };
        let what = format!("{count} trivial builds in one call");
        self.row(what, "4", |daemon| {
            let (mut client, derivations) = prepared(daemon)?;
            timed(|| client.build(&derivations))
        })?;
        let what = format!("{count} trivial builds, one call each");
        self.row(what, "4", |daemon| {
            let (mut client, derivations) = prepared(daemon)?;
            timed(|| {
                derivations
                    .iter()
                    .try_for_each(|derivation| client.build(std::slice::from_ref(derivation)))
            })
        })?;
        Ok(())
    }

    fn small_files(&mut self, count: usize) -> Result<()> {
        let what = format!("add-to-store of {count} small files");
        if !self.is_wanted(&what) {
            return Ok(());
        }
        let small = small_files(count)?;
        self.row(what, "2", |daemon| {
            let mut client = daemon.client()?;
            timed(|| client.add("small", &mut small.as_slice()).map(drop))
        })?;
        Ok(())
    }

    fn large_file(&mut self, size: usize) -> Result<()> {
        let mib = size >> 20;
        let what = format!("add-to-store of one file of {mib} MiB");
        if !self.is_wanted(&what) {
            return Ok(());
        }
        let content: Vec<u8> = Sha256Digest::of("large")
            .0
            .iter()
            .copied()
            .cycle()
            .take(size)
            .collect();
        let mut hashing = Duration::MAX;
        for _ in 0..2 {
            hashing = hashing.min(timed(|| {
                std::hint::black_box(Sha256Digest::of(&content));
                Ok(())
            })?);
        }
        let large = Tree::file(content).to_nar()?;
        let times = self.row(what, "2", |daemon| {
            let mut client = daemon.client()?;
            timed(|| client.add("large", &mut large.as_slice()).map(drop))
        })?;
        if let Some([_, ours]) = times {
            println!(
                "| SHA-256 alone of these {mib} MiB | – | {:.3} s | {:.2} times that for ours | 1.3 times |",
                hashing.as_secs_f64(),
                ours.as_secs_f64() / hashing.as_secs_f64()
            );
        }
        Ok(())
    }

    fn queries(&mut self, count: usize) -> Result<()> {
        // guix-daemon takes no request before the one before it is answered.
        let queries = [
            ("valid-path?", 1, skip_long as Skip),
            ("query-path-info", 26, skip_info as Skip),
        ];
        for (what, operation, skip) in queries {
            self.row(format!("{count} × {what}"), "2", |daemon| {
                let mut client = daemon.client()?;
                let path = daemon.builder.clone();
                timed(|| {
                    (0..count).try_for_each(|_| {
                        client.ask(operation, |fields| fields.string(&path))?;
                        skip(&mut client.reader)
                    })
                })
            })?;
        }
        for (what, operation, skip) in queries {
            let what = format!("{what}, pipelined, a second");
            if self.is_wanted(&what) {
                let ours = self.daemons.last().ok_or("no daemon")?;
                let mut client = ours.client()?;
                let time = timed(|| client.pipeline(operation, &ours.builder, count, skip))?;
                let rate = count as f64 / time.as_secs_f64();
                println!("| {what} | – | {rate:.0} | – | 20000 |");
            }
        }
        Ok(())
    }

    fn connections(&mut self, count: usize) -> Result<()> {
        let what = format!("{count} × connect, ask to build something built");
        let times = self.row(what, "–", |daemon| {
            let mut client = daemon.client()?;
            let derivations = daemon.derivations(&mut client, 1)?;
            client.build(&derivations)?;
            timed(|| {
                (0..count).try_for_each(|_| {
                    let mut client = daemon.client()?;
                    client.set_options()?;
                    client.build(&derivations)
                })
            })
        })?;
        if let Some([_, ours]) = times {
            let each = ours.as_secs_f64() * 1000.0 / count as f64;
            println!("| one of these | – | {each:.2} ms | – | 5 ms |");
        }
        Ok(())
    }

    fn clients(&mut self, count: usize) -> Result<()> {
        let mut memory = [0; 2];
        let what = format!("{count} clients at a time, a build each");
        let times = self.row(what, "–", |daemon| {
            let mut client = daemon.client()?;
            let derivations = daemon.derivations(&mut client, count)?;
            drop(client);
            let started = Instant::now();
            let mut clients = Vec::new();
            for _ in 0..count {
                let mut client = daemon.client()?;
                client.set_options()?;
                clients.push(client);
            }
            let threads: Vec<_> = clients
                .into_iter()
                .zip(derivations)
                .map(|(mut client, derivation)| {
                    std::thread::spawn(move || match client.build(&[derivation]) {
                        Ok(()) => Ok(client),
                        Err(error) => Err(error.to_string()),
                    })
                })
                .collect();
            let mut clients = Vec::new();
            for thread in threads {
                clients.push(thread.join().map_err(|_| "a thread died")??);
            }
            let taken = started.elapsed();
            memory[usize::from(daemon.name != "guix")] = daemon.memory_of_sessions();
            Ok(taken)
        })?;
        if times.is_some() {
            let each = memory.map(|memory| memory as f64 / 1024.0 / count as f64);
            println!(
                "| memory of each of these clients' sessions | {:.1} MiB | {:.1} MiB | – | 8 MiB |",
                each[0], each[1]
            );
        }
        Ok(())
    }

    fn garbage(&mut self, count: usize) -> Result<()> {
        let what = format!("gc of {count} paths, half of them dead");
        self.row(what, "3", |daemon| {
            let paths = daemon.populate(count)?;
            let references: Vec<&str> = paths.iter().step_by(2).map(String::as_str).collect();
            let mut client = daemon.client()?;
            // What refers to all that is kept, and the root of it.
            let root = client.add_text("kept", &references.join("\n"), &references)?;
            let state = daemon
                .socket
                .ancestors()
                .nth(2)
                .ok_or("no such directory")?;
            let link = state.join("gcroots/bench");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&root, &link)?;
            // Its temporary roots go with it.
            drop(client);
            std::thread::sleep(Duration::from_millis(500));
            let mut client = daemon.client()?;
            timed(|| {
                client.ask(20, |fields| {
                    fields.long(2);
                    fields.strings::<&str>([]);
                    for number in [0, u64::MAX, 0, 0, 0] {
                        fields.long(number);
                    }
                })
            })
        })?;
        Ok(())
    }
}

/// The archive of a tree of `count` files of about 600 bytes, 100 to a directory.
fn small_files(count: usize) -> Result<Vec<u8>> {
    let mut directories: BTreeMap<String, Tree> = BTreeMap::new();
    for first in (0..count).step_by(100) {
        let files = (first..count.min(first + 100)).map(|number| {
            let content = format!("file {number}\n").repeat(40 + number % 20);
            (format!("{number:06}"), Tree::file(content.into_bytes()))
        });
        directories.insert(format!("{first:06}"), Tree::directory(files));
    }
    Ok(Tree::directory(directories).to_nar()?)
}
