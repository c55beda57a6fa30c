// SPDX-License-Identifier: GPL-3.0-or-later
//! Servers that lie, break off or never come to an end, and exports that are none.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use bootstrap::exchange::ExchangeError;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::stream::export;
use bootstrap::exchange::substitute::Server;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::{FixedOutputMethod, StorePath, fixed_output_path};
use bootstrap::store::nar;

use crate::place::Place;
use crate::server::serve_halves;
use crate::{UNSIGNED, full, trusting};

#[test]
fn what_is_no_export_is_refused_and_leaves_nothing() {
    let (place, _, program) = Place::with_items();
    let bytes = place.export(&program, None);
    let other = Place::new();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "ends too early"),
        (
            "text",
            b"this is not an export at all".to_vec(),
            "expected 1 before an item",
        ),
        (
            "cut short",
            bytes[..bytes.len() / 3].to_vec(),
            "ends within an archive",
        ),
        (
            "a length",
            [1u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat(),
            "too long",
        ),
        (
            "no magic",
            {
                let mut bytes = bytes.clone();
                let at = bytes
                    .windows(8)
                    .position(|window| window == 0x4558_494e_u64.to_le_bytes())
                    .unwrap();
                bytes[at] = 0;
                bytes
            },
            "not followed by `NIXE`",
        ),
    ];
    for (name, bytes, message) in cases {
        let error = other.import(&bytes, UNSIGNED).unwrap_err();
        assert!(error.to_string().contains(message), "{name}: {error}");
    }
    assert!(other.store.valid_paths().unwrap().is_empty());
    // An item whose reference is in neither.
    let items = [place.store.path_info(&program).unwrap().unwrap()];
    let mut alone = Vec::new();
    export(&place.store, &items, None, &mut alone, "memory").unwrap();
    let error = other.import(&alone, UNSIGNED).unwrap_err();
    assert!(matches!(error, ExchangeError::Missing { .. }), "{error}");
    assert!(other.is_tidy());
}

#[test]
fn a_server_that_lies_is_found_out_and_nothing_of_it_stays() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let url = format!("file://{}", directory.display());
    let narinfo = directory.join(format!("{}.narinfo", program.hash_part()));
    let archive = directory.join(format!("nar/{}.nar.zst", library.base_name()));
    let break_and_try = |spoil: &dyn Fn()| {
        let _ = fs::remove_dir_all(&directory);
        publish(
            &place.store,
            &[program.clone()].into(),
            Some(&secret),
            &directory,
        )
        .unwrap();
        spoil();
        let other = Place::new();
        let error = other
            .install(&url, &program, std::slice::from_ref(&public))
            .unwrap_err();
        assert!(other.store.valid_paths().unwrap().is_empty());
        assert!(other.is_tidy());
        error
    };
    let change = |from: &str, to: &str| {
        let text = fs::read_to_string(&narinfo).unwrap();
        assert!(text.contains(from));
        fs::write(&narinfo, text.replace(from, to)).unwrap();
    };
    assert!(break_and_try(&|| change("NarSize: ", "NarSize: 1")).is_mistrust());
    assert!(break_and_try(&|| change("Sig: test-1:", "Sig: test-2:")).is_mistrust());
    let error = break_and_try(&|| change("URL: nar/", "URL: ../nar/"));
    let text = error.to_string();
    assert!(text.contains("not a narinfo: line 2: URL: "), "{text}");
    assert!(matches!(error, ExchangeError::Server { .. }), "{text}");
    // The page of a network that wants a password first.
    let error = break_and_try(&|| fs::write(&narinfo, "<html>log in</html>\n").unwrap());
    assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
    // Another archive, well-formed, under the library's name.
    let error = break_and_try(&|| {
        let other = directory.join(format!("nar/{}.nar.zst", program.base_name()));
        fs::copy(other, &archive).unwrap();
    });
    assert!(error.is_mistrust(), "{error}");
    // What is decoded well and is not an archive was not signed.
    let error = break_and_try(&|| {
        let nonsense = b"nonsense".repeat(9);
        fs::write(&archive, zstd::encode_all(&nonsense[..], 1).unwrap()).unwrap();
    });
    assert!(matches!(error, ExchangeError::Archive { .. }), "{error}");
    assert!(error.is_mistrust(), "{error}");
    let error = break_and_try(&|| fs::write(&archive, b"no zstd").unwrap());
    let text = error.to_string();
    assert!(matches!(error, ExchangeError::Server { .. }), "{text}");
    assert!(text.contains(library.base_name()), "{text}");
    let error = break_and_try(&|| fs::remove_file(&archive).unwrap());
    assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
    assert!(matches!(Server::new("ftp://x"), Err(ExchangeError::Url(_))));
}

