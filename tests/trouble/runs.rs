// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs that are stopped, and runs at the same time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;
use crate::{leftovers, manifests, result, start};

/// Where the output of `package` is while it is built; `None` before and after.
fn staged(world: &World, package: &str) -> Option<PathBuf> {
    let suffix = format!("-{package}-1.0");
    let entries = fs::read_dir(world.path("root/gnu/store")).ok()?;
    entries.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let item = name.strip_suffix(".chroot")?;
        let place = entry.path().join("store").join(item);
        (item.ends_with(&suffix) && place.exists()).then_some(place)
    })
}

#[test]
fn an_interrupt_stops_a_build_cleanly_and_the_same_command_goes_on() {
    crate::signals::unignore();
    let world = World::new();
    world.tool("slow", "sleep 4000\nwrite $out/x x\n");
    let temporary = world.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let child = start(world.command(&["build", "slow"]).env("TMPDIR", &temporary));
    let begun = Instant::now();
    while staged(&world, "slow").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never begins");
        std::thread::sleep(Duration::from_millis(2));
    }
    let process = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    let (status, out, err) = result(&child.wait_with_output().unwrap());
    assert_eq!(status, Some(1), "{out}\n{err}");
    assert!(
        err.contains("interrupted; the same command goes on where this one stopped"),
        "{err}"
    );
    assert_eq!(out, "");

    assert_eq!(leftovers(&world), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    let (_, err) = world.expect(2, &["path", "slow"]);
    assert!(err.contains("is not valid"), "{err}");
    world.expect(0, &["verify"]);
    // What was finished before is not made again.
    world.expect(0, &["build", "slow"]);
    let made = |manifest: &serde_json::Value| -> Vec<String> {
        let items = manifest["summary"]["made"].as_array().unwrap();
        let labels = items.iter().map(|item| item["item"].as_str().unwrap());
        labels.map(str::to_owned).collect()
    };
    let last = manifests(&world).pop().unwrap();
    assert_eq!(made(&last), ["slow"]);
    world.expect(0, &["verify"]);
}

#[test]
fn an_interrupt_while_the_seed_is_read_ends_the_command_at_once() {
    crate::signals::unignore();
    let world = World::new();
    world.tool("tool", "write $out/x x\n");
    let seed = world.path("sparse.tar");
    // Hashing it takes seconds.
    let file = fs::File::create(&seed).unwrap();
    file.set_len(5 << 30).unwrap();
    let seed = seed.to_str().unwrap();
    let mut child = start(&mut world.command(&["--seed-file", seed, "build", "tool"]));
    let mut said = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("reading recipes and seed") {
        assert!(err.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let process = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{said}");
}

#[test]
fn a_substitute_server_that_does_not_work_is_named_and_the_run_goes_on() {
    let world = World::new();
    let key = "test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let url = |name: &str| format!("file://{}", world.path(name).display());
    fs::create_dir(world.path("empty")).unwrap();
    world.file("other/nix-cache-info", "StoreDir: /nix/store\n");
    world.file("odd/nix-cache-info", "StoreDir: \x1b[31m\n");
    world.file("fine/nix-cache-info", "StoreDir: /gnu/store\n");
    for (number, (url, said)) in [
        (url("nowhere"), "the directory does not exist"),
        (
            format!("{}?priority=10", url("nowhere")),
            "the directory does not exist",
        ),
        (url("empty"), "this may not be a substitute server"),
        (
            url("other"),
            "it is for the store /nix/store, expected /gnu/store",
        ),
        (
            url("odd"),
            "it is for the store \\u{1b}[31m, expected /gnu/store",
        ),
        (url("fine"), ""),
    ]
    .into_iter()
    .enumerate()
    {
        world.tool("tool", &format!("write $out/tool {number}\n"));
        let options = ["--substitute-urls", &url, "--trusted-keys", key];
        let (_, err) = world.expect(0, &[&options[..], &["build", "tool"]].concat());
        let place = url.split('?').next().unwrap();
        let named = err
            .lines()
            .find(|line| line.contains(&format!("{place}: ")));
        assert_eq!(named.is_some(), !said.is_empty(), "{err}");
        assert!(named.is_none_or(|line| line.contains(said)), "{err}");
        assert!(!err.contains('\x1b'), "{err:?}");
    }
}

#[test]
fn two_command_lines_at_once_both_end_right() {
    let world = World::new();
    world.tool("slow", "sleep 300\nwrite $out/x x\n");
    let children: Vec<_> = [["build", "slow", "tool"], ["build", "tool", "slow"]]
        .iter()
        .map(|arguments| start(&mut world.command(arguments)))
        .collect();
    let mut outputs = Vec::new();
    for child in children {
        let (status, out, err) = result(&child.wait_with_output().unwrap());
        assert_eq!(status, Some(0), "{out}\n{err}");
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        outputs.push(lines);
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(leftovers(&world), Vec::<PathBuf>::new());
    world.expect(0, &["verify"]);

    // Each item was made by one of the two, and is in that one's manifest.
    let mut made: Vec<String> = manifests(&world)
        .iter()
        .flat_map(|manifest| manifest["summary"]["made"].as_array().unwrap().clone())
        .map(|item| item["item"].as_str().unwrap().to_owned())
        .collect();
    made.sort();
    let mut once = made.clone();
    once.dedup();
    assert_eq!(made, once);
    for package in ["slow", "tool", "libc", "bash", "stage0/make"] {
        assert!(made.iter().any(|item| item == package), "{made:?}");
    }
    // Both have left roots, which keep everything.
    let place = world.place("slow");
    world.expect(0, &["gc"]);
    assert!(place.join("x").exists());
    let (out, _) = world.expect(0, &["roots"]);
    for name in ["build/slow", "build/tool"] {
        assert!(out.contains(name), "{out}");
    }
}
