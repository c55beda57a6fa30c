// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads from a server that behaves in every way that servers do.

// In a test a failed expectation is the message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod together;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
        patience: hasty(),
        maximum: 1_000_000,
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
fn a_truncated_download_goes_on_where_it_stopped() {
    let server = Server::start(|number, asked, stream| {
        let body = contents();
        if number == 0 {
            return answer_truncated(stream, &body, 100_000);
        }
        let range = &asked.headers["range"];
        let first: usize = range
            .strip_prefix("bytes=")
            .unwrap()
            .trim_end_matches('-')
            .parse()
            .unwrap();
        let headers = format!(
            "Content-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n",
            body.len() - first,
            body.len() - 1,
            body.len()
        );
        answer(stream, "206 Partial Content", &headers, &body[first..]);
    });
    fetch(SIZE, &[server.url("/file")]).unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].headers["range"], "bytes=100000-");
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_stopped() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| answer_truncated(stream, &contents(), 200_000));
    let error = fetch_in(cache.path(), SIZE, &[server.url("/file")]).unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched);
    // A server that knows no ranges: from the start, and right.
    let whole = Server::start(|_, _, stream| answer_whole(stream, &contents()));
    fetch_in(cache.path(), SIZE, &[whole.url("/file")]).unwrap();
    assert_eq!(whole.asked()[0].headers["range"], "bytes=200000-");
}

#[test]
fn a_partial_file_that_does_not_fit_is_thrown_away() {
    let digest = Sha256Digest::of(contents());
    let ranges = |_: usize, asked: &Asked, stream: &mut TcpStream| {
        let body = contents();
        let Some(range) = asked.headers.get("range") else {
            return answer_whole(stream, &body);
        };
        let first: usize = range
            .strip_prefix("bytes=")
            .unwrap()
            .trim_end_matches('-')
            .parse()
            .unwrap();
        if first >= body.len() {
            return answer(
                stream,
                "416 Range Not Satisfiable",
                "Content-Length: 0\r\n",
                b"",
            );
        }
        let headers = format!(
            "Content-Range: bytes {first}-{}/{}\r\n",
            body.len() - 1,
            body.len()
        );
        answer(stream, "206 Partial Content", &headers, &body[first..]);
    };
    for (left, size) in [
        (vec![b'x'; 1000], SIZE),
        (vec![b'x'; 300_000], SIZE),
        (vec![b'x'; 300_000], None),
        (vec![b'x'; 400_000], None),
        (vec![b'x'; 400_000], SIZE),
    ] {
        let server = Server::start(ranges);
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir(cache.path().join("partial")).unwrap();
        fs::write(cache.path().join("partial").join(digest.to_base16()), left).unwrap();
        fetch_in(cache.path(), size, &[server.url("/file")]).unwrap();
    }
    // A range that does not continue the file.
    let server = Server::start(|_, asked, stream| {
        if asked.headers.contains_key("range") {
            let headers = "Content-Range: bytes 0-299999/300000\r\n";
            return answer(stream, "206 Partial Content", headers, &contents());
        }
        answer_whole(stream, &contents());
    });
    let cache = tempfile::tempdir().unwrap();
    fs::create_dir(cache.path().join("partial")).unwrap();
    fs::write(
        cache.path().join("partial").join(digest.to_base16()),
        &contents()[..10],
    )
    .unwrap();
    fetch_in(cache.path(), SIZE, &[server.url("/file")]).unwrap();
}

