// SPDX-License-Identifier: GPL-3.0-or-later
//! A daemon in a directory of its own, and a client that speaks the protocol.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::processes;
use bootstrap::formats::worker::{CLIENT_MAGIC, DAEMON_MAGIC, Fields, VERSION, WireReader};

/// The system that tests run on, as a derivation names it.
pub const SYSTEM: &str = if cfg!(target_os = "freebsd") {
    "x86_64-freebsd"
} else {
    "x86_64-linux"
};

/// The program that is tested: the one that `BOOTSTRAP_TEST_PROGRAM` names, for tests compiled on another machine.
pub fn tool() -> Command {
    let program = std::env::var_os("BOOTSTRAP_TEST_PROGRAM");
    let mut command =
        Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_bootstrap").into()));
    command.env("BOOTSTRAP_CONFIG", "");
    // No real server is asked for what no named place has.
    command.env("BOOTSTRAP_MIRRORS", "debian=none by-hash=none");
    command
}

/// A daemon, which ends with this.
pub struct Daemon {
    pub directory: tempfile::TempDir,
    pub child: Child,
}

impl Daemon {
    /// Starts one with a store of its own.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further arguments.
    pub fn with(arguments: &[&str]) -> Self {
        Self::with_environment(arguments, &[])
    }

    /// Starts one with further arguments and variables.
    pub fn with_environment(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let daemon = Self::listening(arguments, variables);
        // That was a session, too. Once a later one is served, it is known to the listener, and ends.
        drop(daemon.connect());
        daemon.wait_until("the first sessions end", || daemon.sessions().is_empty());
        daemon
    }

    /// Starts one, and waits until clients can connect, which is before they are served.
    pub fn listening(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(directory.path().join("daemon.log")).unwrap();
        let socket = directory.path().join("var/guix/daemon-socket/socket");
        let child = tool()
            .args(["--root", directory.path().to_str().unwrap(), "daemon"])
            .args(["--listen", socket.to_str().unwrap()])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { directory, child };
        daemon.wait_until("the daemon listens", || {
            UnixStream::connect(daemon.socket()).is_ok()
        });
        daemon
    }

    /// Starts the first process again, which was killed.
    pub fn restart(&mut self) {
        let _ = self.child.wait();
        let log = std::fs::OpenOptions::new()
            .append(true)
            .open(self.root().join("daemon.log"));
        self.child = tool()
            .args(["--root", self.root().to_str().unwrap(), "daemon"])
            .stdin(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        self.wait_until("the next daemon listens", || {
            UnixStream::connect(self.socket()).is_ok()
        });
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.root().join("var/guix/daemon-socket/socket")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root().join("daemon.log")).unwrap_or_default()
    }

    pub fn connect(&self) -> Client {
        Client::greet(self.raw())
    }

    /// A connection on which nothing was said.
    pub fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// The names in the store directory, without the directory of shared files.
    pub fn items(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root().join("gnu/store")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".links").collect()
    }

    /// The processes that serve a client of the daemon.
    pub fn sessions(&self) -> Vec<u32> {
        let mut children = processes::children(self.child.id());
        // The next client's has ten zeros in place of the client's process.
        let waiting = processes::with_argument("0000000000");
        children.retain(|child| !waiting.contains(child));
        children
    }

    /// How many descriptors the daemon's first process has open.
    pub fn descriptors(&self) -> usize {
        processes::descriptors(self.child.id())
    }

    pub fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < until, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("TERM");
            let _ = self.child.wait();
        }
    }
}

/// What the daemon said of an operation that failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub message: String,
    pub status: u64,
}

/// A client's connection.
pub struct Client {
    pub stream: UnixStream,
    pub reader: WireReader<BufReader<UnixStream>>,
    /// What the daemon has logged.
    pub log: Vec<u8>,
    /// What the daemon has written of an export.
    pub written: Vec<u8>,
    /// What the client gives when it is asked.
    pub given: std::io::Cursor<Vec<u8>>,
    /// Is called with each text that the daemon logs.
    pub on_log: Option<OnLog>,
}

type OnLog = Box<dyn FnMut(&[u8]) + Send>;

