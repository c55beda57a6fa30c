// SPDX-License-Identifier: GPL-3.0-or-later
//! What the daemon makes of clients that do not keep to the protocol.

use std::io::{Read, Write};

use bootstrap::formats::nar::Tree;
use bootstrap::formats::worker::{CLIENT_MAGIC, Fields, VERSION};

use crate::client::Daemon;

/// How many malformed sessions there are in a usual run. `BOOTSTRAP_DAEMON_SESSIONS` sets another number.
const SESSIONS: usize = 10_000;

/// Pseudo-random numbers that are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[test]
fn a_malformed_request_ends_its_connection_with_an_error_and_no_other() {
    let daemon = Daemon::start();
    let mut bystander = daemon.connect();
    let path = bystander.add_text("text", "content", &[]);
    type Arguments = fn(&mut Fields);
    let malformed: [(u64, Arguments, &str); 8] = [
        (999, |_| (), "invalid operation"),
        (
            26,
            |fields| fields.string("/etc/passwd"),
            "is not in the store",
        ),
        (
            26,
            |fields| fields.string("/gnu/store/a/../../etc"),
            "is not in the store",
        ),
        (26, |fields| fields.long(u64::MAX), "expected at most"),
        (31, |fields| fields.long(1 << 40), "expected at most"),
        (
            9,
            |fields| {
                fields.strings::<&str>([]);
                fields.long(7);
            },
            "build mode",
        ),
        (20, |fields| fields.long(4), "action"),
        (
            35,
            |fields| {
                fields.long(1 << 33);
                fields.long(0);
            },
            "32 bits",
        ),
    ];
    for (operation, arguments, expected) in malformed {
        let mut client = daemon.connect();
        let refused = client.ask(operation, arguments).unwrap_err();
        assert!(refused.message.contains(expected), "{}", refused.message);
        assert!(client.is_closed());
        assert!(bystander.is_valid(&path));
    }
    // Where it was parsed, the connection goes on.
    let mut client = daemon.connect();
    assert!(client.ask_of(1, "/etc/passwd").is_err());
    assert!(client.is_valid(&path));
}

#[test]
fn a_malformed_archive_leaves_nothing() {
    let daemon = Daemon::start();
    let archive = Tree::file(b"content").to_nar().unwrap();
    let mut damaged = archive.clone();
    damaged[40] ^= 0xff;
    let mut client = daemon.connect();
    assert!(client.add("x", true, "sha256", &damaged).is_err());
    assert!(client.is_closed());
    // One that breaks off.
    let client = daemon.connect();
    let mut fields = Fields::of_long(7);
    fields.string("x");
    fields.long(1);
    fields.long(1);
    fields.string("sha256");
    (&client.stream).write_all(fields.as_bytes()).unwrap();
    (&client.stream)
        .write_all(&archive[..archive.len() - 8])
        .unwrap();
    drop(client);
    daemon.wait_until("the sessions end", || daemon.sessions().is_empty());
    assert_eq!(daemon.items(), Vec::<String>::new());
}

/// A session without fault: a greeting, and a few requests of most kinds.
fn session(random: &mut Random, path: &str) -> Vec<u8> {
    let mut fields = Fields::of_long(CLIENT_MAGIC);
    for number in [u64::from(VERSION.0), 0, 1] {
        fields.long(number);
    }
    let mut bytes = fields.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let operation = [
            1, 7, 8, 9, 10, 11, 12, 14, 16, 19, 20, 21, 23, 24, 26, 27, 29, 30, 31, 35, 80,
        ][random.below(21) as usize];
        let mut fields = Fields::of_long(operation);
        let mut archive = Vec::new();
        match operation {
            7 => {
                fields.string("tree");
                for number in [1, 1] {
                    fields.long(number);
                }
                fields.string("sha256");
                archive = Tree::file(b"content").to_nar().unwrap();
            }
            8 => {
                fields.string("text");
                fields.string(format!("{path} {}", random.below(1000)));
                fields.strings([path]);
            }
            9 => {
                fields.strings([path]);
                fields.long(random.below(3));
            }
            16 => {
                fields.string(path);
                fields.long(0);
            }
            19 => {
                for number in [0, 1, 0, 0, 0, 0, 0, 1, 0] {
                    fields.long(number);
                }
                fields.long(1);
                fields.string("build-cores");
                fields.string("2");
            }
            20 => {
                fields.long(random.below(2));
                fields.strings::<&str>([]);
                for number in [0, u64::MAX, 0, 0, 0] {
                    fields.long(number);
                }
            }
            // Not absolute: a root would stay.
            12 => fields.string("link"),
            14 | 23 | 24 | 27 | 80 => {}
            29 => fields.string(&path[11..43]),
            30 | 31 => fields.strings([path]),
            35 => {
                fields.long(0);
                fields.long(0);
            }
            _ => fields.string(path),
        }
        bytes.extend(fields.as_bytes());
        bytes.extend(archive);
    }
    bytes
}

