// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

fn item(letter: &str, name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", letter.repeat(32))).unwrap()
}

fn info() -> NarInfo {
    NarInfo {
        path: item("a", "sed-4.9"),
        files: vec![
            NarFile {
                url: "nar/x.nar.gz".into(),
                compression: "gzip".into(),
                size: Some(7),
            },
            NarFile {
                url: "nar/x.nar.zst".into(),
                compression: "zstd".into(),
                size: None,
            },
        ],
        nar_sha256: Sha256Digest::of("x"),
        nar_size: 120,
        references: [item("b", "libc-1"), item("a", "sed-4.9")].into(),
        deriver: Some(item("c", "sed-4.9.drv")),
        signatures: vec!["k:AA==".into()],
        guix: None,
    }
}

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let text = info().to_text(&store_dir(), None);
    let read = NarInfo::parse(&store_dir(), &info().path, &text, "here").unwrap();
    assert_eq!(read, info());
}

#[test]
fn mistakes_are_named_with_their_line() {
    let text = info().to_text(&store_dir(), None);
    let cases = [
        (
            "NarSize: 120",
            "NarSize: much",
            "NarSize: expected a number",
        ),
        ("sha256:", "md5:", "NarHash: expected a SHA-256"),
        (
            "URL: nar/x.nar.gz",
            "URL: //",
            "URL: expected a place below",
        ),
        (
            "URL: nar/x.nar.gz",
            "URL: ../../etc/passwd",
            "URL: expected a place below",
        ),
        (
            "URL: nar/x.nar.gz",
            "URL: file:///elsewhere/x",
            "URL: expected a place below",
        ),
        ("-libc-1", "-li/bc", "References: expected a store item"),
        ("sed-4.9\n", "sed-5\n", "StorePath: expected /gnu/store/"),
        ("NarSize: 120\n", "", "`NarSize` is missing"),
        ("Deriver:", "Deriver", "expected `Name: value`"),
    ];
    for (from, to, message) in cases {
        let text = text.replacen(from, to, 1);
        let error = NarInfo::parse(&store_dir(), &info().path, &text, "here").unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// What Attic, Nix with SRI hashes, Cachix and `nix copy` serve.
#[test]
fn what_other_servers_write_is_read() {
    let text = info().to_text(&store_dir(), None);
    let parse = |text: &str| NarInfo::parse(&store_dir(), &info().path, text, "here");
    let hash = format!("NarHash: {}\n", shown(&info().nar_sha256));
    for spelling in [
        format!("sha256:{}", info().nar_sha256),
        format!("sha256-{}", STANDARD.encode(info().nar_sha256.0)),
        format!("sha256:{}", STANDARD.encode(info().nar_sha256.0)),
    ] {
        let other = text.replace(&hash, &format!("NarHash: {spelling}\n"));
        assert_eq!(parse(&other).unwrap(), info(), "{spelling}");
    }
    let lines = text.lines().filter(|line| !line.starts_with("References"));
    let lines: Vec<&str> = lines.collect();
    let without = parse(&(lines.join("\n") + "\n")).unwrap();
    assert!(without.references.is_empty());
    for url in [
        "https://cdn.example/x.nar.xz",
        "http://cdn.example/x.nar.xz?a=b",
    ] {
        let other = text.replace("nar/x.nar.gz", url);
        assert_eq!(parse(&other).unwrap().files[0].url, url);
    }
    let minimal: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("Compression"))
        .collect();
    let minimal = parse(&minimal.join("\r\n")).unwrap();
    assert_eq!(minimal.files[0].compression, "bzip2");
}

#[test]
fn a_signature_holds_for_its_item_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let public = SecretKey::generate("k", &file).unwrap();
    let secret = SecretKey::read(&file).unwrap();
    let mut info = info();
    let message = fingerprint(
        &store_dir(),
        &info.path,
        &info.nar_sha256,
        info.nar_size,
        &info.references,
    );
    info.signatures = vec![secret.sign_named(&message)];
    assert!(
        info.check(&store_dir(), std::slice::from_ref(&public), "here")
            .is_ok()
    );
    assert!(info.check(&store_dir(), &[], "here").is_err());
    info.references.clear();
    let error = info.check(&store_dir(), &[], "here").unwrap_err();
    assert!(matches!(error, NarInfoError::Untrusted { .. }));
    assert!(error.to_string().contains("it is signed by k"), "{error}");
    // The key is trusted, so trusting it does not help.
    let error = info.check(&store_dir(), &[public], "here").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the signature of the trusted key k does not match: altered after signing"),
        "{error}"
    );
}

#[test]
fn guixs_signature_holds_for_the_text_before_it() {
    let key = crate::formats::keys::testing::key();
    let trusted = [key.public()];
    let text = NarInfo {
        signatures: Vec::new(),
        ..info()
    }
    .to_text(&store_dir(), Some(&key));
    let check = |text: &str, keys: &[PublicKey]| {
        NarInfo::parse(&store_dir(), &info().path, text, "here")?.check(&store_dir(), keys, "here")
    };
    assert!(check(&text, &trusted).is_ok(), "{text}");
    let more = format!("{text}URL: nar/x.nar.lz\nCompression: lzip\nFileSize: 3\n");
    assert!(check(&more, &trusted).is_ok(), "{more}");
    assert!(matches!(
        check(&text, &[]).unwrap_err(),
        NarInfoError::Untrusted { .. }
    ));
    let other = text.replace("NarSize: 120", "NarSize: 121");
    let error = check(&other, &trusted).unwrap_err();
    assert!(matches!(error, NarInfoError::Altered { .. }), "{error}");
    let more = format!("{text}NarSize: 121\n");
    let error = check(&more, &trusted).unwrap_err();
    assert!(error.to_string().contains("after `Signature`"), "{error}");
    let other = text.replace("Signature: 1;", "Signature: 2;");
    let error = check(&other, &trusted).unwrap_err();
    assert!(error.to_string().contains("1;HOST;BASE64"), "{error}");
}
