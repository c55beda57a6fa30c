// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap doctor --guix`: each boundary between a Guix client and a build, with a client that answers wrongly there
//! and rightly before. The client is a script; daemon and store are real.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use bootstrap::engine::{Session, SessionOptions};
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::store_path::StoreDir;
use bootstrap::formats::worker::{DAEMON_MAGIC, Fields, Message, VERSION};
use bootstrap::store::directories::Directories;
use serde_json::Value;

use crate::client::{Client, Daemon, SYSTEM, tool};

mod inputs;

const VERSION_LINE: &str = "echo 'guix (GNU Guix) 1.5.0'";

/// A script in place of Guix's program.
struct Fake {
    directory: tempfile::TempDir,
    /// For `--version` and for each question, what the script runs.
    answers: BTreeMap<&'static str, String>,
}

impl Fake {
    /// One that answers the first questions as a client of `daemon` does.
    fn new(daemon: &Daemon) -> Self {
        let mut client = daemon.connect();
        let text = client.add_text("text", "content", &[]);
        let info = path_info(daemon, &text);
        let socket = daemon.socket();
        let answers = [
            ("--version", VERSION_LINE.to_owned()),
            (
                "configuration",
                configuration(&[("daemon", socket.to_str().unwrap())]),
            ),
            (
                "derivation",
                derivation_answer(&lowered(&mut client, "usual")),
            ),
            (
                "daemon",
                daemon_answer(&text, &info.0, info.1, ["#t", "#f"]),
            ),
        ];
        Self {
            directory: tempfile::tempdir().unwrap(),
            answers: answers.into(),
        }
    }

    /// The same with another answer to one question.
    fn with(&self, question: &'static str, answer: impl Into<String>) -> Self {
        let mut answers = self.answers.clone();
        answers.insert(question, answer.into());
        Self {
            directory: tempfile::tempdir().unwrap(),
            answers,
        }
    }

    fn program(&self) -> PathBuf {
        let mut script = "#!/bin/sh\ncase ${4:-$1} in\n".to_owned();
        for (question, answer) in &self.answers {
            writeln!(script, "{question}) {answer} ;;").unwrap();
        }
        script.push_str("*) exit 9 ;;\nesac\n");
        let path = self.directory.path().join("guix");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// What the walk of this client finds with the store of `daemon`.
    fn walk(&self, daemon: &Daemon) -> Vec<Value> {
        walk(daemon, &self.program())
    }

    /// The walk must stop at `boundary` with a message that contains `part`, and with a hint.
    fn stops(&self, daemon: &Daemon, boundary: &str, part: &str) {
        assert_stops(&self.walk(daemon), boundary, part);
    }
}

fn walk(daemon: &Daemon, program: &Path) -> Vec<Value> {
    let output = tool()
        .arg("--root")
        .arg(daemon.root())
        .args(["--system", SYSTEM, "--json", "doctor"])
        .arg(format!("--guix={}", program.display()))
        .output()
        .unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let bad = findings.iter().filter(|one| one["state"] == "bad").count();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(if bad == 0 { 0 } else { 5 }),
        "{error}"
    );
    assert_eq!(bad == 0, error.is_empty(), "{error}");
    findings
}

#[track_caller]
fn assert_stops(findings: &[Value], boundary: &str, part: &str) {
    let (last, before) = findings.split_last().unwrap();
    assert!(
        before.iter().all(|one| one["state"] != "bad"),
        "{findings:#?}"
    );
    assert_eq!(
        (&last["what"], &last["state"]),
        (&boundary.into(), &"bad".into()),
        "{last}"
    );
    assert!(last["seen"].as_str().unwrap().contains(part), "{last}");
    assert!(!last["remedy"].as_str().unwrap().is_empty(), "{last}");
}

/// The answer about the configuration, with some fields as given.
fn configuration(fields: &[(&str, &str)]) -> String {
    let mut all = BTreeMap::from([
        ("store-directory", "/gnu/store"),
        ("state-directory", "/var/guix"),
        ("daemon", "/nowhere/socket"),
        ("guile", "3.0.9"),
        ("system", SYSTEM),
    ]);
    all.extend(fields.iter().copied());
    let fields: String = all
        .iter()
        .map(|(name, value)| format!(" ({name} \"{value}\")"))
        .collect();
    format!("echo; echo '(bootstrap-doctor{fields})'")
}

fn derivation_answer(path: &str) -> String {
    format!("echo '(bootstrap-doctor (derivation \"{path}\"))'")
}

