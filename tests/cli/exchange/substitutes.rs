// SPDX-License-Identifier: GPL-3.0-or-later
//! Items that are taken from servers instead of built.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::publish::damage;
use super::{key, pretend, publish_libc};
use crate::World;
use crate::server::{serve, serve_halves, serve_with};

#[test]
fn what_one_machine_builds_and_publishes_another_need_not_build() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    let directory = directory.to_str().unwrap();
    let (_, err) = world.expect(2, &["publish", directory, "libc", "--key", &secret]);
    assert!(err.contains("is not valid: it has not been built"), "{err}");
    pretend(&world, "libc");
    let (_, err) = world.expect(0, &["publish", directory, "libc", "--key", &secret]);
    assert!(err.contains("published 2 items"), "{err}");
    assert!(!err.contains("nothing is signed"), "{err}");
    // JSON output says so, too.
    let (_, err) = world.expect(0, &["--json", "publish", directory, "libc"]);
    assert!(err.contains("nothing is signed"), "{err}");

    let other = World::with_recipes();
    let url = format!("file://{directory}");
    let arguments = ["--substitute-urls", &url, "build", "libc", "--trusted-keys"];
    let (_, err) = other.expect(
        3,
        &[
            &arguments[..],
            &["test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        ]
        .concat(),
    );
    assert!(
        err.contains("has no signature by a key that is trusted"),
        "{err}"
    );
    let (out, err) = other.expect(0, &[&arguments[..], &[&public]].concat());
    for line in [
        "2 to take from URL, ",
        "\nlibc: downloading from URL/nar/",
        "\nlibc:static: downloading from URL/nar/",
        "/2] libc: installed, ",
        "/2] libc:static: installed, ",
        "\ninstalled 2 items, ",
    ] {
        assert!(err.contains(&line.replace("URL", &url)), "{line}: {err}");
    }
    assert_eq!(out.lines().count(), 2, "{out}");
    other.expect(0, &["path", "libc"]);
    let (_, err) = other.expect(2, &["--substitute-urls", &url, "build", "tool"]);
    assert!(
        err.contains("--substitute-urls without --trusted-keys"),
        "{err}"
    );
}

#[test]
fn what_a_server_lacks_is_built_from_what_it_has() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    let directory = directory.to_str().unwrap();
    pretend(&world, "libc");
    world.expect(0, &["publish", directory, "libc", "--key", &secret]);
    let url = format!("file://{directory}");
    let arguments = [
        "--substitute-urls",
        &url,
        "--trusted-keys",
        &public,
        "build",
    ];
    // There is nothing to build it with, but by then what it is built with has been asked for.
    let other = World::with_recipes();
    let failed = other.run(&[&arguments[..], &["tool"]].concat());
    assert!(!failed.status.success());
    let err = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(err.contains("libc: installed, "), "{err}");
    assert!(!err.contains("tool: installed, "), "{err}");
    // What is there as a whole is taken without what it is built with.
    pretend(&world, "tool");
    world.expect(0, &["publish", directory, "tool", "--key", &secret]);
    let other = World::with_recipes();
    let (_, err) = other.expect(0, &[&arguments[..], &["tool"]].concat());
    assert!(err.contains("tool: installed, "), "{err}");
    assert!(!err.contains("libc: installed, "), "{err}");
}

#[test]
fn a_damaged_item_is_repaired_from_a_server_before_it_is_built() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    let directory = directory.to_str().unwrap();
    pretend(&world, "tool");
    let (path, _) = world.expect(0, &["path", "tool"]);
    let item = world.path("root").join(path.trim().trim_start_matches('/'));
    world.expect(0, &["publish", directory, "tool", "--key", &secret]);
    damage(&world, "tool");
    let url = format!("file://{directory}");
    // There is nothing to build it with.
    let arguments = ["--substitute-urls", &url, "--trusted-keys", &public];
    let (_, err) = world.expect(
        0,
        &[&arguments[..], &["build", "--repair", "tool"]].concat(),
    );
    assert!(err.contains("repaired; the damaged copy is "), "{err}");
    assert_eq!(fs::read_to_string(&item).unwrap(), "this is tool");
    world.expect(0, &["verify", "tool"]);
    // Without the server, that fails.
    damage(&world, "tool");
    let (_, err) = world.expect(4, &["build", "--repair", "tool"]);
    assert!(err.contains("tool"), "{err}");
    assert_eq!(fs::read_to_string(&item).unwrap(), "something else");
}

