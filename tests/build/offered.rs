// SPDX-License-Identifier: GPL-3.0-or-later
//! What another way of making items has offered and does not deliver.

use bootstrap::builder::error::{BuildError, FailureKind};
use bootstrap::builder::settings::Fallback;

use crate::site::{Promises, Site};

#[test]
fn what_was_offered_and_not_delivered_is_built_with_all_that_it_needs() {
    let mut site = Site::new();
    let library = site.add("library", &["write $out"]);
    let tool = site.add_with("tool", &["write $out"], |site, derivation| {
        site.input(derivation, library);
    });
    let user = site.add_with("user", &["write $out"], |site, derivation| {
        site.input(derivation, tool);
    });
    site.promises = Some(Promises(vec!["tool", "library"]));
    let report = site.run(&[user]);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let made: Vec<_> = report
        .summary
        .made
        .iter()
        .map(|made| made.item.as_str())
        .collect();
    assert_eq!(made, ["library", "tool", "user"]);
    assert!(
        [library, tool, user]
            .iter()
            .all(|item| site.is_valid(*item))
    );
    // Every derivation that was built is in the store.
    let derivation = &site.items[library].path;
    assert!(site.store.is_valid(derivation).unwrap());
    site.assert_clean();
}

#[test]
fn without_a_fallback_what_is_not_delivered_has_failed() {
    let mut site = Site::new();
    let tool = site.add("tool", &["write $out"]);
    site.promises = Some(Promises(vec!["tool"]));
    site.settings.fallback = Fallback::Never;
    let report = site.run(&[tool]);
    let [error] = report.errors.as_slice() else {
        panic!("{:?}", report.errors);
    };
    assert!(
        matches!(error, BuildError::NotDelivered { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), FailureKind::NotFetched);
    assert!(error.hint().unwrap().contains("--fallback"));
    assert!(!site.is_valid(tool));
    site.settings.fallback = Fallback::Always;
    assert!(site.run(&[tool]).errors.is_empty());
    assert!(site.is_valid(tool));
}
