// SPDX-License-Identifier: GPL-3.0-or-later
//! Two at the same time, one that is stopped, one that is killed: the next run succeeds.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bootstrap::archive::{ArchiveError, Unpacked};
use bootstrap::builder::error::BuildError;
use bootstrap::events::Event;
use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::FixedOutputMethod;
use bootstrap::road::seed::SeedError;
use bootstrap::road::seed::unpack::{Contents, SeedUnpacker};

use crate::site::Site;

/// This test binary as another process, which builds the item that [`slow`] makes at the site in `root`.
fn other_process(root: &Path, millis: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "interruptions::part_that_builds",
            "--ignored",
            "--test-threads=1",
        ])
        .env("BUILD_TEST_ROOT", root)
        .env("BUILD_TEST_MILLIS", millis.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the other process of other tests"]
fn part_that_builds() {
    let root = PathBuf::from(std::env::var_os("BUILD_TEST_ROOT").unwrap());
    let millis = std::env::var("BUILD_TEST_MILLIS").unwrap().parse().unwrap();
    let mut site = Site::at(&root);
    let item = slow(&mut site, millis);
    let report = site.run(&[item]);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// An item that takes its time, leaves a daemon that ignores polite signals, and marks how far it is.
fn slow(site: &mut Site, millis: u64) -> usize {
    let sleep = format!("sleep {millis}");
    site.add(
        "slow",
        &[
            "mkdir $out",
            "daemon $out/lock",
            "write $out/begun",
            &sleep,
            "write $out/done yes",
        ],
    )
}

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The place where `item` is built while it is.
pub fn staged(site: &Site, item: usize) -> PathBuf {
    let out = site.physical(item);
    let staging = out.with_file_name(format!(
        "{}.chroot",
        out.file_name().unwrap().to_str().unwrap()
    ));
    staging.join("store").join(out.file_name().unwrap())
}

fn wait_until_under_way(site: &Site, item: usize) {
    eventually("the build begins", || {
        staged(site, item).join("begun").exists()
    });
}

#[test]
fn two_processes_build_an_item_once() {
    let mut site = Site::new();
    let item = slow(&mut site, 700);
    let mut other = other_process(&site.root, 700);
    wait_until_under_way(&site, item);
    let report = site.run(&[item]);
    assert!(other.wait().unwrap().success());
    assert_eq!(report.summary.reused, ["slow"]);
    assert!(report.summary.made.is_empty());
    let other = other.id();
    assert!(
        site.events()
            .iter()
            .any(|event| matches!(event, Event::WaitingForLock { holder, .. }
            if *holder == Some(other))),
    );
    site.assert_clean();
}

#[test]
fn what_another_process_builds_takes_no_place() {
    let mut site = Site::new();
    site.settings.max_jobs = NonZeroUsize::MIN;
    let item = slow(&mut site, 1500);
    // More urgent than what follows, since that waits for it.
    let after = site.add_with("after", &["write $out after"], |site, derivation| {
        site.input(derivation, item);
    });
    let alone = site.add("alone", &["write $out alone"]);
    let mut other = other_process(&site.root, 1500);
    wait_until_under_way(&site, item);
    let report = site.run(&[after, alone]);
    assert!(other.wait().unwrap().success());
    assert_eq!(report.summary.reused, ["slow"]);
    let made = report.summary.made.iter().map(|made| made.item.as_str());
    assert_eq!(made.collect::<Vec<_>>(), ["alone", "after"]);
    let events = site.events();
    let position = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted);
    let alone = position(&|event| matches!(event, Event::Finished { item, .. } if item == "alone"));
    let slow = position(&|event| matches!(event, Event::Reused { item } if item == "slow"));
    assert!(alone.unwrap() < slow.unwrap(), "it waited as well");
}

#[test]
fn the_lock_of_what_another_process_has_made_is_released_at_once() {
    let mut site = Site::new();
    let item = slow(&mut site, 700);
    let commands = ["mkdir $out", "write $out/begun", "sleep 500"];
    let after = site.add_with("after", &commands, |site, derivation| {
        site.input(derivation, item);
    });
    let mut other = other_process(&site.root, 700);
    wait_until_under_way(&site, item);
    let begun = staged(&site, after).join("begun");
    let name = site.physical(item).file_name().unwrap().to_owned();
    let lock = format!("{}.lock", name.to_str().unwrap());
    let lock = site.physical(item).with_file_name(lock);
    assert!(lock.exists());
    let report = std::thread::scope(|scope| {
        let locked = scope.spawn(|| {
            eventually("the next build begins", || begun.exists());
            lock.exists()
        });
        let report = site.run(&[after]);
        assert!(!locked.join().unwrap(), "others would wait for it");
        report
    });
    assert!(other.wait().unwrap().success());
    assert_eq!(report.summary.reused, ["slow"]);
    assert!(site.is_valid(after));
    site.assert_clean();
}

#[test]
fn what_a_killed_process_leaves_is_cleaned_up_and_built_again() {
    let mut site = Site::new();
    let item = slow(&mut site, 600_000);
    let mut other = other_process(&site.root, 600_000);
    wait_until_under_way(&site, item);
    let lock = fs::File::open(staged(&site, item).join("lock")).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!site.is_valid(item));
    assert!(
        staged(&site, item).exists(),
        "killed without mercy, it cannot have cleaned up"
    );
    // Its processes are gone with it, the daemon included.
    eventually("the daemon is dead", || {
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok()
    });
    drop(lock);
    // The same derivation again, which takes as long; another run may stop it as well as kill it.
    let cancellation = site.cancellation.clone();
    std::thread::scope(|scope| {
        let begun = staged(&site, item).join("begun");
        fs::remove_file(&begun).unwrap();
        scope.spawn(move || {
            eventually("the build begins again", || begun.exists());
            cancellation.cancel();
        });
        let report = site.run(&[item]);
        assert!(report.summary.interrupted);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    });
    assert!(!site.is_valid(item));
    assert!(!site.physical(item).exists());
    site.assert_clean();
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let mut site = Site::new();
    let first = site.add("first", &["write $out"]);
    site.build(first);
    let second = site.add_with("second", &["write $out/x"], |site, derivation| {
        site.input(derivation, first);
        derivation.arguments.insert(0, "mkdir $out".into());
    });
    site.cancellation.cancel();
    let report = site.run(&[second]);
    assert!(report.summary.interrupted);
    assert_eq!(report.summary.not_started, ["second"]);
    assert!(site.is_valid(first) && !site.is_valid(second));
    site.assert_clean();
}

