// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs that are killed, and what they leave.

use std::fs;

use super::world::World;

/// How many runs are killed while they are at work: `BOOTSTRAP_TEST_KILLS`, or a few.
fn kills() -> u32 {
    let number = std::env::var("BOOTSTRAP_TEST_KILLS").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(12)
}

/// What the moments follow from: `BOOTSTRAP_TEST_SEED`, or another number each time.
fn seed() -> u32 {
    let number = std::env::var("BOOTSTRAP_TEST_SEED").ok();
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().subsec_nanos()
    })
}

#[test]
fn runs_killed_at_any_moment_leave_store_and_database_in_agreement() {
    let world = World::new();
    // Another derivation each time, with all that comes after it.
    let edit = |number: u32| {
        world.recipe("make", "[stage0]\n", &format!("write $out make {number}\n"));
    };
    let (kills, mut random) = (kills(), seed());
    println!("the moments follow from BOOTSTRAP_TEST_SEED={random}");
    world.expect(0, &["build", "tool"]);
    edit(0);
    let start = std::time::Instant::now();
    world.expect(0, &["build", "tool"]);
    let whole = u64::try_from(start.elapsed().as_millis()).unwrap();
    let (mut hits, mut number) = (0, 0);
    // A run that had ended before it was killed proves nothing.
    while hits < kills {
        number += 1;
        assert!(number <= 10 * kills, "{hits} of {number} hit a run");
        edit(number);
        let mut run = world
            .command(&["build", "tool"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(std::time::Duration::from_millis(
            u64::from(random >> 16) % whole,
        ));
        hits += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        world.expect(0, &["verify"]);
    }
    world.expect(0, &["build", "tool"]);
    let make = fs::read_to_string(world.place("stage0/make")).unwrap();
    assert_eq!(make, format!("make {number}\n"));
    assert!(world.place("tool").join("tool").exists());
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("unregistered"), "{out}");
}

#[test]
fn the_first_interruption_ends_the_hashing_of_a_file_without_end() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let file = world.place("tool").join("tool");
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&file, permissions).unwrap();
    let sparse = fs::OpenOptions::new().write(true).open(&file).unwrap();
    sparse.set_len(4 << 40).unwrap();
    let cases: [&[&str]; 4] = [
        &["verify"],
        &["verify", "tool"],
        &["verify", "--lock"],
        &["build", "--repair", "tool"],
    ];
    crate::signals::unignore();
    world.expect(0, &["lock"]);
    for arguments in cases {
        let mut command = world.command(arguments);
        let piped = std::process::Stdio::piped;
        let mut run = command.stdout(piped()).stderr(piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert!(run.try_wait().unwrap().is_none(), "{arguments:?}");
        let process = rustix::process::Pid::from_child(&run);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        let sent = std::time::Instant::now();
        while run.try_wait().unwrap().is_none() && sent.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = run.kill();
        let output = run.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains("interrupted"), "{arguments:?}: {err}");
    }
}
