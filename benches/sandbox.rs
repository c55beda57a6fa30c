// SPDX-License-Identifier: GPL-3.0-or-later
//! How long a build that does nothing takes in the sandbox, from spawning it to its end: 100 runs, one after
//! another. The mark is 8 ms, so that 15 ms do for the whole build, registration included.
//!
//! `cargo bench --bench sandbox`

// A benchmark that cannot run has nothing better to do than to say so and stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
fn main() {
    use std::os::fd::AsFd as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use bootstrap::sandbox::namespaces::Namespaces;
    use bootstrap::sandbox::{
        BuildDirectory, BuildUser, GuestRoot, Mount, ResourceLimits, Sandbox as _, World,
    };

    const RUNS: u32 = 100;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let sandbox = Namespaces::new(env!("CARGO_BIN_EXE_bootstrap"));
    let (uid, gid) = sandbox.outside(&BuildUser::default());
    std::fs::write(path("true.c"), "int main(void) { return 0; }\n").unwrap();
    let item = path("true-1.0");
    std::fs::create_dir(&item).unwrap();
    let compiled = Command::new("cc")
        .arg("-static")
        .arg("-o")
        .args([item.join("true"), path("true.c")])
        .status();
    assert!(compiled.unwrap().success(), "cc -static failed");

    for (inputs, what) in [
        (0, "no further inputs"),
        (20, "20 further inputs"),
        (60, "60 further inputs"),
    ] {
        let mut mounts = vec![Mount {
            source: item.clone(),
            target: "/gnu/store/true-1.0".into(),
            writable: false,
        }];
        for number in 0..inputs {
            let source = path(&format!("input-{number}"));
            let _ = std::fs::create_dir(&source);
            mounts.push(Mount {
                target: format!("/gnu/store/input-{number}").into(),
                source,
                writable: false,
            });
        }
        let (mut times, mut spawning, mut cpu) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        for run in 0..RUNS {
            let (chroot, build) = (path(&format!("chroot-{inputs}-{run}")), path("build"));
            for directory in [&chroot, &build] {
                let _ = std::fs::create_dir(directory);
                std::os::unix::fs::chown(directory, Some(uid), Some(gid)).unwrap();
            }
            let world = World {
                root: GuestRoot::Empty,
                mounts: mounts.clone(),
                store_dir: "/gnu/store".to_owned(),
                store_writable: chroot,
                build_directory: BuildDirectory {
                    host: build,
                    guest: "/tmp/guix-build-true.drv-0".into(),
                },
                host_name: "localhost".to_owned(),
                user: BuildUser::default(),
                limits: ResourceLimits::default(),
                program: "/gnu/store/true-1.0/true".into(),
                arguments: vec![],
                environment: Default::default(),
                descriptors: vec![],
                output: std::io::stderr().as_fd().try_clone_to_owned().unwrap(),
                network: false,
                processes: false,
                thirty_two_bit: false,
                interactive: false,
            };
            let start = Instant::now();
            let mut running = sandbox.spawn(world).unwrap();
            spawning += start.elapsed();
            let finished = running.wait().unwrap();
            times.push(start.elapsed());
            cpu += finished.user_time + finished.system_time;
            assert!(finished.status.is_success());
            // As after a real build. File systems get slower at making directories the more there are.
            std::fs::remove_dir_all(path(&format!("chroot-{inputs}-{run}"))).unwrap();
        }
        times.sort();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let mean = milliseconds(times.iter().sum::<Duration>()) / f64::from(RUNS);
        println!(
            "{what}: mean {mean:.2} ms, median {:.2} ms, best {:.2} ms, worst {:.2} ms; \
             {:.2} × the mark of 8 ms; spawn returns after {:.2} ms, the program takes {:.2} ms",
            milliseconds(times[times.len() / 2]),
            milliseconds(times[0]),
            milliseconds(times[times.len() - 1]),
            mean / 8.0,
            milliseconds(spawning) / f64::from(RUNS),
            milliseconds(cpu) / f64::from(RUNS),
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("only the Linux sandbox is measured here");
}
