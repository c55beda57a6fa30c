//! Others: a lock, another seed, other tools.

use std::fs;

use crate::world::World;

#[test]
fn a_lock_is_written_compared_and_kept_up() {
    let world = World::new();
    world.tool("host", "hostname $out/made\n");
    let (_, err) = world.expect(2, &["verify", "--lock"]);
    assert!(err.contains("there is no lock bootstrap.lock"), "{err}");
    world.expect(0, &["build", "tool", "host"]);
    let (_, err) = world.expect(0, &["lock"]);
    assert!(err.contains("outputs of the seed one"), "{err}");
    let (out, _) = world.expect(0, &["verify", "--lock"]);
    assert!(
        out.contains("bootstrap.lock: ") && out.contains(" the same"),
        "{out}"
    );
    let before = fs::read_to_string(world.path("bootstrap.lock")).unwrap();
    world.expect(0, &["lock"]);
    let after = fs::read_to_string(world.path("bootstrap.lock")).unwrap();
    assert_eq!(before, after);

    // Another recipe is no difference.
    world.tool("tool", "write $out/tool another\n");
    world.expect(0, &["build", "tool"]);
    let (out, _) = world.expect(0, &["verify", "--lock"]);
    assert!(
        out.contains("other derivation than in the lock: tool:out"),
        "{out}"
    );

    // Other bytes of the same derivation are.
    let hash = before
        .lines()
        .skip_while(|line| !line.contains("derivation host "))
        .nth(1)
        .and_then(|line| line.split(' ').rev().nth(1))
        .unwrap();
    let body = before.replace(hash, &"0".repeat(64));
    let body = &body[..body.rfind("sum ").unwrap()];
    let sum = bootstrap::hash::Sha256Digest::of(body);
    world.file("other.lock", &format!("{body}sum {sum}\n"));
    let (out, _) = world.expect(3, &["verify", "--lock=other.lock", "host"]);
    assert!(out.contains("differs from the lock: host:out"), "{out}");

    // A damaged lock is no lock.
    world.file("other.lock", &before.replacen('a', "b", 1));
    let (_, err) = world.expect(3, &["verify", "--lock=other.lock"]);
    assert!(err.contains("was changed since it was written"), "{err}");
}

#[test]
fn a_lock_of_another_seed_says_nothing() {
    let world = World::new();
    world.expect(0, &["build", "stage0/make"]);
    world.expect(0, &["lock"]);
    world.expect(0, &["--seed", "two", "build", "stage0/make"]);
    let (out, _) = world.expect(0, &["--seed", "two", "verify", "--lock"]);
    assert!(
        out.contains("nothing is on record for the seed two"),
        "{out}"
    );
    world.expect(0, &["--seed", "two", "lock"]);
    for seed in ["one", "two"] {
        let (out, _) = world.expect(0, &["--seed", seed, "verify", "--lock", "stage0/make"]);
        assert!(out.contains("1 the same"), "{out}");
    }
}

#[test]
fn two_seeds_that_leave_no_trace_end_in_the_same_outputs() {
    let world = World::new();
    let (out, _) = world.expect(0, &["verify", "--diverse", "one", "two", "tool", "libc"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(
        out.contains("3 of 3 outputs the same, but for store hashes"),
        "{out}"
    );
    // What was built is kept.
    let (out, _) = world.expect(0, &["roots"]);
    assert!(out.contains("diverse/two"), "{out}");
    let (_, err) = world.expect(2, &["verify", "--diverse", "one", "one"]);
    assert!(err.contains("compares two seeds"), "{err}");
}

#[test]
fn a_trace_of_the_seed_is_shown() {
    let world = World::new();
    world.recipe(
        "libc",
        "[libc]\noutputs = [\"out\", \"static\"]\n",
        "copy /share/name $out\nwrite $static x\n",
    );
    let (out, err) = world.expect(3, &["verify", "--diverse", "one", "two", "tool", "libc"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(out.contains("differs: libc:out"), "{out}");
    assert!(out.contains("first") && out.contains("second"), "{out}");
    assert!(err.contains("1 outputs differ"), "{err}");
}

#[test]
fn the_fixpoint_is_reached_where_tools_leave_no_trace() {
    let world = World::new();
    let (out, _) = world.expect(0, &["verify", "--fixpoint", "tool"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    let (_, err) = world.expect(2, &["verify", "--fixpoint", "stage0/make"]);
    assert!(err.contains("stage0/make is no final package"), "{err}");
}

#[test]
fn collecting_garbage_can_take_derivations_too() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let derivations = || {
        let store = fs::read_dir(world.path("root/gnu/store")).unwrap();
        store
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().ends_with(".drv")
            })
            .count()
    };
    let all = derivations();
    world.expect(0, &["gc", "--dry-run", "--keep-derivations=no"]);
    assert_eq!(derivations(), all);
    world.expect(0, &["gc"]);
    assert!(derivations() > 0);
    world.expect(0, &["gc", "--keep-derivations=no"]);
    assert_eq!(derivations(), 0);
    world.expect(0, &["verify", "tool"]);
    let (_, err) = world.expect(2, &["gc", "--keep-derivations=perhaps"]);
    assert!(err.contains("expected `yes` or `no`"), "{err}");
}
