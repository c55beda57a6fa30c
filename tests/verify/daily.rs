// SPDX-License-Identifier: GPL-3.0-or-later
//! A porter's day: a recipe edited, what that rebuilds, roots, and what the collector spares.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use super::world::World;

impl World {
    /// Two packages, of which the second needs the first.
    fn with_two_tools() -> Self {
        let world = Self::new();
        world.recipe(
            "user",
            "[final]\nreplace-inputs = [\"bash\", \"libc\", \"tool\", \"stage0/make\"]\n",
            "mkdir $out\nwrite $out/user built with the tool\n",
        );
        world
    }

    /// The labels of what a run built, from its events.
    fn built(&self, arguments: &[&str]) -> BTreeSet<String> {
        let (out, _) = self.expect(0, &[&["--progress", "json"], arguments].concat());
        let events = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events
            .filter(|event| event["event"] == "finished" && event["kind"] == "build")
            .map(|event| event["item"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn set<const N: usize>(labels: [&str; N]) -> BTreeSet<String> {
    labels.map(str::to_owned).into()
}

#[test]
fn an_edited_package_is_built_again_with_what_needs_it_and_nothing_else() {
    let world = World::with_two_tools();
    world.tool("other", "write $out/other another\n");
    world.expect(0, &["build", "user", "other"]);
    world.tool("tool", "write $out/tool a better tool\n");
    assert_eq!(world.built(&["build", "tool"]), set(["tool"]));
    let dependents = ["build", "--dependents", "tool"];
    assert_eq!(world.built(&dependents), set(["user"]));
    assert_eq!(world.built(&dependents), set([]));
    world.tool("tool", "write $out/tool the best tool\n");
    let (out, _) = world.expect(0, &["build", "--dependents", "--dry-run", "tool"]);
    assert!(out.contains("to build: 2"), "{out}");
    assert_eq!(world.built(&dependents), set(["tool", "user"]));
}

#[test]
fn what_a_link_leads_to_stays_as_long_as_the_link() {
    let world = World::new();
    let link = world.path("kept/tool");
    fs::create_dir(world.path("kept")).unwrap();
    let link_text = link.to_str().unwrap();
    let (_, err) = world.expect(2, &["build", "--add-root", link_text, "tool", "libc"]);
    assert!(err.contains("name one package with --add-root"), "{err}");
    world.expect(0, &["build", "--add-root", link_text, "tool"]);
    // Relative to where the command is given, and one for each output.
    world.expect(0, &["build", "--add-root", "kept/libc", "libc"]);
    let (logical, _) = world.expect(0, &["path", "tool"]);
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some(logical.trim()));
    assert!(world.path("kept/libc-static").is_symlink());
    // A file of another user is left alone.
    fs::write(world.path("kept/mine"), "mine").unwrap();
    let (_, err) = world.expect(1, &["build", "--add-root", "kept/mine", "tool"]);
    assert!(err.contains("kept/mine"), "{err}");

    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    world.expect(0, &["gc", "--keep-derivations=no"]);
    world.expect(0, &["path", "tool"]);
    let (out, _) = world.expect(0, &["roots"]);
    assert!(out.contains(link_text), "{out}");
    fs::remove_file(&link).unwrap();
    world.expect(0, &["gc", "--keep-derivations=no"]);
    world.expect(2, &["path", "tool"]);
    world.expect(0, &["path", "libc"]);
}

#[test]
fn a_dry_run_tells_what_forgetting_generations_would_free() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let old = world.place("tool");
    world.tool("tool", "write $out/tool a better tool\n");
    world.expect(0, &["build", "tool"]);
    let collect = ["gc", "--keep-generations", "1", "--dry-run"];
    let (would, err) = world.expect(0, &collect);
    assert!(err.contains("would forget the roots build/tool/1"), "{err}");
    let old_name = old.file_name().unwrap().to_str().unwrap();
    assert!(would.contains(old_name), "{would}");
    assert!(old.exists());
    let (freed, _) = world.expect(0, &collect[..3]);
    assert!(!old.exists());
    let paths = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with('/'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(paths(&freed), paths(&would));
    world.expect(0, &["path", "tool"]);
}

#[test]
fn the_collector_stops_when_enough_is_freed() {
    let world = World::with_two_tools();
    world.expect(0, &["build", "user"]);
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    let count = |arguments: &[&str]| {
        let (out, _) = world.expect(0, &[&["--json"], arguments].concat());
        let freed: serde_json::Value = serde_json::from_str(&out).unwrap();
        freed["paths"].as_array().unwrap().len()
    };
    let all = count(&["gc", "--dry-run"]);
    let some = count(&["gc", "--max-freed", "1"]);
    assert!(0 < some && some < all, "{some} of {all}");
    assert_eq!(count(&["gc"]), all - some);
}

#[test]
fn outputs_of_live_derivations_stay_where_that_is_wanted() {
    let world = World::with_two_tools();
    world.expect(0, &["build", "user"]);
    world.expect(0, &["build", "--add-root", "user-link", "user"]);
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    // Nothing refers to what `user` was built with, but its derivation does to that of it.
    let tool = world.place("tool");
    world.expect(0, &["gc", "--keep-outputs"]);
    assert!(tool.exists());
    world.expect(0, &["gc"]);
    assert!(!tool.exists());
}

#[test]
fn what_a_running_program_uses_stays() {
    let world = World::new();
    world.tool("slow", "copy /proc/self/exe $out/program\n");
    world.expect(0, &["build", "slow"]);
    let item = world.place("slow");
    let script = world.path("script");
    fs::write(&script, "sleep 60000\n").unwrap();
    let mut running = std::process::Command::new(item.join("program"))
        .arg(&script)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    let (roots, _) = world.expect(0, &["roots"]);
    let collected = world.run(&["gc"]);
    let spared = item.exists();
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(collected.status.success());
    assert!(spared);
    assert!(
        roots.contains(&format!("process {}: 1 item", running.id())),
        "{roots}"
    );
    world.expect(0, &["gc"]);
    assert!(!item.exists());
}

#[test]
fn a_build_beside_a_collector_keeps_its_inputs() {
    let world = World::new();
    // A collector waits for the disk, and that for all that others write: as long as the build, now and then.
    for milliseconds in [10_000, 60_000, 240_000] {
        let name = format!("slow-{milliseconds}");
        let script = format!("sleep {milliseconds}\nwrite $out/x for $input_libc\n");
        world.tool(&name, &script);
        let (status, collections) = world.collect_beside(&["build", &name]);
        assert!(status.success(), "{status}");
        world.expect(0, &["path", &name]);
        world.expect(0, &["verify"]);
        if collections > 1 {
            return;
        }
    }
    panic!("no collector has ended while a build was running");
}

#[test]
fn a_build_prints_the_outputs_that_were_named_and_says_what_follows_from_it() {
    let world = World::new();
    let (out, err) = world.expect(0, &["build", "libc:static"]);
    assert!(
        out.ends_with("-libc-1.0-static\n") && out.lines().count() == 1,
        "{out}"
    );
    let (out, _) = world.expect(0, &["path", "libc:static"]);
    assert!(
        err.contains("need libc and would be rebuilt: `bootstrap "),
        "{err}"
    );
    assert!(err.contains(" build --dependents libc`"), "{err}");
    let (again, err) = world.expect(0, &["build", "libc:static"]);
    assert_eq!(again, out);
    assert!(!err.contains("would be rebuilt"), "{err}");
    let (out, _) = world.expect(0, &["build", "libc"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    world.expect(0, &["build", "--dependents", "libc"]);
}
