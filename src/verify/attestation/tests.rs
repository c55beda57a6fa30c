// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::formats::hash::Sha256Digest;

fn store_path(name: &str) -> String {
    format!("/gnu/store/{}-{name}", "0".repeat(32))
}

fn document(outputs: &[(&str, &str, &str, Seen)]) -> Attestation {
    let outputs = outputs
        .iter()
        .map(|(package, path, sha256, result)| AttestedOutput {
            package: (*package).to_owned(),
            output: "out".into(),
            path: store_path(path),
            sha256: Sha256Digest::of(sha256).to_base16(),
            size: 1,
            result: *result,
            made: None,
            second: None,
            rebuilt: None,
            detail: String::new(),
        });
    Attestation {
        format: FORMAT,
        version: "0.1.0".into(),
        system: "x86_64-linux".into(),
        kernel: "Linux 6.1 x86_64".into(),
        seeds: vec![NamedHash {
            name: "small".into(),
            sha256: Sha256Digest::of("seed").to_base16(),
        }],
        impure: BTreeMap::new(),
        sources: Vec::new(),
        plans: Vec::new(),
        checks: vec!["store".into()],
        lock: None,
        rounds: 0,
        variations: Vec::new(),
        not_varied: BTreeMap::new(),
        outputs: outputs.collect(),
        other_items: 0,
        other_damage: BTreeMap::new(),
        unregistered: Vec::new(),
        extra: Vec::new(),
        good: true,
    }
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let document = document(&[("sed", "a", "11", Seen::Reproducible)]);
    let text = serde_json::to_string(&document).unwrap();
    assert!(text.contains("\"result\":\"reproducible\""));
    let read = Attestation::parse("a.json", text.as_bytes());
    assert_eq!(read.unwrap(), document);
}

