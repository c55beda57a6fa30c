// SPDX-License-Identifier: GPL-3.0-or-later
//! Items that are published, and installed from files and servers, by Nix and by us.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::ExchangeError;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::{InstallationNews, InstallationWatch};
use bootstrap::formats::keys::SecretKey;
use bootstrap::formats::store_path::StorePath;

use crate::place::{Place, unobserved};
use crate::server::{serve, serve_halves, serve_with};
use crate::{full, oracle, substituter};

#[test]
fn nix_takes_substitutes_that_we_publish_and_checks_our_signature() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = BTreeSet::from([program.clone()]);
    let published = publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    assert_eq!((published.written, published.kept), (2, 0));
    let again = publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    assert_eq!((again.written, again.kept), (0, 2));

    // Another key signs what is there, and compresses nothing.
    let (other, stranger) = Place::new().key();
    let again = publish(&place.store, &wanted, Some(&other), &directory).unwrap();
    assert_eq!((again.written, again.bytes), (2, 0));
    let unsigned = publish(&place.store, &wanted, None, &directory).unwrap();
    assert_eq!((unsigned.written, unsigned.kept), (0, 2));
    let taken = Place::new().install(
        &format!("file://{}", directory.display()),
        &program,
        &[stranger],
    );
    assert_eq!(taken.unwrap(), Some(2));
    publish(&place.store, &wanted, Some(&secret), &directory).unwrap();

    let realise = |key: &str| {
        let oracle = oracle::Oracle::new();
        let substituters = format!("file://{}", directory.display());
        let program = full(&program);
        let arguments = [
            "--realise",
            &program,
            "--option",
            "substitute",
            "true",
            "--option",
            "substituters",
            &substituters,
            "--option",
            "trusted-public-keys",
            key,
            "--option",
            "require-sigs",
            "true",
        ];
        let (success, _, errors) = oracle.try_run("nix-store", &arguments);
        (success, errors)
    };
    let (success, errors) = realise(&public.to_string());
    assert!(success, "{errors}");
    let (success, _) = realise("test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert!(
        !success,
        "Nix should not take what is signed by another key"
    );
}

#[test]
fn substitutes_are_installed_from_files_and_servers_with_all_they_refer_to() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    publish(
        &place.store,
        &[program.clone()].into(),
        Some(&secret),
        &directory,
    )
    .unwrap();
    for url in [format!("file://{}", directory.display()), serve(&directory)] {
        let other = Place::new();
        assert_eq!(
            other
                .install(&url, &program, std::slice::from_ref(&public))
                .unwrap(),
            Some(2)
        );
        let valid = other.store.valid_paths().unwrap();
        assert_eq!(valid, [library.clone(), program.clone()].into());
        assert!(other.is_tidy());
        // What is there already is not fetched again, and what a server lacks is not an error.
        assert_eq!(
            other
                .install(&url, &program, std::slice::from_ref(&public))
                .unwrap(),
            Some(0)
        );
        let nowhere = StorePath::from_base_name(&format!("{}-nowhere", "c".repeat(32))).unwrap();
        assert_eq!(
            other
                .install(&url, &nowhere, std::slice::from_ref(&public))
                .unwrap(),
            None
        );
    }
    // zstd is not all there is.
    let narinfo = directory.join(format!("{}.narinfo", program.hash_part()));
    let text = fs::read_to_string(&narinfo).unwrap();
    fs::write(
        &narinfo,
        text.replace("Compression: zstd", "Compression: brotli"),
    )
    .unwrap();
    let other = Place::new();
    let url = format!("file://{}", directory.display());
    assert_eq!(other.install(&url, &program, &[public]).unwrap(), Some(2));
}

#[test]
fn an_item_with_a_question_mark_in_its_name_is_published_and_installed() {
    let place = Place::new();
    let item = place.add("c", "what?", &[]);
    let (secret, public) = place.key();
    let keys = std::slice::from_ref(&public);
    let directory = place.path("published");
    let wanted = BTreeSet::from([item.clone()]);
    let again = || publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    again();
    assert!(
        directory
            .join(format!("nar/{}.nar.zst", item.base_name()))
            .exists()
    );
    for url in [serve(&directory), format!("file://{}", directory.display())] {
        let installed = Place::new().install(&url, &item, keys);
        assert_eq!(installed.unwrap(), Some(1), "{url}");
    }
    assert_eq!((again().written, again().kept), (0, 1));
    // What an earlier version wrote is written again.
    let narinfo = directory.join(format!("{}.narinfo", item.hash_part()));
    let text = fs::read_to_string(&narinfo).unwrap();
    fs::write(&narinfo, text.replace("%3F", "?")).unwrap();
    assert_eq!(again().written, 1);
    assert_eq!(fs::read_to_string(&narinfo).unwrap(), text);
}

