// SPDX-License-Identifier: GPL-3.0-or-later
//! An HTTP server of a test's own, for the files of a directory.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

/// Serves `directory` by HTTP until the test ends; the URL.
pub fn serve(directory: &Path) -> String {
    serve_with(directory, "", |_| {})
}

/// Like [`serve`], each answer with the lines `headers`, each request on a thread of its own, which calls `before` with
/// the name of the file.
pub fn serve_with(
    directory: &Path,
    headers: &str,
    before: impl Fn(&str) + Send + Sync + 'static,
) -> String {
    serve_halves(directory, headers, before, |_| true)
}

/// Like [`serve_with`]; `between` is called with the name when half of a file is sent, and says whether the rest is,
/// too.
pub fn serve_halves(
    directory: &Path,
    headers: &str,
    before: impl Fn(&str) + Send + Sync + 'static,
    between: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> String {
    serve_or(directory, headers, before, between, |_| None)
}

/// Serves `directory`, but sends what `answer` has for the name of a file in place of it: a whole answer, or nothing
/// before the connection ends.
#[allow(dead_code)]
pub fn serve_answers(
    directory: &Path,
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> String {
    serve_or(directory, "", |_| {}, |_| true, answer)
}

fn serve_or(
    directory: &Path,
    headers: &str,
    before: impl Fn(&str) + Send + Sync + 'static,
    between: impl Fn(&str) -> bool + Send + Sync + 'static,
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::new((
        directory.to_owned(),
        headers.to_owned(),
        before,
        between,
        answer,
    ));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, shared) = (stream.unwrap(), Arc::clone(&shared));
            std::thread::spawn(move || {
                let (directory, headers, before, between, answer) = shared.as_ref();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                // A client that only checks whether the server is up sends no request.
                let Some(Ok(request)) = lines.next() else {
                    return;
                };
                for line in lines {
                    if line.unwrap().is_empty() {
                        break;
                    }
                }
                let name = request.split(' ').nth(1).unwrap().trim_start_matches('/');
                // What follows `?` is a query, and no part of a file's name.
                let (name, _) = name.split_once('?').unwrap_or((name, ""));
                let name = &name.replace("%3F", "?");
                before(name);
                if let Some(answer) = answer(name) {
                    let _ = stream.write_all(&answer);
                    return;
                }
                let (status, content) = match fs::read(directory.join(name)) {
                    Ok(content) => ("200 OK", content),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                let (first, rest) = content.split_at(content.len() / 2);
                let sent = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(first));
                if sent.is_ok() && between(name) {
                    let _ = stream.write_all(rest);
                }
            });
        }
    });
    url
}
