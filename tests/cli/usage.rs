// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bootstrap::formats::hash::Sha256Digest;

use crate::{HASH, World, bootstrap};

#[test]
fn help_names_every_command_and_every_exit_status() {
    let output = bootstrap().arg("-h").output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn every_command_has_help_of_its_own() {
    let commands = [
        "all",
        "build",
        "explain",
        "fetch",
        "verify",
        "lock",
        "list",
        "show",
        "path",
        "log",
        "graph",
        "report",
        "shell",
        "export",
        "import",
        "publish",
        "key",
        "daemon",
        "top",
        "doctor",
        "config",
        "man",
        "gc",
        "roots",
        "seed",
        "completions",
    ];
    for command in commands {
        let output = bootstrap().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
        assert!(output.stderr.is_empty(), "{command}");
        let help = String::from_utf8(output.stdout).unwrap();
        let (_, examples) = help.split_once("\nExamples:\n").expect(command);
        let calls = examples.matches("bootstrap ").count();
        assert!(calls >= 2 && examples.contains(command), "{help}");
    }
    // None is forgotten here.
    let output = bootstrap().arg("-h").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let listed = list.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?;
        let name = name.split(' ').next()?;
        (!name.is_empty()).then_some(name)
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), BTreeSet::from(commands));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage: bootstrap"),
        (&["bulid"], "'build'"),
        (&["build"], "<PKG>"),
        (&["list", "-j", "0"], "0 is not in 1.."),
        (
            &["list", "--system", "x86_64-hurd"],
            "expected one of x86_64-freebsd, x86_64-linux",
        ),
        (&["list", "-q", "-v"], "cannot be used with"),
        (&["gc", "--max-freed", "much"], "is not a size"),
        (&["list", "--progress", "loud"], "auto, plain, json"),
        (&["list", "--store-dir", "gnu/store"], "--store-dir"),
    ];
    for (arguments, message) in cases {
        let output = bootstrap().args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(message), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Says that what `program` should have checked is not checked, where it may be missing: `tests/run.sh`, whose machine
/// has it, sets `BOOTSTRAP_PROGRAMS_REQUIRED`.
fn passed_over(program: &str, error: &std::io::Error) {
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{program}");
    assert!(
        std::env::var_os("BOOTSTRAP_PROGRAMS_REQUIRED").is_none(),
        "{program} is missing; on Debian: apt-get install {program}"
    );
    eprintln!("{program} is missing: it checks nothing here");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = bootstrap().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("graph") && script.contains("keep-going"),
            "{shell}"
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(script.as_bytes()).unwrap();
        let mut check = std::process::Command::new(shell);
        match check.arg("-n").arg(file.path()).output() {
            Ok(checked) => assert!(checked.status.success(), "{shell}: {checked:?}"),
            Err(error) => passed_over(shell, &error),
        }
    }
}

#[test]
fn unknown_packages_and_seeds_are_wrong_usage_too() {
    let world = World::with_recipes();
    for command in ["build", "fetch", "show", "path", "log", "graph"] {
        let (_, err) = world.expect(2, &[command, "toll"]);
        let list = world.command_line("list");
        assert_eq!(
            err,
            format!(
                "bootstrap: unknown package `toll`, did you mean `tool`?\nhint: {list} shows all packages\n"
            ),
            "{command}"
        );
    }
    let (_, err) = world.expect(2, &["seed", "show", "large"]);
    assert_eq!(
        err,
        "bootstrap: unknown seed `large`\nhint: known seeds: small-freebsd, small-linux\n"
    );
    let (_, err) = world.expect(2, &["list", "--system", "x86_64-freebsd"]);
    assert!(
        err.contains("the seed small-linux is for x86_64-linux, not for x86_64-freebsd"),
        "{err}"
    );
}

#[test]
fn a_command_in_a_message_does_what_it_says_as_it_stands() {
    let world = World::with_recipes();
    let program = Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    let path = std::env::var("PATH").unwrap();
    for (arguments, next, said) in [
        (["show", "toll"], "list", "tool"),
        (["path", "libc"], "build libc", ": failed"),
    ] {
        let output = world.run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let command = quoted.find(|text| text.ends_with(next)).unwrap();
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("{command} --offline 2>&1")])
            .env(
                "PATH",
                format!("{}:{path}", program.parent().unwrap().display()),
            )
            .env("BOOTSTRAP_CONFIG", "")
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.contains(said), "{command}\n{out}");
    }
}

