// SPDX-License-Identifier: GPL-3.0-or-later
//! The job tokens that all sessions share: never more jobs than tokens, a fair share each, and nothing lost with a
//! session that is killed.

use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{StoreDir, StorePath};

use crate::client::{Client, Daemon, SYSTEM};
use crate::processes;

/// The builder of the tests of builds, compiled once.
fn toy() -> &'static [u8] {
    static TOY: OnceLock<Vec<u8>> = OnceLock::new();
    TOY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("toy");
        let source = directory.path().join("toy.c");
        std::fs::write(&source, include_str!("../build/toy.c")).unwrap();
        let compiled = Command::new("cc")
            .args(["-static", "-O1", "-s", "-o"])
            .args([&program, &source])
            .status()
            .expect("these tests need a C compiler");
        assert!(compiled.success(), "cc -static failed");
        std::fs::read(&program).unwrap()
    })
}

/// A builder that others of this machine do not run: `name` is of one test.
pub struct Builder {
    pub path: String,
    /// What its processes are called.
    command: String,
}

impl Builder {
    pub fn add(client: &mut Client, name: &str) -> Self {
        let tree = Tree::executable(toy()).to_nar().unwrap();
        let path = client.add(name, true, "sha256", &tree).unwrap();
        let base_name = path.strip_prefix("/gnu/store/").unwrap();
        Self {
            command: base_name[..15].to_owned(),
            path,
        }
    }

    /// Adds the derivation `name`, which runs `commands`.
    pub fn derivation(&self, client: &mut Client, name: &str, commands: &[&str]) -> String {
        self.derivation_with(client, name, commands, &[])
    }

    /// As [`derivation`](Self::derivation), with further variables.
    pub fn derivation_with(
        &self,
        client: &mut Client,
        name: &str,
        commands: &[&str],
        variables: &[(&str, &str)],
    ) -> String {
        let text = self.text_with(name, commands, variables);
        client.add_text(&format!("{name}.drv"), &text, &[&self.path])
    }

    /// The text of the derivation `name`, which runs `commands`.
    pub fn text(&self, name: &str, commands: &[&str]) -> String {
        self.text_with(name, commands, &[])
    }

    fn text_with(&self, name: &str, commands: &[&str], variables: &[(&str, &str)]) -> String {
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let base_name = self.path.strip_prefix("/gnu/store/").unwrap();
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            input_sources: [StorePath::from_base_name(base_name).unwrap()].into(),
            system: SYSTEM.to_owned(),
            builder: self.path.clone().into(),
            arguments: commands.iter().map(|&command| command.into()).collect(),
            environment: std::iter::once(("name", name))
                .chain(variables.iter().copied())
                .collect(),
            ..Derivation::default()
        };
        let mut known = DerivationSet::default();
        let (_, derivation) = instantiate(&store_dir, name, derivation, &mut known).unwrap();
        String::from_utf8(aterm::write(&store_dir, &derivation)).unwrap()
    }

    /// How many of its processes run.
    pub fn running(&self) -> usize {
        processes::called(&self.command)
    }
}

/// Has `client` run at most `max_jobs` builds at a time, with `cores` each, and say which begin and end.
pub fn set_limits(client: &mut Client, max_jobs: u32, cores: u32) {
    client
        .ask(19, |fields| {
            // Keep failed, keep going, fallback, verbosity, build hook, build verbosity, log type, traces, substitutes.
            for number in [0, 1, 0, 0, 0, 0, 0, 1, 0] {
                fields.long(number);
            }
            fields.long(2);
            for (name, value) in [("build-max-jobs", max_jobs), ("build-cores", cores)] {
                fields.string(name);
                fields.string(value.to_string());
            }
        })
        .unwrap();
}

pub fn build(client: &mut Client, derivations: &[String]) -> Result<(), crate::client::Refused> {
    client.ask(9, |fields| {
        fields.strings(derivations.iter().map(String::as_str));
        fields.long(0);
    })?;
    assert_eq!(client.long(), 1);
    Ok(())
}