fn daemon_answer(path: &str, hash: &str, size: u64, [valid, absent]: [&str; 2]) -> String {
    format!(
        "echo '(bootstrap-doctor (path \"{path}\") (valid {valid}) (absent-is-valid {absent}) (hash \"{hash}\") (size {size}))'"
    )
}

fn error_answer(message: &str) -> String {
    format!("echo '(bootstrap-doctor (error \"{message}\"))'")
}

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

fn session(daemon: &Daemon) -> Session {
    let system = SYSTEM.parse().unwrap();
    Session::new(SessionOptions {
        directories: Directories::new(store_dir(), Some(daemon.root())),
        ..SessionOptions::new(system, store_dir())
    })
}

/// The hash and size of an item.
fn path_info(daemon: &Daemon, path: &str) -> (String, u64) {
    let store = session(daemon).store_to_read().unwrap();
    let path = store_dir().parse(path).unwrap();
    let info = store.path_info(&path).unwrap().unwrap();
    (info.nar_sha256.to_base16(), info.nar_size)
}

/// Adds a derivation as the client would lower it. Its environment has `value`.
fn lowered(client: &mut Client, value: &str) -> String {
    let derivation = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        system: SYSTEM.to_owned(),
        builder: "/nonexistent/builder".into(),
        environment: [("value", value)].into(),
        ..Derivation::default()
    };
    let mut known = DerivationSet::default();
    let (_, derivation) = instantiate(&store_dir(), "lowered", derivation, &mut known).unwrap();
    let text = String::from_utf8(aterm::write(&store_dir(), &derivation)).unwrap();
    client.add_text("lowered.drv", &text, &[])
}

#[test]
fn a_client_that_is_not_there_or_not_guix_is_named_first() {
    let daemon = Daemon::start();
    let fake = Fake::new(&daemon);
    let findings = walk(&daemon, Path::new("/nonexistent/guix"));
    assert_stops(
        &findings,
        "client",
        "there is no program `/nonexistent/guix`",
    );
    let text = fake.directory.path().join("text");
    std::fs::write(&text, "text").unwrap();
    assert_stops(&walk(&daemon, &text), "client", "cannot run ");
    fake.with("--version", "echo hello 2.12")
        .stops(&daemon, "client", "saw `hello 2.12`");
    fake.with("--version", "echo 'no Guile' >&2; exit 3").stops(
        &daemon,
        "client",
        "exit status: 3):\nno Guile",
    );
    fake.with("--version", "kill -9 $$")
        .stops(&daemon, "client", "signal: 9");
    // Another version may do.
    let findings = fake
        .with("--version", "echo 'guix (GNU Guix) 2.0.1'")
        .walk(&daemon);
    assert_eq!(findings[0]["state"], "good");
    assert_eq!(findings[1]["state"], "doubtful");
    assert_stops(&findings, "inputs", "tar");
}

#[test]
fn a_client_of_another_store_system_or_guile_stops_at_its_configuration() {
    let daemon = Daemon::start();
    let fake = Fake::new(&daemon);
    for (answer, part) in [
        (
            configuration(&[("store-directory", "/nix/store")]),
            "store directory is /nix/store",
        ),
        (
            configuration(&[("system", "armhf-linux")]),
            "builds for armhf-linux",
        ),
        (configuration(&[("guile", "2.2.7")]), "Guile 2.2.7"),
        (
            error_answer("no code for module (gcrypt hash)"),
            "no code for module (gcrypt hash)",
        ),
        (
            "echo '(bootstrap-doctor (guile 3))'".to_owned(),
            "expected store-directory from",
        ),
        (
            "echo '(bootstrap-doctor (guile'".to_owned(),
            "saw `(bootstrap-doctor (guile`",
        ),
        ("true".to_owned(), "expected a line `(bootstrap-doctor …)`"),
        ("echo 'Backtrace:' >&2; exit 1".to_owned(), "Backtrace:"),
    ] {
        fake.with("configuration", answer)
            .stops(&daemon, "configuration", part);
    }
}

