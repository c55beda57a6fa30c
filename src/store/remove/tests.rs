// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn removes_files_links_and_read_only_directories() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/file"), vec![1; 100_000]).unwrap();
    symlink("/etc", tree.join("a/link")).unwrap();
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    let freed = remove_tree(&tree).unwrap();
    assert!(freed >= 100_000, "{freed}");
    assert!(!tree.exists());
}

#[test]
fn absent_trees_are_removed_already() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(remove_tree(&directory.path().join("no")).unwrap(), 0);
    assert_eq!(remove_tree(&directory.path().join("no/no")).unwrap(), 0);
}

#[test]
fn a_link_is_removed_and_its_target_left() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    symlink(&outside, tree.join("inner")).unwrap();
    symlink(&outside, directory.path().join("top")).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&directory.path().join("top")).unwrap();
    assert!(outside.join("precious").exists());
    assert!(fs::symlink_metadata(directory.path().join("top")).is_err());
}

#[test]
fn a_directory_that_becomes_a_link_meanwhile_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let [outside, aside] = ["outside", "aside"].map(|name| directory.path().join(name));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&aside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    for round in 0..10 {
        let tree = directory.path().join(format!("tree-{round}"));
        let names: Vec<String> = (0..300).map(|number| format!("{round}-{number}")).collect();
        for name in &names {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                for name in &names {
                    if fs::rename(tree.join(name), aside.join(name)).is_ok() {
                        let _ = symlink(&outside, tree.join(name));
                    }
                }
            });
            start.wait();
            // Where it loses a race it fails.
            let _ = remove_tree(&tree);
        });
        assert!(outside.join("precious").exists());
    }
}

#[test]
fn a_file_with_another_hard_link_gives_back_no_space() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(directory.path().join("kept"), vec![1; 1_000_000]).unwrap();
    fs::hard_link(directory.path().join("kept"), tree.join("link")).unwrap();
    assert!(remove_tree(&tree).unwrap() < 500_000);
    assert!(directory.path().join("kept").exists());
}

#[test]
fn trees_deeper_than_any_path_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let open = |parent: BorrowedFd<'_>, name: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        rustix::fs::openat(parent, name, flags, Mode::empty()).unwrap()
    };
    // Longer than PATH_MAX, so it has to be made relative to descriptors too, and deeper than DEPTH_MAX.
    let name = "deep".repeat(25);
    let mut parent = open(rustix::fs::CWD, directory.path().to_str().unwrap());
    for _ in 0..3 * DEPTH_MAX {
        rustix::fs::mkdirat(&parent, &name, Mode::RWXU).unwrap();
        parent = open(parent.as_fd(), &name);
    }
    drop(parent);
    remove_tree(&directory.path().join(&name)).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn directories_of_many_files_are_emptied() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..500 {
        fs::write(tree.join(number.to_string()), "").unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn removals_of_one_tree_get_along() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    for number in 0..50 {
        fs::create_dir_all(tree.join(format!("{}/{number}", number % 7))).unwrap();
        fs::write(tree.join(format!("{}/{number}/file", number % 7)), "").unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| remove_tree(&tree).unwrap());
        }
    });
    assert!(!tree.exists());
}

#[test]
fn a_large_tree_is_removed_from_the_trash_part_by_part() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    for number in 0..60 {
        // Wide, and with something deep in it.
        let inner = tree.join(format!("{}/{number}/a/b", number % 7));
        fs::create_dir_all(&inner).unwrap();
        for file in 0..40 {
            fs::write(inner.join(file.to_string()), [1; 100]).unwrap();
        }
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let used = disk_usage(&tree);
    let open = File::open(directory.path()).unwrap();
    let remove = || remove_from_trash(open.as_fd(), directory.path(), c"tree", FileType::Directory);
    assert_eq!(remove().unwrap(), used);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(remove().unwrap(), 0);
}

#[test]
fn what_is_moved_up_from_a_large_tree_is_left_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    for number in 0..50 {
        fs::create_dir_all(tree.join(number.to_string())).unwrap();
        fs::write(tree.join(format!("{number}/file")), "").unwrap();
    }
    let open = File::open(directory.path()).unwrap();
    let remover = Remover {
        large: Some(20),
        ..Remover::of(open.as_fd(), directory.path())
    };
    let removed = remover.remove(c"tree", FileType::Directory).unwrap();
    assert!(!tree.exists());
    // 20 entries are about ten directories and their files.
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, removed.moved.len());
    assert!((35..=45).contains(&left), "{left}");
}
