// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads through what may be between this machine and a server: proxies, logins of networks, redirections,
//! certificates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bootstrap::fetch::http::RetryPolicy;
use bootstrap::fetch::{
    Downloader, DownloaderSettings, FailureClass, FetchError, FetchRequest, Fetcher, FileHash,
    Form, Location, SearchSettings, by_hash,
};
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use miette::Diagnostic;

const CONTENTS: &str = "the source";

/// Serves each connection with `answer`, which gets the first line of the request. Gives the address and the lines.
fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve_one(stream.unwrap(), &answer, &sender);
        }
    });
    (address, lines)
}

fn serve_one(
    mut stream: TcpStream,
    answer: &impl Fn(&str) -> String,
    sender: &std::sync::mpsc::Sender<String>,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let _ = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    let _ = stream.write_all(answer(&first).as_bytes());
    let _ = sender.send(first);
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn request(urls: &[String]) -> FetchRequest {
    let locations = urls.iter().map(|url| Location::Url(url.clone())).collect();
    FetchRequest::new("x.tar", Sha256Digest::of(CONTENTS), None, locations)
}

fn fetch_in(cache: &Path, request: &FetchRequest) -> Result<String, FetchError> {
    let retry_policy = RetryPolicy {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(2),
        pauses: vec![],
        ..RetryPolicy::default()
    };
    let settings = DownloaderSettings {
        retry_policy,
        ..DownloaderSettings::new(cache)
    };
    let fetched = Downloader::new(settings).fetch(request, &|_| {})?;
    Ok(std::fs::read_to_string(fetched.path).unwrap())
}

fn fetch(request: &FetchRequest) -> Result<String, FetchError> {
    let cache = tempfile::tempdir().unwrap();
    fetch_in(cache.path(), request)
}

const CHILD: &str = "BOOTSTRAP_TEST_URL";

/// Runs the test `name` in a process of its own, which fetches `url` under `variables`: they belong to a whole process.
/// Gives what it prints: the error and its hint, or the contents.
fn in_child(name: &str, url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, url);
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable);
        command.env_remove(variable.to_uppercase());
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// In the process that [`in_child`] started: fetches, and prints what became of it.
fn is_child() -> bool {
    let Ok(url) = std::env::var(CHILD) else {
        return false;
    };
    match fetch(&request(&[url])) {
        Ok(contents) => println!("contents: {contents}"),
        Err(error) => println!(
            "error: {error}\nhint: {}\nclass: {:?}",
            error.help().unwrap(),
            error.class()
        ),
    }
    true
}

#[test]
fn a_dead_proxy_is_named_without_its_password() {
    if is_child() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxy = format!("http://user:s3cret@{address}");
    for (url, variable) in [
        ("http://host.invalid/x.tar", "http_proxy"),
        ("https://host.invalid/x.tar", "https_proxy"),
        ("https://host.invalid/x.tar", "ALL_PROXY"),
    ] {
        let name = "a_dead_proxy_is_named_without_its_password";
        let printed = in_child(name, url, &[(variable, &proxy)]);
        assert!(printed.contains("the proxy http://"), "{printed}");
        assert!(
            printed.contains(&format!("{address} cannot be used: ")),
            "{printed}"
        );
        assert!(printed.contains("hint: check `http_proxy`"), "{printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}

#[test]
fn a_socks_proxy_looks_names_up() {
    if is_child() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        // RFC 1928: greeting, then a request to connect to a name.
        let methods = read(2)[1];
        read(methods.into());
        stream.write_all(&[5, 0]).unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(4), [5, 1, 0, 3]);
        let length = read(1)[0];
        let host = String::from_utf8(read(length.into())).unwrap();
        read(2);
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let (sender, _lines) = channel();
        serve_one(stream, &|_| ok(CONTENTS), &sender);
        host
    });
    let proxy_url = format!("socks5h://{address}");
    let name = "a_socks_proxy_looks_names_up";
    let printed = in_child(
        name,
        "http://host.invalid/x.tar",
        &[("ALL_PROXY", &proxy_url)],
    );
    assert!(printed.contains("contents: the source"), "{printed}");
    assert_eq!(proxy.join().unwrap(), "host.invalid");
}