#[test]
fn what_a_server_has_encoded_is_decoded() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    for entry in [directory.clone(), directory.join("nar")] {
        for file in fs::read_dir(entry).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                let plain = fs::read(&file).unwrap();
                let mut deflate = flate2::read::ZlibEncoder::new(&plain[..], Default::default());
                let mut encoded = Vec::new();
                let mut gzip = flate2::read::GzEncoder::new(&mut deflate, Default::default());
                std::io::Read::read_to_end(&mut gzip, &mut encoded).unwrap();
                fs::write(&file, encoded).unwrap();
            }
        }
    }
    for (encoding, expected) in [
        ("deflate, gzip", "libc: installed, "),
        ("sdch", "unknown content encoding `sdch`"),
    ] {
        let url = serve_with(
            &directory,
            &format!("Content-Encoding: {encoding}\r\n"),
            |_| {},
        );
        let other = World::with_recipes();
        let arguments = [
            "--substitute-urls",
            &url,
            "--trusted-keys",
            &public,
            "build",
            "libc",
        ];
        let output = other.run(&arguments);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(err.contains(expected), "{err}");
        assert_eq!(
            output.status.success(),
            encoding == "deflate, gzip",
            "{err}"
        );
    }
}

#[test]
fn substitutes_come_by_http_too_and_are_checked() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    pretend(&world, "libc");
    pretend(&world, "tool");
    let published = directory.to_str().unwrap();
    world.expect(0, &["publish", published, "libc", "tool", "--key", &secret]);
    let url = serve(&directory);
    let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
    let other = World::with_recipes();
    let (out, err) = other.expect(0, &[&servers[..], &["build", "tool", "libc"]].concat());
    for package in ["libc", "tool"] {
        assert!(err.contains(&format!("{package}: installed, ")), "{err}");
        other.expect(0, &["path", package]);
    }
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(err.contains("\ninstalled 3 items, "), "{err}");
    assert!(err.contains(&format!(", from {url}\n")), "{err}");
    // What was signed is what is taken.
    let narinfo = fs::read_dir(&directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).ok()?;
        (path.extension()? == "narinfo" && text.contains("-tool-1.0\n")).then_some((path, text))
    });
    let (path, text) = narinfo.unwrap();
    fs::write(&path, text.replace("NarSize: ", "NarSize: 1")).unwrap();
    let other = World::with_recipes();
    let (_, err) = other.expect(3, &[&servers[..], &["build", "tool"]].concat());
    assert!(err.contains("-tool-1.0, from http://"), "{err}");
    other.expect(2, &["path", "tool"]);
}