#[test]
fn a_download_does_not_keep_a_run_from_stopping() {
    let mut site = Site::new();
    let item = site.add_with("endless", &[], |_, derivation| {
        derivation.builder = "builtin:download".into();
        derivation.input_sources.clear();
        let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("x"));
        derivation.outputs.insert("out".to_owned(), output);
        derivation
            .environment
            .insert("url".to_owned(), "https://example.org/endless".to_owned());
    });
    let cancellation = site.cancellation.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            cancellation.cancel();
        });
        let start = Instant::now();
        let report = site.run(&[item]);
        assert!(report.summary.interrupted);
        assert!(start.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn hashing_a_huge_output_does_not_keep_a_run_from_stopping() {
    let mut site = Site::new();
    let item = site.add("huge", &["sparse $out 1099511627776"]);
    let cancellation = site.cancellation.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            cancellation.cancel();
        });
        let start = Instant::now();
        let report = site.run(&[item]);
        assert!(report.summary.interrupted);
        assert!(start.elapsed() < Duration::from_secs(30));
    });
    site.assert_clean();
}

/// Unpacks until it is stopped.
struct Endless;

impl SeedUnpacker for Endless {
    fn unpack(
        &self,
        _: &Contents,
        target: &Path,
        stop: &AtomicBool,
    ) -> Result<Unpacked, SeedError> {
        fs::create_dir(target).unwrap();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(SeedError::Archive(ArchiveError::Stopped {
            archive: "endless".to_owned(),
        }))
    }
}