#[test]
fn of_several_sets_those_are_installed_that_a_server_has_all_of() {
    let (place, library, program) = Place::with_items();
    let lacking = place.add("c", "lacking", &[]);
    let other_program = place.add("d", "other", &[&library, &lacking]);
    let (secret, public) = place.key();
    let directory = place.path("published");
    let all = [program.clone(), other_program.clone()].into();
    publish(&place.store, &all, Some(&secret), &directory).unwrap();
    fs::remove_file(directory.join(format!("{}.narinfo", lacking.hash_part()))).unwrap();
    let other = Place::new();
    let sets = [&other_program, &program, &library].map(|path| BTreeSet::from([path.clone()]));
    let url = format!("file://{}", directory.display());
    let server = substituter(&[&url], &[public]);
    let installed = server.install(&other.store, &sets, &unobserved());
    let paths: Vec<_> = installed
        .unwrap()
        .into_iter()
        .map(|set| set.map(|set| set.paths))
        .collect();
    // What two sets have in common is reported once.
    let both = vec![library.clone(), program.clone()];
    assert_eq!(paths, [None, Some(both), Some(Vec::new())]);
    assert_eq!(
        other.store.valid_paths().unwrap(),
        [library, program].into()
    );
    assert!(other.is_tidy());
}

#[test]
fn what_is_right_is_kept_when_something_else_of_the_same_server_is_not() {
    let (place, library, program) = Place::with_items();
    let unused = place.add("c", "unused", &[]);
    let (secret, public) = place.key();
    let directory = place.path("published");
    let all = BTreeSet::from([program.clone(), unused.clone()]);
    publish(&place.store, &all, Some(&secret), &directory).unwrap();
    // The smallest of all, so that it comes last.
    let last = directory.join(format!("nar/{}.nar.zst", unused.base_name()));
    fs::remove_file(last).unwrap();
    let other = Place::new();
    let url = format!("file://{}", directory.display());
    let server = substituter(&[&url], &[public]);
    // One thread takes them in their order.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let error = pool.unwrap().install(|| {
        server
            .install(&other.store, std::slice::from_ref(&all), &unobserved())
            .unwrap_err()
    });
    assert!(matches!(error, ExchangeError::Server { .. }), "{error}");
    assert_eq!(
        other.store.valid_paths().unwrap(),
        [library, program].into()
    );
    assert!(other.is_tidy());
}

