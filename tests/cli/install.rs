// SPDX-License-Identifier: GPL-3.0-or-later
//! Manual pages and completions, and where `make install` puts them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use crate::bootstrap;

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
    let packages = names("packages-without-outputs");
    assert!(packages.lines().any(|line| line == "gcc"), "{packages}");
    assert!(!packages.contains(':'), "{packages}");
    assert!(names("seeds").contains("debian-"));

    let script = bootstrap()
        .args(["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    let script = String::from_utf8(script).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    let complete = |line: &str| {
        // An equals sign is a word of its own to bash.
        let parts = line.replace('=', " = ");
        let words: Vec<&str> = parts.trim_end().split(' ').collect();
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
    for line in [
        "bootstrap --seed=debian-1",
        "bootstrap verify --diverse debian-1",
        "bootstrap verify --diverse freebsd-14.3-amd64 debian-1",
    ] {
        assert!(has(line, "debian-13-amd64"), "{line}: {}", complete(line));
    }
    assert!(has("bootstrap shell --of=gre", "grep"));
    // Values that are neither packages nor seeds.
    for line in [
        "bootstrap build --timeout h",
        "bootstrap export -o h",
        "bootstrap -j h",
    ] {
        assert!(!has(line, "hello"), "{line}: {}", complete(line));
    }
    assert!(has("bootstrap graph --format s", "svg"));
    assert!(!has("bootstrap graph --format s", "sed"));
    // Nothing but names.
    assert!(!has("bootstrap --seed=d", "daemon"));
    // These are about builds, which make every output.
    for command in ["show", "log", "explain", "graph", "shell --of"] {
        let line = format!("bootstrap {command} gcc:l");
        assert!(!has(&line, "lib"), "{line}: {}", complete(&line));
        let line = format!("bootstrap {command} coreu");
        assert!(has(&line, "coreutils"), "{line}: {}", complete(&line));
    }

    // The names are those of the recipes and seeds that the line names.
    let own = tempfile::tempdir().unwrap();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for entry in std::fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("freebsd-14.3-amd64") {
            std::fs::copy(&path, own.path().join(name)).unwrap();
        }
    }
    let own = own.path().display();
    // So is the seed: with one that is not known there is no plan.
    for option in ["--seed ", "--seed="] {
        let line = |seed: &str| format!("bootstrap {option}{seed} build coreu");
        let known = line("debian-13-gcc-amd64");
        assert!(has(&known, "coreutils"), "{}", complete(&known));
        let unknown = line("unknown");
        assert!(!has(&unknown, "coreutils"), "{}", complete(&unknown));
    }
    for option in [format!("--seeds {own}"), format!("--seeds={own}")] {
        let line = format!("bootstrap {option} seed show free");
        assert!(has(&line, "freebsd-14.3-amd64"), "{}", complete(&line));
        let line = format!("bootstrap {option} seed show deb");
        assert!(!has(&line, "debian-13-amd64"), "{}", complete(&line));
    }
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