#[test]
fn publishing_waits_for_nothing_that_lies_in_its_directory() {
    let (place, library, _) = Place::with_items();
    let directory = place.path("published");
    let narinfo = directory.join(format!("{}.narinfo", library.hash_part()));
    fs::create_dir_all(&directory).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&narinfo).status();
    assert!(made.unwrap().success());
    let wanted = BTreeSet::from([library]);
    let published = publish(&place.store, &wanted, None, &directory).unwrap();
    assert_eq!((published.written, published.kept), (1, 0));
    assert!(fs::symlink_metadata(&narinfo).unwrap().is_file());
}

#[test]
fn a_server_that_breaks_off_is_named_with_the_item_and_nothing_of_it_stays() {
    let (place, library, _) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = BTreeSet::from([library.clone()]);
    publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    let check = |url: &str| {
        let other = Place::new();
        let error = other.install(url, &library, std::slice::from_ref(&public));
        let error = error.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ExchangeError::Server { .. }), "{text}");
        let said = format!(
            "{url}: the archive of {} cannot be read to its end: ",
            library.base_name()
        );
        assert!(text.starts_with(&said), "{text}");
        assert!(other.store.valid_paths().unwrap().is_empty());
        assert!(other.is_tidy());
    };
    check(&serve_halves(
        &directory,
        "",
        |_| {},
        |name| !name.starts_with("nar/"),
    ));
    // Half of a file looks like all of one where nothing is compressed.
    let mut archive = Vec::new();
    nar::dump(&place.store.directories().physical(&library), &mut archive).unwrap();
    fs::write(directory.join("nar/half"), &archive[..archive.len() / 2]).unwrap();
    let narinfo = directory.join(format!("{}.narinfo", library.hash_part()));
    let text = fs::read_to_string(&narinfo).unwrap();
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some(("URL", _)) => "URL: nar/half\n".to_owned(),
        Some(("Compression", _)) => "Compression: none\n".to_owned(),
        _ => format!("{line}\n"),
    });
    fs::write(&narinfo, lines.collect::<String>()).unwrap();
    check(&format!("file://{}", directory.display()));
}

/// A string as archives and exports have it.
fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn strings(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(string).collect()
}

/// An export of one item called `path`, a directory of `entries`, each a name and a node.
fn export_of(path: &str, entries: &[(&str, &[&str])]) -> Vec<u8> {
    let mut archive = strings(&["nix-archive-1", "(", "type", "directory"]);
    for (name, node) in entries {
        archive.extend(strings(&["entry", "(", "name", name, "node", "("]));
        archive.extend(strings(node));
        archive.extend(strings(&[")", ")"]));
    }
    archive.extend(string(")"));
    item(path, archive)
}

/// An export of one item called `path`, which is the node `node`.
fn single(path: &str, node: &[&str]) -> Vec<u8> {
    let mut archive = strings(&["nix-archive-1", "("]);
    archive.extend(strings(node));
    archive.extend(string(")"));
    item(path, archive)
}

/// An export of one item called `path` with the archive `archive`, without references, deriver and signature.
fn item(path: &str, archive: Vec<u8>) -> Vec<u8> {
    let number = |number: u64| number.to_le_bytes().to_vec();
    let parts = [
        number(1),
        archive,
        number(0x4558_494e),
        string(path),
        number(0),
        string(""),
        number(0),
        number(0),
    ];
    parts.concat()
}