#[test]
fn archives_are_fetched_at_once() {
    let (place, _, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = BTreeSet::from([program]);
    publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    // A request for an archive waits for a request for another.
    let (asked, changed) = (Mutex::new(0), Condvar::new());
    let (sender, met) = std::sync::mpsc::channel();
    let url = serve_with(&directory, "", move |name| {
        if name.starts_with("nar/") {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            changed.notify_all();
            let longest = Duration::from_secs(20);
            let alone = |asked: &mut i32| *asked < 2;
            let (_asked, waited) = changed.wait_timeout_while(asked, longest, alone).unwrap();
            sender.send(!waited.timed_out()).unwrap();
        }
    });
    let other = Place::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    pool.unwrap().install(|| {
        let server = substituter(&[&url], &[public]);
        server
            .install(&other.store, &[wanted], &unobserved())
            .unwrap();
    });
    assert_eq!(met.try_iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn whoever_watches_hears_of_every_item_with_its_bytes() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = [BTreeSet::from([program.clone()])];
    publish(&place.store, &wanted[0], Some(&secret), &directory).unwrap();
    let size = |path: &StorePath| {
        let name = format!("nar/{}.nar.zst", path.base_name());
        fs::metadata(directory.join(name)).unwrap().len()
    };
    let all = [library.clone(), program.clone()];
    let heard = Mutex::new(Vec::new());
    let watch = InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|news: InstallationNews<'_>| {
            let mut heard = heard.lock().unwrap();
            let item = match news {
                InstallationNews::Found(offers) => {
                    assert!(heard.is_empty());
                    let paths = offers.iter().map(|offer| offer.path.clone());
                    assert_eq!(paths.collect::<Vec<_>>(), all);
                    assert_eq!(offers[0].download_size, Some(size(&library)));
                    (program.clone(), "found", 0)
                }
                InstallationNews::Begun { path, .. } => (path.clone(), "begun", 0),
                InstallationNews::Received {
                    path, bytes, total, ..
                } => {
                    assert_eq!(total, Some(size(path)));
                    (path.clone(), "received", bytes)
                }
                InstallationNews::Installed { info, .. } => {
                    (info.path.clone(), "installed", info.nar_size)
                }
                other => panic!("{other:?}"),
            };
            heard.push(item);
        },
    };
    let other = Place::new();
    let url = format!("file://{}", directory.display());
    let server = substituter(&[&url], &[public]);
    server.install(&other.store, &wanted, &watch).unwrap();
    let told = std::mem::take(&mut *heard.lock().unwrap());
    for path in &all {
        let of_it: Vec<_> = told
            .iter()
            .filter(|(other, what, _)| other == path && *what != "found")
            .map(|(_, what, bytes)| (*what, *bytes))
            .collect();
        let nar_size = place.store.path_info(path).unwrap().unwrap().nar_size;
        let (first, last) = (of_it.first().unwrap(), of_it.last().unwrap());
        assert_eq!(of_it[1], ("received", 0));
        assert_eq!((*first, *last), (("begun", 0), ("installed", nar_size)));
        assert!(of_it.contains(&("received", size(path))), "{of_it:?}");
    }
    // What is there already is nothing new.
    server.install(&other.store, &wanted, &watch).unwrap();
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn items_become_valid_as_they_come_and_a_silent_server_does_not_keep_a_user_from_stopping() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = [BTreeSet::from([program.clone()])];
    publish(&place.store, &wanted[0], Some(&secret), &directory).unwrap();
    let silent = format!("nar/{}.nar.zst", program.base_name());
    let (over, is_over) = channel::<()>();
    let is_over = Mutex::new(is_over);
    let url = serve_halves(
        &directory,
        "",
        |_| {},
        move |name| {
            if name == silent {
                let _ = is_over
                    .lock()
                    .unwrap()
                    .recv_timeout(Duration::from_secs(40));
            }
            name != silent
        },
    );
    let cancellation = Cancellation::new();
    let stopped = Mutex::new(None);
    let watch = InstallationWatch {
        cancellation: cancellation.clone(),
        news: &|news: InstallationNews<'_>| {
            // The program is half there by then, or will not be.
            if let InstallationNews::Installed { info, .. } = news {
                assert_eq!(info.path, library);
                *stopped.lock().unwrap() = Some(Instant::now());
                cancellation.cancel();
            }
        },
    };
    let other = Place::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let error = pool.unwrap().install(|| {
        let server = substituter(&[&url], &[public]);
        let installed = server.install(&other.store, &wanted, &watch);
        installed.unwrap_err()
    });
    assert!(matches!(error, ExchangeError::Interrupted), "{error}");
    let stopped = stopped.into_inner().unwrap().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(10));
    assert_eq!(other.store.valid_paths().unwrap(), [library].into());
    assert!(other.is_tidy());
    drop(over);
}

#[test]
fn what_nix_copies_to_a_cache_is_installed_in_every_compression() {
    let oracle = oracle::Oracle::new();
    let file = oracle.scratch("greeting");
    fs::write(&file, "hello\n".repeat(1000)).unwrap();
    let added = oracle.run("nix-store", &["--add", file.to_str().unwrap()]);
    let added = String::from_utf8(added).unwrap();
    let path = oracle::store_dir().parse(added.trim()).unwrap();
    let key = oracle.scratch("key");
    let public = SecretKey::generate("cache-1", &key).unwrap();
    for compression in ["xz", "bzip2", "br", "zstd", "gzip", "none"] {
        let cache = oracle.scratch(compression);
        let url = format!(
            "file://{}?compression={compression}&secret-key={}",
            cache.display(),
            key.display()
        );
        let arguments = [
            "--extra-experimental-features",
            "nix-command",
            "copy",
            "--to",
        ];
        oracle.run("nix", &[&arguments[..], &[&url, added.trim()]].concat());
        let place = Place::new();
        let url = format!("file://{}", cache.display());
        let installed = place.install(&url, &path, std::slice::from_ref(&public));
        assert_eq!(installed.unwrap(), Some(1), "{compression}");
        let content = fs::read(place.store.directories().physical(&path)).unwrap();
        assert_eq!(content, fs::read(&file).unwrap());
        assert!(place.is_tidy());
    }
}
