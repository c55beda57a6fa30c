// SPDX-License-Identifier: GPL-3.0-or-later
//! Exports to files, their import, and the module for Guix.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use super::{key, pretend, pretend_with};
use crate::World;

#[test]
fn an_export_is_imported_where_its_signer_is_trusted() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (secret, public) = key(&world);
    let file = world.path("libc.export");
    let file = file.to_str().unwrap();
    let (_, err) = world.expect(0, &["export", "libc:static", "--key", &secret, "-o", file]);
    assert!(err.contains("exported 1 item,"), "{err}");
    let other = World::with_recipes();
    let (_, err) = other.expect(3, &["import", file]);
    let bytes = public.strip_prefix("test-1:").unwrap();
    assert!(
        err.contains(&format!("it is signed by the key {bytes}")),
        "{err}"
    );
    // The key may be given by a file, too.
    let public_file = format!("{secret}.pub");
    let (out, _) = other.expect(0, &["import", file, "--trusted-keys", &public_file]);
    assert!(out.ends_with("-libc-1.0-static\n"), "{out}");
    let (_, err) = other.expect(2, &["import", "/dev/null"]);
    assert!(
        err.contains("/dev/null is not an export of store items: it ends too early"),
        "{err}"
    );
    other.expect(2, &["import", "/nowhere/at/all"]);
}

#[test]
fn an_export_is_of_the_closure_or_of_the_items_alone() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (libc, _) = world.expect(0, &["path", "libc"]);
    let libc = libc.lines().next().unwrap();
    pretend_with(&world, "tool", &[libc]);
    let (tool, _) = world.expect(0, &["path", "tool"]);
    let tool = tool.lines().next().unwrap();
    let [whole, closure, alone] =
        ["whole", "closure", "alone"].map(|name| world.path(name).to_str().unwrap().to_owned());
    for (arguments, file, count) in [
        (&["export", "tool"][..], &whole, 2),
        (&["export", "--closure", "tool"][..], &closure, 2),
        (&["export", "--nar", "tool"][..], &alone, 1),
    ] {
        let (_, err) = world.expect(0, &[arguments, &["-o", file.as_str()]].concat());
        let said = match count {
            1 => "exported 1 item, ".to_owned(),
            _ => format!("exported {count} items, "),
        };
        assert!(err.contains(&said), "{arguments:?}: {err}");
    }
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&closure).unwrap());
    // An item has its path for a name, whatever made it; also where it is on disk.
    let by_path = world.path("by path").to_str().unwrap().to_owned();
    let on_disk = world.path(&format!("root{tool}"));
    for name in [tool, on_disk.to_str().unwrap()] {
        world.expect(0, &["export", name, "-o", &by_path]);
        assert_eq!(fs::read(&by_path).unwrap(), fs::read(&whole).unwrap());
    }
    let absent = format!("/gnu/store/{}-absent", "0".repeat(32));
    for command in [
        &["export", absent.as_str(), "-o", "/dev/null"],
        &["publish", "published", absent.as_str(), "tool"],
    ] {
        let (_, err) = world.expect(2, command);
        let said = format!("{absent} is not valid: it is not in the store");
        assert!(err.contains(&said), "{err}");
    }
    let (_, err) = world.expect(2, &["export", "/etc/passwd", "-o", "/dev/null"]);
    assert!(err.contains("/etc/passwd"), "{err}");
    let both = ["export", "--nar", "--closure", "tool", "-o", "/dev/null"];
    let (_, err) = world.expect(2, &both);
    assert!(err.contains("cannot be used with"), "{err}");

    // What it refers to is not there, nor comes with it.
    let other = World::with_recipes();
    let (out, err) = other.expect(2, &["import", "--unsigned", &alone]);
    assert_eq!(out, "");
    let said = format!("{tool} needs {libc}, which is neither valid here nor in {alone}");
    assert!(err.contains(&said), "{said}: {err}");
    other.expect(2, &["path", "tool"]);
    // As it says.
    let (out, _) = other.expect(0, &["import", "--unsigned", &closure]);
    assert_eq!(out, format!("{libc}\n{tool}\n"));
    other.expect(0, &["path", "tool"]);
    // Where the rest is there, the item alone is enough.
    let third = World::with_recipes();
    pretend(&third, "libc");
    let (out, _) = third.expect(0, &["import", "--unsigned", &alone]);
    assert_eq!(out, format!("{tool}\n"));
}

#[test]
fn an_export_replaces_a_file_when_all_of_it_is_there_and_a_device_never() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let file = world.path("some/libc.export");
    world.file("some/libc.export", "what was there before");
    let export =
        |status: i32, output: &str| world.expect(status, &["export", "libc", "-o", output]);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(world.path("some")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    // Something else than the database says.
    let (out, _) = world.expect(0, &["path", "libc"]);
    let item = out.lines().next().unwrap().trim_start_matches('/');
    let item = world.path("root").join(item);
    let whole = fs::read(&item).unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&item, "something else").unwrap();
    let (_, err) = export(3, file.to_str().unwrap());
    assert!(err.contains("is damaged in the store"), "{err}");
    assert_eq!(fs::read(&file).unwrap(), b"what was there before");
    assert_eq!(names(), ["libc.export"]);
    fs::write(&item, whole).unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o444)).unwrap();
    export(0, file.to_str().unwrap());
    assert!(fs::read(&file).unwrap().ends_with(&[0; 8]));
    assert_eq!(names(), ["libc.export"]);
    let device = |path: &str| fs::metadata(path).unwrap().file_type().is_char_device();
    export(0, "/dev/null");
    assert!(device("/dev/null"));
    let (_, err) = export(5, "/dev/full");
    assert!(err.contains("cannot write /dev/full: "), "{err}");
    assert!(device("/dev/full"));
}

#[test]
fn a_module_for_guix_comes_with_the_derivations_that_it_names() {
    let world = World::empty();
    let file = world.path("inputs.scm");
    let mut command = crate::plain_bootstrap();
    command.arg("--root").arg(world.path("root"));
    let output = command.args(["export", "--guix"]).arg(&file).output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("(define-module (inputs)"), "{text}");
    let said = "added 20 of the 20 derivations that the module names to the store, where Guix reads them\n";
    assert!(err.contains(said), "{err}");
    let named = text.split('"').filter(|word| word.ends_with(".drv"));
    let named: Vec<_> = named.map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(named.len(), 20);
    let place = world.path("root/gnu/store");
    for name in named {
        assert!(place.join(name).is_file(), "{name}");
    }
    let place = world.path("root/gnu/store");
    let said = format!(
        "the module names derivations in /gnu/store, and they are in {}: ",
        place.display()
    );
    assert!(err.contains(&said), "{err}");
}