#[test]
fn no_name_in_an_import_leads_out_of_its_item() {
    let place = Place::new();
    let good = full(&StorePath::from_base_name(&format!("{}-good", "a".repeat(32))).unwrap());
    let file: &[&str] = &["type", "regular", "contents", "evil"];
    let evil = place.path("evil");
    let link: &[&str] = &["type", "symlink", "target", "/"];
    for name in ["../../evil", "a/b", ".", "..", "", "/evil", "a\0b"] {
        let error = place.import(&export_of(&good, &[(name, file)]), UNSIGNED);
        let error = error.unwrap_err();
        assert!(matches!(error, ExchangeError::Archive { .. }), "{error}");
        assert!(error.to_string().contains("is not a name"), "{error}");
    }
    // What is written through a link would be written elsewhere.
    let through = [("evil", link), ("evil", file)];
    let error = place.import(&export_of(&good, &through), UNSIGNED);
    assert!(matches!(error, Err(ExchangeError::Archive { .. })));
    let long = format!("/gnu/store/{}", "a".repeat(60_000));
    for path in [
        "/etc/passwd",
        "/gnu/store/../../evil",
        "/gnu/store",
        "",
        &format!("{good}/../../evil"),
        &format!("{good}/inside"),
        &good.replace("-good", "-../evil"),
        &good.replace("aaa-good", "-good"),
        &long,
    ] {
        let error = place.import(&export_of(path, &[("a", file)]), UNSIGNED);
        let error = error.unwrap_err();
        assert!(matches!(error, ExchangeError::Stream { .. }), "{error}");
    }
    assert!(place.store.valid_paths().unwrap().is_empty());
    assert!(place.is_tidy());
    assert!(!evil.exists());
    // The same with a name that is one.
    let imported = place.import(&export_of(&good, &[("evil", file)]), UNSIGNED);
    assert_eq!(imported.unwrap().len(), 1);
    // With trusted keys nothing unsigned is taken.
    let other = Place::new();
    let (_, key) = other.key();
    let unsigned = export_of(&good, &[("evil", file)]);
    let error = other.import(&unsigned, trusting(&[key])).unwrap_err();
    assert!(error.to_string().contains("it is not signed"), "{error}");
    assert!(other.store.valid_paths().unwrap().is_empty());
}

#[test]
fn items_cannot_take_the_names_of_locks() {
    let place = Place::new();
    let hash = "a".repeat(32);
    for suffix in [".lock", ".chroot"] {
        let name = full(&StorePath::from_base_name(&format!("{hash}-gcc{suffix}")).unwrap());
        let bytes = single(&name, &["type", "regular", "contents", "evil"]);
        let error = place.import(&bytes, UNSIGNED).unwrap_err();
        assert!(matches!(error, ExchangeError::Name { .. }), "{error}");
        assert!(error.is_mistrust());
        assert!(place.store.valid_paths().unwrap().is_empty());
        assert!(place.is_tidy());
    }
    // A source with such a name is nothing unusual: its hash leaves no room for another item.
    let source = Place::new();
    let tree = bootstrap::formats::nar::Tree::file("[[package]]");
    let path = source.store.add_tree("Cargo.lock", &tree).unwrap();
    let bytes = source.export(&path, None);
    assert_eq!(place.import(&bytes, UNSIGNED).unwrap(), [path]);
}

#[test]
fn a_fixed_output_is_held_against_its_derivation() {
    let place = Place::new();
    let hash = Sha256Digest::of("right");
    let store_dir = &place.store.directories().store_dir;
    let output = fixed_output_path(store_dir, "x", FixedOutputMethod::Flat, hash).unwrap();
    let text = format!(
        r#"Derive([("out","{0}","sha256","{hash}")],[],[],"s","builtin:download",[],[("out","{0}")])"#,
        full(&output)
    );
    place
        .store
        .add_text("x.drv", text.as_bytes(), &BTreeSet::new())
        .unwrap();
    let import = |content: &str| {
        let node = ["type", "regular", "contents", content];
        place.import(&single(&full(&output), &node), UNSIGNED)
    };
    let error = import("wrong").unwrap_err();
    assert!(matches!(error, ExchangeError::Differs { .. }), "{error}");
    assert!(!place.store.is_valid(&output).unwrap());
    // Nor does it come from a server whose key is trusted.
    let server = Place::new();
    let (secret, public) = server.key();
    let wrong = single(&full(&output), &["type", "regular", "contents", "wrong"]);
    server.import(&wrong, UNSIGNED).unwrap();
    let directory = server.path("published");
    let wanted = BTreeSet::from([output.clone()]);
    publish(&server.store, &wanted, Some(&secret), &directory).unwrap();
    let url = format!("file://{}", directory.display());
    let error = place.install(&url, &output, &[public]).unwrap_err();
    assert!(error.to_string().contains("the fixed hash"), "{error}");
    assert!(!place.store.is_valid(&output).unwrap());
    assert_eq!(import("right").unwrap(), [output]);
}

