// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap daemon` and guix-daemon side by side, on the same machine and in the same run.
//!
//! ```text
//! BOOTSTRAP_GUIX_ROOT=DIR cargo bench --bench daemon -- [--quick]
//! ```
//!
//! DIR is a root with Guix, which `tools/guix-root.sh` makes; it is not changed. Each daemon runs in a copy-on-write
//! root of its own, in memory, and gets the same requests from the same client, row by row in turn. Prints a table:
//! the times, their ratio, and the ratio that is wanted. Needs root, a C compiler and some GiB of memory. `--quick`
//! takes sizes that need less than five minutes.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::formats::worker::{CLIENT_MAGIC, DAEMON_MAGIC, Fields, VERSION, WireReader};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

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
    let place = arguments.iter().position(|argument| argument == MEASURE);
    let done = match place.and_then(|place| arguments.get(place + 1)) {
        Some(place) => measure(Path::new(place), &Sizes::of(quick)),
        None => start(quick),
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
fn start(quick: bool) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guix/bench.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(env!("CARGO_BIN_EXE_bootstrap"));
    command.arg(std::env::current_exe()?);
    command.args(quick.then_some("--quick"));
    match command.status()?.success() {
        true => Ok(()),
        false => Err("the daemons could not be measured".into()),
    }
}

/// One connection to a daemon.
struct Client {
    stream: UnixStream,
    reader: WireReader<BufReader<UnixStream>>,
}

impl Client {
    fn connect(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        let mut reader = WireReader::new(BufReader::new(stream.try_clone()?));
        stream.write_all(Fields::of_long(CLIENT_MAGIC).as_bytes())?;
        if reader.long()? != DAEMON_MAGIC {
            return Err("this is not a daemon".into());
        }
        reader.long()?;
        let mut fields = Fields::of_long(u64::from(VERSION.0));
        fields.long(0);
        fields.long(1);
        stream.write_all(fields.as_bytes())?;
        let mut client = Self { stream, reader };
        client.listen()?;
        Ok(client)
    }

    /// Sends a request and reads to the end of its messages.
    fn ask(&mut self, operation: u64, arguments: impl FnOnce(&mut Fields)) -> Result<()> {
        let mut fields = Fields::of_long(operation);
        arguments(&mut fields);
        self.stream.write_all(fields.as_bytes())?;
        self.listen()
    }

    fn listen(&mut self) -> Result<()> {
        loop {
            match self.reader.long()? {
                0x6f6c_6d67 => {
                    self.reader.bytes("a log", 1 << 20)?;
                }
                0x616c_7473 => return Ok(()),
                0x6378_7470 => return Err(self.reader.string("a message")?.into()),
                other => return Err(format!("the message {other:#x}").into()),
            }
        }
    }

    /// Sets `--max-jobs` and `--cores`, without substitutes.
    fn set_options(&mut self) -> Result<()> {
        self.ask(19, |fields| {
            for number in [0, 0, 0, 0, 0, 0, 0, 0, 0] {
                fields.long(number);
            }
            fields.long(2);
            for (name, value) in [("build-max-jobs", "2"), ("build-cores", "1")] {
                fields.string(name);
                fields.string(value);
            }
        })
    }

    fn build(&mut self, derivations: &[String]) -> Result<()> {
        self.ask(9, |fields| {
            fields.strings(derivations.iter().map(String::as_str));
            fields.long(0);
        })?;
        self.reader.long()?;
        Ok(())
    }

    fn add_text(&mut self, name: &str, content: &str, references: &[&str]) -> Result<String> {
        self.ask(8, |fields| {
            fields.string(name);
            fields.string(content);
            fields.strings(references);
        })?;
        Ok(self.reader.string("a path")?)
    }

    /// Adds what `archive` gives, an archive of a tree.
    fn add(&mut self, name: &str, archive: &mut dyn Read) -> Result<String> {
        let mut fields = Fields::of_long(7);
        fields.string(name);
        fields.long(1);
        fields.long(1);
        fields.string("sha256");
        self.stream.write_all(fields.as_bytes())?;
        std::io::copy(archive, &mut self.stream)?;
        self.listen()?;
        Ok(self.reader.string("a path")?)
    }

