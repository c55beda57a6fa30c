// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that are made several times before they are registered.

use std::fs;
use std::num::NonZeroU32;

use bootstrap::builder::error::{BuildError, BuildFailureCause};
use bootstrap::events::Event;
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::Output;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::site::Site;

/// How often a builder has said `a round`.
fn said(site: &Site) -> usize {
    let events = site.events();
    let said = |event: &&Event| matches!(event, Event::Line { text, .. } if text == "a round");
    events.iter().filter(said).count()
}

fn with_rounds(count: u32) -> Site {
    let mut site = Site::new();
    site.settings.rounds = NonZeroU32::new(count).unwrap();
    site
}

#[test]
fn rounds_that_give_the_same_are_registered_once() {
    let mut site = with_rounds(3);
    let item = site.add("same", &["say a round", "write $out same"]);
    let report = site.run(&[item]);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.summary.made.len(), 1);
    assert_eq!(said(&site), 3);
    assert!(site.is_valid(item));
    site.assert_clean();
}

#[test]
fn rounds_that_differ_leave_nothing_valid() {
    let mut site = with_rounds(2);
    let item = site.add("random", &["copy /proc/sys/kernel/random/uuid $out"]);
    for keep_failed in [false, true] {
        site.settings.keep_failed = keep_failed;
        let report = site.run(&[item]);
        let [BuildError::Failed(failed)] = report.errors.as_slice() else {
            panic!("{:?}", report.errors);
        };
        let BuildFailureCause::RoundDiffers { path, kept } = &failed.cause else {
            panic!("{failed}");
        };
        assert_eq!(*path, site.logical(item, "out"));
        assert!(!site.is_valid(item));
        match keep_failed {
            false => assert!(kept.is_empty(), "{kept:?}"),
            true => {
                let [before, last] = kept.as_slice() else {
                    panic!("{kept:?}");
                };
                assert_ne!(fs::read(before).unwrap(), fs::read(last).unwrap());
                assert!(before.starts_with(site.root.join("gnu/store")), "{kept:?}");
            }
        }
    }
}

#[test]
fn a_fixed_output_has_one_round() {
    let mut site = with_rounds(2);
    let hash = ContentHash::of_reader(HashAlgorithm::Sha256, &mut &b"x"[..]).unwrap();
    let item = site.add_with(
        "fixed",
        &["say a round", "write $out x"],
        |_, derivation| {
            let output = Output::fixed(FixedOutputMethod::Flat, hash);
            derivation.outputs.insert("out".to_owned(), output);
        },
    );
    assert!(site.run(&[item]).errors.is_empty());
    assert_eq!(said(&site), 1);
}
