// SPDX-License-Identifier: GPL-3.0-or-later
use crate::{World, plain_bootstrap};

#[test]
fn list_goes_along_the_road() {
    let (out, err) = World::with_recipes().expect(0, &["list"]);
    insta::assert_snapshot!(out);
    assert_eq!(err, "");
}

#[test]
fn list_as_json_says_of_every_output_where_it_is_and_whether_it_is_valid() {
    let (out, _) = World::with_recipes().expect(0, &["list", "--json"]);
    let packages: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<&str> = packages
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["stage0/make", "stage0/bash", "libc", "tool"]);
    let libc = &packages[2];
    assert_eq!(libc["implicit_input"], true);
    assert_eq!(libc["valid"], false);
    let outputs = libc["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2);
    assert!(
        outputs[1]["path"]
            .as_str()
            .unwrap()
            .ends_with("-libc-1.0-static")
    );
    assert_eq!(outputs[1]["implicit_input"], true);
    assert_eq!(packages[3]["implicit_input"], false);
}

#[test]
fn path_fails_where_the_output_is_not_valid() {
    let world = World::with_recipes();
    let (out, err) = world.expect(2, &["path", "libc"]);
    assert_eq!(out, "");
    assert!(
        err.contains(&format!(
            "-libc-1.0 is not valid: it has not been built\nhint: run {}",
            world.command_line("build libc")
        )),
        "{err}"
    );
    let (_, err) = world.expect(2, &["path", "libc:dynamic"]);
    assert!(
        err.contains("libc has no output `dynamic`; it has out, static"),
        "{err}"
    );
}

#[test]
fn show_tells_all_about_a_package() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["show", "tool"]);
    insta::assert_snapshot!(out);
    let (out, _) = world.expect(0, &["show", "--json", "tool"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["tests"], false);
    assert_eq!(shown["inputs"][1]["name"], "libc:static");
    assert_eq!(shown["source"]["file"], "tool-1.0.tar.gz");
}

#[test]
fn the_graph_is_for_graphviz_or_json() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["graph", "--packages-only", "tool"]);
    insta::assert_snapshot!(out);
    let (out, _) = world.expect(0, &["graph", "--json", "stage0/make"]);
    let graph: serde_json::Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<&str> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["download", "download", "seed", "build"]);
    let to_seed = serde_json::json!(["stage0/make", "seed/small-linux"]);
    assert!(
        graph["edges"].as_array().unwrap().contains(&to_seed),
        "{graph}"
    );
}

#[test]
fn a_graph_is_drawn_as_svg_and_unknown_formats_name_the_known_ones() {
    let world = World::with_recipes();
    let arguments = ["graph", "--packages-only", "--format"];
    let (out, _) = world.expect(0, &[&arguments[..], &["svg"]].concat());
    assert!(out.starts_with("<svg xmlns="), "{out}");
    assert!(out.contains("<title>stage0/bash</title>"), "{out}");
    let (reduced, _) = world.expect(0, &[&arguments[..], &["svg", "--reduce"]].concat());
    // The tool needs make, too, but by way of bash.
    assert_eq!(reduced.matches("class=\"edge\"").count(), 3, "{reduced}");
    for unknown in ["mermaid", "png"] {
        let (_, err) = world.expect(2, &["graph", "--format", unknown]);
        let message = format!("invalid value '{unknown}'");
        assert!(err.contains(&message), "{err}");
        assert!(err.contains("dot, svg, json]"), "{err}");
    }
    let (_, err) = world.expect(2, &["graph", "--format", "svg", "nobody"]);
    assert!(err.contains("unknown package `nobody`"), "{err}");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let world = World::with_recipes();
    let record = "{\"item\":\"libc\",\"kind\":\"build\",\"derivation\":\"x.drv\",\"started\":1,\"ended\":2,\"cores\":2,\"outputs\":[],\
                  \"seconds\":100.0,\"user_seconds\":1.0,\"system_seconds\":1.0,\"phases\":[]}\n";
    world.file("root/var/guix/bootstrap/builds.jsonl", record);
    let (out, err) = world.expect(0, &["build", "--dry-run", "libc"]);
    assert_eq!(err, "");
    assert!(
        out.starts_with("to download: 2 files, 2 of them of unknown size\n"),
        "{out}"
    );
    assert!(out.contains("to build: 2, in about 1 min 51 s\n"), "{out}");
    assert!(
        out.contains("  libc              took 1 min 40 s last time\n"),
        "{out}"
    );
    assert!(
        out.contains("  seed/small-linux  never built here\n"),
        "{out}"
    );
    assert!(!world.path("root/gnu").exists());
    // A machine that has built nothing takes the times of recipes, and says so.
    world.recipe(
        "libc",
        "[libc]\noutputs = [\"out\", \"static\"]\ntypical-seconds = 50\n",
    );
    let fresh = "root/var/guix/bootstrap/builds.jsonl";
    world.file(fresh, "");
    let (out, _) = world.expect(0, &["build", "--dry-run", "libc"]);
    assert!(
        out.contains("to build: 2, in about 1 min 01 s, going by recipes timed on two cores\n"),
        "{out}"
    );
    let (out, _) = world.expect(0, &["build", "--dry-run", "--json", "libc"]);
    let forecast: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(forecast["guessed"], true);
    // As the recipe says, which changes nothing else.
    let derivation = world.expect(0, &["show", "libc"]).0;
    world.recipe(
        "libc",
        "size = 2048\n[libc]\noutputs = [\"out\", \"static\"]\n",
    );
    assert_eq!(world.expect(0, &["show", "libc"]).0, derivation);
    let (out, _) = world.expect(0, &["build", "--dry-run", "libc"]);
    assert!(
        out.starts_with("to download: 2 files, 2.0 KiB, 1 of them of unknown size\n"),
        "{out}"
    );
    assert!(out.contains("  source/libc-1.0.tar.gz  2.0 KiB\n"), "{out}");
    let (out, _) = world.expect(0, &["fetch", "-n", "--json", "stage0/make"]);
    let forecast: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(forecast["downloads"].as_array().unwrap().len(), 2);
    assert_eq!(forecast["builds"].as_array().unwrap().len(), 0);
    let (_, err) = world.expect(2, &["build", "-n", "nobody"]);
    assert!(err.contains("unknown package"), "{err}");
    let (_, err) = world.expect(2, &["all", "-n"]);
    assert!(
        err.contains("no recipe builds `tar`, which is part of the bootstrap"),
        "{err}"
    );
}

