// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap report`, also from damaged and hostile records.

use bootstrap::formats::hash::Sha256Digest;

use crate::exchange::key;
use crate::server::serve;
use crate::small::on_small_disk;
use crate::{HASH, World};

#[test]
fn a_report_can_be_written_before_anything_was_built() {
    let world = World::with_recipes();
    let file = world.path("report.html");
    let output = file.to_str().unwrap();
    let (out, err) = world.expect(0, &["report", "-o", output]);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", "bootstrap: the report is in WORLD/report.html\n")
    );
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("Nothing was built yet"));
    assert!(page.contains("libc-1.0.tar.gz"));
    let (out, _) = world.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["items"].as_array().unwrap().len(), 5);
    // The hash of a seed of one archive is that of the archive.
    assert_eq!(report["seeds"][0]["sha256"], HASH);
    let (_, err) = world.expect(2, &["report", "-o", "/nowhere/report.html"]);
    assert!(err.contains("cannot write /nowhere/report.html"), "{err}");
    let (_, err) = world.expect(2, &["report", "-o", world.path("seeds").to_str().unwrap()]);
    assert!(err.contains("name a file"), "{err}");
    let (out, err) = world.expect(0, &["report", "-o", "-"]);
    assert!(out.starts_with("<!DOCTYPE html>") && out.ends_with("</html>\n"));
    assert_eq!(err, "");
}

