// SPDX-License-Identifier: GPL-3.0-or-later
//! Several servers, and servers that fail now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::ExchangeError;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::{InstallationNews, InstallationWatch, Server, Substituter};
use bootstrap::fetch::http::RetryPolicy;
use bootstrap::formats::keys::{PublicKey, SecretKey};
use bootstrap::formats::store_path::StorePath;
use bootstrap::store::StagedOutput;

use crate::place::{Place, unobserved};
use crate::{serve, serve_answers, serve_with, substituter, substituter_with};

/// Publishes `path` of `place`, signed with `key`, in a directory called `name`.
fn published(place: &Place, path: &StorePath, key: Option<&SecretKey>, name: &str) -> PathBuf {
    let directory = place.path(name);
    publish(&place.store, &[path.clone()].into(), key, &directory).unwrap();
    directory
}

/// Installs `path` in a new store; how many items that took, and from which server each came.
fn install(
    substituter: &Substituter,
    path: &StorePath,
) -> Result<BTreeMap<StorePath, String>, ExchangeError> {
    let other = Place::new();
    let from = Mutex::new(BTreeMap::new());
    let watch = InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|news: InstallationNews<'_>| {
            if let InstallationNews::Installed { info, location } = news {
                let mut from = from.lock().unwrap();
                from.insert(info.path.clone(), location.to_owned());
            }
        },
    };
    let wanted = [BTreeSet::from([path.clone()])];
    let installed = substituter.install(&other.store, &wanted, &watch);
    assert!(other.is_tidy());
    let from = from.into_inner().unwrap();
    let valid = other.store.valid_paths().unwrap();
    assert_eq!(valid, from.keys().cloned().collect());
    installed.map(|_| from)
}

const BUSY: &[u8] =
    b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Answers the first request for each file with `answer`.
fn fails_once(directory: &std::path::Path, answer: &'static [u8]) -> String {
    let asked: Mutex<BTreeSet<String>> = Mutex::default();
    serve_answers(directory, move |name| {
        let is_first = asked.lock().unwrap().insert(name.to_owned());
        is_first.then(|| answer.to_vec())
    })
}

#[test]
fn one_503_or_reset_is_tried_again_and_retry_after_is_heeded() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = published(&place, &program, Some(&secret), "published");
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\nhalf";
    for (answer, least) in [(BUSY, 1000), (b"", 0), (half, 0)] {
        let url = fails_once(&directory, answer);
        let keys = std::slice::from_ref(&public);
        let start = Instant::now();
        let from = install(&substituter_with(&[&url], keys, &[1, 1]), &program).unwrap();
        assert_eq!(from.len(), 2);
        assert!(start.elapsed() >= Duration::from_millis(least));
        // Without another try nothing comes.
        let url = fails_once(&directory, answer);
        assert!(install(&substituter(&[&url], keys), &program).is_err());
    }
}

#[test]
fn what_one_server_cannot_deliver_comes_from_the_next() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let whole = published(&place, &program, Some(&secret), "whole");
    let keys = std::slice::from_ref(&public);
    let archive = format!("nar/{}.nar.zst", library.base_name());
    let second = format!("file://{}", whole.display());
    let broken = published(&place, &program, Some(&secret), "broken");
    let spoil: [&dyn Fn(); 3] = [
        &|| fs::remove_file(broken.join(&archive)).unwrap(),
        &|| fs::write(broken.join(&archive), "not zstd").unwrap(),
        // Well compressed, and something else than was signed.
        &|| {
            let nonsense = zstd::encode_all(&b"nonsense"[..], 1).unwrap();
            fs::write(broken.join(&archive), nonsense).unwrap();
        },
    ];
    for spoil in spoil {
        let _ = fs::remove_dir_all(&broken);
        published(&place, &program, Some(&secret), "broken");
        spoil();
        let first = format!("file://{}", broken.display());
        let from = install(&substituter(&[&first, &second], keys), &program).unwrap();
        assert_eq!(from[&library], second);
        assert_eq!(from.len(), 2);
        // Where there is no other, that is an error.
        assert!(install(&substituter(&[&first], keys), &program).is_err());
    }
}

