// SPDX-License-Identifier: GPL-3.0-or-later
//! The listener: several sockets, limits, signals.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::client::{Client, Daemon, tool};
use crate::processes;

/// A port that nothing listens on at the moment.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn clients_over_tcp_may_neither_collect_nor_repair() {
    let place = format!("127.0.0.1:{}", free_port());
    let daemon = Daemon::with(&["--listen", &place]);
    // The socket in the file system may be there before the one of the network.
    let stream = (0..500).find_map(|_| {
        TcpStream::connect(&place).ok().or_else(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            None
        })
    });
    let mut client = Client::greet(UnixStream::from(OwnedFd::from(stream.unwrap())));
    let path = client.add_text("text", "content", &[]);
    assert!(client.is_valid(&path));
    let refused = client.ask(20, |fields| {
        fields.long(2);
        fields.strings::<&str>([]);
        for number in [0, u64::MAX, 0, 0, 0] {
            fields.long(number);
        }
    });
    assert!(refused.unwrap_err().message.contains("over the network"));
    let refused = client.ask(35, |fields| {
        fields.long(0);
        fields.long(1);
    });
    assert!(refused.unwrap_err().message.contains("not privileged"));
    let refused = client.ask(9, |fields| {
        fields.strings::<&str>([]);
        fields.long(1);
    });
    assert!(refused.unwrap_err().message.contains("privileged"));
    assert!(daemon.log().contains("warning"), "{}", daemon.log());
}

// A jail needs no directory for temporary files.
#[cfg(target_os = "linux")]
#[test]
fn the_log_says_why_builds_cannot_run_and_what_to_do() {
    let daemon = Daemon::with_environment(&[], &[("TMPDIR", "/nonexistent")]);
    daemon.wait_until("it has tried the sandbox", || {
        daemon.log().contains("warning: builds will fail: ")
    });
    daemon.wait_until("it says why", || {
        let log = daemon.log();
        let mut lines = log
            .lines()
            .skip_while(|line| !line.contains("builds will fail"));
        lines
            .next()
            .is_some_and(|line| line.contains("cannot use /nonexistent"))
            && lines
                .next()
                .is_some_and(|line| line.starts_with("hint: set TMPDIR"))
    });
}

#[test]
fn a_second_daemon_leaves_the_socket_to_the_first() {
    let daemon = Daemon::start();
    let second = tool()
        .args(["--root", daemon.root().to_str().unwrap(), "daemon"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(5));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another daemon serves"), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
    daemon.connect();
}

#[test]
fn sigterm_ends_the_sessions_and_removes_the_socket() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    daemon.signal("HUP");
    daemon.wait_until("it reloads", || daemon.log().contains("reloaded"));
    daemon.signal("TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert!(client.is_closed());
    assert!(daemon.socket().symlink_metadata().is_err());
}

#[test]
fn a_session_that_is_killed_takes_nothing_with_it() {
    let daemon = Daemon::start();
    let mut victim = daemon.connect();
    let path = victim.add_text("text", "content", &[]);
    let session = daemon.sessions();
    assert_eq!(session.len(), 1);
    let killed = Command::new("kill")
        .args(["-KILL", &session[0].to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert!(victim.is_closed());
    daemon.wait_until("it is reaped", || daemon.sessions().is_empty());
    assert!(daemon.connect().is_valid(&path));
}

#[test]
fn a_session_shows_which_client_it_serves() {
    let daemon = Daemon::start();
    let _client = daemon.connect();
    let [session] = daemon.sessions()[..] else {
        panic!("{:?}", daemon.sessions());
    };
    let shown = processes::arguments(session);
    let client = std::process::id().to_string();
    // As `guix processes` reads it: words between zero bytes.
    let mut words = shown.split(['\0', ' ']).filter(|word| !word.is_empty());
    assert_eq!(words.next(), Some("guix-daemon"), "{shown:?}");
    assert_eq!(words.next(), Some(client.as_str()), "{shown:?}");
    assert!(shown.contains(daemon.root().to_str().unwrap()), "{shown:?}");
}

#[test]
fn the_next_client_is_served_after_the_process_that_waited_for_it_was_killed() {
    let daemon = Daemon::start();
    let children = || processes::children(daemon.child.id());
    daemon.wait_until("a process waits", || children().len() == 1);
    let waiting = children();
    let killed = Command::new("kill")
        .args(["-KILL", &waiting[0].to_string()])
        .status();
    assert!(killed.unwrap().success());
    // A client that comes before that is its client, and is lost with it.
    daemon.wait_until("its end is noticed", || children().is_empty());
    let mut client = daemon.connect();
    let path = client.add_text("text", "content", &[]);
    assert!(client.is_valid(&path));
    daemon.wait_until("another one waits", || {
        children().len() == 2 && !children().contains(&waiting[0])
    });
}

#[test]
fn a_daemon_that_is_killed_leaves_its_sessions_and_its_socket_to_the_next() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    daemon.signal("KILL");
    assert_eq!(daemon.child.wait().unwrap().signal(), Some(9));
    let path = client.add_text("text", "content", &[]);
    assert!(client.is_valid(&path));
    drop(client);
    daemon.restart();
    assert!(daemon.connect().is_valid(&path));
}

#[test]
fn old_clients_are_served_and_others_refused() {
    use bootstrap::formats::worker::{CLIENT_MAGIC, Fields};
    use std::io::{Read, Write};
    let daemon = Daemon::start();
    let mut stream = daemon.raw();
    let mut fields = Fields::of_long(CLIENT_MAGIC);
    fields.long(0x107);
    // An operation, right after the version: this client knows no other fields.
    fields.long(1);
    fields.string("/nowhere");
    stream.write_all(fields.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let number = |place: usize| u64::from_le_bytes(answer[place..place + 8].try_into().unwrap());
    assert_eq!((number(16), number(24)), (0x616c_7473, 0x6378_7470));
    // No status after the message.
    let length = number(32) as usize;
    assert_eq!(answer.len(), 40 + length.next_multiple_of(8));

    let mut stream = daemon.raw();
    let mut fields = Fields::of_long(CLIENT_MAGIC);
    fields.long(0x264);
    stream.write_all(fields.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), 16);
}