#[test]
fn a_report_that_cannot_be_written_leaves_the_old_one() {
    on_small_disk(
        "report::a_report_that_cannot_be_written_leaves_the_old_one",
        |disk| {
            let world = World::with_recipes();
            let file = disk.join("report.html");
            std::fs::write(&file, "the last one").unwrap();
            let room = rustix::fs::statvfs(disk).unwrap();
            let room = (room.f_bavail * room.f_frsize) as usize;
            std::fs::write(disk.join("much"), vec![0; room]).unwrap();
            let (_, err) = world.expect(5, &["report", "-o", file.to_str().unwrap()]);
            assert!(err.contains("hint: make room and try again"), "{err}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "the last one");
            assert_eq!(std::fs::read_dir(disk).unwrap().count(), 2);
        },
    );
}

#[test]
fn a_report_shows_the_unfinished_items_of_a_killed_run() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["show", "--json", "tool"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let derivation = shown["derivation"].as_str().unwrap();
    let derivation = derivation.rsplit('/').next().unwrap();
    let events = format!(
        "{{\"time\":1000.0,\"event\":\"started\",\"item\":\"tool\",\"kind\":\"build\",\"derivation\":\"{derivation}\",\"log\":null}}\n\
         {{\"time\":1002.0,\"event\":\"phase-started\",\"item\":\"tool\",\"phase\":\"build\"}}\n\
         {{\"time\":1008.0,\"event\":\"processor\",\"busy\":1.5}}\n{{\"time\":1009.0,\"event\":\"phase-en"
    );
    let runs = "root/var/guix/bootstrap/runs";
    world.file(&format!("{runs}/1000.000000000.events.jsonl"), &events);
    let (out, _) = world.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let span = &report["spans"][0];
    assert_eq!(
        (&span["label"], &span["seconds"], &span["unfinished"]),
        (&"tool".into(), &8.0.into(), &true.into())
    );
    assert_eq!(span["phases"], serde_json::json!([["build", 2.0, 6.0]]));
    let (page, _) = world.expect(0, &["report", "-o", "-"]);
    assert!(page.contains("tool: not finished after 8.0 s; build 6.0 s"));
    assert!(page.contains("<li>\u{2026} not finished</li>"));
}

/// The state directory may hold anything.
#[test]
fn a_report_is_made_from_any_records() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["show", "--json", "libc"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let derivation = shown["derivation"].as_str().unwrap();
    let derivation = derivation.rsplit('/').next().unwrap();
    let state = "root/var/guix/bootstrap";
    let started = |time: &str, item: &str| {
        format!(
            "{{\"time\":{time},\"event\":\"started\",\"item\":\"{item}\",\"kind\":\"build\",\"derivation\":\"{derivation}\"}}\n"
        )
    };
    let failed = |time: &str, item: &str| {
        format!(
            "{{\"time\":{time},\"event\":\"failed\",\"item\":\"{item}\",\"message\":\"</script><b>\u{1b}[31m\",\
             \"last_lines\":[\"\\u0000\", \"<!--\"],\"log\":\"../../etc/passwd\"}}\n"
        )
    };
    let deep = "[".repeat(100_000);
    let events = [
        started("-1e308", "</svg><script>alert(1)</script>"),
        failed("1e308", "</svg><script>alert(1)</script>"),
        started("1e999", "libc"),
        started("5", "tool"),
        failed("4", "tool"),
        failed("4", "\\ud800"),
        "{\"time\":1,\"event\":\"planned\",\"cores\":0}\n".to_owned(),
        "{\"time\":2,\"event\":\"processor\",\"busy\":-1e300}\n".to_owned(),
        format!("{{\"time\":2,\"event\":\"started\",\"item\":{deep}\n{deep}\n"),
        "\0\0\0\n\r\n,\"event\":\"\n".to_owned(),
    ];
    world.file(
        &format!("{state}/runs/1000.000000000.events.jsonl"),
        &events.concat(),
    );
    let record = |started: &str, seconds: &str| {
        format!(
            "{{\"item\":\"libc\",\"kind\":\"build\",\"derivation\":\"{derivation}\",\"started\":{started},\"ended\":{started},\"cores\":0,\
             \"outputs\":[],\"seconds\":{seconds},\"user_seconds\":-1e308,\"system_seconds\":-1e308,\
             \"phases\":[{{\"phase\":\"\\\"><b>\",\"seconds\":1e308,\"start\":1e308}},{{\"phase\":\"x\",\"seconds\":-1,\"start\":-5}}]}}\n"
        )
    };
    for (started, seconds) in [
        ("18446744073709551615", "1e308"),
        ("0", "1e-320"),
        ("1000", "0"),
    ] {
        world.file(&format!("{state}/builds.jsonl"), &record(started, seconds));
        let (page, _) = world.expect(0, &["report", "-o", "-"]);
        assert!(page.ends_with("</html>\n"));
        for bad in [
            "NaN",
            "inf\"",
            "-inf",
            "<script>alert",
            "</script><b>",
            "\"><b>",
        ] {
            assert!(!page.contains(bad), "{bad} from {started}, {seconds}");
        }
        let (out, _) = world.expect(0, &["report", "--json"]);
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
        world.expect(0, &["build", "--dry-run", "tool"]);
    }
    // A pipe without a writer must not block.
    let pipe = world.path(&format!("{state}/runs/2000.000000000.events.jsonl"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let (_, err) = world.expect(0, &["report", "-o", "-"]);
    assert!(err.contains("events.jsonl: it is not a file"), "{err}");
}

#[test]
fn a_report_shows_the_recorded_builds_of_its_plan() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["show", "--json", "libc"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let derivation = shown["derivation"].as_str().unwrap();
    let derivation = derivation.rsplit('/').next().unwrap();
    let record = |derivation: &str| {
        format!(
            "{{\"item\":\"libc\",\"kind\":\"build\",\"derivation\":\"{derivation}\",\"started\":1000,\"ended\":1010,\"cores\":2,\
             \"outputs\":[],\"seconds\":10.0,\"user_seconds\":12.0,\"system_seconds\":1.0,\
             \"phases\":[{{\"phase\":\"build\",\"seconds\":8.0}}]}}\n"
        )
    };
    let other = "00000000000000000000000000000000-libc-0.drv";
    let records = record(derivation) + &record(other) + "{\"item\":\"li";
    world.file("root/var/guix/bootstrap/builds.jsonl", &records);
    let events = "{\"time\":1001.0,\"event\":\"processor\",\"busy\":1.5}\n{\"time\":2.0,\"event\":\"new\"}\nrubbish\n\
                  {\"time\":1011.0,\"event\":\"failed\",\"item\":\"tool\",\"message\":\"oh no\",\"last_lines\":[],\"log\":null,\"kept\":null}\n";
    world.file(
        "root/var/guix/bootstrap/runs/1000.000000000.events.jsonl",
        events,
    );
    let rebuild = format!(
        "{{\"item\":\"libc\",\"derivation\":\"{derivation}\",\"same\":false,\"time\":5}}\n"
    );
    world.file("root/var/guix/bootstrap/rebuilds.jsonl", &rebuild);
    let (out, _) = world.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["spans"].as_array().unwrap().len(), 1);
    assert_eq!(report["spans"][0]["phases"][0][0], "build");
    assert_eq!(report["samples"], serde_json::json!([[1001.0, 1.5]]));
    let items = report["items"].as_array().unwrap();
    let item = |label: &str| items.iter().find(|item| item["label"] == label).unwrap();
    assert_eq!(item("libc")["rebuilt"]["same"], false);
    assert_eq!(item("libc")["critical"], true);
    assert_eq!(item("tool")["failure"]["message"], "oh no");
    assert_eq!(item("tool")["rebuilt"], serde_json::Value::Null);
}

#[test]
fn a_failure_is_shown_until_that_derivation_is_made() {
    let world = World::with_recipes();
    let derivation = |package: &str| {
        let (out, _) = world.expect(0, &["show", "--json", package]);
        let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
        let derivation = shown["derivation"].as_str().unwrap();
        derivation.rsplit('/').next().unwrap().to_owned()
    };
    let failed = |item: &str, derivation: &str| {
        format!(
            "{{\"time\":1000.0,\"event\":\"started\",\"item\":\"{item}\",\"kind\":\"build\",\"derivation\":\"{derivation}\",\"log\":null}}\n\
             {{\"time\":1007.5,\"event\":\"failed\",\"item\":\"{item}\",\"message\":\"oh no\",\"likely_cause\":\"x.c:1: error: y\",\
             \"last_lines\":[\"y\"],\"log\":\"/log.gz\",\"kept\":null}}\n"
        )
    };
    // A failure with other recipes is left out.
    let other = "00000000000000000000000000000000-libc-0.drv";
    let runs = [
        failed("tool", &derivation("tool")) + &failed("libc", other),
        "{\"time\":2000.0,\"event\":\"interrupted\"}\n".to_owned(),
    ];
    for (number, events) in runs.iter().enumerate() {
        let name = format!("root/var/guix/bootstrap/runs/{number}000.000000000.events.jsonl");
        world.file(&name, events);
    }
    let (out, _) = world.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let items = report["items"].as_array().unwrap();
    let item = |label: &str| items.iter().find(|item| item["label"] == label).unwrap();
    assert_eq!(item("libc")["failure"], serde_json::Value::Null);
    assert_eq!(
        item("tool")["failure"],
        serde_json::json!({
            "message": "oh no",
            "hint": null,
            "likely_cause": "x.c:1: error: y",
            "last_lines": ["y"],
            "log": "/log.gz",
        })
    );
    let spans = report["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1);
    assert_eq!(
        (&spans[0]["label"], &spans[0]["seconds"]),
        (&"tool".into(), &7.5.into())
    );
    assert_eq!(spans[0]["failed"], true);
}

#[test]
fn commands_in_a_report_are_for_its_store() {
    let world = World::with_recipes();
    let event = "{\"time\":1000.0,\"event\":\"failed\",\"item\":\"tool\",\"message\":\"no; run `bootstrap build libc`\",\
                 \"last_lines\":[],\"log\":\"/log.gz\",\"kept\":null}\n";
    let runs = "root/var/guix/bootstrap/runs";
    world.file(&format!("{runs}/1000.000000000.events.jsonl"), event);
    let file = world.path("report.html");
    world.expect(0, &["report", "-o", file.to_str().unwrap()]);
    let page = world.hide(&std::fs::read_to_string(&file).unwrap());
    let typed = |arguments: &str| world.command_line(arguments).replace('`', "");
    for part in [
        format!("<code>{}</code>, in /log.gz", typed("log tool")),
        format!("run <code>{}</code>", typed("all")),
        format!("<p>no; run {}</p>", world.command_line("build libc")),
        format!("{{\"program\":\"{}\"", typed("").trim_end()),
    ] {
        assert!(page.contains(&part), "{part}\n{page}");
    }
}

#[test]
fn a_report_does_without_unreadable_records() {
    let world = World::with_recipes();
    let runs = "root/var/guix/bootstrap/runs";
    let event = "{\"time\":1011.0,\"event\":\"failed\",\"item\":\"tool\",\"message\":\"oh no\",\"last_lines\":[],\"log\":null,\"kept\":null}\n";
    world.file(&format!("{runs}/1000.000000000.events.jsonl"), event);
    // A directory cannot be read as a file, not even by root.
    for directory in [
        "runs/2000.000000000.events.jsonl",
        "rebuilds.jsonl",
        "builds.jsonl",
    ] {
        let path = format!("root/var/guix/bootstrap/{directory}");
        std::fs::create_dir(world.path(&path)).unwrap();
    }
    let (out, err) = world.expect(0, &["report", "--json"]);
    for name in [
        "runs/2000.000000000.events.jsonl",
        "rebuilds.jsonl",
        "builds.jsonl",
    ] {
        let root = "WORLD/root";
        let said = format!("bootstrap: cannot read {root}/var/guix/bootstrap/{name}: ");
        assert!(err.contains(&said), "{err}");
    }
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let items = report["items"].as_array().unwrap();
    let tool = items.iter().find(|item| item["label"] == "tool").unwrap();
    assert_eq!(tool["failure"]["message"], "oh no");
}

#[test]
fn a_report_lists_the_files_of_a_package() {
    let (out, _) = World::with_recipes().expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let items = report["items"].as_array().unwrap();
    let tool = items.iter().find(|item| item["label"] == "tool").unwrap();
    let files = tool["files"].as_array().unwrap().iter();
    let labels: Vec<&serde_json::Value> = files
        .map(|file| &report["files"][file.as_u64().unwrap() as usize]["label"])
        .collect();
    assert_eq!(labels, ["source/tool-1.0.tar.gz"]);
}

#[test]
fn a_run_without_a_record_still_succeeds() {
    let world = World::with_recipes();
    let content = "what everything is made of";
    for file in ["make", "bash", "libc", "tool"] {
        world.file(&format!("served/{file}-1.0.tar.gz"), content);
    }
    world.file("served/base.txz", content);
    world.replace(HASH, &Sha256Digest::of(content).to_base16());
    world.replace("https://127.0.0.1:9", &serve(&world.path("served")));
    let runs = "root/var/guix/bootstrap/runs";
    world.file(runs, "no directory");
    let (_, err) = world.expect(0, &["fetch", "tool"]);
    let said = "bootstrap: this run leaves no record of what it was made from: cannot write ";
    assert!(err.contains(said), "{err}");
    assert!(err.contains("`bootstrap report` will not show"), "{err}");
    std::fs::remove_file(world.path(runs)).unwrap();
    world.expect(0, &["report", "-o", "-"]);
}

#[test]
fn the_secrets_of_urls_are_neither_shown_nor_recorded() {
    let world = World::with_recipes();
    world.replace("https://127.0.0.1:9", "http://user:s3cr3t@127.0.0.1:9");
    let url = "http://user:s3cr3t@127.0.0.1:9/?priority=10";
    let (_, public) = key(&world);
    // A parameter that servers do not have is refused, without being shown.
    let odd = "http://user:s3cr3t@127.0.0.1:9/?token=s3cr3t";
    let arguments = ["--substitute-urls", odd, "--trusted-keys", &public];
    let (_, err) = world.expect(2, &[&arguments[..], &["build", "tool"]].concat());
    assert!(
        err.contains("http://***@127.0.0.1:9") && !err.contains("s3cr3t"),
        "{err}"
    );
    for progress in ["plain", "json"] {
        let arguments = ["--substitute-urls", url, "--trusted-keys", &public];
        let more = [
            "--progress",
            progress,
            "-v",
            "-v",
            "--keep-going",
            "build",
            "tool",
        ];
        let output = world.run(&[&arguments[..], &more].concat());
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        for shown in [&output.stdout, &output.stderr] {
            let shown = String::from_utf8_lossy(shown);
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("http://***@127.0.0.1:9"), "{err}");
    }
    let runs = world.path("root/var/guix/bootstrap/runs");
    let records = std::fs::read_dir(runs).unwrap();
    let mut count = 0;
    for record in records {
        let text = std::fs::read_to_string(record.unwrap().path()).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
        count += 1;
    }
    assert!(count >= 2, "{count}");
    for arguments in [&["report", "-o", "-"][..], &["report", "--json"]] {
        let (page, _) = world.expect(0, arguments);
        assert!(!page.contains("s3cr3t"), "{page}");
    }
}
