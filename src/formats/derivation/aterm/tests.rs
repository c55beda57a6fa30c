// SPDX-License-Identifier: GPL-3.0-or-later
//! The `.drv` format: there and back, and what is refused.

use super::*;
use crate::formats::hash::Sha256Digest;
use proptest::prelude::*;

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

/// Written by nix-instantiate 2.8 with NIX_STORE_DIR=/gnu/store.
const TWO_OUTPUTS: &str = concat!(
    r#"Derive([("lib","/gnu/store/4xm4lgqk1nbn48l622wjawjs7pqx5h2j-hello-1.0-lib","",""),"#,
    r#"("out","/gnu/store/k95ns3gbng8a7pvanla79kc0kcyp67cp-hello-1.0","","")],"#,
    r#"[("/gnu/store/089hypi538nvkacq4sj1z9mbxsbhpxlv-r.drv",["out"]),"#,
    r#"("/gnu/store/mscpw67m384gaigsk9riaajpvl274maj-src.tar.drv",["out"])],"#,
    r#"["/gnu/store/985kj6dhirgm3ms024w72yhvxz6k7bd0-t.sh"],"x86_64-linux","/bin/sh","#,
    r#"["-c","a\nb\"q\"\\ \r"],[("builder","/bin/sh"),("#,
    r#""lib","/gnu/store/4xm4lgqk1nbn48l622wjawjs7pqx5h2j-hello-1.0-lib"),("name","hello-1.0"),"#,
    r#"("out","/gnu/store/k95ns3gbng8a7pvanla79kc0kcyp67cp-hello-1.0"),("outputs","out lib"),"#,
    r#"("system","x86_64-linux")])"#,
);

const FIXED: &str = concat!(
    r#"Derive([("out","/gnu/store/v71svrhrnafm3b6dj4vs7p7wjvspqya9-r","r:sha256","#,
    r#""5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")],[],[],"#,
    r#""x86_64-linux","b",[],[])"#,
);

fn problem(text: &str) -> (usize, AtermProblem) {
    let error = parse(&store_dir(), text.as_bytes()).unwrap_err();
    (error.offset, error.problem)
}

#[test]
fn a_file_by_nix_is_read_and_written_back_to_the_byte() {
    let derivation = parse(&store_dir(), TWO_OUTPUTS.as_bytes()).unwrap();
    assert_eq!(derivation.arguments, ["-c", "a\nb\"q\"\\ \r"]);
    assert_eq!(derivation.outputs.len(), 2);
    assert_eq!(derivation.input_derivations.len(), 2);
    assert_eq!(derivation.environment["outputs"], "out lib");
    let written = write(&store_dir(), &derivation);
    assert_eq!(String::from_utf8(written).unwrap(), TWO_OUTPUTS);
}

#[test]
fn a_fixed_output_keeps_its_method_and_hash() {
    let derivation = parse(&store_dir(), FIXED.as_bytes()).unwrap();
    let fixed = derivation.fixed_output().unwrap();
    assert_eq!(fixed.method, FixedOutputMethod::Recursive);
    assert_eq!(fixed.hash, Sha256Digest::of("hello\n").into());
    assert_eq!(write(&store_dir(), &derivation), FIXED.as_bytes());
}

#[test]
fn every_truncation_is_an_error_at_its_end_or_before() {
    for end in 0..TWO_OUTPUTS.len() {
        let error = parse(&store_dir(), &TWO_OUTPUTS.as_bytes()[..end]).unwrap_err();
        assert!(error.offset <= end, "{end}: {error}");
    }
}

#[test]
fn what_follows_the_derivation_is_an_error() {
    let (offset, problem) = problem(&format!("{FIXED}\n"));
    assert_eq!(offset, FIXED.len());
    assert!(matches!(problem, AtermProblem::Unexpected { .. }));
}

#[test]
fn the_offset_is_that_of_the_first_wrong_byte() {
    assert_eq!(problem("").0, 0);
    assert_eq!(problem("DerivX(").0, 5);
    assert_eq!(problem("Derive([(1").0, 9);
    let message = parse(&store_dir(), b"Derive([;").unwrap_err().to_string();
    assert_eq!(
        message,
        "not a derivation in ATerm format: at byte 8: expected `(`, saw `;`"
    );
}