#[test]
fn a_busy_server_is_asked_again() {
    let server = Server::start(|number, _, stream| match number {
        0 => answer(
            stream,
            "503 Service Unavailable",
            "Content-Length: 0\r\nRetry-After: 0\r\n",
            b"",
        ),
        1 => answer(
            stream,
            "429 Too Many Requests",
            "Content-Length: 0\r\n",
            b"",
        ),
        _ => answer_whole(stream, &contents()),
    });
    fetch(SIZE, &[server.url("/file")]).unwrap();
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn attempts_are_bounded() {
    let server = Server::start(|_, _, stream| {
        answer(
            stream,
            "500 Internal Server Error",
            "Content-Length: 0\r\n",
            b"",
        );
    });
    let error = fetch(SIZE, &[server.url("/file")]).unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
    assert!(error.to_string().contains("after 4 attempts"), "{error}");
    assert_eq!(server.asked().len(), 4);
    // One that asks for an hour gets none.
    let server = Server::start(|_, _, stream| {
        answer(
            stream,
            "503 Service Unavailable",
            "Content-Length: 0\r\nRetry-After: 3600\r\n",
            b"",
        );
    });
    let error = fetch(SIZE, &[server.url("/file")]).unwrap_err();
    assert!(error.to_string().contains("3600 s"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_oversized_download_stops_early() {
    // Announced.
    let server = Server::start(|_, _, stream| {
        answer(stream, "200 OK", "Content-Length: 99000000\r\n", &[0; 1000]);
    });
    let error = fetch(SIZE, &[server.url("/file")]).unwrap_err();
    assert!(error.to_string().contains("99000000"), "{error}");
    let error = fetch(None, &[server.url("/file")]).unwrap_err();
    assert!(error.to_string().contains("limit of 1000000"), "{error}");

    // Not announced: endless zeros.
    let server = Server::start(|_, _, stream| {
        answer(stream, "200 OK", "", b"");
        while stream.write_all(&[0; 65_536]).is_ok() {}
    });
    for (size, words) in [
        (SIZE, "more than the 300000 bytes expected"),
        // The expected number is unknown.
        (None, "more than 1000000 bytes, the limit for one download"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let error = fetch_in(cache.path(), size, &[server.url("/file")]).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.class(), FailureClass::NotFetched);
        let partial = cache
            .path()
            .join("partial")
            .join(Sha256Digest::of(contents()).to_base16());
        assert!(!partial.exists(), "nothing of it is resumed");
    }
}

#[test]
fn a_short_answer_without_a_length_is_noticed() {
    let server = Server::start(|_, _, stream| answer(stream, "200 OK", "", &contents()[..50_000]));
    let error = fetch(SIZE, &[server.url("/file")]).unwrap_err();
    assert_eq!(error.class(), FailureClass::NotFetched, "{error}");
    assert!(error.to_string().contains("50000 of 300000"), "{error}");
    // Without a known size only the hash tells.
    let error = fetch(None, &[server.url("/file")]).unwrap_err();
    assert_eq!(error.class(), FailureClass::HashDiffers, "{error}");
}

#[test]
fn redirections_are_followed_but_not_for_ever() {
    let server = Server::start(|_, asked, stream| {
        let target = match asked.path.as_str() {
            "/one" => "/two",
            "/two" => "/file",
            "/loop" => "/pool",
            "/pool" => "/loop",
            "/elsewhere" => "gopher://example.org/",
            _ => return answer_whole(stream, &contents()),
        };
        let headers = format!("Location: {target}\r\nContent-Length: 0\r\n");
        answer(stream, "302 Found", &headers, b"");
    });
    fetch(SIZE, &[server.url("/one")]).unwrap();
    let before = server.asked().len();
    let error = fetch(SIZE, &[server.url("/loop")]).unwrap_err();
    assert!(error.to_string().contains("redirections"), "{error}");
    assert!(
        server.asked().len() - before < 12,
        "one chain, not one for each attempt"
    );
    assert_eq!(
        fetch(SIZE, &[server.url("/elsewhere")])
            .unwrap_err()
            .class(),
        FailureClass::NotFetched
    );
}

#[test]
fn a_hanging_server_is_given_up_and_not_waited_for_again() {
    let server = Server::start(|_, _, _| std::thread::sleep(Duration::from_secs(30)));
    let right = Server::start(|_, _, stream| answer_whole(stream, &contents()));
    let cache = tempfile::tempdir().unwrap();
    let downloader = downloader(cache.path());
    let urls = [server.url("/file"), right.url("/file")];
    let started = Instant::now();
    downloader
        .fetch(&request(Sha256Digest::of(contents()), SIZE, &urls), &|_| {})
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    let before = server.asked().len();
    // Another file of the same server.
    let error = downloader
        .fetch(
            &request(Sha256Digest::of("x"), None, &[server.url("/other")]),
            &|_| {},
        )
        .unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert_eq!(server.asked().len(), before);
}

#[test]
fn a_server_that_stops_or_drips_in_the_middle_is_no_better() {
    let stops = Server::start(|_, _, stream| {
        answer_truncated(stream, &contents(), 1000);
        std::thread::sleep(Duration::from_secs(30));
    });
    let drips = Server::start(|_, _, stream| {
        answer_truncated(stream, &contents(), 1000);
        while stream.write_all(b".").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for server in [stops, drips] {
        let started = Instant::now();
        let error = fetch(SIZE, &[server.url("/file")]).unwrap_err();
        assert_eq!(error.class(), FailureClass::NotFetched, "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn an_unreachable_server_is_asked_once_for_many_files() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let requests: Vec<FetchRequest> = (0..50)
        .map(|number| {
            let url = format!("http://{address}/{number}");
            request(Sha256Digest::of(number.to_string()), None, &[url])
        })
        .collect();
    let results = fetch_all(&downloader(cache.path()), &requests);
    let messages: Vec<String> = results
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    assert!(
        messages.iter().all(|message| message.contains("refused")),
        "{}",
        messages[0]
    );
    assert!(
        messages
            .iter()
            .filter(|message| message.contains("found out earlier"))
            .count()
            > 30
    );
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
