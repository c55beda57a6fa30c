// SPDX-License-Identifier: GPL-3.0-or-later
use serde_json::json;

use super::*;

fn path(name: &str) -> String {
    format!("/gnu/store/{}-{name}", "0".repeat(32))
}

fn sha256(content: &str) -> String {
    Sha256Digest::of(content).to_base16()
}

/// A document with one output that was made in two ways.
fn document() -> Value {
    json!({
        "format": 1,
        "version": "0.1.0",
        "system": "x86_64-linux",
        "kernel": "Linux 6.1 x86_64",
        "seeds": [{"name": "small", "sha256": sha256("seed")}],
        "sources": [{"name": "sed-4.9.tar.xz", "sha256": sha256("source")}],
        "checks": ["diverse"],
        "rounds": 0,
        "variations": [],
        "outputs": [{
            "package": "stage0/sed",
            "output": "out",
            "path": path("sed"),
            "sha256": sha256("sed"),
            "size": 112,
            "result": "equivalent",
            "made": "from the seed small",
            "second": {
                "made": "from the seed large",
                "path": path("sed-2"),
                "sha256": sha256("sed"),
                "size": 112,
            },
        }],
        "other_items": 3,
        "other_damage": {},
        "good": true,
    })
}

/// What is said of `document`.
fn refusal(document: &Value) -> String {
    let bytes = serde_json::to_vec(document).unwrap();
    let refused = Attestation::parse("a.json", &bytes).unwrap_err();
    refused.to_string()
}

#[test]
fn numbers_lists_and_everything_else_are_read_as_they_are() {
    let text =
        br#"{"a": [1, -1, 0.5, 18446744073709551615, null, true, "\u00e9"], "b": {"c": {}}}"#;
    let read = value("a.json", text).unwrap();
    assert_eq!(read, serde_json::from_slice::<Value>(text).unwrap());
    assert!(Attestation::from_value("a.json", document()).is_ok());
}

#[test]
fn bytes_that_are_no_text_and_members_that_are_there_twice_are_refused() {
    for (bytes, expected) in [
        (&b"{\"a\": \"\xff\"}"[..], "utf-8"),
        (
            &br#"{"good": false, "good": true}"#[..],
            "the member `good` occurs twice",
        ),
        (
            &br#"[{"a": {"b": 1, "\u0062": 2}}]"#[..],
            "the member `b` occurs twice",
        ),
        (&br#"{"a\u001b": 1, "a\u001b": 2}"#[..], "`a\\u{1b}`"),
    ] {
        let refused = value("a.json", bytes).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn an_output_that_is_there_twice_is_refused() {
    let mut twice = document();
    let mut bad = twice["outputs"][0].clone();
    bad["result"] = json!("altered");
    twice["outputs"].as_array_mut().unwrap().insert(0, bad);
    let refused = refusal(&twice);
    assert!(refused.contains("stage0/sed:out occurs twice"), "{refused}");
    let mut hashes = document();
    hashes["outputs"][0]["second"]["path"] = json!(path("sed"));
    hashes["outputs"][0]["second"]["sha256"] = json!(sha256("other"));
    let refused = refusal(&hashes);
    assert!(
        refused.contains("it has two hashes of /gnu/store/"),
        "{refused}"
    );
}

#[test]
fn malformed_hashes_paths_and_names_are_refused_and_shown_on_one_line() {
    for (place, wrong, expected) in [
        ("/outputs/0/sha256", String::new(), "64 hexadecimal digits"),
        (
            "/outputs/0/sha256",
            sha256("sed").to_uppercase(),
            "in lower case",
        ),
        (
            "/outputs/0/second/sha256",
            sha256("sed")[1..].to_owned(),
            "64 hexadecimal digits",
        ),
        (
            "/seeds/0/sha256",
            "00".to_owned(),
            "small: expected a SHA-256",
        ),
        (
            "/sources/0/sha256",
            "00".to_owned(),
            "sed-4.9.tar.xz: expected a SHA-256",
        ),
        ("/outputs/0/path", String::new(), "expected a store path"),
        (
            "/outputs/0/path",
            "/gnu/store/sed".to_owned(),
            "expected a store path",
        ),
        (
            "/outputs/0/second/path",
            format!("{}/bin", path("sed")),
            "expected a store path",
        ),
        (
            "/outputs/0/package",
            "sed\nb.json: signed by me".to_owned(),
            "sed\\nb.json",
        ),
        (
            "/outputs/0/package",
            "sed:out from".to_owned(),
            "the name of no package",
        ),
        (
            "/outputs/0/package",
            String::new(),
            "the name of no package",
        ),
        ("/outputs/0/output", "o t".to_owned(), "stage0/sed:o t"),
        (
            "/outputs/0/made",
            "from\u{1b}[2K".to_owned(),
            "from\\u{1b}[2K",
        ),
        (
            "/outputs/0/second/made",
            "from\u{202e}".to_owned(),
            "from\\u{202e}",
        ),
        ("/seeds/0/name", "a\rb".to_owned(), "a\\rb"),
        (
            "/system",
            "\u{7}".to_owned(),
            "expected a name for the system",
        ),
        (
            "/outputs/0/result",
            "good\u{1b}[1m".to_owned(),
            "good\\u{1b}[1m",
        ),
    ] {
        let mut document = document();
        *document.pointer_mut(place).unwrap() = json!(wrong);
        let refused = refusal(&document);
        assert!(refused.contains(expected), "{place}: {refused}");
        assert!(!refused.contains(is_invisible), "{refused:?}");
    }
    let mut document = document();
    document["other_damage"] = json!({"a\nb": "missing"});
    assert!(refusal(&document).contains("a\\nb"));
}

#[test]
fn what_cannot_be_seen_is_shown_as_an_escape() {
    assert_eq!(visible("sed: é \"quoted\" \\"), "sed: é \"quoted\" \\");
    assert_eq!(visible("a\nb\u{1b}[1m\u{200b}"), "a\\nb\\u{1b}[1m\\u{200b}");
}