#[test]
fn a_public_server_cannot_redirect_into_the_private_network() {
    if is_child() {
        return;
    }
    let (inside, asked) = serve(|_| ok(CONTENTS));
    for target in [
        format!("http://{inside}/x.tar"),
        "http://localhost:1/x.tar".to_owned(),
    ] {
        // As seen through a proxy, example.org is public.
        let head = format!(
            "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        );
        let (proxy, _lines) = serve(move |_| head.clone());
        let name = "a_public_server_cannot_redirect_into_the_private_network";
        let proxy = format!("http://{proxy}");
        let variables = [("http_proxy", proxy.as_str())];
        let printed = in_child(name, "http://example.org/x.tar", &variables);
        assert!(
            printed.contains("which is not a public address"),
            "{printed}"
        );
        assert!(printed.contains("class: NotFetched"), "{printed}");
    }
    assert!(asked.try_recv().is_err(), "it was asked");
    // A server of one's own network may.
    let head = format!(
        "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://{inside}/x.tar\r\nContent-Length: 0\r\n\r\n"
    );
    let (own, _lines) = serve(move |_| head.clone());
    assert_eq!(
        fetch(&request(&[format!("http://{own}/x.tar")])).unwrap(),
        CONTENTS
    );
}

#[test]
fn a_machine_without_certificates_of_authorities_fetches_all_the_same() {
    if is_child() {
        return;
    }
    let (server, _lines) = serve(|_| ok(CONTENTS));
    let name = "a_machine_without_certificates_of_authorities_fetches_all_the_same";
    let variables = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    let printed = in_child(name, &format!("http://{server}/x.tar"), &variables);
    assert!(printed.contains("contents: the source"), "{printed}");
}

#[test]
fn the_page_of_a_network_that_asks_for_a_login_is_named() {
    let page = "\n<!DOCTYPE html><html><title>Welcome</title>";
    for kind in ["", "Content-Type: text/html; charset=utf-8\r\n"] {
        let kind_given = !kind.is_empty();
        let (server, _lines) =
            serve(move |_| ok(page).replace("\r\n\r\n", &format!("\r\n{kind}\r\n")));
        let mut request = request(&[format!("http://{server}/x.tar")]);
        // With a size, only the type tells a page before its bytes come.
        let sizes = if kind_given {
            vec![None, Some(10)]
        } else {
            vec![None]
        };
        for size in sizes {
            request.size = size;
            let error = fetch(&request).unwrap_err();
            assert_eq!(error.class(), FailureClass::NotFetched, "{error}");
            assert!(
                error.to_string().contains("a web page instead of the file"),
                "{error}"
            );
            assert!(
                error
                    .help()
                    .unwrap()
                    .to_string()
                    .starts_with("log in to the network")
            );
        }
    }
    // A page that is wanted as such only has other bytes.
    let (server, _lines) = serve(move |_| ok(page));
    let error = fetch(&request(&[format!("http://{server}/manual.html")])).unwrap_err();
    assert_eq!(error.class(), FailureClass::HashDiffers, "{error}");
}

#[test]
fn servers_that_have_files_by_hash_are_asked_last() {
    let (server, lines) = serve(|first| match first.contains("/by-hash") {
        true => ok(CONTENTS),
        false => {
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    });
    let mut request = request(&[format!("http://{server}/x.tar")]);
    request.by_hash = vec![format!("http://{server}/by-hash/1")];
    assert_eq!(fetch(&request).unwrap(), CONTENTS);
    let asked: Vec<String> = lines.try_iter().collect();
    assert!(asked[0].starts_with("GET /x.tar ") && asked[1].starts_with("GET /by-hash/1 "));
}

#[test]
fn a_file_that_no_named_place_has_is_searched_by_its_hash() {
    let digest = Sha256Digest::of(CONTENTS).to_base16();
    let hex = digest.clone();
    let (server, lines) =
        serve(
            move |first| match first.contains(&format!("/good/sha256/{hex}")) {
                true => ok(CONTENTS),
                false => "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    .to_owned(),
            },
        );
    // Nothing listens at the second.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = closed.local_addr().unwrap();
    drop(closed);
    let mirrors =
        format!("by-hash=http://{server}/bad by-hash=http://{dead} by-hash=http://{server}/good");
    let cache = tempfile::tempdir().unwrap();
    let downloader = Downloader::new(DownloaderSettings {
        search: SearchSettings {
            debian: None,
            servers: by_hash::servers(&mirrors.parse().unwrap()),
        },
        ..DownloaderSettings::new(cache.path())
    });
    let mut request = request(&[format!("http://{server}/x.tar")]);
    // Only where the request allows it.
    let error = downloader.fetch(&request, &|_| {}).unwrap_err();
    assert!(!error.to_string().contains("sha256/"), "{error}");
    let asked = lines.recv_timeout(std::time::Duration::from_secs(10));
    assert!(asked.unwrap().starts_with("GET /x.tar "));
    request.search = true;
    let fetched = downloader.fetch(&request, &|_| {}).unwrap();
    assert_eq!(std::fs::read_to_string(fetched.path).unwrap(), CONTENTS);
    let asked: Vec<String> = lines.try_iter().collect();
    let expected = [
        "GET /x.tar ".to_owned(),
        format!("GET /bad/sha256/{digest} "),
        format!("GET /good/sha256/{digest} "),
    ];
    assert_eq!(asked.len(), expected.len(), "{asked:?}");
    for (asked, expected) in asked.iter().zip(expected) {
        assert!(asked.starts_with(&expected), "{asked}");
    }
    // A server that was dead is not asked again in the run.
    request.hash = Sha256Digest::of("other").into();
    let error = downloader.fetch(&request, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("(as found earlier in this run)"), "{error}");
    // Other hashes than SHA-256 are not searched.
    request.hash = FileHash {
        hash: ContentHash::of(HashAlgorithm::Sha512, CONTENTS),
        form: Form::Bytes,
    };
    let error = downloader.fetch(&request, &|_| {}).unwrap_err().to_string();
    assert!(!error.contains("sha512/"), "{error}");
}

#[test]
fn files_are_known_by_any_hash_and_cached_under_it() {
    let (server, lines) = serve(|_| ok(CONTENTS));
    let cache = tempfile::tempdir().unwrap();
    let program = Tree::executable(CONTENTS).to_nar().unwrap();
    let file = Tree::file(CONTENTS).to_nar().unwrap();
    let mut asked = 0;
    for algorithm in HashAlgorithm::ALL {
        for (form, hashed) in [
            (Form::Bytes, CONTENTS.as_bytes()),
            (Form::Nar, &file),
            (Form::ProgramNar, &program),
        ] {
            let mut request = request(&[format!("http://{server}/x.tar")]);
            request.hash = FileHash {
                hash: ContentHash::of(algorithm, hashed),
                form,
            };
            for _ in 0..2 {
                assert_eq!(fetch_in(cache.path(), &request).unwrap(), CONTENTS);
            }
            asked += 1;
            request.hash.hash = ContentHash::of(algorithm, "other");
            let error = fetch_in(cache.path(), &request).unwrap_err();
            assert_eq!(error.class(), FailureClass::HashDiffers, "{error}");
            asked += 1;
        }
    }
    assert_eq!(lines.try_iter().count(), asked);
}
