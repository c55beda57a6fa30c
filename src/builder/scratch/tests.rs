// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use std::time::Instant;

fn derivation() -> StorePath {
    StorePath::from_base_name("ik7ca0lvb90mqs5ni81jy2fvx0gmxfpf-hello-1.0.drv").unwrap()
}

fn myself() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn nothing_is_left_of_a_run_but_what_was_kept() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("guix-build-hello-1.0.drv-0")).unwrap();
    let scratch = ScratchDirectory::create(place.path(), myself()).unwrap();
    let one = scratch.build_directory(&derivation()).unwrap();
    let two = scratch.build_directory(&derivation()).unwrap();
    let three = scratch.build_directory(&derivation()).unwrap();
    assert_ne!(one, two);
    fs::write(one.join("config.log"), "why").unwrap();
    fs::write(three.join("left"), "behind").unwrap();
    let kept = scratch.keep(&one, &derivation()).unwrap();
    scratch.discard(two);
    drop(scratch);
    assert!(kept.ends_with("guix-build-hello-1.0.drv-1/build"));
    assert_eq!(fs::read(kept.join("config.log")).unwrap(), b"why");
    assert_eq!(
        names(place.path()),
        ["guix-build-hello-1.0.drv-0", "guix-build-hello-1.0.drv-1"]
    );
}

#[test]
fn what_is_kept_is_for_its_owner_alone_however_the_build_left_it() {
    let place = tempfile::tempdir().unwrap();
    let scratch = ScratchDirectory::create(place.path(), myself()).unwrap();
    for mode in [0o777, 0o555, 0] {
        let directory = scratch.build_directory(&derivation()).unwrap();
        fs::write(directory.join("program"), "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&directory.join("program"), 0o4755);
        set(&directory, mode);
        let kept = scratch.keep(&directory, &derivation()).unwrap();
        assert!(kept.join("program").exists());
        let closed = kept.parent().unwrap();
        assert_eq!(closed.parent().unwrap(), scratch.place);
        let found = fs::metadata(closed).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o700);
        assert_eq!(found.uid(), myself().0);
    }
}

#[test]
fn nothing_is_left_where_a_directory_cannot_be_kept() {
    let place = tempfile::tempdir().unwrap();
    let scratch = ScratchDirectory::create(place.path(), myself()).unwrap();
    let directory = scratch.build_directory(&derivation()).unwrap();
    fs::remove_dir(&directory).unwrap();
    let error = scratch.keep(&directory, &derivation()).unwrap_err();
    assert!(error.to_string().contains("cannot keep "), "{error}");
    drop(scratch);
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_long_wait_for_the_removal_is_told() {
    let told = |removal: Duration, silent: Duration| {
        let mut told = false;
        let slow = std::iter::once_with(move || std::thread::sleep(removal));
        let removal = removing(slow.filter_map(|()| None)).unwrap();
        join(removal, silent, || told = true);
        told
    };
    assert!(told(Duration::from_millis(300), Duration::from_millis(10)));
    assert!(!told(Duration::ZERO, Duration::from_secs(60)));
}

#[test]
fn a_stopped_run_leaves_a_large_tree_to_the_next() {
    let place = tempfile::tempdir().unwrap();
    let scratch = ScratchDirectory::create(place.path(), myself()).unwrap();
    let build = scratch.build_directory(&derivation()).unwrap();
    fs::write(build.join("file"), "").unwrap();
    let (release, blocked) = channel::<()>();
    // As slow as the removal of a large tree: the thread takes nothing on until it is released.
    let (sender, receiver) = channel::<Rubbish>();
    let slow = receiver.into_iter().inspect(move |_| {
        let _ = blocked.recv();
    });
    let slow = Some((sender, removing(slow).unwrap()));
    let mut scratch = scratch;
    let (usual, thread) = std::mem::replace(&mut scratch.janitor, slow).unwrap();
    drop(usual);
    thread.thread.join().unwrap();
    scratch.abandon();
    let start = Instant::now();
    drop(scratch);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(build.exists());
    // The directory is locked as long as the thread is there.
    assert!(leftovers(place.path()).is_empty());
    release.send(()).unwrap();
    while !names(place.path()).is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_runs_is_not() {
    let place = tempfile::tempdir().unwrap();
    let running = ScratchDirectory::create(place.path(), myself()).unwrap();
    let killed = place.path().join("bootstrap-build-1-0");
    fs::create_dir_all(killed.join("0-x.drv/deep")).unwrap();
    let foreign = place.path().join("bootstrap-build-of-my-own");
    fs::write(&foreign, "a file").unwrap();
    // Dropping it waits for what it has found, and for nothing that another run has.
    drop(ScratchDirectory::create(place.path(), myself()).unwrap());
    assert!(!killed.exists());
    assert!(foreign.exists());
    assert!(running.directory().exists());
}

#[test]
fn a_leftover_is_nobodys_until_it_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("bootstrap-build-1-0");
    fs::create_dir(&directory).unwrap();
    let found = leftovers(place.path());
    assert_eq!(found.len(), 1);
    // A process that has just made it, and not locked it yet, must take another.
    assert!(lock(&directory).is_none());
    drop(found);
    // A child that another test is starting has a copy of the lock until it runs its program.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while lock(&directory).is_none() {
        assert!(std::time::Instant::now() < end, "still locked");
        std::thread::yield_now();
    }
}

#[test]
fn what_another_user_gets_takes_a_free_name_and_no_other() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let scratch = ScratchDirectory::create(place.path(), (30001, 30001)).unwrap();
    let named = |number: u32| {
        place
            .path()
            .join(format!("guix-build-hello-1.0.drv-{number}"))
    };
    let precious = place.path().join("precious");
    fs::write(&precious, "").unwrap();
    // As a user who may write here could leave them.
    fs::hard_link(&precious, named(0)).unwrap();
    std::os::unix::fs::symlink(&precious, named(1)).unwrap();
    fs::create_dir(named(2)).unwrap();
    let directory = scratch.build_directory(&derivation()).unwrap();
    fs::write(directory.join("config.log"), "why").unwrap();
    std::os::unix::fs::lchown(directory.join("config.log"), Some(30001), None).unwrap();
    let kept = scratch.keep_for(&directory, &derivation(), (30002, Some(30002)));
    assert_eq!(kept.unwrap(), named(3));
    let owner = |path: &Path| path.symlink_metadata().unwrap().uid();
    for (path, expected) in [
        (named(3), 30002),
        (named(3).join("config.log"), 30002),
        (named(0), 0),
        (named(1), 0),
        (named(2), 0),
        (precious.clone(), 0),
    ] {
        assert_eq!(owner(&path), expected, "{}", path.display());
    }
    assert_eq!(fs::metadata(named(3)).unwrap().mode() & 0o7777, 0o700);
}
