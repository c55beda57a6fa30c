// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that are ended by a limit: of time, of silence, of the log or of a file.

use std::time::{Duration, Instant};

use bootstrap::builder::error::BuildFailureCause;
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::Output;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::site::Site;

fn seconds(seconds: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64(seconds))
}

#[test]
fn a_build_that_hangs_is_ended_by_its_timeout() {
    let mut site = Site::new();
    site.settings.build_limits.timeout = seconds(0.3);
    let item = site.add(
        "hanging",
        &["daemon $NIX_BUILD_TOP/lock", "close", "sleep 600000"],
    );
    let start = Instant::now();
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::TimedOut(_)
    ));
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// Hashing a file of a terabyte takes an hour; making it takes no time, where it is a hole.
#[test]
fn the_timeout_also_ends_the_hashing_of_a_huge_output() {
    let mut site = Site::new();
    site.settings.build_limits.timeout = seconds(0.5);
    let mut items = vec![site.add("huge", &["sparse $out 1099511627776"])];
    for (method, algorithm) in [
        (FixedOutputMethod::Flat, HashAlgorithm::Sha256),
        (FixedOutputMethod::Recursive, HashAlgorithm::Sha512),
    ] {
        let huge = ["sparse $out 1099511627776"];
        items.push(site.add_with("huge-source", &huge, |_, derivation| {
            let output = Output::fixed(method, ContentHash::of(algorithm, "content"));
            derivation.outputs.insert("out".to_owned(), output);
        }));
    }
    for item in items {
        let start = Instant::now();
        assert!(matches!(
            site.fail_build(item),
            BuildFailureCause::TimedOut(_)
        ));
        assert!(start.elapsed() < Duration::from_secs(60));
        site.assert_clean();
    }
}

#[test]
fn a_build_that_is_silent_is_ended() {
    let mut site = Site::new();
    site.settings.build_limits.max_silent_time = seconds(0.3);
    let item = site.add("silent", &["say hello", "sleep 600000"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::Silent(_)
    ));
    let talker = site.add(
        "talking",
        &[
            "say a",
            "sleep 150",
            "say b",
            "sleep 150",
            "say c",
            "sleep 150",
            "write $out",
        ],
    );
    site.build(talker);
}

#[test]
fn a_build_that_prints_without_end_is_ended() {
    let mut site = Site::new();
    site.settings.build_limits.max_log_size = Some(1 << 20);
    let item = site.add("flood", &["flood"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::LogTooLong(_)
    ));
}

#[test]
fn a_build_that_fills_a_file_is_ended_by_its_limit() {
    let mut site = Site::new();
    site.settings.limits.file_size = Some(4 << 20);
    let item = site.add("full", &["fill $NIX_BUILD_TOP/zeros"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::Status(_)
    ));
}