#[test]
fn an_item_without_a_trusted_signature_is_taken_from_a_server_that_has_it_signed() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let (stranger, _) = Place::new().key();
    let signed = published(&place, &program, Some(&secret), "signed");
    let second = format!("file://{}", signed.display());
    for (name, key) in [("unsigned", None), ("strange", Some(&stranger))] {
        let first = published(&place, &program, key, name);
        let first = format!("file://{}", first.display());
        let keys = std::slice::from_ref(&public);
        let from = install(&substituter(&[&first, &second], keys), &program).unwrap();
        let expected = [&library, &program].map(|path| (path.clone(), second.clone()));
        assert_eq!(from, BTreeMap::from(expected));
        let error = install(&substituter(&[&first], keys), &program).unwrap_err();
        assert!(error.is_mistrust(), "{error}");
    }
    // Nor from one that has altered what was signed, which is said.
    let altered = published(&place, &program, Some(&secret), "altered");
    let narinfo = altered.join(format!("{}.narinfo", program.hash_part()));
    let text = fs::read_to_string(&narinfo).unwrap();
    fs::write(&narinfo, text.replace("NarSize: ", "NarSize: 1")).unwrap();
    let first = format!("file://{}", altered.display());
    let both = substituter(&[&first, &second], std::slice::from_ref(&public));
    let from = install(&both, &program).unwrap();
    assert_eq!(from[&program], second);
    let problems = both.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].1.contains("altered after signing"),
        "{problems:?}"
    );
}

#[test]
fn a_server_is_left_only_for_a_reason_that_lasts() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = published(&place, &program, Some(&secret), "published");
    let keys = std::slice::from_ref(&public);
    let many: Vec<StorePath> = (b'b'..=b'z')
        .filter(|letter| !b"eotu".contains(letter))
        .map(|letter| {
            let hash = String::from(char::from(letter)).repeat(32);
            StorePath::from_base_name(&format!("{hash}-x")).unwrap()
        })
        .collect();
    let wanted: BTreeSet<StorePath> = many.iter().cloned().collect();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let url = serve_answers(&directory, move |name| {
        let is_narinfo = name.ends_with(".narinfo");
        counted.fetch_add(usize::from(is_narinfo), Ordering::SeqCst);
        is_narinfo.then(|| BUSY.to_vec())
    });
    let server = substituter(&[&url], keys);
    for path in &wanted {
        let _ = install(&server, path);
    }
    // Five failures in a row, each after all its tries.
    assert_eq!(count.load(Ordering::SeqCst), 5);
    let left = server.left();
    assert_eq!(left.len(), 1);
    assert!(left[0].1.contains("5 requests in a row failed"), "{left:?}");

    // One failure now and then is not a reason.
    let count = AtomicUsize::new(0);
    let url = serve_answers(&directory, move |name| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        (name.ends_with(".narinfo") && number.is_multiple_of(2)).then(|| BUSY.to_vec())
    });
    let server = substituter(&[&url], keys);
    for path in &wanted {
        let _ = install(&server, path);
    }
    assert!(server.left().is_empty());
}

/// How a server is as good as dead.
#[derive(Clone, Copy, Debug)]
enum Drips {
    /// Nothing comes.
    Nothing,
    /// The head of the answer comes byte by byte.
    Head,
    /// The body does.
    Body,
    /// The body does, in chunks.
    Chunks,
}

/// Serves `directory`, but files whose names begin with `slow` as `how` says, without an end. The URL, and the names of
/// the slow files as they are asked for.
fn serve_slowly(
    directory: &Path,
    slow: &'static str,
    how: Drips,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (directory, noted) = (directory.to_owned(), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (directory, noted) = (directory.clone(), Arc::clone(&noted));
            std::thread::spawn(move || {
                answer_slowly(stream.unwrap(), &directory, slow, how, &noted)
            });
        }
    });
    (url, asked)
}

fn answer_slowly(
    mut stream: TcpStream,
    directory: &Path,
    slow: &str,
    how: Drips,
    asked: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let _ = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    let name = first.split(' ').nth(1).unwrap().trim_start_matches('/');
    if !name.starts_with(slow) {
        let bytes = fs::read(directory.join(name)).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &bytes].concat());
        return;
    }
    asked.lock().unwrap().push(name.to_owned());
    // A damaged archive would be another fault than a slow one.
    let bytes = fs::read(directory.join(name)).unwrap();
    let (head, drop) = match how {
        Drips::Nothing => ("", ""),
        Drips::Head => ("HTTP/1.1 200 OK\r\nX: ", "x"),
        Drips::Body => ("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", ""),
        Drips::Chunks => (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
        ),
    };
    let mut going_on = stream.write_all(head.as_bytes()).is_ok();
    let mut content = bytes.iter().copied().cycle();
    let until = Instant::now() + Duration::from_secs(30);
    while going_on && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        let piece = match how {
            Drips::Body => content.by_ref().take(1).collect(),
            _ => drop.as_bytes().to_vec(),
        };
        going_on = stream.write_all(&piece).is_ok();
    }
}