#[test]
fn a_seed_that_is_unpacked_again_and_stopped_has_not_failed() {
    let mut site = Site::new();
    let archive = site.store.add_text("base.tar", b"", &Default::default());
    let archive = archive.unwrap();
    let item = site.add_with("seed", &[], |site, derivation| {
        derivation.builder = "builtin:unpack-seed".into();
        let shown = site.store.directories().store_dir.display(&archive);
        derivation.input_sources = [archive.clone()].into();
        derivation.environment.extend([
            ("format".to_owned(), "tar".to_owned()),
            ("archives".to_owned(), shown),
        ]);
    });
    let cancellation = site.cancellation.clone();
    let staging = staged(&site, item);
    let staging = staging.ancestors().nth(2).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            eventually("it is unpacked", || staging.exists());
            cancellation.cancel();
        });
        let report = site.build_again(&[item], &Endless);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert!(report.summary.interrupted, "{report:?}");
    });
    site.assert_clean();
}

/// Not a test: the other process of the one below. It does what a collector does first, for a long time.
#[test]
#[ignore = "the other process of another test"]
fn part_that_collects() {
    let lock = PathBuf::from(std::env::var_os("BUILD_TEST_ROOT").unwrap());
    let lock = fs::File::options().write(true).open(lock).unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    println!("\nlocked");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn waiting_for_a_collector_can_be_stopped() {
    use std::io::BufRead;
    let mut site = Site::new();
    let item = site.add("hello", &["write $out"]);
    let lock = site.store.directories().state.join("gc.lock");
    fs::write(&lock, "").unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "interruptions::part_that_collects"])
        .args(["--ignored", "--nocapture"])
        .env("BUILD_TEST_ROOT", &lock)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(other.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "locked"));
    site.cancellation.cancel();
    let stopped = site.try_run(&[item]);
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(
        matches!(stopped, Err(BuildError::Interrupted)),
        "{stopped:?}"
    );
}

#[test]
fn waiting_for_another_process_can_be_stopped() {
    let mut site = Site::new();
    let item = slow(&mut site, 600_000);
    let mut other = other_process(&site.root, 600_000);
    wait_until_under_way(&site, item);
    let cancellation = site.cancellation.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            cancellation.cancel();
        });
        let report = site.run(&[item]);
        assert!(report.summary.interrupted, "{report:?}");
    });
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn threads_that_want_the_same_item_get_one_build() {
    let mut site = Site::new();
    let item = slow(&mut site, 300);
    let again = Site::at(&site.root);
    let mut again = again;
    let same = slow(&mut again, 300);
    let made = std::thread::scope(|scope| {
        let one = scope.spawn(move || again.run(&[same]).summary.made.len());
        let two = site.run(&[item]).summary.made.len();
        one.join().unwrap() + two
    });
    assert_eq!(made, 1);
    assert!(site.is_valid(item));
    site.assert_clean();
    let error: Option<BuildError> = site.run(&[item]).errors.pop();
    assert!(error.is_none());
}

#[test]
fn a_failure_may_end_what_is_being_built() {
    for ends_others in [false, true] {
        let mut site = Site::new();
        site.settings.ends_others = ends_others;
        let bad = site.add("bad", &["sleep 100", "fail"]);
        let long = site.add("long", &["sleep 3000", "write $out"]);
        let report = site.run(&[bad, long]);
        assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
        assert_eq!(site.is_valid(long), !ends_others);
        // It was not the user who did it.
        assert!(!report.summary.interrupted);
    }
}

#[test]
fn a_failure_may_end_the_wait_for_what_another_process_builds() {
    let mut site = Site::new();
    site.settings.ends_others = true;
    let bad = site.add("bad", &["sleep 100", "fail"]);
    let theirs = site.add("theirs", &["write $out"]);
    let output = site.items[theirs].derivation.output_path("out").unwrap();
    let report = std::thread::scope(|scope| {
        let (has_locked, locked) = channel();
        let (_is_over, over) = channel::<()>();
        let site = &site;
        scope.spawn(move || {
            let _locks = site.store.lock([output]).unwrap();
            has_locked.send(()).unwrap();
            // Who waited to the end would build it then.
            let _ = over.recv_timeout(Duration::from_secs(10));
        });
        locked.recv().unwrap();
        site.run(&[bad, theirs])
    });
    assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
    assert!(!site.is_valid(theirs) && !report.summary.interrupted);
}
