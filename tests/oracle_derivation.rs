// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations and store paths, compared with Nix's to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the message"
)]

mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bootstrap::formats::base32;
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{
    FixedOutputMethod, StorePath, fixed_output_path, source_path, text_path,
};
use oracle::{Oracle, store_dir};

/// A graph with what a graph can have: flat and recursive fixed outputs, two downloads of one file, several outputs of
/// one derivation used together and alone, texts that refer to texts, a source tree, characters that need escapes,
/// bytes that are not UTF-8, and each of Nix's hash algorithms.
const GRAPH: &str = r#"
let
  system = "x86_64-linux";
  sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
  download = mode: url: derivation {
    name = "source.tar.gz"; builder = "builtin:download"; inherit system url;
    outputHash = sha256; outputHashAlgo = "sha256"; outputHashMode = mode;
  };
  flat = download "flat" "http://one/";
  mirror = download "flat" "http://two/";
  recursive = download "recursive" "http://one/";
  hashed = algorithm: hash: map (outputHashMode: derivation {
    name = "hashed"; builder = "builtin:download"; inherit system outputHashMode;
    url = "http://one/"; outputHashAlgo = algorithm; outputHash = hash;
  }) [ "flat" "recursive" ];
  all = hashed "md5" "b1946ac92492d2347c6235b4d2611184"
    ++ hashed "sha1" "f572d396fae9206628714fb2ce00f72e94f2258f"
    ++ hashed "sha512" (builtins.hashString "sha512" "hello\n");
  bytes = builtins.readFile ./bytes;
  greeting = builtins.toFile "greeting" "hello\n";
  script = builtins.toFile "script.sh" "cat ${greeting}\n";
  multiple = derivation {
    name = "multiple-1.0"; builder = "/bin/sh"; inherit system script flat recursive;
    outputs = [ "out" "lib" "static" ];
    args = [ "-e" script "quotes \" and \\ back\nslashes\r\tand caf\u00e9 $\{x}" "" ];
  };
  uses = name: inputs: derivation { inherit name system inputs; builder = "${multiple.lib}/bin/sh"; };
in [
  multiple
  (uses "one-output" [ multiple.static ])
  (uses "all-outputs" [ multiple multiple.lib multiple.static ])
  (uses "both-mirrors" [ flat mirror ])
  (uses "twice-the-same-modulo" [ (uses "user" [ flat ]) (uses "user" [ mirror ]) ])
  (uses "chain" [ (uses "chain" [ (uses "chain" [ multiple ]) ]) ])
  (uses "tree" [ ./tree ./tree/file ])
  (uses "each-algorithm" all)
  (derivation { name = "bytes"; inherit system bytes; builder = "/bin/" + bytes; args = [ bytes ]; })
]
"#;

fn graph() -> (Oracle, BTreeMap<StorePath, Derivation>) {
    let oracle = Oracle::new();
    let tree = oracle.scratch("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content\n").unwrap();
    fs::write(oracle.scratch("bytes"), b"\xff\xfe caf\xe9 \" \\ \n").unwrap();
    // Nix's strings have no \u: spell the letter out.
    oracle.instantiate(&GRAPH.replace("\\u00e9", "\u{e9}"));
    let read = |path: StorePath| {
        let derivation = aterm::parse(&store_dir(), &oracle.read(&path));
        (path, derivation.unwrap())
    };
    let derivations = oracle.derivations().into_iter().map(read).collect();
    (oracle, derivations)
}

/// The derivations in an order in which inputs come before their users.
fn inputs_first(graph: &BTreeMap<StorePath, Derivation>) -> Vec<&StorePath> {
    let mut order: Vec<&StorePath> = Vec::new();
    while order.len() < graph.len() {
        let ready = graph.iter().filter(|(path, derivation)| {
            let mut inputs = derivation.input_derivations.keys();
            !order.contains(path) && inputs.all(|input| order.contains(&input))
        });
        let ready: Vec<_> = ready.map(|(path, _)| path).collect();
        assert!(!ready.is_empty());
        order.extend(ready);
    }
    order
}

#[test]
fn every_derivation_is_read_and_written_back_to_the_byte() {
    let (oracle, graph) = graph();
    assert!(graph.len() >= 22, "{}", graph.len());
    for (path, derivation) in &graph {
        let written = aterm::write(&store_dir(), derivation);
        let expected = oracle.read(path);
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(&expected)
        );
    }
}

#[test]
fn output_and_derivation_paths_are_those_of_nix() {
    let (_oracle, graph) = graph();
    let mut known = DerivationSet::new();
    for path in inputs_first(&graph) {
        let expected = &graph[path];
        // Take away all that instantiation is to compute.
        let mut bare = expected.clone();
        for (name, output) in &mut bare.outputs {
            output.path = None;
            bare.environment.remove(name);
        }
        let name = path.name().strip_suffix(".drv").unwrap();
        let (computed_path, computed) = instantiate(&store_dir(), name, bare, &mut known).unwrap();
        assert_eq!(computed, *expected);
        assert_eq!(computed_path, *path);
    }
}

#[test]
fn derivations_in_a_store_pass_the_check_of_their_paths() {
    let (_oracle, graph) = graph();
    let mut known = DerivationSet::new();
    for path in inputs_first(&graph) {
        known.add(&store_dir(), path, &graph[path]).unwrap();
    }
}

