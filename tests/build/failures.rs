// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that go wrong, each in its own way: a clear error, and nothing left behind.

use std::fs;
use std::time::{Duration, Instant};

use bootstrap::builder::error::{BuildError, BuildFailureCause, FailureKind};
use bootstrap::events::Event;
use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;
use bootstrap::sandbox::ExitStatusKind;
use bootstrap::store::StoreError;
use bootstrap::store::nar;

use crate::site::{Site, names};
use crate::small::on_small_disk;

#[test]
fn a_builder_that_exits_non_zero_fails_with_the_last_lines_of_its_phase() {
    let mut site = Site::new();
    let mut commands: Vec<String> = (0..50).map(|number| format!("say line {number}")).collect();
    commands.push("say starting phase `build'".to_owned());
    commands.push("exit 3".to_owned());
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let item = site.add("broken", &commands);
    let error = site.fail(item);
    assert_eq!(
        error.to_string(),
        "the build of broken failed in phase `build': the builder ended with exit status 3"
    );
    assert_eq!(error.last_lines(), ["starting phase `build'"]);
    assert!(error.log().unwrap().exists());
    assert_eq!(error.kind(), FailureKind::Build);
    let failed = site.events().into_iter().find_map(|event| match event {
        Event::Failed {
            item,
            last_lines,
            log,
            ..
        } => Some((item, last_lines.len(), log.is_some())),
        _ => None,
    });
    assert_eq!(failed, Some(("broken".to_owned(), 1, true)));
}

#[test]
fn a_builder_killed_by_a_signal_says_so() {
    let mut site = Site::new();
    let item = site.add("crash", &["signal 11"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::Status(ExitStatusKind::Signaled(11))
    ));
}

#[test]
fn a_builder_that_is_not_there_is_named() {
    let mut site = Site::new();
    let item = site.add_with("lost", &[], |_, derivation| {
        derivation.builder = "/bin/sh".into()
    });
    let error = site.fail(item);
    assert!(error.to_string().contains("`/bin/sh`"), "{error}");
    assert_eq!(error.kind(), FailureKind::Build);
}

#[test]
fn inputs_cannot_be_written_to() {
    let mut site = Site::new();
    let input = site.add("input", &["mkdir $out", "write $out/file x"]);
    site.build(input);
    let before = names(&site.physical(input));
    let change = |site: &Site, derivation: &mut bootstrap::formats::derivation::Derivation| {
        site.input(derivation, input);
        let path = site.logical(input, "out");
        derivation.environment.insert("input".to_owned(), path);
    };
    for command in [
        "write $input/new x",
        "append $input/file more",
        "chmod $input 777",
    ] {
        let item = site.add_with("vandal", &[command, "write $out"], change);
        assert!(
            matches!(site.fail_build(item), BuildFailureCause::Status(_)),
            "{command}"
        );
    }
    assert_eq!(names(&site.physical(input)), before);
}

#[test]
fn there_is_no_network() {
    let mut site = Site::new();
    // Something that would answer, if it could be reached.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let item = site.add(
        "online",
        &[&format!("connect 127.0.0.1 {port}"), "write $out"],
    );
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::Status(_)
    ));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_source_that_cannot_be_fetched_ends_with_status_4_and_skips_what_needs_it() {
    let mut site = Site::new();
    let source = site.add_with("nowhere.tar", &[], |_, derivation| {
        derivation.builder = "builtin:download".into();
        derivation.input_sources.clear();
        let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("x"));
        derivation.outputs.insert("out".to_owned(), output);
        derivation.environment.insert(
            "url".to_owned(),
            "https://example.org/nowhere.tar".to_owned(),
        );
    });
    let item = site.add_with("user", &["write $out"], |site, derivation| {
        site.input(derivation, source)
    });
    let report = site.run(&[item]);
    assert_eq!(report.errors[0].kind(), FailureKind::NotFetched);
    assert_eq!(report.summary.skipped[0].because, "nowhere.tar");
    site.assert_clean();
}

#[test]
fn a_derivation_for_another_system_is_refused() {
    let mut site = Site::new();
    let item = site.add_with("foreign", &["write $out"], |_, derivation| {
        derivation.system = "x86_64-freebsd".to_owned();
    });
    let error = site.fail(item).to_string();
    assert!(
        error.contains("x86_64-freebsd") && error.contains("x86_64-linux"),
        "{error}"
    );
}

#[test]
fn the_build_directory_of_a_failed_build_is_kept_on_request() {
    let mut site = Site::new();
    site.settings.keep_failed = true;
    let item = site.add("broken", &["write $NIX_BUILD_TOP/config.log why", "exit 1"]);
    let error = site.fail(item);
    let kept = error.kept().unwrap();
    assert_eq!(
        kept,
        site.settings
            .temporary
            .canonicalize()
            .unwrap()
            .join("guix-build-broken.drv-0/build")
    );
    assert_eq!(fs::read(kept.join("config.log")).unwrap(), b"why");
    let error = site.fail(item);
    let kept = error.kept().unwrap();
    assert!(
        kept.ends_with("guix-build-broken.drv-1/build"),
        "{}",
        kept.display()
    );
}