#[test]
fn a_dry_run_of_the_whole_road_knows_every_download_and_every_build() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let run = |arguments: &[&str]| {
        let mut command = plain_bootstrap();
        command.arg("--root").arg(&root);
        command.args(["--seed", "debian-13-amd64", "--offline"]);
        let output = command.args(arguments).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{err}");
        assert_eq!(err, "");
        String::from_utf8(output.stdout).unwrap()
    };
    let forecast: serde_json::Value = serde_json::from_str(&run(&["--json", "all", "-n"])).unwrap();
    let rows = |part: &str| forecast[part].as_array().unwrap().iter();
    assert_eq!(rows("substitutes").count(), 0);
    assert_eq!(rows("reused").count(), 0);

    let sizes = rows("downloads").map(|file| {
        assert_eq!(file["cached"], false, "{file}");
        let size = file["size"].as_u64().unwrap_or(0);
        assert!(size > 0, "its size is not known: {file}");
        size
    });
    let total: u64 = sizes.sum();
    assert!((100 << 20..1 << 30).contains(&total), "{total}");
    let of = |part: &str, stage: &str| -> Vec<String> {
        let items = rows(part).map(|row| row["item"].as_str().unwrap());
        let items = items.filter(|item| match item.split_once('/') {
            Some((before, _)) => before == stage,
            None => stage.is_empty(),
        });
        items.map(str::to_owned).collect()
    };
    // A source for each package that has one, and those of the libraries that gcc is built with.
    let sources = of("downloads", "source");
    for part in ["gcc-14_", "gmp_", "mpfr-", "mpc-", "sed-", "hello-"] {
        let start = format!("source/{part}");
        assert!(
            sources.iter().any(|source| source.starts_with(&start)),
            "{part}: {sources:?}"
        );
    }
    assert!(of("downloads", "seed").len() > 50);

    let kinds = |kind: &str| rows("builds").filter(|build| build["kind"] == kind).count();
    let mut seeds = of("builds", "seed");
    seeds.sort();
    let expected = ["seed/debian-13-amd64"];
    assert_eq!(seeds, expected);
    assert_eq!(kinds("seed"), seeds.len());
    assert_eq!(of("builds", "stage0").len(), 16);
    // Nineteen packages for the twenty inputs, and two that prove them.
    let after = of("builds", "");
    assert_eq!(after.len(), 21, "{after:?}");
    assert!(after.contains(&"libc".to_owned()) && after.contains(&"which".to_owned()));
    let regenerated = of("builds", "regenerate").len();
    assert_eq!(kinds("build"), 16 + 21 + regenerated);
    for build in rows("builds") {
        let item = build["item"].as_str().unwrap();
        let is_package = !item.starts_with("seed/") && !item.starts_with("regenerate/");
        assert_eq!(build["typical_seconds"].is_number(), is_package, "{item}");
        assert_eq!(build["seconds"], serde_json::Value::Null, "{item}");
    }
    assert!(forecast["seconds"].as_f64().unwrap() > 600.0);
    assert_eq!(forecast["guessed"], true);

    let text = run(&["all", "-n"]);
    let (first, _) = text.split_once('\n').unwrap();
    let downloads = rows("downloads").count();
    assert!(
        first.starts_with(&format!("to download: {downloads} files, ")),
        "{first}"
    );
    assert!(!text.contains("size unknown"), "{text}");
    let builds = rows("builds").count();
    assert!(
        text.contains(&format!("\nto build: {builds}, in about ")),
        "{text}"
    );
    assert!(!root.exists());
}