#[test]
fn ten_clients_share_three_tokens_fairly_and_never_have_more() {
    const CLIENTS: usize = 10;
    const EACH: usize = 10;
    let daemon = Daemon::with(&["--total-jobs", "3"]);
    let builder = Builder::add(&mut daemon.connect(), "ten-clients");
    let (most, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Which client's build ended, in order.
    let ended: Arc<Mutex<Vec<usize>>> = Arc::default();
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(builder.running(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (daemon, builder, ended) = (&daemon, &builder, Arc::clone(&ended));
                scope.spawn(move || {
                    let mut client = daemon.connect();
                    set_limits(&mut client, 10, 1);
                    let derivations: Vec<String> = (0..EACH)
                        .map(|build| {
                            let name = format!("build-{number}-{build}");
                            builder.derivation(&mut client, &name, &["sleep 100", "write $out x"])
                        })
                        .collect();
                    client.on_log = Some(Box::new(move |text: &[u8]| {
                        if text.starts_with(b"@ build-succeeded") {
                            ended.lock().unwrap().push(number);
                        }
                    }));
                    build(&mut client, &derivations).unwrap();
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        counting.join().unwrap();
    });
    // All of them were used, and no more.
    assert_eq!(most.into_inner(), 3);
    let ended = ended.lock().unwrap();
    assert_eq!(ended.len(), CLIENTS * EACH);
    // The first to connect has all tokens for a moment, and the last to finish again. In between each has its turn:
    // four rounds, on a machine that may be busy.
    let turns = &ended[2 * CLIENTS..6 * CLIENTS];
    for number in 0..CLIENTS {
        let count = turns.iter().filter(|client| **client == number).count();
        assert!((2..=6).contains(&count), "{number}: {count} of {turns:?}");
    }
}

#[test]
fn the_tokens_of_a_killed_session_are_free_at_once() {
    let daemon = Daemon::with(&["--total-jobs", "2"]);
    let builder = Builder::add(&mut daemon.connect(), "killed-session");
    for round in 0..5 {
        std::thread::scope(|scope| {
            let mut victim = daemon.connect();
            set_limits(&mut victim, 2, 1);
            let hogs: Vec<String> = (0..2)
                .map(|number| {
                    let name = format!("hog-{round}-{number}");
                    builder.derivation(&mut victim, &name, &["sleep 60000", "write $out x"])
                })
                .collect();
            let session = daemon.sessions();
            let session = session.last().unwrap().to_string();
            let socket = victim.stream.try_clone().unwrap();
            let hogging = scope.spawn(move || {
                // The connection breaks off.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    build(&mut victim, &hogs)
                }));
            });
            daemon.wait_until("both tokens are used", || builder.running() == 2);
            let mut client = daemon.connect();
            set_limits(&mut client, 2, 1);
            let name = format!("waits-{round}");
            let derivation = builder.derivation(&mut client, &name, &["write $out x"]);
            let waiting = scope.spawn(move || build(&mut client, &[derivation]).unwrap());
            std::thread::sleep(Duration::from_millis(200));
            assert!(!waiting.is_finished());
            let killed = Instant::now();
            let status = Command::new("kill").args(["-KILL", &session]).status();
            assert!(status.unwrap().success());
            waiting.join().unwrap();
            assert!(killed.elapsed() < Duration::from_secs(10));
            let _ = socket.shutdown(std::net::Shutdown::Both);
            hogging.join().unwrap();
        });
        daemon.wait_until("its builds are gone", || builder.running() == 0);
    }
}

/// make takes the token that it has put back for its next job a moment later.
#[test]
fn a_build_with_many_jobs_makes_room_for_those_of_another_client() {
    let daemon = Daemon::with(&["--total-jobs", "4"]);
    let builder = Builder::add(&mut daemon.connect(), "many-jobs");
    let processors = std::thread::available_parallelism().unwrap().get();
    let reserved = usize::from(4 > processors);
    let jobs = 3 - reserved;
    std::thread::scope(|scope| {
        let mut first = daemon.connect();
        set_limits(&mut first, 1, 4);
        let (take, give) = (format!("take {jobs}"), format!("tokens {jobs}"));
        let mut commands = [take.as_str(), "sleep 50", give.as_str(), "sleep 1"].repeat(100);
        commands.push("write $out x");
        let derivation = builder.derivation_with(
            &mut first,
            "greedy",
            &commands,
            // As this program's own builds: with the pipe of tokens.
            &[("phasesDirectory", "/gnu/store/none")],
        );
        let greedy = scope.spawn(move || build(&mut first, &[derivation]).unwrap());
        daemon.wait_until("it runs", || builder.running() == 1);
        std::thread::sleep(Duration::from_millis(500));
        let mut second = daemon.connect();
        set_limits(&mut second, 4, 1);
        // One more than there is room for without it.
        let derivations: Vec<String> = (0..=reserved)
            .map(|number| {
                let commands = ["sleep 1500", "write $out x"];
                builder.derivation(&mut second, &format!("small-{number}"), &commands)
            })
            .collect();
        let small = scope.spawn(move || build(&mut second, &derivations).unwrap());
        daemon.wait_until("all run", || builder.running() == 2 + reserved);
        assert!(!greedy.is_finished());
        small.join().unwrap();
        greedy.join().unwrap();
    });
}