impl Client {
    pub fn greet(mut stream: UnixStream) -> Self {
        let mut reader = WireReader::new(BufReader::new(stream.try_clone().unwrap()));
        let mut fields = Fields::of_long(CLIENT_MAGIC);
        stream.write_all(fields.as_bytes()).unwrap();
        assert_eq!(reader.long().unwrap(), DAEMON_MAGIC);
        assert_eq!(reader.long().unwrap(), u64::from(VERSION.0));
        fields = Fields::of_long(u64::from(VERSION.0));
        fields.long(0);
        fields.long(1);
        stream.write_all(fields.as_bytes()).unwrap();
        let mut client = Self {
            stream,
            reader,
            log: Vec::new(),
            written: Vec::new(),
            given: std::io::Cursor::new(Vec::new()),
            on_log: None,
        };
        client.listen().unwrap();
        client
    }

    /// Sends a request and waits for the end of its messages. The fields of the reply are there to be read then.
    pub fn ask(
        &mut self,
        operation: u64,
        arguments: impl FnOnce(&mut Fields),
    ) -> Result<(), Refused> {
        let mut fields = Fields::of_long(operation);
        arguments(&mut fields);
        self.stream.write_all(fields.as_bytes()).unwrap();
        self.listen()
    }

    /// As [`ask`](Self::ask), with one string.
    pub fn ask_of(&mut self, operation: u64, text: &str) -> Result<(), Refused> {
        self.ask(operation, |fields| fields.string(text))
    }

    /// Reads messages to the last.
    pub fn listen(&mut self) -> Result<(), Refused> {
        loop {
            match self.reader.long().unwrap() {
                0x6f6c_6d67 => {
                    let text = self.reader.bytes("a log", 1 << 20).unwrap();
                    if let Some(on_log) = &mut self.on_log {
                        on_log(&text);
                    }
                    self.log.extend(text);
                }
                0x6461_7461 => {
                    let count = self.reader.long().unwrap() as usize;
                    let mut bytes = vec![0; count];
                    let count = self.given.read(&mut bytes).unwrap();
                    let mut fields = Fields::new();
                    fields.bytes(&bytes[..count]);
                    self.stream.write_all(fields.as_bytes()).unwrap();
                }
                0x6461_7416 => {
                    let bytes = self.reader.bytes("an export", 1 << 20).unwrap();
                    self.written.extend(bytes);
                }
                0x616c_7473 => return Ok(()),
                0x6378_7470 => {
                    return Err(Refused {
                        message: self.reader.string("a message").unwrap(),
                        status: self.reader.long().unwrap(),
                    });
                }
                other => panic!("the message {other:#x}"),
            }
        }
    }

    pub fn long(&mut self) -> u64 {
        self.reader.long().unwrap()
    }

    pub fn string(&mut self) -> String {
        self.reader.string("a reply").unwrap()
    }

    pub fn strings(&mut self) -> Vec<String> {
        let list = self.reader.list("a reply", |reader| {
            let text = reader.string("a reply")?;
            let size = text.len();
            Ok((text, size))
        });
        list.unwrap()
    }

    pub fn add_text(&mut self, name: &str, content: &str, references: &[&str]) -> String {
        self.ask(8, |fields| {
            fields.string(name);
            fields.string(content);
            fields.strings(references);
        })
        .unwrap();
        self.string()
    }

    /// Has the store checked, also its `contents` where that is 1, and repaired where `repair` is. Whether errors are
    /// left, as a number.
    pub fn verify_store(&mut self, contents: u64, repair: u64) -> u64 {
        self.ask(35, |fields| {
            fields.long(contents);
            fields.long(repair);
        })
        .unwrap();
        self.long()
    }

    /// Deletes what nothing keeps.
    pub fn collect_garbage(&mut self) {
        self.ask(20, |fields| {
            fields.long(2);
            fields.strings::<&str>([]);
            for number in [0, u64::MAX, 0, 0, 0] {
                fields.long(number);
            }
        })
        .unwrap();
    }

    pub fn add(
        &mut self,
        name: &str,
        recursive: bool,
        algorithm: &str,
        archive: &[u8],
    ) -> Result<String, Refused> {
        let mut fields = Fields::of_long(7);
        fields.string(name);
        fields.long(1);
        fields.long(recursive.into());
        fields.string(algorithm);
        self.stream.write_all(fields.as_bytes()).unwrap();
        self.stream.write_all(archive).unwrap();
        self.listen()?;
        Ok(self.string())
    }

    pub fn is_valid(&mut self, path: &str) -> bool {
        self.ask_of(1, path).unwrap();
        self.long() == 1
    }

    /// Whether the daemon has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.long_or_end(), Ok(None) | Err(_))
    }
}