#[test]
fn what_is_called_a_derivation_and_is_none_is_refused_without_being_followed() {
    let place = Place::new();
    let secret = place.path("secret");
    fs::write(&secret, "root's secret").unwrap();
    let name = full(&StorePath::from_base_name(&format!("{}-x.drv", "a".repeat(32))).unwrap());
    let link = |target: &str| {
        let node = ["type", "symlink", "target", target];
        single(&name, &node)
    };
    // As long as these were followed, the first showed what it leads to, and the second never ended.
    for bytes in [
        link(secret.to_str().unwrap()),
        link("/dev/zero"),
        single(&name, &["type", "regular", "contents", "Derive(nothing)"]),
    ] {
        let error = place.import(&bytes, UNSIGNED).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains(&name) || error.contains("x.drv"), "{error}");
        assert!(place.store.valid_paths().unwrap().is_empty());
        assert!(place.is_tidy());
    }
}

/// Answers each request with the head and then, as long as the client reads, again and again with what `answer` has for
/// the file's name.
fn serve_endlessly(answer: impl Fn(&str) -> (String, Vec<u8>) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(request)) = lines.next() else {
                    return;
                };
                let name = request.split(' ').nth(1).unwrap().trim_start_matches('/');
                let (head, body) = answer(name);
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() && !body.is_empty() {
                    sent = stream.write_all(&body);
                }
            });
        }
    });
    url
}

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

#[test]
fn a_server_that_never_comes_to_an_end_is_left() {
    let (place, library, _) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = BTreeSet::from([library.clone()]);
    publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    let narinfo = directory.join(format!("{}.narinfo", library.hash_part()));
    let narinfo = fs::read_to_string(narinfo).unwrap();
    let failure = |url: &str| {
        let other = Place::new();
        let error = other.install(url, &library, std::slice::from_ref(&public));
        assert!(other.store.valid_paths().unwrap().is_empty());
        assert!(other.is_tidy());
        error.unwrap_err()
    };
    // Every answer leads to itself.
    let url = serve_endlessly(|name| {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: /{name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        (head, Vec::new())
    });
    let error = failure(&url);
    assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
    assert!(error.to_string().contains("redirections"), "{error}");
    // A narinfo without an end.
    let url = serve_endlessly(|_| (OK.to_owned(), b"More: and more\n".repeat(1000)));
    let error = failure(&url);
    assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
    assert!(error.to_string().contains("not a narinfo"), "{error}");
    // An archive that becomes more and more when it is decoded, and one that never becomes anything.
    let bomb = zstd::encode_all(&vec![0; 1 << 24][..], 3).unwrap();
    let nothing = [
        &0x184d_2a50_u32.to_le_bytes()[..],
        &[0, 0, 1, 0],
        &[0; 1 << 16],
    ]
    .concat();
    for (body, is_mistrust, message) in [
        (bomb, true, ""),
        (nothing, false, "archive exceeds the compressed size limit"),
    ] {
        let narinfo = narinfo.clone();
        let url = serve_endlessly(move |name| match name.ends_with(".narinfo") {
            true => (format!("{OK}{narinfo}"), Vec::new()),
            false => (OK.to_owned(), body.clone()),
        });
        let error = failure(&url);
        assert_eq!(error.is_mistrust(), is_mistrust, "{error}");
        let text = error.to_string();
        assert!(text.contains(library.base_name()), "{text}");
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn content_encodings_take_bounded_memory_and_come_to_an_end() {
    let (place, library, _) = Place::with_items();
    let (_, public) = place.key();
    let head = |encodings: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encodings}\r\nConnection: close\r\n\r\n")
    };
    // A gzip member that becomes nothing.
    let nothing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default())
        .finish()
        .unwrap()
        .repeat(1000);
    for (head, body, message) in [
        (
            head(&"br,".repeat(5000)),
            b"nothing".to_vec(),
            "it comes in 5000 content encodings: expected at most 2",
        ),
        (head("gzip"), nothing, "answer exceeds the size limit of "),
    ] {
        let url = serve_endlessly(move |_| (head.clone(), body.clone()));
        let other = Place::new();
        let error = other.install(&url, &library, std::slice::from_ref(&public));
        let error = error.unwrap_err();
        assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}
