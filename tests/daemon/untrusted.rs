// SPDX-License-Identifier: GPL-3.0-or-later
//! What a user without privileges gets from root's daemon, which knows him by his socket.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use bootstrap::formats::nar::Tree;

use crate::client::{Client, Daemon};
use crate::tokens::{Builder, build};

/// The user `nobody`, on Linux as on FreeBSD.
const UNPRIVILEGED: u32 = 65534;
/// Names the socket to the process that is this user.
const SOCKET: &str = "BOOTSTRAP_TEST_SOCKET";

#[test]
fn users_may_add_and_build_and_neither_repair_nor_import_unsigned_items() {
    if let Some(socket) = std::env::var_os(SOCKET) {
        return as_nobody(Client::greet(UnixStream::connect(socket).unwrap()));
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let daemon = Daemon::start();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.root(), open).unwrap();
    // This program, where that user may reach it.
    let copy = daemon.root().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let temporary = daemon.root().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::chown(&temporary, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    let name = concat!(
        "untrusted::",
        "users_may_add_and_build_and_neither_repair_nor_import_unsigned_items"
    );
    let output = Command::new(copy)
        .args(["--exact", name, "--nocapture"])
        .env(SOCKET, daemon.socket())
        .env("TMPDIR", &temporary)
        .current_dir(daemon.root())
        .gid(UNPRIVILEGED)
        .uid(UNPRIVILEGED)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
    // Root, by the same socket, may.
    assert_eq!(daemon.connect().verify_store(0, 1), 0);
}

fn as_nobody(mut client: Client) {
    let text = client.add_text("text", "of a user", &[]);
    assert!(client.is_valid(&text));
    let tree = Tree::file("contents").to_nar().unwrap();
    client.add("file", true, "sha256", &tree).unwrap();
    let builder = Builder::add(&mut client, "untrusted");
    let derivation = builder.derivation(&mut client, "users", &["write $out x"]);
    build(&mut client, std::slice::from_ref(&derivation)).unwrap();

    // Another's output, which is not built yet: what comes of a derivation with other arguments than his.
    let theirs = builder.text("theirs", &["write $out good"]);
    let ours = theirs.replace("write $out good", "write $out evil");
    assert_ne!(theirs, ours);
    let refused = client.ask(8, |fields| {
        fields.string("theirs.drv");
        fields.string(&ours);
        fields.strings([builder.path.as_str()]);
    });
    let message = refused.unwrap_err().message;
    assert!(message.contains("has incorrect output"), "{message}");
    client.add_text("theirs.drv", &theirs, &[&builder.path]);

    let refused = client.ask(35, |fields| {
        fields.long(0);
        fields.long(1);
    });
    assert!(refused.unwrap_err().message.contains("not privileged"));
    let refused = client.ask(9, |fields| {
        fields.strings([derivation.as_str()]);
        // Repair.
        fields.long(1);
    });
    assert!(refused.unwrap_err().message.contains("privileged"));

    client
        .ask(16, |fields| {
            fields.string(&text);
            fields.long(0);
        })
        .unwrap();
    assert_eq!(client.long(), 1);
    let mut export = 1_u64.to_le_bytes().to_vec();
    export.append(&mut client.written);
    export.extend(0_u64.to_le_bytes());
    client.given = std::io::Cursor::new(export);
    let refused = client.ask(27, |_| ()).unwrap_err();
    assert!(refused.message.contains("not signed"), "{refused:?}");

    // What his failed build has left is his.
    client
        .ask(19, |fields| {
            // Keep failed, keep going, fallback, verbosity, build hook, build verbosity, log type, traces, substitutes.
            for number in [1, 0, 0, 0, 0, 0, 0, 0, 0] {
                fields.long(number);
            }
            fields.long(0);
        })
        .unwrap();
    let failing = builder.derivation(&mut client, "failing", &["write left x", "exit 1"]);
    client.log.clear();
    build(&mut client, &[failing]).unwrap_err();
    let log = String::from_utf8_lossy(&client.log).into_owned();
    let kept = log.split_once("note: keeping build directory `");
    let (kept, _) = kept
        .and_then(|(_, rest)| rest.split_once('\''))
        .expect(&log);
    let left = Path::new(kept).join("left");
    assert_eq!(std::fs::read_to_string(&left).unwrap(), "x");
    // It is where the build had it, and guix-daemon leaves it.
    let name = Path::new(kept).file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("guix-build-failing.drv-"), "{kept}");
    for (path, mode) in [(Path::new(kept), 0o700), (&left, 0o644)] {
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (UNPRIVILEGED, mode));
    }
    std::fs::remove_dir_all(kept).unwrap();

    // The daemon reads no directory for him that it would not read by itself.
    client
        .ask(19, |fields| {
            for _ in 0..9 {
                fields.long(0);
            }
            fields.long(1);
            fields.string("substitute-urls");
            fields.string("file:///tmp/evil https://example.org");
        })
        .unwrap();
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains("warning: file:///tmp/evil is not asked"),
        "{log}"
    );
}
