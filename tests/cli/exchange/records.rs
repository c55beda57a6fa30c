// SPDX-License-Identifier: GPL-3.0-or-later
//! Substitutes in the events that programs read, in the records of runs, and in the report.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{ending, key, publish_libc};
use crate::World;

#[test]
fn programs_are_told_of_each_substitute_and_it_is_recorded() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let url = format!("file://{published}");
    let other = World::with_recipes();
    let arguments = ["--substitute-urls", &url, "--trusted-keys", &public];
    let (out, err) = other.expect(
        0,
        &[&arguments[..], &["--progress", "json", "build", "libc"]].concat(),
    );
    let read = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|event| event["event"] != "preparing")
            .collect()
    };
    let events = read(&out);
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["run-started", "substitutes-found"], "{err}");
    assert_eq!(events[1]["substitutes"], 2);
    assert_eq!(events[1]["location"], url.as_str());
    let ended = kinds
        .iter()
        .position(|kind| *kind == "substitutes-ended")
        .unwrap();
    assert_eq!(events[ended]["installed"], 2);
    assert_eq!(events[ended]["problem"], serde_json::Value::Null);
    assert_eq!(kinds[ended + 1..], ["run-finished"]);
    for (item, output) in [("libc", "out"), ("libc:static", "static")] {
        let of_it: Vec<&serde_json::Value> = events
            .iter()
            .filter(|event| event["item"] == item)
            .collect();
        let (first, last) = (of_it[0], of_it[of_it.len() - 1]);
        assert_eq!(
            (&first["event"], &last["event"]),
            (&"started".into(), &"finished".into())
        );
        assert_eq!(
            (&first["kind"], &last["kind"]),
            (&"substitute".into(), &"substitute".into())
        );
        let derivation = first["derivation"].as_str().unwrap();
        assert!(derivation.ends_with("-libc-1.0.drv"), "{derivation}");
        assert_eq!(last["made"]["outputs"][0]["name"], output);
        let arrived = of_it
            .iter()
            .rfind(|event| event["event"] == "download-progress")
            .unwrap();
        assert_eq!(arrived["received"], arrived["total"]);
    }
    let runs = fs::read_dir(other.path("root/var/guix/bootstrap/runs")).unwrap();
    let runs: Vec<_> = runs
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(runs.len(), 1);
    let recorded = read(&runs[0]);
    let told = kinds.iter().filter(|kind| **kind != "download-progress");
    assert_eq!(recorded.len(), told.count());
    // A time that says nothing of how long a build takes.
    assert!(!other.path("root/var/guix/bootstrap/builds.jsonl").exists());
    // It took place all the same.
    let (out, _) = other.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let spans = report["spans"].as_array().unwrap().iter();
    let mut spans: Vec<_> = spans.map(|span| [&span["label"], &span["kind"]]).collect();
    spans.sort_by_key(|span| span[0].to_string());
    assert_eq!(
        spans,
        [["libc", "substitute"], ["libc:static", "substitute"]]
    );
    assert!(report["cores"].as_u64().unwrap() >= 1);
    let file = other.path("report.html");
    other.expect(0, &["report", "-o", file.to_str().unwrap()]);
    let page = fs::read_to_string(&file).unwrap();
    assert!(!page.contains("Nothing was built yet"), "{page}");
    assert!(page.contains(">2 substitutes</text>"), "{page}");
    // From other recipes it is another road's.
    other.replace("version = \"1.0\"", "version = \"1.1\"");
    let (out, _) = other.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["spans"], serde_json::json!([]));
}

#[test]
fn all_users_can_read_records_whatever_the_umask_was() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let other = World::with_recipes();
    let url = format!("file://{published}");
    let plain = other.command("small-linux");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
    let output = command.args(servers).args(["build", "libc"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let runs = other.path("root/var/guix/bootstrap/runs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&runs), 0o755);
    let events = ending(&runs, ".events.jsonl");
    assert_eq!(events.len(), 1);
    assert_eq!(mode(&events[0]), 0o644);
}
