// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap shell --of PKG`: a user's own folder in it, and a store that belongs to root.
//!
//! The seed's only program runs the recipe's phases whatever it is asked for, so they are what the shell does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::World;
use crate::{result, start};

/// A world with the inputs of a package that only the shell runs, whose phases are `phases`.
fn world(phases: &str) -> World {
    let world = World::new();
    world.tool("inputs", "write $out/x x\n");
    world.expect(0, &["build", "inputs"]);
    world.tool("tried", phases);
    // Makes its source and phases valid, whatever becomes of the build.
    world.run(&["build", "tried"]);
    world
}

/// Adds `mode` to the modes of `path` and of the directories above it, but for the place of all users' temporary files.
fn open_up(path: &Path, mode: u32) {
    let place = std::env::temp_dir();
    let own = path
        .ancestors()
        .take_while(|above| **above != place && above.starts_with(&place));
    for above in own {
        let old = above.metadata().unwrap().permissions().mode();
        fs::set_permissions(above, fs::Permissions::from_mode(old | mode)).unwrap();
    }
}

#[test]
fn a_users_own_folder_is_shown_and_written_to_only_where_asked() {
    let world = world("copy /mnt/mine/given $out/copy\nwrite /mnt/mine/new x\n");
    let mine = world.path("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("given"), "given").unwrap();
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o777)).unwrap();
    let place = mine.display().to_string();
    let shell = |mount: &str, status| {
        world.expect(
            status,
            &["shell", "--of", "tried", "--mount", mount, "--", "x"],
        )
    };
    let (_, err) = shell(&place, 1);
    assert!(
        err.contains("cannot write /mnt/mine/new: Read-only file system"),
        "{err}"
    );
    assert!(!mine.join("new").exists());
    shell(&format!("{place}:rw"), 0);
    assert_eq!(fs::read_to_string(mine.join("new")).unwrap(), "x\n");

    let (_, err) = shell("/", 2);
    assert!(err.contains("not a directory with a name"), "{err}");
    let (_, err) = shell("/nowhere/at/all", 2);
    assert!(err.contains("/nowhere/at/all"), "{err}");
    let mine_too = world.path("other/mine");
    fs::create_dir_all(&mine_too).unwrap();
    let too = mine_too.display().to_string();
    let arguments = ["shell", "--of", "tried", "--mount", &place, "--mount", &too];
    let (_, err) = world.expect(2, &arguments);
    assert!(
        err.contains("/mnt/mine is another directory already"),
        "{err}"
    );
}

#[test]
fn an_ordinary_user_has_a_shell_on_a_store_of_root_s() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can make a store that is root's: nothing is checked here");
        return;
    }
    let world = world("say it runs\n");
    let program = world.command(&["shell", "--of", "tried", "--", "x"]);
    // The program that user 65534 runs, and its place for temporary files, must be within reach.
    let reach = world.path("");
    open_up(&reach, 0o755);
    let own = world.path("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(65534), Some(65534)).unwrap();
    let copy = world.path("bootstrap");
    fs::copy(program.get_program(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(program.get_args())
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("TMPDIR", &own)
        .current_dir("/")
        .output()
        .expect("util-linux has setpriv");
    let (status, out, err) = result(&output);
    assert_eq!(status, Some(0), "{out}\n{err}");
    assert!(format!("{out}{err}").contains("it runs"), "{out}\n{err}");
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0, "{err}");
}

/// The process that made the directory had other user numbers for its builds than the shell has.
#[test]
fn a_shell_works_in_the_build_directory_that_a_failed_build_left() {
    let world = World::new();
    world.tool("inputs", "write $out/x x\n");
    world.expect(0, &["build", "inputs"]);
    world.tool(
        "tried",
        "mkdir deep\nwrite deep/times x\nchmod deep 500\nfail\n",
    );
    let place = world.path("kept");
    fs::create_dir(&place).unwrap();
    let mut build = world.command(&["--keep-failed", "build", "tried"]);
    let (status, out, err) = result(&build.env("TMPDIR", &place).output().unwrap());
    assert_eq!(status, Some(1), "{out}\n{err}");
    let kept: Vec<PathBuf> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("build"))
        .collect();
    let [directory] = kept.as_slice() else {
        panic!("expected one directory, saw {kept:?}\n{err}");
    };
    assert!(err.contains(&directory.display().to_string()), "{err}");
    world.tool("tried", "write deep/times x\nwrite new x\n");
    // In a directory of its own it fails, and its phases are valid then.
    world.expect(1, &["build", "tried"]);
    let directory = directory.display().to_string();
    let arguments = [
        "shell",
        "--of",
        "tried",
        "--directory",
        &directory,
        "--",
        "x",
    ];
    for _ in 0..2 {
        world.expect(0, &arguments);
    }
    let times = fs::read_to_string(Path::new(&directory).join("deep/times")).unwrap();
    assert_eq!(times.lines().count(), 3);
}

/// A guest of root's shell may leave a set-user-ID program: no user of the machine reaches it, not even by its name.
#[test]
fn what_a_shell_leaves_is_out_of_reach_of_the_machines_users() {
    let world =
        world("write $out/program x\nchmod $out/program 4755\nchmod $out 777\nsleep 3000\n");
    let temporary = world.path("tmp");
    fs::create_dir(&temporary).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).unwrap();
    open_up(&temporary, 0o55);
    let arguments = ["shell", "--of", "tried", "--", "x"];
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut child = start(world.command(&arguments).env("TMPDIR", &temporary));
        let begun = Instant::now();
        let directory = loop {
            let made = fs::read_dir(&temporary).unwrap().flatten();
            let shells = made.map(|entry| entry.path());
            let left = |place: &PathBuf| {
                let store = place.join("store");
                let items = fs::read_dir(store).into_iter().flatten().flatten();
                items
                    .map(|item| item.path().join("program"))
                    .any(|program| {
                        program
                            .metadata()
                            .is_ok_and(|found| found.permissions().mode() & 0o7777 == 0o4755)
                    })
            };
            if let Some(place) = shells.into_iter().find(left) {
                break place;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it never begins");
            std::thread::sleep(Duration::from_millis(2));
        };
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        if rustix::process::geteuid().is_root() {
            let seen = Command::new("setpriv")
                .args([
                    "--reuid",
                    "65534",
                    "--regid",
                    "65534",
                    "--clear-groups",
                    "ls",
                ])
                .arg(directory.join("store"))
                .output();
            let seen = seen.expect("util-linux has setpriv");
            assert!(!seen.status.success() && seen.stdout.is_empty());
        }
        let name = directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let random = name.strip_prefix("bootstrap-shell-").unwrap().to_owned();
        assert!(
            random.len() >= 6 && random != child.id().to_string(),
            "{name}"
        );
        names.push(random);
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    }
    assert_ne!(names[0], names[1]);
}
