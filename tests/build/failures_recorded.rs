// SPDX-License-Identifier: GPL-3.0-or-later
//! Failures that are recorded, so that the same build is not tried again.

use std::time::Duration;

use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::site::Site;

#[test]
fn a_recorded_failure_is_not_tried_again_until_the_record_is_cleared() {
    let mut site = Site::new();
    site.settings.cache_failures = true;
    let bad = site.add("bad", &["say trying", "exit 1"]);
    assert!(site.fail(bad).to_string().contains("exit status 1"));
    let out = site.items[bad].derivation.output_path("out").unwrap();
    let out = out.clone();
    assert!(site.store.has_failed(&out).unwrap());

    let again = site.fail(bad).to_string();
    assert!(again.contains("it failed before"), "{again}");
    // Without the option the record counts for nothing.
    site.settings.cache_failures = false;
    assert!(site.fail(bad).to_string().contains("exit status 1"));

    site.settings.cache_failures = true;
    site.store.clear_failures(None).unwrap();
    assert!(site.fail(bad).to_string().contains("exit status 1"));
    assert!(site.store.has_failed(&out).unwrap());
}

#[test]
fn what_may_go_well_the_next_time_is_not_recorded() {
    let mut site = Site::new();
    site.settings.cache_failures = true;
    let fixed = site.add_with("fixed", &["exit 1"], |_, derivation| {
        let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("x"));
        derivation.outputs.insert("out".to_owned(), output);
    });
    site.fail(fixed);
    let unrecorded = site.add("unrecorded", &["exit 1"]);
    site.settings.cache_failures = false;
    site.fail(unrecorded);
    site.settings.cache_failures = true;
    let slow = site.add("slow", &["sleep 30000"]);
    site.settings.build_limits.timeout = Some(Duration::from_millis(300));
    let error = site.fail(slow).to_string();
    assert!(error.contains("--timeout"), "{error}");
    assert!(site.store.failed_paths().unwrap().is_empty());
}