#[test]
fn a_build_directory_that_cannot_be_kept_does_not_hide_why_the_build_failed() {
    let mut site = Site::new();
    site.settings.keep_failed = true;
    let commands = [
        "write $NIX_BUILD_TOP/begun",
        "sleep 700",
        "say why",
        "exit 3",
    ];
    let item = site.add("broken", &commands);
    let temporary = site.settings.temporary.clone();
    let moved = site.root.join("moved");
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = || {
                names(&temporary)
                    .iter()
                    .any(|run| temporary.join(run).join("0-broken.drv/begun").exists())
            };
            let start = Instant::now();
            while !begun() && start.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(2));
            }
            fs::rename(&temporary, &moved).unwrap();
        });
        site.run(&[item])
    });
    let BuildError::Failed(failed) = &report.errors[0] else {
        panic!("{}", report.errors[0]);
    };
    assert!(failed.cause.to_string().ends_with("exit status 3"));
    assert_eq!(failed.last_lines, ["why"]);
    assert_eq!(failed.kept, None);
}

#[test]
fn hostile_trees_are_removed_without_following_links() {
    let mut site = Site::new();
    let outside = site.root.join("precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let outside = outside.display();
    let item = site.add(
        "hostile",
        &[
            "mkdir $out",
            &format!("link $out/link {outside}"),
            &format!("link $NIX_BUILD_TOP/link {outside}"),
            "mkdir $out/locked",
            "write $out/locked/file x",
            "chmod $out/locked 0",
            "chmod $out 0",
            "mkdir $NIX_BUILD_TOP/locked",
            "write $NIX_BUILD_TOP/locked/file x",
            "chmod $NIX_BUILD_TOP/locked 0",
            "chmod $NIX_BUILD_TOP 0",
            "exit 1",
        ],
    );
    site.fail_build(item);
    assert_eq!(fs::read(site.root.join("precious/file")).unwrap(), b"mine");
}

#[test]
fn with_keep_going_what_does_not_need_the_failed_item_is_made() {
    let mut site = Site::new();
    site.settings.keep_going = true;
    let bad = site.add("bad", &["exit 1"]);
    let good = site.add("good", &["write $out"]);
    let both = site.add_with("both", &["write $out"], |site, derivation| {
        site.input(derivation, bad);
        site.input(derivation, good);
    });
    let report = site.run(&[both]);
    assert!(site.is_valid(good) && !site.is_valid(both));
    assert_eq!(report.summary.skipped[0].item, "both");
    assert!(matches!(report.errors[0], BuildError::Failed(_)));
}

#[test]
fn a_full_disk_ends_with_status_5_and_the_place() {
    let test = "failures::a_full_disk_ends_with_status_5_and_the_place";
    on_small_disk(test, |place| {
        let mut site = Site::at(place);
        let item = site.add("greedy", &["mkdir $out", "fill $out/zeros"]);
        let error = site.fail(item);
        assert_eq!(error.kind(), FailureKind::Environment);
        let text = error.to_string();
        // Of the build, or of its log, which is on the same disk.
        assert!(text.to_lowercase().contains("no space left"), "{text}");
        assert!(text.contains(&place.display().to_string()), "{text}");
        let modest = site.add("modest", &["write $out"]);
        site.build(modest);
    });
}

#[test]
fn a_disk_that_can_hold_no_more_files_is_full() {
    let test = "failures::a_disk_that_can_hold_no_more_files_is_full";
    on_small_disk(test, |place| {
        let mut site = Site::at(place);
        let modest = site.add("modest", &["mkdir $out", "write $out/file"]);
        site.build(modest);
        let many: Vec<String> = (0..2000)
            .map(|n| format!("write $NIX_BUILD_TOP/{n}"))
            .collect();
        let commands: Vec<&str> = many.iter().map(String::as_str).collect();
        let item = site.add("many", &commands);
        let error = site.fail(item);
        assert_eq!(error.kind(), FailureKind::Environment, "{error}");
        assert!(error.to_string().contains("no more files"), "{error}");
    });
}

#[test]
fn a_build_that_only_speaks_of_a_full_disk_has_failed_by_itself() {
    let mut site = Site::new();
    let item = site.add("pessimist", &["mkdir $out", "fill /dev/full"]);
    let error = site.fail(item);
    let said = error.last_lines().join("\n");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(error.kind(), FailureKind::Build, "{error}");
    assert!(
        error.to_string().contains("the builder ended with"),
        "{error}"
    );
}

#[test]
fn a_store_on_a_full_disk_lays_it_to_the_machine() {
    let test = "failures::a_store_on_a_full_disk_lays_it_to_the_machine";
    on_small_disk(test, |place| {
        let site = Site::at(place);
        let large = Tree::file(vec![7; 32 << 20]);
        let error = site.store.add_tree("large", &large).unwrap_err();
        assert!(matches!(error, StoreError::File(_)), "{error:?}");
        assert!(error.is_environment(), "{error}");
        site.assert_clean();

        let restored = place.join("restored");
        let archive = large.to_nar().unwrap();
        let error = nar::restore(&mut archive.as_slice(), &restored).unwrap_err();
        assert!(StoreError::from(error).is_environment());
        fs::remove_file(restored).unwrap();

        // A link takes no space here, but counts as a file.
        let small = site.store.add_tree("small", &Tree::file(b"x")).unwrap();
        let mut numbers = 0..;
        while fs::write(place.join(format!("file-{}", numbers.next().unwrap())), "").is_ok() {}
        let error = site.store.add_root("kept", &small).unwrap_err();
        assert!(matches!(error, StoreError::Root(_)), "{error:?}");
        assert!(error.is_environment(), "{error}");
    });
}

#[test]
fn a_builtin_that_this_program_does_not_have_is_refused_by_name() {
    let mut site = Site::new();
    let item = site.add_with("strange", &[], |_, derivation| {
        derivation.builder = "builtin:conjure".into();
    });
    let error = site.fail(item);
    assert_eq!(error.kind(), FailureKind::Build);
    assert!(error.to_string().contains("`builtin:conjure`"), "{error}");
}