#[test]
fn a_file_that_cannot_be_used_says_what_to_do() {
    let world = World::with_recipes();
    for (arguments, advice) in [
        (
            ["report", "-o", "/nowhere/x"],
            "hint: look whether the name is right",
        ),
        (
            ["report", "-o", "/dev/null/x"],
            "hint: one of the directories in its name is a file",
        ),
        (
            ["--seed-file=/nowhere/x", "list", "--json"],
            "hint: look whether the name is right",
        ),
    ] {
        let (_, err) = world.expect(2, &arguments);
        assert!(err.contains(advice), "{err}");
    }
    // The world has seeds of its own.
    let output = bootstrap()
        .args(["--seeds=/nowhere/x", "seed", "list"])
        .output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[test]
fn a_place_that_cannot_hold_a_store_is_an_unfit_environment() {
    let world = World::with_recipes();
    world.file("root", "not a directory");
    let (_, err) = world.expect(5, &["fetch", "tool"]);
    assert!(err.contains("WORLD/root"), "{err}");
}

#[test]
fn files_with_other_bytes_than_promised_end_with_3() {
    let world = World::with_recipes();
    // The seed's archive is in the cache as it should be, and the source with other bytes.
    let [base, source] = ["base", "source"].map(|bytes| Sha256Digest::of(bytes).to_base16());
    for (file, hash) in [
        ("seeds/small-linux.toml", &base),
        ("recipes/make/recipe.toml", &source),
    ] {
        let text = std::fs::read_to_string(world.path(file)).unwrap();
        world.file(file, &text.replace(HASH, hash));
    }
    let cached = |hash: &str| format!("root/var/cache/bootstrap/files/{hash}");
    world.file(&cached(&base), "base");
    let cached = cached(&source);
    world.file(&cached, "damaged");
    let (out, err) = world.expect(3, &["--offline", "fetch", "stage0/make"]);
    assert_eq!(out, "");
    assert!(err.contains("from the cache has the wrong bytes"), "{err}");
    assert!(err.contains(&source), "{err}");
    // It is renamed, for users to look at, and not used.
    assert!(err.contains("rejected"), "{err}");
    assert!(!world.path(&cached).exists());
}

#[test]
fn a_seed_file_with_other_bytes_is_another_seed_and_never_the_pinned_one() {
    let world = World::with_recipes();
    let seed = "seeds/small-linux.toml";
    let text = std::fs::read_to_string(world.path(seed)).unwrap();
    world.file(
        seed,
        &text.replace(HASH, &Sha256Digest::of("base").to_base16()),
    );
    let shown = |options: &[&str]| {
        let arguments = [options, &["show", "--json", "stage0/make"]].concat();
        world.expect(0, &arguments).0
    };
    let pinned = shown(&[]);
    for (bytes, is_pinned) in [("base", true), ("some other archive", false)] {
        world.file("base.txz", bytes);
        let file = world.path("base.txz");
        let given = shown(&["--seed-file", file.to_str().unwrap()]);
        assert_eq!(given == pinned, is_pinned, "{bytes}: {given}");
    }
}

#[test]
fn what_cannot_be_fetched_ends_with_4_and_says_where_it_was_tried() {
    let world = World::with_recipes();
    let (out, err) = world.expect(4, &["--offline", "--keep-going", "fetch", "tool"]);
    // Whichever comes first is explained.
    assert_eq!(err.matches(": failed: ").count(), 1, "{err}");
    let summary = err.lines().find(|line| line.starts_with("failed for"));
    assert!(
        summary.is_some_and(|line| line.contains(" source/tool-1.0.tar.gz")),
        "{err}"
    );
    assert!(
        err.contains("small-linux") || err.contains("base.txz"),
        "{err}"
    );
    assert_eq!(out, "");
}

#[test]
fn progress_as_json_is_one_event_a_line_with_the_summary_last() {
    let world = World::with_recipes();
    let (out, _) = world.expect(4, &["--offline", "--progress", "json", "fetch", "tool"]);
    let events: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Something at once: the steps of the preparation.
    assert_eq!(events[0]["event"], "preparing");
    assert_eq!(events[0]["step"], "reading recipes and seed");
    let steps = events
        .iter()
        .take_while(|event| event["event"] == "preparing");
    let begun = &events[steps.count()];
    assert_eq!(begun["event"], "run-started");
    // The run counts from the start of the preparation.
    let preparation = begun["time"].as_f64().unwrap() - events[0]["time"].as_f64().unwrap();
    let seconds = events.last().unwrap()["summary"]["seconds"]
        .as_f64()
        .unwrap();
    assert!(seconds >= preparation, "{seconds} {preparation}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run-finished");
    assert!(!last["summary"]["failed"].as_array().unwrap().is_empty());
}

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
    for name in &of_a_call[..3] {
        assert!(about.contains(&format!("--{name}")), "{about}");
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
fn names_of_packages_outputs_and_seeds_are_completed() {
    let names = |what: &str| {
        let output = bootstrap().args(["names", what]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let packages = names("packages");
    for name in ["gcc", "gcc:lib", "libc:static", "stage0/make"] {
        assert!(
            packages.lines().any(|line| line == name),
            "{name}: {packages}"
        );
    }
    assert!(names("seeds").contains("debian-"));

    let script = bootstrap()
        .args(["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    let script = String::from_utf8(script).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ask = format!(
            "{script}\nCOMP_LINE='{line}' COMP_POINT={} COMP_WORDS=({}) COMP_CWORD={}\n\
             _bootstrap_with_names bootstrap '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len(),
            words
                .iter()
                .map(|word| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let mut path = std::ffi::OsString::from(program.parent().unwrap());
        path.push(":/usr/bin:/bin");
        // Too long for an argument.
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ask");
        std::fs::write(&file, ask).unwrap();
        let output = std::process::Command::new("bash")
            .arg("--norc")
            .arg(&file)
            .env("PATH", path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |line: &str, name: &str| complete(line).lines().any(|found| found == name);
    assert!(
        has("bootstrap build coreu", "coreutils"),
        "{}",
        complete("bootstrap build coreu")
    );
    assert!(
        has("bootstrap path gcc:l", "lib"),
        "{}",
        complete("bootstrap path gcc:l")
    );
    assert!(
        has("bootstrap --seed debian-1", "debian-13-amd64"),
        "{}",
        complete("bootstrap --seed debian-1")
    );
    assert!(
        has("bootstrap seed show free", "freebsd-14.3-amd64"),
        "{}",
        complete("bootstrap seed show free")
    );
    assert!(
        has("bootstrap shell --of gre", "grep"),
        "{}",
        complete("bootstrap shell --of gre")
    );
    assert!(!has("bootstrap import coreu", "coreutils"));
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
fn there_is_a_manual_page_for_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let output = bootstrap().arg("man").arg(&pages).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = std::fs::read_to_string(pages.join("bootstrap.1")).unwrap();
    assert!(
        page.contains(".TH") && page.contains("Exit status"),
        "{page}"
    );
    for setting in [
        "/etc/bootstrap.toml",
        "BOOTSTRAP_CONFIG",
        "BOOTSTRAP_ROOT",
        "TMPDIR",
    ] {
        assert!(page.contains(setting), "{setting}: {page}");
    }
    let report = std::fs::read_to_string(pages.join("bootstrap-report.1")).unwrap();
    assert!(
        report.contains("bootstrap report \\-o report.html"),
        "{report}"
    );
    let output = bootstrap().args(["man", "/dev/null/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn make_installs_the_program_its_manual_pages_and_completions_where_they_are_looked_for() {
    let program = env!("CARGO_BIN_EXE_bootstrap");
    // BSD make, where it is not `make` itself.
    for make in ["make", "bmake"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a stage");
        let output = std::process::Command::new(make)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .env("BOOTSTRAP_CONFIG", "/nowhere/bootstrap.toml")
            .arg("install")
            .arg(format!("TOOL={program}"))
            .arg(format!("DESTDIR={}", target.display()))
            .arg("PREFIX=/usr")
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if make == "bmake" => {
                passed_over(make, &error);
                continue;
            }
            Err(error) => panic!("{make}: {error}"),
        };
        assert!(output.status.success(), "{make}: {output:?}");
        for (file, mode, part) in [
            ("bin/bootstrap", 0o755, ""),
            ("share/man/man1/bootstrap.1", 0o644, ".TH bootstrap 1"),
            (
                "share/man/man1/bootstrap-verify.1",
                0o644,
                ".TH bootstrap-verify 1",
            ),
            (
                "share/bash-completion/completions/bootstrap",
                0o644,
                "complete -F _bootstrap",
            ),
            (
                "share/zsh/site-functions/_bootstrap",
                0o644,
                "#compdef bootstrap",
            ),
            (
                "share/fish/vendor_completions.d/bootstrap.fish",
                0o644,
                "complete -c bootstrap",
            ),
        ] {
            let path = target.join("usr").join(file);
            let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{file}");
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(part), "{make}: {file}: {part}");
        }
        let installed = target.join("usr/bin/bootstrap");
        let output = std::process::Command::new(installed)
            .arg("--version")
            .output();
        assert!(output.unwrap().status.success());
    }
}

#[test]
fn the_version_at_length_is_for_reports_of_problems() {
    let at_length = |arguments: &[&str]| {
        let output = bootstrap().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = at_length(&["--version", "--verbose"]);
    assert_eq!(at_length(&["-vV"]), text);
    for part in [
        "bootstrap 0",
        "compiled for: ",
        "compiled by: rustc ",
        "systems: x86_64-freebsd",
    ] {
        assert!(text.contains(part), "{text}");
    }
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
