// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap build` of derivations that another program has added to the store.

use std::fs;
use std::process::{Command, Output, Stdio};

use bootstrap::formats::derivation::{Output as DerivationOutput, aterm};
use bootstrap::formats::nar::Tree;

use crate::site::{Site, toy};

/// Adds the derivation of `item` to the store, as a client does. Gives its path.
pub fn added(site: &Site, item: usize) -> String {
    let store_dir = &site.store.directories().store_dir;
    let item = &site.items[item];
    site.store
        .add_tree("toy", &Tree::executable(toy()))
        .unwrap();
    let text = aterm::write(store_dir, &item.derivation);
    let references = item.derivation.references();
    let path = site.store.add_text(item.path.name(), &text, &references);
    assert_eq!(path.unwrap(), item.path);
    store_dir.display(&item.path)
}

fn bootstrap(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    command.arg("--root").arg(&site.root);
    command.args(["--progress", "plain"]).args(arguments);
    command.env("BOOTSTRAP_CONFIG", "").stdin(Stdio::null());
    command.output().unwrap()
}

/// Standard output and standard error of a run that must end with `status`.
pub fn expect(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    let output = bootstrap(site, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let ended = output.status.code();
    assert_eq!(ended, Some(status), "{arguments:?}\n{out}\n{err}");
    (out, err)
}

#[test]
fn derivations_that_are_only_in_the_store_are_built_compared_and_kept() {
    let mut site = Site::new();
    let library = site.add("library", &["mkdir $out", "write $out/text one"]);
    let program = site.add_with(
        "program",
        &["mkdir $out", "mkdir $lib", "write $out/text two"],
        |site, derivation| {
            site.input(derivation, library);
            derivation
                .outputs
                .insert("lib".to_owned(), DerivationOutput::input_addressed());
        },
    );
    added(&site, library);
    let drv = added(&site, program);
    let (out, lib) = (site.logical(program, "out"), site.logical(program, "lib"));

    let (forecast, _) = expect(&site, 0, &["build", "--dry-run", &drv]);
    assert!(forecast.contains("to build: 2"), "{forecast}");
    assert!(!site.is_valid(library));

    let link = site.root.join("result");
    let link = link.to_str().unwrap();
    let (paths, err) = expect(&site, 0, &["build", "--add-root", link, &drv]);
    assert_eq!(paths, format!("{out}\n{lib}\n"), "{err}");
    assert!(err.contains("-program.drv"), "{err}");
    assert_eq!(
        fs::read(site.physical(program).join("text")).unwrap(),
        b"two"
    );
    assert_eq!(fs::read_link(link).unwrap().to_str(), Some(out.as_str()));
    // The roots keep it.
    expect(&site, 0, &["gc", "--keep-derivations"]);
    assert!(site.is_valid(program));
    let (roots, _) = expect(&site, 0, &["roots"]);
    assert!(roots.contains("build/program.drv"), "{roots}");

    // One output, by its place on disk and in either spelling; nothing is built.
    let on_disk = format!("{}{drv}", site.root.display());
    for name in [format!("{on_disk}!lib"), format!("{drv}:lib")] {
        let (paths, err) = expect(&site, 0, &["build", &name]);
        assert_eq!(
            (paths.as_str(), err.as_str()),
            (format!("{lib}\n").as_str(), "")
        );
    }
    // What it was built from is needed again.
    let (text, _) = expect(&site, 0, &["build", "--check", &drv]);
    assert!(text.contains("2 of 2 outputs the same"), "{text}");
    let (json, _) = expect(&site, 0, &["--json", "build", &drv]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["failed"], serde_json::json!([]));
    let records = fs::read_dir(site.root.join("var/guix/bootstrap/runs")).unwrap();
    assert!(records.count() >= 2);
}

#[test]
fn a_build_that_is_not_the_same_twice_ends_with_3() {
    let mut site = Site::new();
    let item = site.add("random", &["copy /proc/sys/kernel/random/uuid $out"]);
    let drv = added(&site, item);
    expect(&site, 0, &["build", &drv]);
    let (out, err) = expect(&site, 3, &["build", "--check", &drv]);
    assert!(out.contains("differs: "), "{out}");
    assert!(err.contains("1 output came out differently"), "{err}");
}

#[test]
fn a_failed_derivation_is_reported_as_a_package_is() {
    let mut site = Site::new();
    let bad = site.add("bad", &["say oh no", "fail"]);
    let good = site.add("good", &["mkdir $out"]);
    let (bad, good_drv) = (added(&site, bad), added(&site, good));
    let (out, err) = expect(
        &site,
        1,
        &["--keep-failed", "--keep-going", "build", &bad, &good_drv],
    );
    assert_eq!(out, "");
    assert!(
        err.contains("oh no") && err.contains("1 of 2 failed"),
        "{err}"
    );
    assert!(err.contains("guix-build-bad.drv"), "{err}");
    assert!(site.is_valid(good));
    // The commands that the messages name.
    let (log, _) = expect(&site, 0, &["log", &bad]);
    assert!(log.contains("oh no"), "{log}");
    assert!(!err.contains("shell --of"), "{err}");
    let base_name = bad.rsplit('/').next().unwrap();
    expect(&site, 1, &["build", base_name]);
}

#[test]
fn derivations_of_clients_are_explained_drawn_and_reported() {
    let mut site = Site::new();
    let library = site.add("library", &["mkdir $out"]);
    let mut program = |label: &str, text: &str| {
        let write = format!("write $out/text {text}");
        site.add_with(label, &["mkdir $out", &write], |site, derivation| {
            site.input(derivation, library);
        })
    };
    let (old, new) = (program("program-1.0", "one"), program("program-1.1", "two"));
    let other = program("program-more-1.0", "three");
    let bad = site.add("bad-1.0", &["say oh no", "fail"]);
    let [library, old, new, other, bad] =
        [library, old, new, other, bad].map(|item| added(&site, item));

    let (text, _) = expect(&site, 0, &["explain", &new]);
    assert!(text.contains("no earlier build is recorded here"), "{text}");
    expect(&site, 0, &["build", &old, &other]);
    expect(&site, 1, &["build", &bad]);
    let (text, _) = expect(&site, 0, &["explain", &old]);
    assert!(text.contains("is built, and no other build"), "{text}");
    // Of the same name, and not the one that was built last of all.
    let (text, _) = expect(&site, 0, &["explain", &new]);
    assert!(
        text.contains("would be built again")
            && text.contains(&format!("what changed since {old}:")),
        "{text}"
    );
    assert!(text.contains("two"), "{text}");

    let base_name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let (json, _) = expect(&site, 0, &["--json", "graph", &new]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["edges"],
        serde_json::json!([[base_name(&new), base_name(&library)]])
    );
    assert_eq!(json["nodes"][0]["derivation"], library.as_str());
    assert_eq!(json["nodes"].as_array().unwrap().len(), 2);
    // With packages of the plan, whose derivations are not in this store.
    let (dot, _) = expect(&site, 0, &["graph", "--packages-only", &old, "stage0/make"]);
    for label in [&base_name(&old), "stage0/make"] {
        assert!(dot.contains(&format!("\"{label}\" [shape = box")), "{dot}");
    }

    let (json, _) = expect(&site, 0, &["--json", "report"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let others = json["others"].as_array().unwrap();
    let of = |path: &str| others.iter().find(|build| build["derivation"] == path);
    for built in [&library, &old, &other] {
        assert!(of(built).unwrap()["failure"].is_null(), "{built}");
    }
    let failure = &of(&bad).unwrap()["failure"];
    assert!(
        failure["last_lines"].to_string().contains("oh no"),
        "{failure}"
    );
    assert!(of(&new).is_none());
    let (page, _) = expect(&site, 0, &["report", "-o", "-"]);
    assert!(
        page.contains("Other derivations") && page.contains(&old),
        "{page}"
    );
}

#[test]
fn what_is_not_a_valid_derivation_is_refused_before_anything_is_built() {
    let mut site = Site::new();
    let good = site.add("good", &["mkdir $out"]);
    let absent = site.add("absent", &["mkdir $out"]);
    let folder = site.add("folder", &["mkdir $out"]);
    let broken = site.add("broken", &["mkdir $out"]);
    let good_drv = added(&site, good);
    let store_dir = site.store.directories().store_dir.clone();
    let absent = store_dir.display(&site.items[absent].path);
    // In the store, and not valid.
    let foreign = format!("/gnu/store/{}-foreign.drv", "1".repeat(32));
    fs::write(
        site.root.join(&foreign[1..]),
        "Derive([],[],[],\"\",\"\",[],[])",
    )
    .unwrap();
    let tree = Tree::directory([("x.drv", Tree::file(b"Derive("))]);
    let directory = site.store.add_tree("directory", &tree).unwrap();
    let inside = format!("{}/x.drv", store_dir.display(&directory));
    let file = site.store.directories().physical(&site.items[folder].path);
    let folder = added(&site, folder);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let text = site.store.add_text("text", b"Derive(", &Default::default());
    let text = store_dir.display(&text.unwrap());
    let file = site.store.directories().physical(&site.items[broken].path);
    let broken = added(&site, broken);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "Derive(").unwrap();
    for (name, status, expected) in [
        (absent.as_str(), 2, "is not valid: it is not in the store"),
        (&foreign, 2, "is not valid: it is not in the store"),
        (&folder, 1, "not a regular file"),
        (&inside, 2, "is not a store path"),
        (&text, 2, "expected a path that ends in .drv"),
        (&broken, 1, "cannot read the derivation"),
        ("/etc/passwd", 2, "is not a store path"),
        ("./x.drv", 2, "is not a store path"),
        ("/gnu/store", 2, "is not a store path"),
        (
            &format!("{good_drv}!doc"),
            2,
            "has no output `doc`; it has out",
        ),
        (&format!("{good_drv}!"), 2, "has no output ``"),
    ] {
        let (_, err) = expect(&site, status, &["build", &good_drv, name]);
        assert!(err.contains(expected), "{name}: {err}");
        assert!(!site.is_valid(good), "{name}");
    }
    for option in ["--dependents", "--shell-on-failure"] {
        let (_, err) = expect(&site, 2, &["build", option, &good_drv]);
        assert!(err.contains(&format!("{option} is for packages")), "{err}");
    }
}