    /// Asks `count` times for what `operation` says of `path` in one go; `skip` reads one reply.
    fn pipeline(
        &mut self,
        operation: u64,
        path: &str,
        count: usize,
        mut skip: impl FnMut(&mut WireReader<BufReader<UnixStream>>) -> Result<()>,
    ) -> Result<()> {
        let mut fields = Fields::of_long(operation);
        fields.string(path);
        let mut stream = self.stream.try_clone()?;
        let sending = std::thread::spawn(move || -> std::io::Result<()> {
            let mut writer = BufWriter::new(&mut stream);
            for _ in 0..count {
                writer.write_all(fields.as_bytes())?;
            }
            writer.flush()
        });
        for _ in 0..count {
            self.listen()?;
            skip(&mut self.reader)?;
        }
        sending.join().map_err(|_| "a thread died")??;
        Ok(())
    }
}

/// A daemon, its socket, and what its builds run.
struct Daemon {
    name: &'static str,
    socket: PathBuf,
    builder: String,
    serial: usize,
}

impl Daemon {
    fn client(&self) -> Result<Client> {
        Client::connect(&self.socket)
    }

    /// Adds `count` new derivations.
    fn derivations(&mut self, client: &mut Client, count: usize) -> Result<Vec<String>> {
        let store_dir = StoreDir::new("/gnu/store")?;
        let base_name = self.builder.trim_start_matches("/gnu/store/");
        let builder = StorePath::from_base_name(base_name)?;
        let mut paths = Vec::with_capacity(count);
        for _ in 0..count {
            self.serial += 1;
            let name = format!("trivial-{}", self.serial);
            let derivation = Derivation {
                outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
                input_sources: [builder.clone()].into(),
                system: "x86_64-linux".to_owned(),
                builder: self.builder.clone().into(),
                environment: [("name", name.as_str())].into(),
                ..Derivation::default()
            };
            let mut known = DerivationSet::default();
            let (_, derivation) = instantiate(&store_dir, &name, derivation, &mut known)?;
            let text = String::from_utf8(aterm::write(&store_dir, &derivation))?;
            let name = format!("{name}.drv");
            paths.push(client.add_text(&name, &text, &[&self.builder])?);
        }
        Ok(paths)
    }