#[test]
fn a_server_that_sends_hardly_anything_is_given_up() {
    let (place, library, _) = Place::with_items();
    let (secret, public) = place.key();
    let directory = published(&place, &library, Some(&secret), "published");
    let narinfo = library.hash_part().to_owned();
    let retry_policy = RetryPolicy {
        read: Duration::from_millis(400),
        window: Duration::from_millis(400),
        slowest: 1000,
        pauses: [1; 4].map(Duration::from_millis).to_vec(),
        ..RetryPolicy::default()
    };
    let tried = |slow, how| {
        let (url, asked) = serve_slowly(&directory, slow, how);
        let server = Server::with_retry_policy(&url, retry_policy.clone()).unwrap();
        let server = Substituter::new(vec![server], vec![public.clone()]);
        let error = install(&server, &library).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        let asked = asked.lock().unwrap().clone();
        let left: Vec<String> = server.left().into_iter().map(|(_, why)| why).collect();
        (error, asked, left)
    };
    // What is a few lines long: no more is asked of the server.
    for how in [Drips::Nothing, Drips::Head, Drips::Body, Drips::Chunks] {
        let (_, asked, left) = tried("nix-cache-info", how);
        assert_eq!(asked, ["nix-cache-info"; 2], "{how:?}");
        assert_eq!(left.len(), 1, "{how:?}");
    }
    let (_, asked, left) = tried(Box::leak(narinfo.into_boxed_str()), Drips::Body);
    assert_eq!(asked.len(), 2);
    assert!(left[0].contains("transfer stalled ("), "{left:?}");
    // An archive may be slow because of the network: another one is asked for.
    let (error, asked, left) = tried("nar/", Drips::Body);
    assert_eq!(asked.len(), 2);
    assert!(
        error.contains(library.base_name()) && error.contains("transfer stalled ("),
        "{error}"
    );
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_wrong_address_or_a_server_for_another_store_is_named() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = published(&place, &program, Some(&secret), "published");
    let keys = std::slice::from_ref(&public);
    let about = directory.join("nix-cache-info");
    fs::write(&about, "StoreDir: /nix/store\nPriority: 30\n").unwrap();
    let here = format!("file://{}", directory.display());
    for (url, said) in [
        (
            here.as_str(),
            "it is for the store /nix/store, expected /gnu/store",
        ),
        ("file:///nowhere/at/all", "the directory does not exist"),
        ("http://127.0.0.1:9", "refused"),
    ] {
        let server = substituter_with(&[url], keys, &[1, 1, 1]);
        assert!(install(&server, &program).unwrap().is_empty());
        let left = server.left();
        assert_eq!(left.len(), 1, "{url}");
        assert!(left[0].1.contains(said), "{left:?}");
    }
    // One that does not say what it is may have items all the same. Only one that has none is doubtful.
    let nowhere = place.add("c", "nowhere", &[]);
    for text in [None, Some("<html>\n"), Some("Priority: 30\n")] {
        let _ = fs::remove_file(&about);
        if let Some(text) = text {
            fs::write(&about, text).unwrap();
        }
        for url in [here.clone(), serve(&directory)] {
            let server = substituter_with(&[&url], keys, &[1, 1, 1]);
            assert!(install(&server, &nowhere).unwrap().is_empty());
            let problems = server.problems();
            assert_eq!(problems.len(), 1, "{text:?}");
            assert!(problems[0].1.contains("nix-cache-info"), "{problems:?}");
            assert!(server.left().is_empty(), "{text:?}");
            assert!(!install(&server, &program).unwrap().is_empty());
            assert_eq!(server.problems(), [], "{text:?}");
        }
    }
    fs::write(&about, "StoreDir: /gnu/store\n").unwrap();
    let server = substituter_with(&[&here], keys, &[1, 1, 1]);
    assert!(install(&server, &nowhere).unwrap().is_empty());
    assert_eq!(server.problems(), []);
    for url in ["ftp://x", "file:///x?color=blue", "http://x?priority=high"] {
        assert!(
            matches!(Server::new(url), Err(ExchangeError::Url(_))),
            "{url}"
        );
    }
}