#[test]
fn what_is_no_document_is_refused() {
    for (text, message) in [
        ("", "a.json is not a document"),
        ("{}", "missing field"),
        ("{\"format\": 2}", "has format 2"),
        ("[1]", "a.json is not a document"),
    ] {
        let error = Attestation::parse("a.json", text.as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn documents_agree_or_say_where_they_do_not() {
    let good = Seen::Intact;
    let first = document(&[
        ("bash", "b", "1", good),
        ("sed", "s", "1", good),
        ("tar", "t1", "1", good),
        ("grep", "g", "1", good),
    ]);
    let second = document(&[
        ("bash", "b", "1", good),
        ("sed", "s", "2", good),
        ("tar", "t2", "1", good),
        ("make", "m", "1", good),
    ]);
    let comparison = compare(&first, &second);
    assert!(comparison.same_origin && !comparison.agrees());
    assert_eq!(comparison.same, ["bash:out"]);
    assert_eq!(comparison.different.len(), 1);
    assert_eq!(comparison.different[0].output, "sed:out");
    assert_eq!(comparison.incomparable, ["tar:out"]);
    assert_eq!(comparison.only_first, ["grep:out"]);
    assert_eq!(comparison.only_second, ["make:out"]);
    assert!(compare(&first, &first).agrees());
}

#[test]
fn seeds_that_others_cannot_have_are_told_and_are_no_contradiction() {
    let mut mine = document(&[("sed", "s", "1", Seen::Intact)]);
    let others = mine.clone();
    assert_eq!(compare(&mine, &others).impure, [""; 0]);
    mine.impure = [("small".to_owned(), "it is mine".to_owned())].into();
    let text = serde_json::to_string(&mine).unwrap();
    let read = Attestation::parse("a.json", text.as_bytes()).unwrap();
    assert_eq!(read, mine);
    let comparison = compare(&others, &read);
    assert_eq!(
        comparison.impure,
        ["the seed small of the second: it is mine"]
    );
    assert!(comparison.agrees());
    mine.seeds.clear();
    let text = serde_json::to_string(&mine).unwrap();
    let error = Attestation::parse("a.json", text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("not among its seeds"), "{error}");
}

#[test]
fn what_one_side_saw_go_wrong_is_no_agreement() {
    let first = document(&[("sed", "s", "1", Seen::Intact)]);
    let second = document(&[("sed", "s", "1", Seen::Differs)]);
    let comparison = compare(&first, &second);
    assert_eq!(comparison.bad, ["sed:out"]);
    assert!(!comparison.agrees());
}

#[test]
fn documents_with_nothing_in_common_do_not_agree() {
    let sed = document(&[("sed", "s", "1", Seen::Intact)]);
    let other_sed = document(&[("sed", "t", "1", Seen::Intact)]);
    let tar = document(&[("tar", "t", "1", Seen::Intact)]);
    let empty = document(&[]);
    for other in [other_sed, tar, empty.clone()] {
        let comparison = compare(&sed, &other);
        assert_eq!((comparison.same.len(), comparison.agrees()), (0, false));
    }
    assert!(!compare(&empty, &empty).agrees());
    // What only one has does no harm to what both have.
    let both = document(&[
        ("sed", "s", "1", Seen::Intact),
        ("tar", "t", "1", Seen::Intact),
    ]);
    assert!(compare(&sed, &both).agrees());
}

#[test]
fn other_damage_on_either_side_is_no_agreement() {
    let good = document(&[("sed", "s", "1", Seen::Intact)]);
    let mut bad = good.clone();
    let damage = ("/gnu/store/x".to_owned(), "missing: ".to_owned());
    bad.other_damage.extend([damage]);
    for (first, second) in [(&good, &bad), (&bad, &good)] {
        let comparison = compare(first, second);
        assert!(!comparison.agrees());
        assert!(comparison.damage[0].starts_with("/gnu/store/x in the "));
    }
}

#[test]
fn a_document_that_says_it_is_not_good_is_no_agreement() {
    let good = document(&[("sed", "s", "1", Seen::Intact)]);
    let mut bad = good.clone();
    bad.good = false;
    for (first, second) in [(&good, &bad), (&bad, &good)] {
        let comparison = compare(first, second);
        assert!(!comparison.agrees());
        assert!(comparison.damage[0].contains("reports problems"));
    }
}

#[test]
fn outputs_made_in_a_second_way_are_compared_too() {
    let mut first = document(&[("sed", "s", "1", Seen::Reproducible)]);
    first.outputs[0].made = Some("from the seed one".into());
    first.outputs[0].second = Some(SecondOutput {
        made: "from the seed two".into(),
        path: store_path("z"),
        sha256: Sha256Digest::of("2").to_base16(),
        size: 1,
    });
    assert_eq!(
        compare(&first, &first).same,
        ["sed:out from the seed one", "sed:out from the seed two"]
    );
    let mut second = first.clone();
    second.outputs[0].second.as_mut().unwrap().sha256 = Sha256Digest::of("3").to_base16();
    let comparison = compare(&first, &second);
    assert!(!comparison.agrees());
    assert_eq!(comparison.different[0].path, store_path("z"));
}

#[test]
fn two_ways_are_compared_whichever_comes_first_and_with_one_alone() {
    let one = document(&[("sed", "s", "1", Seen::Intact)]);
    let mut both = document(&[("sed", "s", "1", Seen::Equivalent)]);
    both.outputs[0].made = Some("from the seed one".into());
    both.outputs[0].second = Some(SecondOutput {
        made: "from the seed two".into(),
        path: store_path("z"),
        sha256: Sha256Digest::of("2").to_base16(),
        size: 1,
    });
    let mut turned = both.clone();
    let output = &mut turned.outputs[0];
    let second = output.second.as_mut().unwrap();
    std::mem::swap(&mut output.path, &mut second.path);
    std::mem::swap(&mut output.sha256, &mut second.sha256);
    std::mem::swap(output.made.as_mut().unwrap(), &mut second.made);
    let comparison = compare(&both, &turned);
    assert!(comparison.agrees());
    assert_eq!(comparison.same.len(), 2);

    let comparison = compare(&one, &turned);
    assert!(comparison.agrees());
    assert_eq!(comparison.same, ["sed:out"]);
    assert_eq!(comparison.only_second, ["sed:out from the seed two"]);
    assert!(comparison.incomparable.is_empty());
}

#[test]
fn documents_of_older_versions_are_read() {
    let document = document(&[("sed", "s", "1", Seen::Intact)]);
    let mut value = serde_json::to_value(&document).unwrap();
    for name in ["unregistered", "extra", "plans"] {
        assert!(value.as_object_mut().unwrap().remove(name).is_some());
    }
    let read = Attestation::parse("a.json", value.to_string().as_bytes()).unwrap();
    assert_eq!(read, document);
}

#[test]
fn another_seed_is_told() {
    let first = document(&[]);
    let mut second = first.clone();
    second.seeds[0].sha256 = Sha256Digest::of("other").to_base16();
    let comparison = compare(&first, &second);
    assert!(!comparison.same_origin);
    let seed = &first.seeds[0].sha256;
    assert_eq!(
        comparison.origin[0],
        format!("seed small {seed} is in the first only")
    );
}

#[test]
fn other_recipes_are_told_where_both_documents_tell_of_theirs() {
    let first = document(&[]);
    let mut second = first.clone();
    let plan = |content: &str| NamedHash {
        name: "small".into(),
        sha256: Sha256Digest::of(content).to_base16(),
    };
    second.plans = vec![plan("one")];
    assert!(compare(&first, &second).same_origin);
    let mut third = first.clone();
    third.plans = vec![plan("two")];
    let comparison = compare(&second, &third);
    assert!(!comparison.same_origin);
    assert!(comparison.origin[0].starts_with("plan small "));
}
