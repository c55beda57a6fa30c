// SPDX-License-Identifier: GPL-3.0-or-later
//! Limits given on the command line.

use std::fs;

use crate::leftovers;
use crate::world::World;

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    let world = World::new();
    world.tool("slow", "sleep 600000\n");
    let (_, err) = world.expect(1, &["--timeout", "1", "build", "slow"]);
    assert!(err.contains("it took longer than 1 s (--timeout)"), "{err}");
    assert!(leftovers(&world).is_empty());
}

#[test]
fn a_build_that_is_silent_for_too_long_is_stopped() {
    let world = World::new();
    world.tool("silent", "sleep 600000\n");
    let (_, err) = world.expect(1, &["--max-silent-time", "1", "build", "silent"]);
    assert!(
        err.contains("it printed nothing for 1 s (--max-silent-time)"),
        "{err}"
    );
    assert!(leftovers(&world).is_empty());
}

#[test]
fn memory_and_processes_are_what_the_command_line_allows() {
    let world = World::new();
    world.tool("limits", "copy /proc/self/limits $out/limits\n");
    world.expect(
        0,
        &[
            "--max-memory",
            "321M",
            "--max-processes",
            "77",
            "build",
            "limits",
        ],
    );
    let limits = fs::read_to_string(world.place("limits").join("limits")).unwrap();
    let line = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap_or_else(|| panic!("{name}: {limits}"));
        words.split_whitespace().map(str::to_owned).collect()
    };
    let bytes = (321_u64 << 20).to_string();
    assert_eq!(line("Max address space")[..2], [bytes.clone(), bytes]);
    assert_eq!(line("Max processes")[..2], ["77", "77"]);
}
