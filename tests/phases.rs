// SPDX-License-Identifier: GPL-3.0-or-later
//! Phases of stage0, run by this machine's shell over tools that answer as those of other systems do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// An output with one program, `bin/tool`, and tools made of `scripts`, by name.
fn output_with(scripts: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for directory in ["tools", "out/bin"] {
        fs::create_dir_all(place.path().join(directory)).unwrap();
    }
    let program = |path: &str, content: &[u8]| {
        let path = place.path().join(path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("out/bin/tool", b"\x7fELF\x02\n");
    for (name, script) in scripts {
        program(
            &format!("tools/{name}"),
            format!("#!/bin/sh\n{script}").as_bytes(),
        );
    }
    place
}

/// Runs `command` with what the files of stage0 define.
fn run(place: &Path, stage: &str, command: &str) -> Output {
    let stage0 = Path::new(env!("CARGO_MANIFEST_DIR")).join("stage0");
    let script = format!(". \"$0/outputs.sh\"; . \"$0/validate.sh\"; {command}");
    let path = format!("{}:/usr/bin:/bin", place.join("tools").display());
    Command::new("sh")
        .args(["-eu", "-c", &script])
        .arg(stage0)
        .env("PATH", path)
        .env("TMPDIR", place)
        .env("out", place.join("out"))
        .env("outputs", "out")
        .env("stage", stage)
        .env("loader", "ld.so")
        .output()
        .unwrap()
}

/// What readelf says of a program with a foreign loader, a library and a RUNPATH: GNU's, LLVM's, the ELF Tool Chain's.
const DYNAMIC: [&str; 3] = [
    "      [Requesting program interpreter: /lib/ld.so]\n \
     0x0000000000000001 (NEEDED)             Shared library: [libtool.so.1]\n \
     0x000000000000001d (RUNPATH)            Library runpath: [/usr/lib]\n",
    "      [Requesting program interpreter: /lib/ld.so]\n  \
     0x0000000000000001 (NEEDED)       Shared library: [libtool.so.1]\n  \
     0x000000000000001d (RUNPATH)      Library runpath: [/usr/lib]\n",
    "      [Requesting program interpreter: /lib/ld.so]\n \
     0x0000000000000001 NEEDED               Shared library: [libtool.so.1]\n \
     0x000000000000001d RUNPATH              Library runpath: [/usr/lib]\n",
];

#[test]
fn every_readelf_is_understood() {
    for text in DYNAMIC {
        let readelf =
            format!("shift\nfor file; do echo \"File: $file\"; cat <<'END'\n{text}END\ndone\n");
        let place = output_with(&[("readelf", &readelf)]);
        let seen = run(place.path(), "final", "phase_validate_runpath");
        assert!(!seen.status.success(), "{text}");
        let seen = String::from_utf8(seen.stderr).unwrap();
        for expected in [
            "the loader is /lib/ld.so, not the store's ld.so",
            "RUNPATH has `/usr/lib', which is not in the store",
            "libtool.so.1 is not found in RUNPATH `/usr/lib'",
            "validate-runpath: 3 errors",
        ] {
            assert!(seen.contains(expected), "{text}{seen}");
        }
        let seen = run(place.path(), "stage0", "phase_validate_runpath");
        assert!(!seen.status.success(), "{text}");
        let seen = String::from_utf8(seen.stderr).unwrap();
        assert!(seen.contains("is not statically linked"), "{text}{seen}");
    }
}

#[test]
fn strip_gets_the_options_that_it_has() {
    let told = "echo \"$*\" >\"$TMPDIR/told\"\n";
    // GNU's and LLVM's; the ELF Tool Chain's.
    for (refusal, expected) in [
        ("", "--strip-unneeded -D "),
        (
            "case \" $* \" in *' -D '*) exit 1 ;; esac\n",
            "--strip-unneeded ",
        ),
    ] {
        let place = output_with(&[("strip", &format!("{refusal}{told}"))]);
        let ran = run(place.path(), "stage0", "phase_strip");
        assert!(ran.status.success(), "{ran:?}");
        let told = fs::read_to_string(place.path().join("told")).unwrap();
        let tool = place.path().join("out/bin/tool");
        assert_eq!(told, format!("{expected}{}\n", tool.display()));
    }
}

/// Runs `run_phase PHASES` in a build directory with the folder `source-1.0`, which is there to see, and the recipe's
/// phases `recipe`.
fn run_phase(recipe: &str, phases: &[&str]) -> Output {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("top/source-1.0")).unwrap();
    fs::create_dir(place.path().join("top/build")).unwrap();
    fs::write(place.path().join("phases.sh"), recipe).unwrap();
    Command::new("sh")
        .arg(project.join("src/engine/run_phase/run_phase.sh"))
        .args(phases)
        .current_dir(place.path().join("top"))
        .env("runPhaseDirectory", project.join("src/engine/run_phase"))
        .env("runPhaseShell", "sh")
        .env("phasesDirectory", project.join("stage0"))
        .env("recipePhases", place.path().join("phases.sh"))
        .env("TMPDIR", place.path())
        .env("out", place.path().join("out"))
        .env("name", "tool-1.0")
        .env("outputs", "out")
        .env("inputs", "")
        .env("stage", "stage0")
        .env("tests", "1")
        .output()
        .unwrap()
}

#[test]
fn one_phase_is_run_again_where_it_ran_and_with_the_environment_of_the_build() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let recipe = "phase_configure() { echo wrong; }\nphase_check() { echo \"checked in ${PWD##*/} with $CC\"; }\n\
                  phase_own() { echo own; }\nadd_phase_after check own\n";
    let ran = run_phase(&format!("outOfSource=1\n{recipe}"), &["check", "own"]);
    let out = text(&ran.stdout);
    assert!(ran.status.success(), "{out}{}", text(&ran.stderr));
    assert!(out.contains("\nchecked in build with cc\n"), "{out}");
    assert!(out.contains("\nown\n") && !out.contains("wrong"), "{out}");
    let out = text(
        &run_phase(
            "phase_check() { echo \"in ${PWD##*/}\"; }\nrm -rf build\n",
            &["check"],
        )
        .stdout,
    );
    assert!(out.contains("\nin source-1.0\n"), "{out}");

    for phases in [&[][..], &["chekc"]] {
        let ran = run_phase(recipe, phases);
        let err = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{err}");
        assert!(err.contains("run_phase"), "{err}");
    }
    let ran = run_phase("phase_check() { false; }\n", &["check"]);
    assert!(!ran.status.success());
}
