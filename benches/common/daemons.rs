// SPDX-License-Identifier: GPL-3.0-or-later
//! A client of the worker protocol, and the daemons that the benchmark compares.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::Permissions;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::formats::worker::{CLIENT_MAGIC, DAEMON_MAGIC, Fields, VERSION, WireReader};

/// What an error of a benchmark ends with.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One connection to a daemon.
pub struct Client {
    stream: UnixStream,
    pub reader: WireReader<BufReader<UnixStream>>,
}

impl Client {
    pub fn connect(socket: &Path) -> Result<Self> {
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
    pub fn ask(&mut self, operation: u64, arguments: impl FnOnce(&mut Fields)) -> Result<()> {
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
    pub fn set_options(&mut self) -> Result<()> {
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

    pub fn build(&mut self, derivations: &[String]) -> Result<()> {
        self.ask(9, |fields| {
            fields.strings(derivations.iter().map(String::as_str));
            fields.long(0);
        })?;
        self.reader.long()?;
        Ok(())
    }

    pub fn add_text(&mut self, name: &str, content: &str, references: &[&str]) -> Result<String> {
        self.ask(8, |fields| {
            fields.string(name);
            fields.string(content);
            fields.strings(references);
        })?;
        Ok(self.reader.string("a path")?)
    }

    /// Adds what `archive` gives, an archive of a tree.
    pub fn add(&mut self, name: &str, archive: &mut dyn Read) -> Result<String> {
        let mut fields = Fields::of_long(7);
        fields.string(name);
        fields.long(1);
        fields.long(1);
        fields.string("sha256");
        self.stream.write_all(fields.as_bytes())?;
        // In pieces as large as those of Guix's client (`write-file' of `(guix serialization)').
        let mut archive = BufReader::with_capacity(1 << 16, archive);
        std::io::copy(&mut archive, &mut self.stream)?;
        self.listen()?;
        Ok(self.reader.string("a path")?)
    }

    /// Asks `count` times for what `operation` says of `path` in one go; `skip` reads one reply.
    pub fn pipeline(
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
pub struct Daemon {
    pub name: &'static str,
    pub socket: PathBuf,
    pub builder: String,
    pub serial: usize,
}

impl Daemon {
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.socket)
    }

    /// Adds `count` new derivations.
    pub fn derivations(&mut self, client: &mut Client, count: usize) -> Result<Vec<String>> {
        let store_dir = StoreDir::new("/gnu/store")?;
        let base_name = self.builder.trim_start_matches("/gnu/store/");
        let builder = StorePath::from_base_name(base_name)?;
        let mut paths = Vec::with_capacity(count);
        for _ in 0..count {
            self.serial += 1;
            // Of its own in each run of the benchmark.
            let name = format!("trivial-{}-{}", std::process::id(), self.serial);
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

    /// Puts `count` small files into the store and its database, which would take minutes through the daemon.
    pub fn populate(&self, count: usize) -> Result<Vec<String>> {
        let root = self.socket.ancestors().nth(4).ok_or("no such directory")?;
        let mut database = rusqlite::Connection::open(root.join("var/guix/db/db.sqlite"))?;
        let transaction = database.transaction()?;
        let mut paths = Vec::with_capacity(count);
        for number in 0..count {
            let content = format!("{number} of {count}");
            let digest = Sha256Digest::of(&content);
            let path = format!("/gnu/store/{number:032}-garbage");
            let file = root.join(path.trim_start_matches('/'));
            std::fs::write(&file, &content)?;
            std::fs::set_permissions(&file, Permissions::from_mode(0o444))?;
            transaction.execute(
                "INSERT INTO ValidPaths (path, hash, registrationTime, narSize) VALUES (?1, ?2, 1, ?3)",
                (&path, format!("sha256:{digest}"), content.len()),
            )?;
            paths.push(path);
        }
        transaction.commit()?;
        Ok(paths)
    }

    /// The processes of its sessions: their memory in KiB that no other process shares, as far as Linux says.
    pub fn memory_of_sessions(&self) -> u64 {
        let is_session = |command: &str| match self.name {
            "guix" => command.starts_with("guix-daemon\0") && !command.contains("--build-users"),
            // The one that waits has ten zeros in place of its client's process.
            _ => {
                let name = command.strip_prefix("guix-daemon\0");
                name.is_some_and(|rest| {
                    !rest.starts_with("0000000000") && rest.contains("--bootstrap-daemon")
                })
            }
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

/// Reads one reply.
pub type Skip = fn(&mut WireReader<BufReader<UnixStream>>) -> Result<()>;

/// Reads a number.
pub fn skip_long(reader: &mut WireReader<BufReader<UnixStream>>) -> Result<()> {
    reader.long()?;
    Ok(())
}

/// Reads what is known of a path.
pub fn skip_info(reader: &mut WireReader<BufReader<UnixStream>>) -> Result<()> {
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