#[test]
fn servers_are_asked_in_the_order_of_their_ranks() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let [one, two] = ["one", "two"].map(|name| published(&place, &program, Some(&secret), name));
    let rank = |directory: &PathBuf, rank: u32| {
        let about = format!("StoreDir: /gnu/store\nPriority: {rank}\n");
        fs::write(directory.join("nix-cache-info"), about).unwrap();
    };
    rank(&one, 40);
    rank(&two, 30);
    let keys = std::slice::from_ref(&public);
    let [one, two] = [one, two].map(|directory| format!("file://{}", directory.display()));
    let first = |urls: &[&str]| {
        let from = install(&substituter(urls, keys), &program).unwrap();
        from[&program].clone()
    };
    assert_eq!(first(&[&one, &two]), two);
    // The user's own rank comes before the server's.
    assert_eq!(first(&[&format!("{one}?priority=10"), &two]), one);
    let same = serve(&place.path("one"));
    assert_eq!(first(&[&one, &same]), one);
    assert_eq!(first(&[&same, &one]), same);
}

#[test]
fn a_damaged_item_is_replaced_by_that_of_the_first_server_that_delivers_it() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let all = [program.clone()].into();
    publish(&place.store, &all, Some(&secret), &directory).unwrap();
    let broken = place.path("broken");
    publish(&place.store, &all, Some(&secret), &broken).unwrap();
    let archive = broken.join(format!("nar/{}.nar.zst", program.base_name()));
    fs::write(archive, "nothing").unwrap();
    let urls = [&broken, &directory].map(|place| format!("file://{}", place.display()));

    let file = place.store.directories().physical(&program).join(")");
    let whole = fs::read(&file).unwrap();
    let parent = file.parent().unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, "changed").unwrap();
    let unobserved = unobserved();
    let replace = |urls: &[&str], keys: &[PublicKey], path: &StorePath| {
        substituter(urls, keys).replace(&place.store, path, &unobserved)
    };
    // A server that lacks it, one that does not deliver it, one without a trusted key: the item stays as it is.
    let nowhere = place.add("c", "nowhere", &[]);
    let other_key = Place::new().key().1;
    for (urls, keys, path) in [
        (&[urls[1].as_str()][..], &public, &nowhere),
        (&[urls[0].as_str()], &public, &program),
        (&[urls[1].as_str()], &other_key, &program),
    ] {
        let replaced = replace(urls, std::slice::from_ref(keys), path).unwrap();
        assert_eq!(replaced, None);
    }
    assert_eq!(fs::read(&file).unwrap(), b"changed");
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (info, kept) = replace(&urls, &[public], &program).unwrap().unwrap();
    assert_eq!((info.path, fs::read(&file).unwrap()), (program, whole));
    assert_eq!(fs::read(kept.unwrap().join(")")).unwrap(), b"changed");
    assert_eq!(info.references, [library].into());
    assert!(place.is_tidy());
}

#[test]
fn the_lock_of_an_item_that_another_process_has_made_is_released_at_once() {
    let (place, library, _) = Place::with_items();
    let tool = place.add("c", "tool", &[]);
    let (secret, public) = place.key();
    let directory = place.path("published");
    let both = BTreeSet::from([library.clone(), tool.clone()]);
    publish(&place.store, &both, Some(&secret), &directory).unwrap();

    let other = Place::new();
    let store = &other.store.directories().store;
    let lock = store.join(format!("{}.lock", library.base_name()));
    let is_locked: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&is_locked);
    let url = serve_with(&directory, "", move |name| {
        if name.starts_with("nar/") {
            seen.lock().unwrap().push(lock.exists());
        }
    });
    let staged = store.join("staged");
    fs::write(&staged, "made here").unwrap();
    let output = StagedOutput {
        staged,
        path: library.clone(),
        candidates: BTreeSet::new(),
        deriver: None,
    };
    let (found, wait) = channel();
    let watch = InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|news: InstallationNews<'_>| {
            if let InstallationNews::Found(_) = news {
                found.send(()).unwrap();
            }
        },
    };
    let substituter = substituter(&[&url], &[public]);
    let wanted = std::slice::from_ref(&both);
    let installed = std::thread::scope(|scope| {
        // What another process would do: make the library while the installation waits for its lock.
        let locks = other.store.lock([&library]).unwrap();
        let prepared = other
            .store
            .prepare_outputs(&locks, vec![output], &|| true)
            .unwrap();
        let installation = scope.spawn(|| substituter.install(&other.store, wanted, &watch));
        wait.recv().unwrap();
        prepared.commit().unwrap();
        drop(locks);
        installation.join().unwrap()
    });
    let installed = installed.unwrap().remove(0).unwrap();
    assert_eq!(installed.paths, [tool]);
    assert_eq!(*is_locked.lock().unwrap(), [false]);
}
