// SPDX-License-Identifier: GPL-3.0-or-later
//! Servers that are busy, slow or silent, or that send too much, too little or redirections.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bootstrap::fetch::{Downloader, DownloaderSettings, FailureClass, FetchRequest, Fetcher};
use bootstrap::formats::hash::Sha256Digest;

use crate::together::fetch_all;
use crate::{
    SIZE, Server, answer, answer_truncated, answer_whole, contents, downloader, fetch, fetch_in,
    hasty, request,
};

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
    assert!(
        error.to_string().contains("1000000 bytes, the limit"),
        "{error}"
    );

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
fn without_a_known_size_the_room_in_the_cache_is_the_limit() {
    // Nothing but the beginning is sent.
    let fetch = |announced: u64| {
        let server = Server::start(move |_, _, stream| {
            let length = format!("Content-Length: {announced}\r\n");
            answer(stream, "200 OK", &length, &[0; 1000]);
        });
        let cache = tempfile::tempdir().unwrap();
        let downloader = Downloader::new(DownloaderSettings {
            retry_policy: hasty(),
            ..DownloaderSettings::new(cache.path())
        });
        let request = request(Sha256Digest::of(contents()), None, &[server.url("/file")]);
        downloader.fetch(&request, &|_| {}).unwrap_err()
    };
    let free = rustix::fs::statvfs(std::env::temp_dir()).unwrap();
    let free = free.f_bavail * free.f_frsize;
    if free > 5 << 30 {
        let error = fetch(3 << 30).to_string();
        assert!(error.contains("1000 of 3221225472 bytes"), "{error}");
    } else {
        println!("left out: {free} bytes are free in the directory for temporary files");
    }
    let error = fetch(1 << 60);
    let hint = miette::Diagnostic::help(&error).unwrap().to_string();
    let error = error.to_string();
    for words in [
        "its file has 1152921504606846976 bytes",
        "free in the file system",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert!(
        hint.contains("make room") && hint.contains("--cache-dir"),
        "{hint}"
    );
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
            .filter(|message| message.contains("found earlier in this run"))
            .count()
            > 30
    );
}