#[test]
fn a_dry_run_asks_servers_what_they_have_and_takes_nothing() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let archives = fs::read_dir(directory.join("nar")).unwrap();
    let zstd: u64 = archives
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "zst"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    for url in [format!("file://{published}"), serve(&directory)] {
        let other = World::with_recipes();
        let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
        let dry = |arguments: &[&str]| {
            let arguments = [&servers[..], &["build", "--dry-run", "tool"], arguments].concat();
            other.expect(0, &arguments).0
        };
        let out = dry(&[]);
        assert!(
            out.starts_with("to take from servers: 2 store items, "),
            "{out}"
        );
        let size = format!("\n  libc  {zstd} B from ");
        assert!(out.contains(&size), "{size}: {out}");
        // Nothing is fetched for libc alone.
        assert!(!out.contains("libc-1.0.tar.gz"), "{out}");
        let json: serde_json::Value = serde_json::from_str(&dry(&["--json"])).unwrap();
        let substitutes = json["substitutes"].as_array().unwrap();
        assert_eq!(substitutes.len(), 1, "{json}");
        assert_eq!(substitutes[0]["item"], "libc");
        assert_eq!(substitutes[0]["store_items"], 2);
        assert_eq!(substitutes[0]["download_size"], zstd);
        assert!(substitutes[0]["size"].as_u64().unwrap() > 0);
        let builds = json["builds"].as_array().unwrap();
        let built: Vec<_> = builds.iter().map(|build| &build["item"]).collect();
        assert!(!built.contains(&&serde_json::json!("libc")), "{built:?}");
        assert!(built.contains(&&serde_json::json!("tool")), "{built:?}");
        // A folder needs no network.
        let offline = dry(&["--offline"]);
        assert_eq!(offline.contains(&size), url.starts_with("file://"));
        // As the store was.
        other.expect(2, &["path", "libc"]);
        let plain = other.expect(0, &["build", "--dry-run", "tool"]).0;
        assert!(plain.contains("  libc "), "{plain}");
        assert!(!plain.contains("servers"), "{plain}");
    }
    let other = World::with_recipes();
    let url = format!("file://{published}");
    let dry = ["build", "--dry-run", "libc", "--substitute-urls", &url];
    let (_, err) = other.expect(2, &dry);
    assert!(
        err.contains("--substitute-urls without --trusted-keys"),
        "{err}"
    );
    let stranger = "test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let (_, err) = other.expect(3, &[&dry[..], &["--trusted-keys", stranger]].concat());
    assert!(
        err.contains("has no signature by a key that is trusted"),
        "{err}"
    );
    // A server that is not there is left, one that does not say what it is only named.
    let empty = other.0.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = format!("file://{}", empty.display());
    let left = "going on without this server";
    for (url, said, is_left) in [
        ("http://127.0.0.1:9", "http://127.0.0.1:9: ", true),
        ("file:///nowhere", "the directory does not exist", true),
        (
            "file:///nowhere?priority=10",
            "the directory does not exist",
            true,
        ),
        (&empty, "this may not be a substitute server", false),
    ] {
        let gone = ["--substitute-urls", url, "--trusted-keys", &public];
        let (out, err) = other.expect(0, &[&gone[..], &["build", "--dry-run", "libc"]].concat());
        assert!(err.contains(said), "{err}");
        assert_eq!(err.contains(left), is_left, "{err}");
        assert!(
            out.contains("\n  libc              never built here"),
            "{out}"
        );
    }
    // A proxy that cannot be used is not the server's fault.
    let mut command = other.command("small-linux");
    command.args([
        "--substitute-urls",
        "http://cache.example.org",
        "--trusted-keys",
        &public,
    ]);
    command.args(["build", "--dry-run", "libc"]);
    for name in ["http_proxy", "HTTP_PROXY"] {
        command.env(name, "http://user:s3cret@127.0.0.1:9");
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    let err = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(err.contains("the proxy http://"), "{err}");
    assert!(err.contains("127.0.0.1:9 cannot be used"), "{err}");
    assert!(!err.contains("s3cret"), "{err}");
}

#[test]
fn a_server_that_breaks_off_is_gone_on_without() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let broken = serve_halves(&directory, "", |_| {}, |name| !name.starts_with("nar/"));
    let urls = format!("{broken} file://{published}");
    let other = World::with_recipes();
    let (_, err) = other.expect(
        0,
        &[
            "--substitute-urls",
            &urls,
            "--trusted-keys",
            &public,
            "build",
            "libc",
        ],
    );
    let said = format!("libc: not taken from {broken}: the archive of ");
    assert!(err.contains(&said), "{err}");
    let said = "; the rest comes from other servers or is built\n";
    assert!(err.contains(said), "{err}");
    assert!(err.contains("\ninstalled 2 items, "), "{err}");
}

#[test]
fn an_interrupt_stops_an_installation_at_once() {
    crate::signals::unignore();
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    // Archives come by halves, and the server says nothing more.
    let (over, is_over) = channel::<()>();
    let is_over = Mutex::new(is_over);
    let url = serve_halves(
        &directory,
        "",
        |_| {},
        move |name| {
            if name.starts_with("nar/") {
                let _ = is_over
                    .lock()
                    .unwrap()
                    .recv_timeout(Duration::from_secs(50));
            }
            !name.starts_with("nar/")
        },
    );
    let other = World::with_recipes();
    let mut command = other.command("small-linux");
    command.args(["--substitute-urls", &url, "--trusted-keys", &public]);
    command.args(["--progress", "json", "build", "libc"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events: Vec<serde_json::Value> = Vec::new();
    let mut stopped = None;
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let arrived = event["received"].as_u64().unwrap_or(0);
        if arrived > 0 && stopped.is_none() {
            stopped = Some(std::time::Instant::now());
            let process = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        }
        events.push(event);
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(stopped.unwrap().elapsed() < Duration::from_secs(10));
    assert!(
        err.contains("interrupted; the same command goes on"),
        "{err}"
    );
    let last: Vec<&str> = events
        .iter()
        .rev()
        .take(3)
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(last, ["run-finished", "interrupted", "substitutes-ended"]);
    let summary = &events[events.len() - 1]["summary"];
    assert_eq!(summary["interrupted"], true);
    assert!(
        summary["not_started"]
            .as_array()
            .unwrap()
            .contains(&"libc".into())
    );
    let left = fs::read_dir(other.path("root/gnu/store")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("libc")),
        "{left:?}"
    );
    other.expect(2, &["path", "libc"]);
    drop(over);
}
