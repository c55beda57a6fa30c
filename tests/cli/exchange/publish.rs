// SPDX-License-Identifier: GPL-3.0-or-later
//! What `bootstrap publish` writes, and what it leaves alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{ending, key, pretend};
use crate::World;

/// Puts something else where the output of `package` is.
pub(super) fn damage(world: &World, package: &str) {
    let (out, _) = world.expect(0, &["path", package]);
    let item = out.trim().trim_start_matches('/');
    let item = world.path("root").join(item);
    fs::set_permissions(&item, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&item, "something else").unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o444)).unwrap();
}

#[test]
fn a_damaged_item_is_not_published() {
    let world = World::with_recipes();
    let (secret, _) = key(&world);
    pretend(&world, "tool");
    damage(&world, "tool");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    let (_, err) = world.expect(3, &["publish", published, "tool", "--key", &secret]);
    assert!(
        err.contains("-tool-1.0 is damaged in the store: expected the NAR hash"),
        "{err}"
    );
    let repair = world.command_line("build --repair PKG");
    assert!(err.contains(&repair), "{err}");
    assert_eq!(ending(&directory, ".narinfo"), Vec::<PathBuf>::new());
    assert_eq!(ending(&directory.join("nar"), ""), Vec::<PathBuf>::new());
}

#[test]
fn a_broken_archive_is_made_again_and_what_is_whole_is_left_alone() {
    let world = World::with_recipes();
    let (secret, _) = key(&world);
    pretend(&world, "tool");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    let publish = |key: &[&str], written: usize| {
        let (_, err) = world.expect(0, &[&["publish", published, "tool"][..], key].concat());
        let said = match written {
            1 => "published 1 item,".to_owned(),
            _ => format!("published {written} items,"),
        };
        assert!(err.contains(&said), "{err}");
    };
    let signed = ["--key", &secret];
    publish(&signed, 1);
    let archive = ending(&directory.join("nar"), ".nar.zst").remove(0);
    let narinfo = ending(&directory, ".narinfo").remove(0);
    let (whole, text) = (fs::read(&archive).unwrap(), fs::read(&narinfo).unwrap());
    // Without a key, what was signed stays signed.
    let unsigned: &[&str] = &[];
    for (key, length) in [
        (&signed[..], whole.len() / 2),
        (&signed[..], 0),
        (unsigned, 3),
    ] {
        fs::write(&archive, &whole[..length]).unwrap();
        publish(key, 1);
        assert_eq!(fs::read(&archive).unwrap(), whole);
        assert_eq!(fs::read(&narinfo).unwrap(), text);
        publish(key, 0);
    }
    // Nothing says how long the archives have to be.
    fs::remove_file(&narinfo).unwrap();
    fs::write(&archive, "").unwrap();
    publish(&signed, 1);
    assert_eq!(fs::read(&archive).unwrap(), whole);
}

#[test]
fn archives_do_not_go_where_another_users_link_leads() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can make another user's link: nothing is checked here");
        return;
    }
    let world = World::with_recipes();
    pretend(&world, "tool");
    let (directory, other) = (world.path("published"), world.path("other"));
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&other).unwrap();
    let link = directory.join("nar");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let published = directory.to_str().unwrap();
    std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
    let (_, err) = world.expect(5, &["publish", published, "tool"]);
    assert!(err.contains("saw a link of another user"), "{err}");
    assert_eq!(ending(&other, ""), Vec::<PathBuf>::new());
    // So is the directory itself, also that of manual pages.
    let whole = world.path("whole");
    let whole = whole.to_str().unwrap();
    std::os::unix::fs::symlink(&other, whole).unwrap();
    std::os::unix::fs::lchown(whole, Some(65534), None).unwrap();
    for arguments in [&["publish", whole, "tool"][..], &["man", whole]] {
        let (_, err) = world.expect(5, arguments);
        assert!(err.contains("saw a link of another user"), "{err}");
    }
    assert_eq!(ending(&other, ""), Vec::<PathBuf>::new());
    // One's own is followed.
    std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
    world.expect(0, &["publish", published, "tool"]);
    assert!(!ending(&other, "").is_empty());
}
