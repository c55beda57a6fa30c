// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads from a server that behaves in every way that servers do.

// In a test a failed expectation is the message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod resumed;
mod servers;
#[path = "../together/mod.rs"]
mod together;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bootstrap::fetch::http::RetryPolicy;
use bootstrap::fetch::{
    Downloader, DownloaderSettings, FailureClass, FetchError, FetchRequest, Fetcher, Location,
    Progress,
};
use bootstrap::formats::hash::Sha256Digest;

use together::fetch_all;

/// What the server got: the path and the headers with lower-case names.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    headers: HashMap<String, String>,
}

/// A server on this machine that hands every connection to `answer`, with its number counted from 0.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: impl Fn(usize, &Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let answer = Arc::new(answer);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else {
                        return;
                    };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    answer(number, &request, &mut stream);
                });
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Some(Asked { path, headers })
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    // The client may have gone away, which is what some of the tests are about.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
    );
    let _ = stream.write_all(body);
}

fn answer_whole(stream: &mut TcpStream, body: &[u8]) {
    answer(
        stream,
        "200 OK",
        &format!("Content-Length: {}\r\n", body.len()),
        body,
    );
}

/// An answer that ends before all of `body` has come.
fn answer_truncated(stream: &mut TcpStream, body: &[u8], sent: usize) {
    answer(
        stream,
        "200 OK",
        &format!("Content-Length: {}\r\n", body.len()),
        &body[..sent],
    );
}

fn contents() -> Vec<u8> {
    (0..300_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn hasty() -> RetryPolicy {
    RetryPolicy {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(300),
        window: Duration::from_millis(400),
        slowest: 1000,
        pauses: [1, 1, 1].map(Duration::from_millis).to_vec(),
        longest_pause: Duration::from_millis(50),
        dead: Duration::from_secs(60),
    }
}

fn downloader(cache: &Path) -> Downloader {
    Downloader::new(DownloaderSettings {
        retry_policy: hasty(),
        maximum: Some(1_000_000),
        ..DownloaderSettings::new(cache)
    })
}

fn request(sha256: Sha256Digest, size: Option<u64>, urls: &[String]) -> FetchRequest {
    let locations = urls.iter().map(|url| Location::Url(url.clone()));
    FetchRequest::new("source.tar", sha256, size, locations.collect())
}

/// Fetches `contents()` from `urls` into a new cache, and looks at the result.
fn fetch_in(cache: &Path, size: Option<u64>, urls: &[String]) -> Result<(), FetchError> {
    let request = request(Sha256Digest::of(contents()), size, urls);
    let fetched = downloader(cache).fetch(&request, &|_| {})?;
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
    Ok(())
}

fn fetch(size: Option<u64>, urls: &[String]) -> Result<(), FetchError> {
    fetch_in(tempfile::tempdir().unwrap().path(), size, urls)
}

const SIZE: Option<u64> = Some(300_000);

#[test]
fn a_file_is_fetched_once_and_then_comes_from_the_cache() {
    let server = Server::start(|_, _, stream| answer_whole(stream, &contents()));
    let cache = tempfile::tempdir().unwrap();
    let downloader = downloader(cache.path());
    let request = request(Sha256Digest::of(contents()), None, &[server.url("/file")]);
    let last = AtomicU64::new(0);
    let fetched = downloader
        .fetch(&request, &|progress: Progress<'_>| {
            assert_eq!(progress.total, SIZE);
            last.store(progress.received, Ordering::Relaxed);
        })
        .unwrap();
    assert_eq!(last.into_inner(), 300_000);
    assert!(!fetched.cached);
    let again = downloader.fetch(&request, &|_| {}).unwrap();
    assert_eq!((again.path, again.cached), (fetched.path, true));
    assert_eq!(server.asked().len(), 1);
    assert!(server.asked()[0].headers["user-agent"].starts_with("bootstrap/"));
}

#[test]
fn a_damaged_file_in_the_cache_is_put_aside_and_fetched_again() {
    let server = Server::start(|_, _, stream| answer_whole(stream, &contents()));
    let cache = tempfile::tempdir().unwrap();
    let digest = Sha256Digest::of(contents());
    let files = cache.path().join("files");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join(digest.to_base16()), "damaged").unwrap();
    fetch_in(cache.path(), SIZE, &[server.url("/file")]).unwrap();
    let kept = cache.path().join("rejected").join(digest.to_base16());
    assert_eq!(fs::read_to_string(kept).unwrap(), "damaged");

    // Without a network that is an error about hashes, not about the network.
    fs::remove_file(files.join(digest.to_base16())).unwrap();
    fs::write(files.join(digest.to_base16()), "damaged").unwrap();
    let offline = Downloader::new(DownloaderSettings {
        offline: true,
        ..DownloaderSettings::new(cache.path())
    });
    let error = offline
        .fetch(&request(digest, None, &[]), &|_| {})
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::HashDiffers, "{error}");
    let error = offline
        .fetch(&request(digest, None, &[]), &|_| {})
        .unwrap_err();
    assert!(matches!(error, FetchError::Offline { .. }), "{error}");
    assert_eq!(error.class(), FailureClass::NotFetched);
}

