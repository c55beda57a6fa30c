// SPDX-License-Identifier: GPL-3.0-or-later
//! SIGKILL at random moments: to the listener, to sessions, to what they have started.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use bootstrap::formats::nar::Tree;

use crate::client::Daemon;
use crate::hostile::Random;
use crate::processes;
use crate::tokens::{Builder, build, set_limits};

/// How many processes are killed in a usual run. `BOOTSTRAP_TEST_KILLS` sets another number.
const KILLS: usize = 20;

/// The processes below `ancestor`, each with its depth.
fn descendants(ancestor: u32) -> Vec<(u32, usize)> {
    let mut found = Vec::new();
    let mut open = vec![(ancestor, 0)];
    while let Some((process, depth)) = open.pop() {
        for child in processes::children(process) {
            found.push((child, depth + 1));
            open.push((child, depth + 1));
        }
    }
    found
}

fn kill(process: u32) {
    let _ = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
}

#[test]
fn after_any_kill_store_and_database_are_sound_and_nothing_goes_on_running() {
    let count = std::env::var("BOOTSTRAP_TEST_KILLS").ok();
    let count = count.map_or(KILLS, |text| text.parse().unwrap());
    let mut daemon = Daemon::start();
    let builder = Builder::add(&mut daemon.connect(), "kills");
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut killed = [0_usize; 3];
    let mut round = 0;
    // At some moments there is nothing of the chosen kind to kill.
    while killed.iter().sum::<usize>() < count {
        round += 1;
        assert!(
            round < 10 * count,
            "killed only {killed:?} in {round} rounds"
        );
        let moment = Duration::from_millis(random.below(400));
        let kind = random.below(3) as usize;
        let (which, listener) = (random.next() as usize, daemon.child.id());
        std::thread::scope(|scope| {
            for number in 0..2 {
                let (daemon, builder) = (&daemon, &builder);
                scope.spawn(move || {
                    // The connection may break off at any point.
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        let mut client = daemon.connect();
                        set_limits(&mut client, 2, 1);
                        let tree = Tree::file(vec![number as u8; 1 << 20]).to_nar().unwrap();
                        client
                            .add(&format!("file-{round}"), true, "sha256", &tree)
                            .unwrap();
                        let derivations: Vec<String> = (0..3)
                            .map(|build| {
                                let name = format!("build-{round}-{number}-{build}");
                                let commands = ["sleep 50", "write $out x"];
                                builder.derivation(&mut client, &name, &commands)
                            })
                            .collect();
                        let _ = build(&mut client, &derivations);
                    }));
                });
            }
            std::thread::sleep(moment);
            let below = descendants(listener);
            let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<u32> {
                let chosen = below.iter().filter(|(_, depth)| wanted(*depth));
                chosen.map(|(process, _)| *process).collect()
            };
            let candidates = match kind {
                0 => vec![listener],
                1 => of(&|depth| depth == 1),
                _ => of(&|depth| depth > 1),
            };
            if !candidates.is_empty() {
                kill(candidates[which % candidates.len()]);
                killed[kind] += 1;
            }
        });
        if daemon.child.try_wait().unwrap().is_some() {
            daemon.restart();
        }
    }
    println!(
        "killed: {} listeners, {} sessions, {} below them",
        killed[0], killed[1], killed[2]
    );
    let root = daemon.root().to_str().unwrap().to_owned();
    daemon.wait_until("nothing but the listener runs", || {
        let mut running = processes::with_argument(&root);
        // The listener has a process ready for the next client.
        let children = processes::children(daemon.child.id());
        running.retain(|process| !children.contains(process));
        builder.running() == 0 && running == [daemon.child.id()] && daemon.sessions().is_empty()
    });
    let mut client = daemon.connect();
    // The database agrees with the store, and every file with its hash.
    let wrong = client.verify_store(1, 0);
    assert_eq!(wrong, 0, "{}", String::from_utf8_lossy(&client.log));
    // Builds go on.
    let derivation = builder.derivation(&mut client, "last", &["write $out x"]);
    build(&mut client, &[derivation]).unwrap();
    // What the killed ones left can be collected.
    client.collect_garbage();
    assert_eq!(daemon.items(), Vec::<String>::new());
    let left = std::fs::read_dir(daemon.root().join("var/guix/bootstrap/daemon/tokens")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().file_name() != "turnstile");
    assert_eq!(left.count(), 0);
}