#[test]
fn a_shell_in_a_builds_sandbox_needs_its_inputs() {
    let world = World::with_recipes();
    let (_, err) = world.expect(2, &["shell", "--of", "libc", "--", "true"]);
    assert!(err.contains("is not valid"), "{err}");
    let (_, err) = world.expect(
        2,
        &["shell", "--of", "libc", "--directory", "/nowhere/at/all"],
    );
    assert!(err.contains("No such file or directory"), "{err}");
    world.expect(2, &["shell", "--of", "nobody"]);
    world.expect(2, &["shell", "--directory", "/tmp"]);
}

#[test]
fn each_implicit_input_is_listed_with_its_version_in_guix() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = plain_bootstrap();
    command.arg("--root").arg(directory.path().join("root"));
    let output = command.args(["list", "--json"]).output().unwrap();
    let packages: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name);
        package.unwrap_or_else(|| panic!("{name} is not listed"))
    };
    assert_eq!(of("coreutils")["guix_version"], of("coreutils")["version"]);
    assert_eq!(of("libc")["guix_version"], "2.41");
    let inputs = packages
        .iter()
        .filter(|package| package["implicit_input"] == true);
    assert!(inputs.clone().count() >= 19);
    for package in inputs {
        assert!(package["guix_version"].is_string(), "{package}");
    }
}

#[test]
fn a_seed_says_for_which_system_it_is() {
    let world = World::with_recipes();
    let path = |seed: &str| {
        let output = world.run_from(seed, &["list", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let packages: serde_json::Value = serde_json::from_str(&text).unwrap();
        packages[3]["outputs"][0]["path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_ne!(path("small-linux"), path("small-freebsd"));
}

#[test]
fn another_store_directory_gives_other_paths() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["--store-dir", "/nix/store", "show", "tool"]);
    assert!(out.contains("output: out /nix/store/"), "{out}");
    assert!(!out.contains("/gnu/store"), "{out}");
}

#[test]
fn there_is_no_log_of_what_was_not_built() {
    let world = World::with_recipes();
    let (_, err) = world.expect(2, &["log", "tool"]);
    assert!(
        err.contains("no log of tool at WORLD/root/var/log/guix/drvs/"),
        "{err}"
    );
}

#[test]
fn looking_makes_no_store() {
    let world = World::with_recipes();
    for command in [
        &["list"][..],
        &["show", "tool"],
        &["graph"],
        &["report", "--json"],
        &["roots"],
        &["seed", "list"],
    ] {
        world.expect(0, command);
    }
    assert!(!world.path("root").exists());
}

#[test]
fn seeds_are_listed_and_shown() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["seed", "list"]);
    insta::assert_snapshot!(out);
    let built_in = crate::bootstrap().args(["seed", "list"]).output().unwrap();
    let built_in = String::from_utf8(built_in.stdout).unwrap();
    let others = built_in
        .lines()
        .filter(|line| line.contains("nothing is built for this system"));
    let others: Vec<&str> = others
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(others, ["freebsd-14.3-arm64"]);
    let (out, _) = world.expect(0, &["seed", "show", "--json"]);
    let seed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(seed["name"], "small-linux");
    assert_eq!(seed["archives"].as_array().unwrap().len(), 1);
}

#[test]
fn an_empty_store_has_nothing_to_collect() {
    let (out, _) = World::with_recipes().expect(0, &["gc"]);
    assert_eq!(out, "freed 0 B in 0 items; 0 stay\n");
}

#[test]
fn a_shell_needs_the_final_inputs() {
    let (_, err) = World::with_recipes().expect(2, &["shell", "--", "true"]);
    assert!(err.contains("unknown package `tar`"), "{err}");
}
