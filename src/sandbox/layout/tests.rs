// SPDX-License-Identifier: GPL-3.0-or-later
//! The lists of small worlds, entry by entry.

use super::*;
use crate::sandbox::{BuildDirectory, BuildUser, Mount, ResourceLimits};
use std::fs::File;

fn world(root: GuestRoot, mounts: Vec<Mount>) -> World {
    World {
        root,
        mounts,
        store_dir: "/gnu/store".into(),
        store_writable: "/host/chroot".into(),
        build_directory: BuildDirectory {
            host: "/host/build".into(),
            guest: "/tmp/guix-build-x.drv-0".into(),
        },
        host_name: "localhost".into(),
        user: BuildUser::default(),
        limits: ResourceLimits::default(),
        program: "/bin/sh".into(),
        arguments: vec![],
        environment: BTreeMap::new(),
        descriptors: vec![],
        output: File::open("/dev/null").unwrap().into(),
        network: false,
        processes: false,
        thirty_two_bit: false,
        interactive: false,
    }
}

fn input(name: &str) -> Mount {
    Mount {
        source: Path::new("/host/store").join(name),
        target: Path::new("/gnu/store").join(name),
        writable: false,
    }
}

fn sources(mounts: &[(&str, SourceKind)], root: &[(&str, SourceKind)]) -> HostSources {
    let map = |list: &[(&str, SourceKind)]| {
        list.iter()
            .map(|(path, kind)| (PathBuf::from(path), kind.clone()))
            .collect()
    };
    HostSources {
        mounts: map(mounts),
        root: map(root),
        ..HostSources::default()
    }
}

fn mounts(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Mount {
                source,
                target,
                point,
                writable,
            } => Some(format!(
                "{} on {} ({point:?}, {})",
                source.display(),
                target.display(),
                if *writable { "rw" } else { "ro" }
            )),
            Item::Link { target, contents } => {
                Some(format!("{} -> {}", target.display(), contents.display()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn an_empty_root_holds_the_essentials_the_store_and_the_build_directory() {
    let items = layout(&world(GuestRoot::Empty, vec![]), &HostSources::default()).unwrap();
    let targets: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Directory { target }
            | Item::File { target, .. }
            | Item::Link { target, .. }
            | Item::Mount { target, .. }
            | Item::Temporary { target, .. }
            | Item::Processes { target, .. }
            | Item::Devices { target, .. } => target.to_str().unwrap(),
        })
        .collect();
    assert_eq!(
        targets,
        [
            "/dev",
            "/proc",
            "/tmp",
            "/etc",
            "/etc/passwd",
            "/etc/group",
            "/etc/hosts",
            "/gnu",
            "/gnu/store",
            "/tmp/guix-build-x.drv-0"
        ]
    );
}

#[test]
fn inputs_are_read_only_in_a_writable_store_and_links_are_made_anew() {
    let world = world(GuestRoot::Empty, vec![input("b"), input("a"), input("c")]);
    let sources = sources(
        &[
            ("/host/store/a", SourceKind::Directory),
            ("/host/store/b", SourceKind::File),
            ("/host/store/c", SourceKind::Link("a/x".into())),
        ],
        &[],
    );
    assert_eq!(
        mounts(&layout(&world, &sources).unwrap()),
        [
            "/host/chroot on /gnu/store (Directory, rw)",
            "/host/build on /tmp/guix-build-x.drv-0 (Directory, rw)",
            "/host/store/a on /gnu/store/a (Directory, ro)",
            "/host/store/b on /gnu/store/b (File, ro)",
            "/gnu/store/c -> a/x",
        ]
    );
}

#[test]
fn a_tree_is_one_read_only_mount_per_entry_without_what_the_sandbox_has_itself() {
    let names = ["dev", "etc", "gnu", "proc", "tmp", "usr", "var"];
    let mut root: Vec<_> = names
        .iter()
        .map(|name| (*name, SourceKind::Directory))
        .collect();
    root.push(("COPYRIGHT", SourceKind::File));
    root.push(("bin", SourceKind::Link("usr/bin".into())));
    let items = layout(
        &world(GuestRoot::Tree("/seed".into()), vec![]),
        &sources(&[], &root),
    )
    .unwrap();
    assert_eq!(
        mounts(&items),
        [
            "/seed/COPYRIGHT on /COPYRIGHT (File, ro)",
            "/bin -> usr/bin",
            "/seed/usr on /usr (Directory, ro)",
            "/seed/var on /var (Directory, ro)",
            "/host/chroot on /gnu/store (Directory, rw)",
            "/host/build on /tmp/guix-build-x.drv-0 (Directory, rw)",
        ]
    );
}

#[test]
fn a_mount_inside_a_read_only_one_needs_its_place_there_already() {
    let mount = Mount {
        source: "/host/doc".into(),
        target: "/usr/share/doc".into(),
        writable: false,
    };
    let world = world(GuestRoot::Tree("/seed".into()), vec![mount]);
    let usr = ("usr", SourceKind::Directory);
    let found = sources(
        &[("/host/doc", SourceKind::Directory)],
        std::slice::from_ref(&usr),
    );
    let items = layout(&world, &found).unwrap();
    assert!(mounts(&items).contains(&"/host/doc on /usr/share/doc (Existing, ro)".to_owned()));
    assert!(!items.contains(&Item::Directory {
        target: "/usr/share".into()
    }));
    let link = sources(&[("/host/doc", SourceKind::Link("x".into()))], &[usr]);
    let error = layout(&world, &link).unwrap_err().to_string();
    assert!(error.contains("/usr/share/doc"), "{error}");
}

#[test]
fn places_that_are_relative_crooked_taken_or_around_another_are_refused() {
    for (target, complaint) in [
        ("usr", "not a plain absolute path"),
        ("/", "not a plain absolute path"),
        ("/a/../etc", "not a plain absolute path"),
        ("/a//b", "not a plain absolute path"),
        ("/a/.", "not a plain absolute path"),
        ("/etc/passwd", "twice"),
        ("/gnu/store", "twice"),
        ("/gnu", "would hide"),
    ] {
        let mount = Mount {
            source: "/host/x".into(),
            target: target.into(),
            writable: true,
        };
        let world = world(GuestRoot::Empty, vec![mount]);
        let sources = sources(&[("/host/x", SourceKind::Directory)], &[]);
        let error = layout(&world, &sources).unwrap_err().to_string();
        assert!(error.contains(complaint), "{target}: {error}");
        assert!(error.contains(target), "{target}: {error}");
    }
}

#[test]
fn a_world_with_the_network_has_the_machines_files_about_it() {
    let mut world = world(GuestRoot::Empty, vec![]);
    world.network = true;
    let mut sources = HostSources::default();
    for (path, contents) in [
        ("/etc/hosts", "192.0.2.1 here\n"),
        ("/etc/services", "ftp 21/tcp\n"),
    ] {
        sources.network.insert(path.into(), contents.to_owned());
    }
    let items = layout(&world, &sources).unwrap();
    let files: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::File { target, contents } => Some((target.to_str().unwrap(), contents.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        files[2..],
        [
            ("/etc/hosts", "192.0.2.1 here\n"),
            ("/etc/services", "ftp 21/tcp\n")
        ]
    );
    assert_eq!(files.len(), 4);
}

#[test]
fn a_missing_source_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(GuestRoot::Empty, vec![]);
    world.store_writable = directory.path().join("none");
    let error = HostSources::inspect(&world).unwrap_err().to_string();
    assert!(error.contains("/none`"), "{error}");
}
