// SPDX-License-Identifier: GPL-3.0-or-later
//! Global options that hold for what clients have the daemon build and download.

use bootstrap::formats::hash::Sha256Digest;

use super::builds::download_of;
use crate::client::Daemon;
use crate::server::serve;
#[cfg(target_os = "linux")]
use crate::tokens::Builder;
use crate::tokens::build;

/// Has a daemon with these arguments download `file.txt` of GNU's mirror. The output, or what the daemon logged.
fn download(arguments: &[&str]) -> (Daemon, Result<String, String>) {
    let daemon = Daemon::with(arguments);
    let mut client = daemon.connect();
    let (text, output) = download_of(Sha256Digest::of("the file"), "mirror://gnu/file.txt");
    let drv = client.add_text("file.drv", &text, &[]);
    let done = build(&mut client, std::slice::from_ref(&drv));
    let log = String::from_utf8_lossy(&client.log).into_owned();
    (daemon, done.map(|()| output).map_err(|_| log))
}

#[test]
fn mirrors_and_offline_hold_for_clients_downloads() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file.txt"), "the file").unwrap();
    let mirrors = format!("gnu={} debian=none by-hash=none", serve(directory.path()));
    let (daemon, done) = download(&["--mirrors", &mirrors]);
    let output = daemon.root().join(&done.unwrap()[1..]);
    assert_eq!(std::fs::read(output).unwrap(), b"the file");

    let (_, done) = download(&["--offline", "--mirrors", &mirrors]);
    let log = done.unwrap_err();
    assert!(log.contains("--offline forbids fetching it"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_and_processes_are_what_the_daemon_allows() {
    let daemon = Daemon::with(&["--max-memory=321M", "--max-processes=77"]);
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "limits");
    let drv = builder.derivation(&mut client, "limits", &["copy /proc/self/limits $out"]);
    build(&mut client, std::slice::from_ref(&drv)).unwrap();
    client.ask_of(22, &drv).unwrap();
    let output = daemon.root().join(&client.strings()[0][1..]);
    let limits = std::fs::read_to_string(output).unwrap();
    let line = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name));
    let bytes = (321_u64 << 20).to_string();
    for (name, most) in [
        ("Max address space", bytes.as_str()),
        ("Max processes", "77"),
    ] {
        let words: Vec<&str> = line(name).unwrap().split_whitespace().collect();
        assert_eq!(words[..2], [most, most], "{name}");
    }
}
