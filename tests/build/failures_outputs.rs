// SPDX-License-Identifier: GPL-3.0-or-later
//! Outputs that are refused: missing ones, and those of a wrong kind, place, hash or reference.

use bootstrap::builder::error::{BuildFailureCause, FailureKind};
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::site::Site;

#[test]
fn a_missing_output_is_named() {
    let mut site = Site::new();
    let item = site.add_with("half", &["write $out"], |_, derivation| {
        derivation
            .outputs
            .insert("lib".to_owned(), Output::input_addressed());
    });
    let error = site.fail(item).to_string();
    let path = site.logical(item, "lib");
    let expected = format!("did not create output `lib` ({path})");
    assert!(error.ends_with(&expected), "{error}");
    // All outputs or none.
    assert!(!site.is_valid(item));
}

#[test]
fn writing_to_the_store_outside_the_outputs_fails_the_build() {
    let mut site = Site::new();
    let foreign = format!("/gnu/store/{}-foreign", "0".repeat(32));
    let commands = [
        "write $out",
        "write /gnu/store/other x",
        &format!("mkdir {foreign}"),
    ];
    let item = site.add("stray", &commands);
    let cause = site.fail_build(item);
    let text = cause.to_string();
    let hint = miette::Diagnostic::help(&cause).unwrap().to_string();
    let BuildFailureCause::OutsideOutputs(paths) = cause else {
        panic!("the wrong cause: {text}");
    };
    assert_eq!(paths, [foreign.as_str(), "/gnu/store/other"]);
    assert!(text.ends_with("/gnu/store/other"), "{text}");
    assert_eq!(hint, "have it write to `$out` and its other outputs only");
    // Guix's daemon does not look, and packages rely on that.
    site.settings.ignores_strays = true;
    site.build(item);
    assert!(site.is_valid(item));
}

#[test]
fn a_socket_a_fifo_or_a_device_is_no_output() {
    let mut site = Site::new();
    for command in ["socket $out", "fifo $out/socket"] {
        let item = site.add("special", &["mkdir $out", command]);
        let cause = site.fail_build(item);
        let message = cause.to_string();
        assert!(
            matches!(cause, BuildFailureCause::UnusableOutput(_)),
            "{message}"
        );
        assert!(message.contains("/socket"), "{message}");
    }
    let item = site.add("fifo", &["fifo $out"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::UnusableOutput(_)
    ));
    // No process in the sandbox may even make one of these.
    let item = site.add("device", &["device $out"]);
    assert!(matches!(
        site.fail_build(item),
        BuildFailureCause::Status(_)
    ));
}

#[test]
fn a_forbidden_reference_is_named_with_the_file_that_holds_it() {
    let mut site = Site::new();
    let stage0 = site.add("stage0-tool", &["write $out tool"]);
    let item = site.add_with(
        "final",
        &["mkdir $out", "mkdir $out/bin", "link $out/bin/sh $tool"],
        |site, derivation| {
            site.input(derivation, stage0);
            let path = site.logical(stage0, "out");
            derivation
                .environment
                .insert("tool".to_owned(), path.clone());
            derivation
                .environment
                .insert("disallowedReferences".to_owned(), path);
        },
    );
    let error = site.fail(item);
    assert_eq!(error.kind(), FailureKind::Build);
    let expected = format!(
        "its output `out` refers to {}, which disallowedReferences forbids; it is in bin/sh",
        site.logical(stage0, "out")
    );
    assert!(error.to_string().ends_with(&expected), "{error}");
}

