// SPDX-License-Identifier: GPL-3.0-or-later
//! What is there already is used; what only looks as if it were is not.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bootstrap::events::Event;
use bootstrap::formats::derivation::Output;

use crate::site::Site;

#[test]
fn a_second_run_does_nothing() {
    let mut site = Site::new();
    let item = site.add("hello", &["write $out"]);
    site.build(item);
    site.events();
    let report = site.run(&[item]);
    assert_eq!(report.summary.reused, ["hello"]);
    assert!(report.summary.made.is_empty());
    let events = site.events();
    assert!(matches!(
        events[0],
        Event::RunStarted {
            builds: 0,
            downloads: 0,
            reused: 1
        }
    ));
    assert_eq!(events.len(), 2);
}

#[test]
fn a_path_that_exists_but_is_not_valid_is_replaced() {
    let mut site = Site::new();
    let item = site.add("hello", &["write $out right"]);
    let place = site.physical(item);
    fs::create_dir_all(place.join("half/done")).unwrap();
    fs::write(place.join("half/file"), "wrong").unwrap();
    site.build(item);
    assert_eq!(fs::read(&place).unwrap(), b"right");
}

#[test]
fn a_missing_output_is_made_again_beside_a_valid_one() {
    let mut site = Site::new();
    let item = site.add_with(
        "libc",
        &["write $out out", "write $static static"],
        |_, derivation| {
            derivation
                .outputs
                .insert("static".to_owned(), Output::input_addressed());
        },
    );
    site.build(item);
    let outputs = &site.items[item].derivation.outputs;
    let path = |name: &str| outputs[name].path.clone().unwrap();
    let (out, kept) = (path("out"), path("static"));
    // As a collector takes one and leaves the other; one of this process would keep both.
    let database = site.store.directories().state.join("db/db.sqlite");
    let gone = rusqlite::Connection::open(database).unwrap().execute(
        "DELETE FROM ValidPaths WHERE path = ?",
        [site.logical(item, "static")],
    );
    assert_eq!(gone.unwrap(), 1);
    let place = |path| site.store.directories().physical(path);
    fs::remove_file(place(&kept)).unwrap();
    assert!(site.store.is_valid(&out).unwrap() && !site.store.is_valid(&kept).unwrap());
    let before = fs::metadata(place(&out)).unwrap();
    let info = site.store.path_info(&out).unwrap().unwrap();

    let report = site.run(&[item]);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.summary.made[0].item, "libc");
    assert!(site.store.is_valid(&kept).unwrap());
    assert_eq!(fs::read(place(&kept)).unwrap(), b"static");
    // The one that was valid is the very same file.
    let after = fs::metadata(place(&out)).unwrap();
    assert_eq!(
        (after.ino(), after.ctime_nsec()),
        (before.ino(), before.ctime_nsec())
    );
    assert_eq!(site.store.path_info(&out).unwrap().unwrap(), info);
    site.assert_clean();
}

#[test]
fn inputs_of_valid_items_are_not_needed() {
    let mut site = Site::new();
    let source = site.add("source", &["write $out x"]);
    let item = site.add_with("tool", &["write $out"], |site, derivation| {
        site.input(derivation, source)
    });
    site.build(item);
    let top = site.add_with("top", &["write $out"], |site, derivation| {
        site.input(derivation, item)
    });
    let report = site.run(&[top]);
    let made: Vec<&str> = report
        .summary
        .made
        .iter()
        .map(|made| made.item.as_str())
        .collect();
    assert_eq!(made, ["top"]);
}