/// Spoils `bytes` in one of the ways in which clients go wrong.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    let place = random.below(bytes.len() as u64) as usize;
    let word = (place / 8 * 8).min(bytes.len() - 8);
    match random.below(6) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes.truncate(place),
        2 => {
            let number = [
                0,
                1,
                2,
                7,
                8,
                255,
                1 << 16,
                1 << 31,
                1 << 32,
                1 << 40,
                u64::MAX,
            ][random.below(11) as usize];
            bytes[word..word + 8].copy_from_slice(&number.to_le_bytes());
        }
        3 => {
            let again = bytes[word..].to_vec();
            bytes.extend(again);
        }
        4 => {
            bytes.drain(word..word + 8);
        }
        _ => {
            let garbage: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
            bytes.splice(place..place, garbage);
        }
    }
}

/// Bytes that have little to do with the protocol.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Some do not even greet, most do.
    if random.below(8) > 0 {
        for greeting in [CLIENT_MAGIC, u64::from(VERSION.0), 0, 1] {
            bytes.extend(greeting.to_le_bytes());
        }
        for _ in 0..random.below(3) {
            bytes.extend(random.below(90).to_le_bytes());
            for _ in 0..random.below(12) {
                let number = match random.below(4) {
                    0 => random.next(),
                    1 => random.below(3),
                    _ => random.below(64),
                };
                bytes.extend(number.to_le_bytes());
            }
        }
    }
    for _ in 0..random.below(20) {
        bytes.push(random.next() as u8);
    }
    bytes
}

#[test]
fn malformed_sessions_end_alone_and_leave_nothing_behind() {
    const THREADS: usize = 4;
    let number = std::env::var("BOOTSTRAP_DAEMON_SESSIONS").ok();
    let number = number.map_or(SESSIONS, |text| text.parse().unwrap());
    let daemon = Daemon::start();
    let mut bystander = daemon.connect();
    let path = bystander.add_text("text", "content", &[]);
    let before = daemon.descriptors();
    let (daemon, path) = (&daemon, path.as_str());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut random = Random(0x9e37_79b9_7f4a_7c15 + thread as u64);
                for _ in 0..number / THREADS {
                    let mut bytes = match random.below(4) {
                        0 => garbage(&mut random),
                        _ => session(&mut random, path),
                    };
                    for _ in 0..=random.below(3) {
                        if bytes.len() >= 16 {
                            spoil(&mut random, &mut bytes);
                        }
                    }
                    let mut stream = daemon.raw();
                    // The daemon may have closed its end already.
                    let _ = stream.write_all(&bytes);
                    // Some wait for an answer, so that not more run at a time than the daemon serves.
                    if random.below(3) > 0 {
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                        let _ = stream.read_to_end(&mut Vec::new());
                    }
                }
            });
        }
    });
    daemon.wait_until("the sessions end", || daemon.sessions().len() == 1);
    // The listener learns of an end a moment later than it is seen here.
    daemon.wait_until("its descriptors are free", || {
        daemon.descriptors() <= before + 1
    });
    assert!(bystander.is_valid(path));
    // What is in the store is complete, and nothing is beside it.
    bystander.ask(23, |_| ()).unwrap();
    assert_eq!(bystander.strings().len(), daemon.items().len());
    let wrong = bystander.verify_store(1, 0);
    let log = String::from_utf8_lossy(&bystander.log).into_owned();
    assert_eq!(wrong, 0, "{log}");
    // No lock is left: the collector wants all of them.
    bystander.collect_garbage();
    assert_eq!(daemon.items(), Vec::<String>::new());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    let left = std::fs::read_dir(daemon.root().join("var/guix/temproots"));
    assert_eq!(left.unwrap().count(), 1);
}
