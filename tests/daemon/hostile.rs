// SPDX-License-Identifier: GPL-3.0-or-later
//! What the daemon makes of clients that do not keep to the protocol.

use std::io::{Read, Write};

use bootstrap::formats::nar::Tree;
use bootstrap::formats::worker::{CLIENT_MAGIC, Fields, VERSION};

use crate::client::Daemon;

/// How many sessions of garbage there are in a usual run. `BOOTSTRAP_DAEMON_SESSIONS` sets another number.
const SESSIONS: usize = 1000;

/// Pseudo-random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
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

#[test]
fn sessions_of_garbage_end_alone_and_leave_nothing_behind() {
    let number = std::env::var("BOOTSTRAP_DAEMON_SESSIONS").ok();
    let number = number.map_or(SESSIONS, |text| text.parse().unwrap());
    let daemon = Daemon::start();
    let mut bystander = daemon.connect();
    let path = bystander.add_text("text", "content", &[]);
    let before = daemon.descriptors();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for session in 0..number {
        let mut stream = daemon.raw();
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
        // The daemon may have closed its end already.
        let _ = stream.write_all(&bytes);
        if random.below(3) == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut [0; 256]);
        }
        drop(stream);
        if session % 100 == 0 {
            assert!(bystander.is_valid(&path));
        }
    }
    daemon.wait_until("the sessions end", || daemon.sessions().len() == 1);
    assert!(daemon.descriptors() <= before + 1);
    assert!(bystander.is_valid(&path));
    bystander.ask(23, |_| ()).unwrap();
    assert_eq!(bystander.strings(), [path]);
    assert_eq!(daemon.items().len(), 1);
}