#[test]
fn wrong_bytes_are_an_error_that_names_both_hashes_and_keeps_the_file() {
    let server = Server::start(|_, _, stream| answer_whole(stream, b"something else"));
    let cache = tempfile::tempdir().unwrap();
    let error = fetch_in(cache.path(), None, &[server.url("/file")]).unwrap_err();
    assert_eq!(error.class(), FailureClass::HashDiffers);
    let message = error.to_string();
    assert!(
        message.contains(&Sha256Digest::of(contents()).to_base16()),
        "{message}"
    );
    assert!(
        message.contains(&Sha256Digest::of("something else").to_base16()),
        "{message}"
    );
    assert!(message.contains(&server.url("/file")), "{message}");
    let FetchError::HashDiffers(wrong) = error else {
        unreachable!()
    };
    assert_eq!(fs::read_to_string(wrong.kept).unwrap(), "something else");
    assert_eq!(
        server.asked().len(),
        1,
        "wrong bytes are not worth a second try"
    );
}

#[test]
fn the_next_mirror_is_tried_when_one_has_other_bytes_or_none() {
    let server = Server::start(|_, asked, stream| match asked.path.as_str() {
        "/wrong" => answer_whole(stream, b"something else"),
        "/right" => answer_whole(stream, &contents()),
        _ => answer(stream, "404 Not Found", "Content-Length: 0\r\n", b""),
    });
    let urls = ["/missing", "/wrong", "/right"].map(|path| server.url(path));
    fetch(None, &urls).unwrap();
    assert_eq!(server.asked().len(), 3);
    let error = fetch(None, &[server.url("/missing")]).unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched);
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
fn many_files_come_at_a_time() {
    let server = Server::start(|_, asked, stream| {
        std::thread::sleep(Duration::from_millis(20));
        answer_whole(stream, asked.path.as_bytes());
    });
    let cache = tempfile::tempdir().unwrap();
    let requests: Vec<FetchRequest> = (0..20)
        .map(|number| {
            let path = format!("/{number}");
            request(Sha256Digest::of(&path), None, &[server.url(&path)])
        })
        .collect();
    let results = fetch_all(&downloader(cache.path()), &requests);
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(
            fs::read_to_string(result.unwrap().path).unwrap(),
            format!("/{number}")
        );
    }
}

#[test]
fn two_that_want_the_same_file_fetch_it_once() {
    let server = Server::start(|_, _, stream| {
        std::thread::sleep(Duration::from_millis(50));
        answer_whole(stream, &contents());
    });
    let cache = tempfile::tempdir().unwrap();
    let urls = [server.url("/file")];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // Downloaders of their own, as processes have them.
            scope.spawn(|| fetch_in(cache.path(), SIZE, &urls).unwrap());
        }
    });
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_is_the_machines_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = fetch_in(&file, SIZE, &["http://127.0.0.1:1/x".to_owned()]).unwrap_err();
    assert_eq!(error.class(), FailureClass::Environment, "{error}");
}

#[test]
fn the_proxy_variables_are_heeded() {
    const CHILD: &str = "BOOTSTRAP_TEST_PROXY_CHILD";
    if let Ok(address) = std::env::var(CHILD) {
        let url = format!("http://{address}/file");
        fetch(SIZE, &[url]).unwrap();
        return;
    }
    let proxy = Server::start(|_, _, stream| answer_whole(stream, &contents()));
    // The variables are a process's own, so the fetching one is another.
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_proxy_variables_are_heeded"])
        .env(CHILD, "host.invalid")
        .env("http_proxy", proxy.url(""))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(proxy.asked()[0].path, "http://host.invalid/file");
}