/// What `bootstrap top` says of `daemon`.
fn top_of(daemon: &Daemon) -> serde_json::Value {
    let output = crate::client::tool()
        .args(["--root", daemon.root().to_str().unwrap(), "--json", "top"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Between its two sockets the daemon waits for a process that has the second one and accepts no connection.
#[test]
fn top_shows_a_daemon_as_soon_as_a_client_can_connect() {
    let place = tempfile::tempdir().unwrap();
    let second = place.path().join("second");
    let other = UnixListener::bind(&second).unwrap();
    rustix::net::listen(&other, 0).unwrap();
    let waiting = UnixStream::connect(&second).unwrap();
    let daemon = Daemon::listening(&["--listen", second.to_str().unwrap()], &[]);
    assert_eq!(top_of(&daemon)["listener"]["process"], daemon.child.id());
    drop((other, waiting));
    drop(daemon.connect());
    // One that finds the socket taken is not shown in place of it, and leaves nothing.
    let socket = daemon.socket();
    let output = crate::client::tool()
        .args(["--root", daemon.root().to_str().unwrap(), "daemon"])
        .args(["--listen", socket.to_str().unwrap()])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("another daemon serves"), "{message}");
    assert_eq!(top_of(&daemon)["listener"]["process"], daemon.child.id());
    let files = daemon.root().join("var/guix/bootstrap/daemon/processes");
    daemon.wait_until("only its own file is there", || {
        files.read_dir().unwrap().count() == 1
    });
}

#[test]
fn top_shows_clients_builds_and_tokens_and_the_run_is_recorded() {
    let daemon = Daemon::with(&["--total-jobs", "5"]);
    let top = || top_of(&daemon);
    let seen = top();
    assert_eq!(seen["listener"]["process"], daemon.child.id());
    assert_eq!(seen["listener"]["tokens"], 5);
    assert_eq!(
        (&seen["tokens_used"], &seen["sessions"]),
        (&0.into(), &serde_json::json!([]))
    );
    let mut client = daemon.connect();
    set_limits(&mut client, 2, 1);
    let builder = Builder::add(&mut client, "seen-by-top");
    let derivation = builder.derivation(&mut client, "seen", &["sleep 3000", "write $out x"]);
    let base_name = derivation.strip_prefix("/gnu/store/").unwrap().to_owned();
    std::thread::scope(|scope| {
        let building = scope.spawn(move || {
            build(&mut client, &[derivation]).unwrap();
            client
        });
        daemon.wait_until("it builds", || builder.running() == 1);
        let seen = top();
        assert_eq!(seen["tokens_used"], 1);
        let session = &seen["sessions"][0];
        assert_eq!(session["process"], daemon.sessions()[0]);
        assert_eq!(session["client"], std::process::id());
        assert_eq!(session["trusted"], true);
        assert_eq!(session["builds"][0]["derivation"], base_name);
        let client = building.join().unwrap();
        let seen = top();
        assert_eq!(seen["tokens_used"], 0);
        assert_eq!(seen["sessions"][0]["builds"], serde_json::json!([]));
        drop(client);
    });
    daemon.wait_until("the session is gone", || {
        top()["sessions"] == serde_json::json!([])
    });
    let runs = std::fs::read_dir(daemon.root().join("var/guix/bootstrap/runs")).unwrap();
    let runs: Vec<String> = runs
        .map(|run| std::fs::read_to_string(run.unwrap().path()).unwrap())
        .collect();
    assert_eq!(runs.len(), 1);
    assert!(runs[0].contains(&base_name), "{}", runs[0]);
}

#[test]
fn builds_are_told_the_number_of_cores_as_guix_daemon_does() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "told-cores");
    // Until a client sets a number, all cores, which is 0.
    for (cores, told) in [(0, "0"), (42, "42")] {
        set_limits(&mut client, 1, cores);
        let name = format!("told-{cores}");
        let derivation = builder.derivation(&mut client, &name, &["write $out $NIX_BUILD_CORES"]);
        build(&mut client, std::slice::from_ref(&derivation)).unwrap();
        client.ask_of(22, &derivation).unwrap();
        let output = client.strings().remove(0);
        let file = daemon.root().join(output.trim_start_matches('/'));
        assert_eq!(std::fs::read_to_string(file).unwrap().trim(), told);
    }
}