#[test]
fn nix_accepts_our_derivations() {
    // Nix checks the output paths of a derivation when it adds it to a store.
    let mut known = DerivationSet::new();
    let oracle = Oracle::new();
    let input = Derivation {
        outputs: BTreeMap::from([(
            "out".into(),
            Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("hello\n")),
        )]),
        system: "x86_64-linux".into(),
        builder: "builtin:download".into(),
        environment: [("url", "http://one/")].into(),
        ..Derivation::default()
    };
    let (input_path, _) = instantiate(&store_dir(), "input", input, &mut known).unwrap();
    let user = Derivation {
        outputs: ["out", "lib"]
            .map(|name| (name.into(), Output::input_addressed()))
            .into(),
        input_derivations: BTreeMap::from([(input_path.clone(), BTreeSet::from(["out".into()]))]),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        arguments: vec!["-c".into(), "echo \"$x\"\n".into()],
        environment: [("x", "1\t2")].into(),
        ..Derivation::default()
    };
    let (user_path, user) = instantiate(&store_dir(), "user", user, &mut known).unwrap();

    for path in [&input_path, &user_path] {
        let content = aterm::write(&store_dir(), known.get(path).unwrap());
        let file = oracle.scratch(path.name());
        fs::write(&file, content).unwrap();
        // `nix-store --add` would make a source of it: import it as what it is, with its references.
        let references: Vec<_> = known.get(path).unwrap().references().into_iter().collect();
        oracle.import(path, &file, &references);
    }
    let outputs = oracle.lines(
        "nix-store",
        &["--query", "--outputs", &store_dir().display(&user_path)],
    );
    let expected: Vec<_> = user
        .outputs
        .values()
        .map(|output| store_dir().display(output.path.as_ref().unwrap()))
        .collect();
    assert_eq!(BTreeSet::from_iter(outputs), BTreeSet::from_iter(expected));
}

#[test]
fn texts_and_sources_have_nix_paths() {
    let oracle = Oracle::new();
    let tree = oracle.scratch("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("below/file"), "content\n").unwrap();
    let evaluated = oracle.run(
        "nix-instantiate",
        &[
            "--eval",
            "--strict",
            "--json",
            "--expr",
            r#"let a = builtins.toFile "a" "1\n"; b = builtins.toFile "b" "${a}\n"; in
               [ a b (builtins.toFile "c" "${b} ${a}") "${./tree}" ]"#,
        ],
    );
    let evaluated: Vec<String> = serde_json::from_slice(&evaluated).unwrap();

    let text = |name: &str, content: &str, references: &[&StorePath]| {
        let references = references.iter().map(|path| (*path).clone()).collect();
        text_path(&store_dir(), name, content.as_bytes(), &references).unwrap()
    };
    let a = text("a", "1\n", &[]);
    let a_text = store_dir().display(&a);
    let b = text("b", &format!("{a_text}\n"), &[&a]);
    let b_text = store_dir().display(&b);
    let c = text("c", &format!("{b_text} {a_text}"), &[&a, &b]);
    let mut archive = Vec::new();
    bootstrap::store::nar::dump(&tree, &mut archive).unwrap();
    let digest = Sha256Digest::of(&archive);
    let source = source_path(&store_dir(), "tree", &digest, &BTreeSet::new()).unwrap();
    let ours = [a, b, c, source].map(|path| store_dir().display(&path));
    assert_eq!(evaluated, ours);

    let added = oracle.lines("nix-store", &["--add".as_ref(), tree.as_os_str()]);
    assert_eq!(added, [&*ours[3]]);
}

#[test]
fn fixed_output_paths_are_those_of_nix() {
    let oracle = Oracle::new();
    // Nix 2.8 does not know the others: real Guix is asked for those.
    let algorithms = [
        HashAlgorithm::Md5,
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha512,
    ];
    for (content, algorithm) in ["", "a", "hello\n"]
        .into_iter()
        .flat_map(|content| algorithms.map(|algorithm| (content, algorithm)))
    {
        let hash = ContentHash::of(algorithm, content);
        for (method, flags) in [
            (FixedOutputMethod::Flat, ["--print-fixed-path"].as_slice()),
            (
                FixedOutputMethod::Recursive,
                &["--print-fixed-path", "--recursive"],
            ),
        ] {
            let digits = hash.to_base16();
            let arguments = [flags, &[algorithm.name(), &digits, "name-1.0.tar.gz"]].concat();
            let theirs = oracle.lines("nix-store", &arguments);
            let ours = fixed_output_path(&store_dir(), "name-1.0.tar.gz", method, hash).unwrap();
            assert_eq!(theirs, [store_dir().display(&ours)]);
        }
    }
}

#[test]
fn base_32_is_that_of_nix_hash() {
    let oracle = Oracle::new();
    for content in ["", "a", "hello\n", "x".repeat(1000).as_str()] {
        let file = oracle.scratch("file");
        fs::write(&file, content).unwrap();
        let arguments = ["--flat", "--type", "sha256", "--base32"].map(Into::into);
        let arguments: Vec<_> = arguments
            .into_iter()
            .chain([file.into_os_string()])
            .collect();
        let theirs = oracle.lines("nix-hash", &arguments);
        assert_eq!(theirs, [base32::encode(&Sha256Digest::of(content).0)]);
        assert_eq!(
            base32::decode(&theirs[0]).unwrap(),
            Sha256Digest::of(content).0
        );
    }
}
