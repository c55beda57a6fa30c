// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads that go on where an earlier one stopped.

use std::fs;
use std::net::TcpStream;

use bootstrap::fetch::FailureClass;
use bootstrap::formats::hash::Sha256Digest;

use crate::{
    Asked, SIZE, Server, answer, answer_truncated, answer_whole, contents, fetch, fetch_in,
};

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