#[test]
fn only_allowed_references_are_allowed() {
    let mut site = Site::new();
    let one = site.add("one", &["write $out 1"]);
    let two = site.add("two", &["write $out 2"]);
    let refer = |target: &'static str| {
        move |site: &Site, derivation: &mut bootstrap::formats::derivation::Derivation| {
            for (name, item) in [("one", one), ("two", two)] {
                site.input(derivation, item);
                derivation
                    .environment
                    .insert(name.to_owned(), site.logical(item, "out"));
            }
            derivation.environment.insert(
                "allowedReferences".to_owned(),
                format!("{} out", site.logical(one, "out")),
            );
            derivation.arguments = vec![format!("link $out {target}").into()];
        }
    };
    let good = site.add_with("good", &[], refer("$one"));
    let bad = site.add_with("bad", &[], refer("$two"));
    site.build(good);
    let BuildFailureCause::Reference(found) = site.fail_build(bad) else {
        panic!("the wrong cause");
    };
    assert_eq!(
        (found.reference, found.rule),
        (site.logical(two, "out"), "allowedReferences")
    );
}

#[test]
fn a_fixed_output_with_other_content_ends_with_status_3() {
    let mut site = Site::new();
    let methods = [FixedOutputMethod::Flat, FixedOutputMethod::Recursive];
    let all = HashAlgorithm::ALL.into_iter();
    for (method, algorithm) in all.flat_map(|one| methods.map(|method| (method, one))) {
        let hash = ContentHash::of(algorithm, "content");
        let item = site.add_with("fixed", &["write $out something else"], |_, derivation| {
            let output = Output::fixed(method, hash);
            derivation.outputs.insert("out".to_owned(), output);
        });
        let error = site.fail(item);
        assert_eq!(error.kind(), FailureKind::HashDiffers);
        assert!(error.to_string().contains(&hash.to_base16()), "{error}");
    }
}

#[test]
fn a_flat_fixed_output_has_to_be_a_file() {
    for (commands, kind) in [
        (&["mkdir $out"][..], "directory"),
        (&["link $out /nowhere"][..], "symbolic link"),
        (&["write $out bytes", "chmod $out 755"][..], "program"),
    ] {
        let mut site = Site::new();
        let hash = Sha256Digest::of("bytes");
        let item = site.add_with("fixed", commands, |_, derivation| {
            let output = Output::fixed(FixedOutputMethod::Flat, hash);
            derivation.outputs.insert("out".to_owned(), output);
        });
        let cause = site.fail_build(item);
        assert!(
            matches!(&cause, BuildFailureCause::NotAFile { kind: found, .. } if *found == kind),
            "{cause}"
        );
        let text = cause.to_string();
        assert!(text.contains(&hash.to_base16()), "{text}");
        assert!(!text.contains("0000000"), "{text}");
    }
}

#[test]
fn the_closures_of_references_can_be_forbidden_or_limited() {
    let mut site = Site::new();
    let library = site.add("library", &["write $out"]);
    let tool = site.add_with("tool", &["link $out $library"], |site, derivation| {
        site.input(derivation, library);
        let path = site.logical(library, "out");
        derivation.environment.insert("library", path);
    });
    let add = |site: &mut Site, label: &str, variable: &str, allowed: &[usize]| {
        let paths: Vec<String> = allowed
            .iter()
            .map(|item| site.logical(*item, "out"))
            .collect();
        site.add_with(label, &["link $out $tool"], |site, derivation| {
            site.input(derivation, tool);
            let path = site.logical(tool, "out");
            derivation.environment.insert("tool", path);
            derivation.environment.insert(variable, paths.join(" "));
        })
    };
    let forbidden = add(&mut site, "forbidden", "disallowedRequisites", &[library]);
    let too_few = add(&mut site, "too-few", "allowedRequisites", &[tool]);
    // Only direct references count here.
    let direct = add(&mut site, "direct", "disallowedReferences", &[library]);
    let all = add(&mut site, "all", "allowedRequisites", &[tool, library]);
    for (item, rule) in [
        (forbidden, "disallowedRequisites"),
        (too_few, "allowedRequisites"),
    ] {
        let BuildFailureCause::Reference(found) = site.fail_build(item) else {
            panic!("another cause");
        };
        assert_eq!(found.rule, rule);
        assert_eq!(found.reference, site.logical(library, "out"));
    }
    site.build(direct);
    site.build(all);
}
