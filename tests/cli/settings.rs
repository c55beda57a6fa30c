// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings: where each is from, which are used, and what is said of wrong ones.

use crate::bootstrap;

/// A file of settings in a directory of its own.
fn settings(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bootstrap.toml"), text).unwrap();
    directory
}

#[test]
fn config_says_where_each_setting_is_from() {
    let directory = settings("max-jobs = 3\nseed = \"from-file\"\n");
    let file = directory.path().join("bootstrap.toml");
    let run = |arguments: &[&str]| {
        let mut command = bootstrap();
        command
            .env("BOOTSTRAP_CONFIG", &file)
            .env("BOOTSTRAP_SEED", "from-environment");
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["config", "--json", "--cores", "2"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let setting = |name: &str| {
        let found = shown
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name);
        let found = found.unwrap();
        (
            found["value"].as_str().map(ToOwned::to_owned),
            found["source"].as_str().unwrap().to_owned(),
        )
    };
    let pair = |value: &str, source: &str| (Some(value.to_owned()), source.to_owned());
    assert_eq!(setting("cores"), pair("2", "command line"));
    assert_eq!(setting("seed"), pair("from-environment", "environment"));
    assert_eq!(setting("max-jobs"), pair("3", "file"));
    assert_eq!(setting("store-dir"), pair("/gnu/store", "default"));
    assert_eq!(setting("root"), (None, "default".to_owned()));
    assert!(run(&["config"]).contains("max-jobs         3                        file\n"));
}

#[test]
fn config_shows_what_is_used_where_nothing_is_set() {
    let output = bootstrap()
        .args(["config", "--json", "--root", "/tmp/own", "--cores", "3"])
        .env("BOOTSTRAP_CONFIG", "")
        .env("TMPDIR", "/var/tmp")
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = shown.as_array().unwrap();
    let value = |name: &str| {
        let found = shown.iter().find(|one| one["name"] == name).expect(name);
        found["value"].as_str().map(ToOwned::to_owned)
    };
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(value("state-dir"), of("/tmp/own/var/guix"));
    assert_eq!(value("max-jobs"), of("3"));
    assert_eq!(value("timeout"), of("no limit"));
    assert_eq!(value("TMPDIR"), of("/var/tmp"));
    for name in ["system", "seed", "max-processes", "build-tmp-size"] {
        assert!(value(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
}

#[test]
fn every_global_option_is_a_setting_of_environment_and_file() {
    let help = bootstrap().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, globals) = help.split_once("Global options:").unwrap();
    let words = globals.lines().filter_map(|line| {
        let line = line.trim_start();
        let option = line.strip_prefix('-')?.split_whitespace().find_map(|word| {
            let word = if word.starts_with("--") {
                &word[1..]
            } else {
                word
            };
            word.strip_prefix('-').filter(|name| name.len() > 1)
        });
        option.map(|name| name.trim_end_matches([',', '.']).to_owned())
    });
    let names: Vec<String> = words.collect();
    assert!(names.len() > 20, "{names:?}");
    // What config's help names as belonging to a call.
    let of_a_call = ["verbose", "quiet", "json", "help", "version"];
    let about = bootstrap().args(["config", "--help"]).output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    // So does the program's own.
    let (_, own) = help.split_once("Settings: ").unwrap();
    let (own, _) = own.split_once("can be set").unwrap();
    for name in &of_a_call[..3] {
        assert!(about.contains(&format!("--{name}")), "{about}");
        assert!(own.contains(&format!("--{name}")), "{own}");
    }
    let candidates = [
        "7",
        "true",
        "x86_64-linux",
        "plain",
        "always",
        "gnu=https://example.org/",
        "/gnu/store",
        "x",
    ];
    let source = |name: &str, run: &mut assert_cmd::Command| {
        let output = run.args(["config", "--json"]).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let mut shown = shown.as_array()?.iter();
        let found = shown.find(|one| one["name"] == name)?;
        found["source"].as_str().map(ToOwned::to_owned)
    };
    for name in names
        .iter()
        .filter(|name| !of_a_call.contains(&name.as_str()))
    {
        let variable = format!("BOOTSTRAP_{}", name.replace('-', "_").to_uppercase());
        let by_environment = candidates.iter().any(|value| {
            let mut run = bootstrap();
            run.env("BOOTSTRAP_CONFIG", "").env(&variable, value);
            source(name, &mut run).as_deref() == Some("environment")
        });
        assert!(by_environment, "{variable}");
        let by_file = candidates.iter().any(|value| {
            let quoted = format!("{name} = \"{value}\"\n");
            let directory = settings(&quoted);
            let mut run = bootstrap();
            run.env("BOOTSTRAP_CONFIG", directory.path().join("bootstrap.toml"));
            source(name, &mut run).as_deref() == Some("file")
        });
        assert!(by_file, "{name}");
    }
}

#[test]
fn a_wrong_value_of_the_environment_is_reported_with_its_variable() {
    let run = |arguments: &[&str]| {
        let mut command = bootstrap();
        command
            .env("BOOTSTRAP_CONFIG", "")
            .env("BOOTSTRAP_CORES", "x");
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let err = run(&["config"]);
    assert!(
        err.contains("invalid value 'x' for 'BOOTSTRAP_CORES'"),
        "{err}"
    );
    let err = run(&["config", "--cores", "y"]);
    assert!(err.contains("invalid value 'y' for '--cores <N>'"), "{err}");
}

#[test]
fn a_bad_setting_stops_everything_and_a_missing_file_only_where_it_was_named() {
    let directory = settings("max-jbos = 3\n");
    let run = |file: &std::path::Path| {
        let output = bootstrap()
            .env("BOOTSTRAP_CONFIG", file)
            .arg("list")
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, err) = run(&directory.path().join("bootstrap.toml"));
    assert_eq!(status, Some(2));
    assert!(
        err.contains("unknown setting `max-jbos`, did you mean `max-jobs`?"),
        "{err}"
    );
    let (status, err) = run(&directory.path().join("other.toml"));
    assert_eq!(status, Some(2));
    assert!(
        err.contains("cannot read") && err.contains("other.toml"),
        "{err}"
    );
}

#[test]
fn config_hides_the_secrets_of_urls() {
    for arguments in [&["config"][..], &["config", "--json"]] {
        let output = bootstrap()
            .args([
                "--substitute-urls",
                "https://user:s3cr3t@example.org/?token=s3cr3t",
            ])
            .args(arguments)
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.contains("https://***@example.org/?token=***"), "{out}");
        assert!(!out.contains("s3cr3t"), "{out}");
    }
}
