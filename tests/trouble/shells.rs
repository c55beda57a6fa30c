// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap shell --of PKG`: a user's own folder in it, and a store that belongs to root.
//!
//! The seed's only program runs the recipe's phases whatever it is asked for, so they are what the shell does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::result;
use crate::world::World;

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
    for above in reach.ancestors().filter(|above| above.starts_with("/tmp/")) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    }
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