    /// The processes of its sessions: their memory in KiB that no other process shares, as far as Linux says.
    fn memory_of_sessions(&self) -> u64 {
        let is_session = |command: &str| match self.name {
            "guix" => command.starts_with("guix-daemon\0") && !command.contains("--build-users"),
            _ => command.starts_with("guix-daemon\0") && command.contains('{'),
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let memory = processes.filter_map(|process| {
            let command = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
            is_session(&command).then_some(())?;
            let rollup = std::fs::read_to_string(process.path().join("smaps_rollup")).ok()?;
            let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        memory.sum()
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

/// Measures the daemons whose roots are in `place`.
fn measure(place: &Path, sizes: &Sizes) -> Result<()> {
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
    let row = |daemons: &mut [Daemon],
               what: String,
               goal: &'static str,
               work: &mut dyn FnMut(&mut Daemon) -> Result<Duration>|
     -> Result<[Duration; 2]> {
        let mut times = [Duration::ZERO; 2];
        for (daemon, time) in daemons.iter_mut().zip(&mut times) {
            *time = work(daemon).map_err(|error| format!("{}: {what}: {error}", daemon.name))?;
        }
        Row { what, times, goal }.print();
        Ok(times)
    };

    let count = sizes.builds;
    row(
        &mut daemons,
        format!("{count} trivial builds in one call"),
        "4",
        &mut |daemon| {
            let mut client = daemon.client()?;
            client.set_options()?;
            let derivations = daemon.derivations(&mut client, count)?;
            timed(|| client.build(&derivations))
        },
    )?;
    row(
        &mut daemons,
        format!("{count} trivial builds, one call each"),
        "4",
        &mut |daemon| {
            let mut client = daemon.client()?;
            client.set_options()?;
            let derivations = daemon.derivations(&mut client, count)?;
            timed(|| {
                derivations
                    .iter()
                    .try_for_each(|derivation| client.build(std::slice::from_ref(derivation)))
            })
        },
    )?;

    let small = small_files(sizes.files)?;
    row(
        &mut daemons,
        format!("add-to-store of {} small files", sizes.files),
        "2",
        &mut |daemon| {
            let mut client = daemon.client()?;
            timed(|| client.add("small", &mut small.as_slice()).map(drop))
        },
    )?;
    drop(small);
    let content: Vec<u8> = Sha256Digest::of("large")
        .0
        .iter()
        .copied()
        .cycle()
        .take(sizes.large)
        .collect();
    let mut hashing = Duration::MAX;
    for _ in 0..2 {
        hashing = hashing.min(timed(|| {
            std::hint::black_box(Sha256Digest::of(&content));
            Ok(())
        })?);
    }
    let large = Tree::file(content).to_nar()?;
    let mib = sizes.large >> 20;
    let [_, ours] = row(
        &mut daemons,
        format!("add-to-store of one file of {mib} MiB"),
        "2",
        &mut |daemon| {
            let mut client = daemon.client()?;
            timed(|| client.add("large", &mut large.as_slice()).map(drop))
        },
    )?;
    drop(large);
    println!(
        "| SHA-256 alone of these {mib} MiB | – | {:.3} s | {:.2} times that for ours | 1.3 times |",
        hashing.as_secs_f64(),
        ours.as_secs_f64() / hashing.as_secs_f64()
    );

    // guix-daemon takes no request before the one before it is answered.
    let count = sizes.queries;
    let queries = [
        ("valid-path?", 1, skip_long as Skip),
        ("query-path-info", 26, skip_info as Skip),
    ];
    for (what, operation, skip) in queries {
        row(
            &mut daemons,
            format!("{count} × {what}"),
            "2",
            &mut |daemon| {
                let mut client = daemon.client()?;
                let path = daemon.builder.clone();
                timed(|| {
                    (0..count).try_for_each(|_| {
                        client.ask(operation, |fields| fields.string(&path))?;
                        skip(&mut client.reader)
                    })
                })
            },
        )?;
    }
    for (what, operation, skip) in queries {
        let ours = daemons.last().ok_or("no daemon")?;
        let mut client = ours.client()?;
        let time = timed(|| client.pipeline(operation, &ours.builder, count, skip))?;
        let rate = count as f64 / time.as_secs_f64();
        println!("| {what}, pipelined, a second | – | {rate:.0} | – | 20000 |");
    }

    let count = sizes.connections;
    let [_, ours] = row(
        &mut daemons,
        format!("{count} × connect, ask to build something built"),
        "–",
        &mut |daemon| {
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
        },
    )?;
    let each = ours.as_secs_f64() * 1000.0 / count as f64;
    println!("| one of these | – | {each:.2} ms | – | 5 ms |");

    let count = sizes.clients;
    let mut memory = [0; 2];
    row(
        &mut daemons,
        format!("{count} clients at a time, a build each"),
        "–",
        &mut |daemon| {
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
        },
    )?;
    let each = memory.map(|memory| memory as f64 / 1024.0 / count as f64);
    println!(
        "| memory of each of these clients' sessions | {:.1} MiB | {:.1} MiB | – | 8 MiB |",
        each[0], each[1]
    );

    let count = sizes.garbage;
    row(
        &mut daemons,
        format!("gc of {count} paths, half of them dead"),
        "3",
        &mut |daemon| {
            let mut client = daemon.client()?;
            let mut kept = Vec::new();
            for number in 0..count {
                let path = client.add_text("garbage", &format!("{number} of {count}"), &[])?;
                if number % 2 == 0 {
                    kept.push(path);
                }
            }
            let list: Vec<&str> = kept.iter().map(String::as_str).collect();
            let list = list.join("\n");
            // What refers to all that is kept, and the root of it.
            let references: Vec<&str> = kept.iter().map(String::as_str).collect();
            let root = client.add_text("kept", &list, &references)?;
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
        },
    )?;
    Ok(())
}

/// Reads one reply.
type Skip = fn(&mut WireReader<BufReader<UnixStream>>) -> Result<()>;

fn skip_long(reader: &mut WireReader<BufReader<UnixStream>>) -> Result<()> {
    reader.long()?;
    Ok(())
}

fn skip_info(reader: &mut WireReader<BufReader<UnixStream>>) -> Result<()> {
    reader.long()?;
    for _ in 0..2 {
        reader.string("a deriver, a hash")?;
    }
    for _ in 0..reader.long()? {
        reader.string("a reference")?;
    }
    // The time of registration and the size.
    reader.long()?;
    reader.long()?;
    Ok(())
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