#[test]
fn unsorted_and_repeated_entries_are_refused() {
    let repeated = FIXED.replace("[])", r#"[("a","1"),("a","2")])"#);
    assert!(matches!(
        problem(&repeated).1,
        AtermProblem::Order { what: "environment variables", entry } if entry == "a"
    ));
    let swapped = TWO_OUTPUTS.replacen("(\"lib\"", "(\"zlib\"", 1);
    assert!(matches!(
        problem(&swapped).1,
        AtermProblem::Order { what: "outputs", entry } if entry == "out"
    ));
}

#[test]
fn strings_have_one_spelling() {
    let with = |string: &str| FIXED.replace("\"b\"", &format!("\"{string}\""));
    let start = FIXED.find("\"b\"").unwrap() + 1;
    assert_eq!(problem(&with("\\x")), (start, AtermProblem::Escape(b'x')));
    assert_eq!(problem(&with("\n")), (start, AtermProblem::Unescaped('n')));
    assert_eq!(problem(&with("\t")), (start, AtermProblem::Unescaped('t')));
    let mut bytes = FIXED.as_bytes().to_vec();
    bytes[start] = 0xff;
    let derivation = parse(&store_dir(), &bytes).unwrap();
    assert_eq!(derivation.builder, b"\xff".as_slice());
    assert_eq!(write(&store_dir(), &derivation), bytes);
    // A name cannot be anything.
    let start = FIXED.find("\"x86_64").unwrap();
    let mut bytes = FIXED.as_bytes().to_vec();
    bytes[start + 1] = 0xff;
    let error = parse(&store_dir(), &bytes).unwrap_err();
    assert_eq!(error, error_at(start, AtermProblem::Encoding));
}

#[test]
fn unknown_algorithms_and_malformed_hashes_are_named() {
    let crc = FIXED.replace("r:sha256", "r:crc32");
    assert!(matches!(problem(&crc).1, AtermProblem::Algorithm(name) if name.0 == "crc32"));
    for bare in ["r:", ":sha256", "R:sha256", "SHA256", "sha256 "] {
        let other = FIXED.replace("r:sha256", bare);
        assert!(
            matches!(problem(&other).1, AtermProblem::Algorithm(_)),
            "{bare}"
        );
    }
    let short = FIXED.replace("r:sha256", "r:sha512");
    assert!(matches!(problem(&short).1, AtermProblem::Hash(_)));
    let upper = FIXED.replace("5891b5", "5891B5");
    assert!(matches!(problem(&upper).1, AtermProblem::UpperCase(_)));
    let alone = FIXED.replace("r:sha256", "");
    assert!(matches!(
        problem(&alone).1,
        AtermProblem::HashWithoutAlgorithm(_)
    ));
}

#[test]
fn paths_of_another_store_are_refused() {
    let other = FIXED.replace("/gnu/", "/nix/");
    assert!(matches!(
        problem(&other).1,
        AtermProblem::StorePath(StorePathError::NotInStore { .. })
    ));
}

/// Any bytes, among them often those that are escaped.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        proptest::sample::select(b"\"\\\n\r\t".as_slice())
    ];
    proptest::collection::vec(byte, 0..8)
}

proptest! {
    #[test]
    fn a_fixed_output_of_any_algorithm_survives_a_round_trip(
        index in 0..HashAlgorithm::ALL.len(),
        recursive: bool,
        content: Vec<u8>,
    ) {
        let method = match recursive {
            true => FixedOutputMethod::Recursive,
            false => FixedOutputMethod::Flat,
        };
        let hash = ContentHash::of(HashAlgorithm::ALL[index], content);
        let mut derivation = parse(&store_dir(), FIXED.as_bytes()).unwrap();
        derivation.outputs.insert("out".into(), Output::fixed(method, hash));
        let written = write(&store_dir(), &derivation);
        let read = parse(&store_dir(), &written).unwrap();
        prop_assert_eq!(read.fixed_output(), Some(FixedOutput { method, hash }));
        prop_assert_eq!(read, derivation);
    }

    #[test]
    fn any_environment_survives_a_round_trip(
        environment in proptest::collection::vec((bytes(), bytes()), 0..6),
        arguments in proptest::collection::vec(bytes(), 0..4),
        builder in bytes(),
    ) {
        let mut derivation = parse(&store_dir(), TWO_OUTPUTS.as_bytes()).unwrap();
        derivation.environment = environment.into_iter().collect();
        derivation.arguments = arguments.into_iter().map(Into::into).collect();
        derivation.builder = builder.into();
        let written = write(&store_dir(), &derivation);
        prop_assert_eq!(parse(&store_dir(), &written), Ok(derivation));
    }

    #[test]
    fn a_changed_byte_is_refused_or_written_back(at in 0..TWO_OUTPUTS.len(), byte in any::<u8>()) {
        let mut bytes = TWO_OUTPUTS.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(derivation) = parse(&store_dir(), &bytes) {
            prop_assert_eq!(write(&store_dir(), &derivation), bytes);
        }
    }
}

#[test]
fn an_algorithm_without_a_hash_is_kept_and_fixes_nothing() {
    for algorithm in ["sha256", "r:sha512"] {
        let hash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let text = FIXED.replace("r:sha256", algorithm).replace(hash, "");
        assert_ne!(text, FIXED.replace("r:sha256", algorithm), "{text}");
        let derivation = parse(&store_dir(), text.as_bytes()).unwrap();
        assert_eq!(derivation.fixed_output(), None);
        assert_eq!(write(&store_dir(), &derivation), text.as_bytes());
    }
}