#[test]
fn a_socket_without_this_programs_daemon_stops_the_walk_or_is_doubtful() {
    let daemon = Daemon::start();
    let fake = Fake::new(&daemon);
    let at = |socket: &str| fake.with("configuration", configuration(&[("daemon", socket)]));
    at("/nowhere/socket").stops(
        &daemon,
        "store connection",
        "no daemon listens at /nowhere/socket",
    );
    at("guix://127.0.0.1:1").stops(
        &daemon,
        "store connection",
        "no daemon listens at guix://127.0.0.1:1",
    );
    let replies: [(Vec<u8>, &str); 4] = [
        (Vec::new(), "it closed the connection"),
        (
            b"HTTP/1.1 400\r\n\r\n".to_vec(),
            "does not speak the daemon's protocol",
        ),
        (greeting(0x264, None), "speaks version 0x264"),
        (
            greeting(VERSION.0.into(), Some("the disk is full")),
            "refuses to serve: the disk is full",
        ),
    ];
    for (reply, part) in replies {
        let socket = fake.directory.path().join("other-socket");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&reply).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            });
            at(socket.to_str().unwrap()).stops(&daemon, "store connection", part);
        });
        std::fs::remove_file(&socket).unwrap();
    }
    // A daemon of another store: the connection holds, and what the client adds goes elsewhere.
    let other = Daemon::start();
    let path = lowered(&mut other.connect(), "elsewhere");
    let findings = at(other.socket().to_str().unwrap())
        .with("derivation", derivation_answer(&path))
        .walk(&daemon);
    let doubt = findings
        .iter()
        .rfind(|one| one["state"] == "doubtful")
        .unwrap();
    assert!(
        doubt["seen"]
            .as_str()
            .unwrap()
            .contains("is not this program's"),
        "{doubt}"
    );
    assert_stops(&findings, "derivation", "serves another one");
}

/// What a daemon of the protocol's version `version` sends, with an error where it does not serve.
fn greeting(version: u64, error: Option<&str>) -> Vec<u8> {
    let mut fields = Fields::of_long(DAEMON_MAGIC);
    fields.long(version);
    Message::Log(b"a word first\n").write_to(&mut fields);
    match error {
        Some(message) => Message::Error {
            message,
            status: Some(1),
        }
        .write_to(&mut fields),
        None => Message::Last.write_to(&mut fields),
    }
    fields.as_bytes().to_vec()
}

#[test]
fn a_derivation_or_an_answer_of_the_daemon_that_differs_stops_the_walk() {
    let daemon = Daemon::start();
    let fake = Fake::new(&daemon);
    let mut client = daemon.connect();
    // The daemon takes no such derivations: they are damaged later.
    let damaged = |path: &str, text: &str| {
        let file = daemon.root().join(&path[1..]);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(file, text).unwrap();
    };
    let garbage = lowered(&mut client, "one");
    let other = lowered(&mut client, "two");
    let text = std::fs::read_to_string(daemon.root().join(&other[1..])).unwrap();
    damaged(&garbage, "garbage");
    damaged(&other, &text.replace("\"two\"", "\"three\""));
    for (answer, part) in [
        (
            error_answer("Invalid argument"),
            "write a derivation: Invalid argument",
        ),
        (
            derivation_answer("/gnu/store/x"),
            "expected a store path from the client, saw `/gnu/store/x`",
        ),
        (
            derivation_answer(&garbage),
            "cannot read the client's derivation",
        ),
        (derivation_answer(&other), "compute different paths"),
    ] {
        fake.with("derivation", answer)
            .stops(&daemon, "derivation", part);
    }
    let text = client.add_text("text", "content", &[]);
    let (hash, size) = path_info(&daemon, &text);
    for (answer, part) in [
        (
            error_answer("the database is locked"),
            "ask the daemon: the database is locked",
        ),
        (
            daemon_answer(&text, &hash, size, ["#f", "#f"]),
            "validity of ",
        ),
        (
            daemon_answer(&text, &hash, size, ["#t", "#t"]),
            "doctor-absent is #t",
        ),
        (
            daemon_answer(&text, &"0".repeat(64), size, ["#t", "#f"]),
            "hash of ",
        ),
        (
            daemon_answer(&text, &hash, size + 8, ["#t", "#f"]),
            "size of ",
        ),
    ] {
        fake.with("daemon", answer).stops(&daemon, "daemon", part);
    }
    let findings = fake.walk(&daemon);
    let seen = |what: &str| {
        let found = findings.iter().find(|one| one["what"] == what);
        found.unwrap()["seen"].as_str().unwrap().to_owned()
    };
    assert!(
        seen("store connection").ends_with("this program's daemon"),
        "{findings:#?}"
    );
    assert!(
        seen("daemon").contains("trust this user") || seen("daemon").contains("trusts this user")
    );
}
