// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that work: what they see, and what becomes of it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use bootstrap::builder::history::History;
use bootstrap::builder::log::open_log;
use bootstrap::events::{Event, Kind};
use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;
use rustix::process::{FlockType, fcntl_getlk};

use crate::site::{Site, names, share_jobs};

#[test]
fn a_build_becomes_a_valid_store_item() {
    let mut site = Site::new();
    let item = site.add(
        "hello",
        &[
            "say starting phase `install'",
            "mkdir $out",
            "write $out/text hello there",
        ],
    );
    site.build(item);
    let out = site.physical(item);
    assert_eq!(fs::read(out.join("text")).unwrap(), b"hello there");
    let metadata = fs::metadata(out.join("text")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o444, 1));
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    let path = site.items[item].derivation.output_path("out").unwrap();
    let info = site.store.path_info(path).unwrap().unwrap();
    assert_eq!(info.deriver.as_ref(), Some(&site.items[item].path));
    assert!(info.references.is_empty());
    // The derivation is there too, and known as the one the output is from.
    assert!(site.store.is_valid(&site.items[item].path).unwrap());
    assert!(
        site.store
            .derivers(path)
            .unwrap()
            .contains(&site.items[item].path)
    );
    site.store.check_database().unwrap();
}

#[test]
fn a_build_sees_guix_daemons_environment() {
    let mut site = Site::new();
    let top = "/tmp/guix-build-env.drv-0";
    let item = site.add(
        "env",
        &[
            "write $NIX_BUILD_TOP/here works",
            "mkdir $out",
            "append $out/all $HOME",
            "append $out/all :$PATH",
        ],
    );
    let line = "say $HOME $PATH $NIX_STORE";
    let foreign = site.add("foreign", &["say $MAKEFLAGS", "write $out"]);
    let other = site.add_own(
        "lines",
        &[
            line,
            "say $NIX_BUILD_CORES",
            "say $MAKEFLAGS",
            "say $TMPDIR",
            "write $out",
        ],
    );
    site.build(item);
    site.events();
    site.build(foreign);
    let is_empty = |event: &Event| matches!(event, Event::Line { text, .. } if text.is_empty());
    assert!(site.events().iter().any(is_empty));
    site.build(other);
    let lines: Vec<String> = site
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Line { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(lines[0], "/homeless-shelter /path-not-set $NIX_STORE");
    assert_eq!(lines[1], "2");
    assert_eq!(lines[2], " -j2 --jobserver-auth=3,4");
    assert_eq!(lines[3], top.replace("env", "lines"));
}

#[test]
fn outputs_may_refer_to_inputs_and_to_each_other() {
    let mut site = Site::new();
    let library = site.add("library", &["mkdir $out", "write $out/lib code"]);
    let tool = site.add_with(
        "tool",
        &[
            "mkdir $out",
            "copy $library/lib $out/lib",
            "write $out/uses x",
            "write $doc nothing",
        ],
        |site, derivation| {
            derivation
                .outputs
                .insert("doc".to_owned(), Output::input_addressed());
            site.input(derivation, library);
            let path = site.logical(library, "out");
            derivation.environment.insert("library".to_owned(), path);
        },
    );
    let link = site.add_with("link", &["link $out $tool"], |site, derivation| {
        site.input(derivation, tool);
        let path = site.logical(tool, "out");
        derivation.environment.insert("tool".to_owned(), path);
    });
    site.build(link);
    assert_eq!(fs::read(site.physical(tool).join("lib")).unwrap(), b"code");
    assert_eq!(
        fs::read_link(site.physical(link))
            .unwrap()
            .to_str()
            .unwrap(),
        site.logical(tool, "out")
    );
    let path = site.items[link].derivation.output_path("out").unwrap();
    let references = site.store.path_info(path).unwrap().unwrap().references;
    let expected = site.items[tool].derivation.output_path("out").unwrap();
    assert_eq!(references.iter().collect::<Vec<_>>(), [expected]);
}

#[test]
fn only_the_closure_of_the_inputs_is_in_the_store() {
    let mut site = Site::new();
    let hidden = site.add("hidden", &["write $out secret"]);
    site.build(hidden);
    let item = site.add_with("spy", &["copy $hidden $out"], |site, derivation| {
        let path = site.logical(hidden, "out");
        derivation.environment.insert("hidden".to_owned(), path);
    });
    site.fail_build(item);
}

#[test]
fn what_a_build_prints_is_logged_shown_and_timed() {
    let mut site = Site::new();
    let item = site.add(
        "talker",
        &[
            "say starting phase `build'",
            "burn 30",
            "say some \x1b[31mcolour",
            "say phase `build' succeeded after 0.0 seconds",
            "write $out",
        ],
    );
    site.build(item);
    let mut log = String::new();
    let directory = site.store.directories().log.clone();
    let read = open_log(&directory, &site.items[item].path)
        .unwrap()
        .unwrap()
        .read_to_string(&mut log);
    read.unwrap();
    assert_eq!(
        log,
        "starting phase `build'\nsome \x1b[31mcolour\nphase `build' succeeded after 0.0 seconds\n"
    );
    let events = site.events();
    assert!(matches!(
        &events[0],
        Event::RunStarted {
            builds: 1,
            downloads: 0,
            reused: 0
        }
    ));
    assert!(events.iter().any(|event| matches!(
        event,
        Event::Started { item, kind: Kind::Build, log: Some(log), .. }
        if item == "talker" && log.exists()
    )));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Line { text, .. } if text == "some [31mcolour"))
    );
    let Some(Event::Finished { made, .. }) = events
        .iter()
        .find(|event| matches!(event, Event::Finished { .. }))
    else {
        panic!("{events:?}");
    };
    assert!(made.user_seconds + made.system_seconds >= 0.03, "{made:?}");
    assert!(made.seconds > 0.03);
    assert_eq!(made.phases[0].phase, "build");
    assert_eq!(made.outputs[0].path, site.logical(item, "out"));
    let durations = History::new(&site.store.directories().state).durations();
    assert!(durations["talker"].as_secs_f64() > 0.03);
}

#[test]
fn daemons_that_a_build_leaves_behind_are_gone_when_it_ends() {
    let mut site = Site::new();
    let item = site.add("daemon", &["write $out", "daemon $out"]);
    site.build(item);
    let file = fs::File::open(site.physical(item)).unwrap();
    let holder = fcntl_getlk(&file, &FlockType::WriteLock.into()).unwrap();
    assert!(holder.is_none(), "{holder:?}");
}

#[test]
fn a_fixed_output_with_the_right_content_is_taken() {
    let mut site = Site::new();
    let archive = Tree::file("content").to_nar().unwrap();
    for algorithm in HashAlgorithm::ALL {
        for (method, hashed) in [
            (FixedOutputMethod::Flat, b"content".as_slice()),
            (FixedOutputMethod::Recursive, &archive),
        ] {
            let label = format!("fixed-{method:?}-{algorithm}");
            let item = site.add_with(&label, &["write $out content"], |_, derivation| {
                let output = Output::fixed(method, ContentHash::of(algorithm, hashed));
                derivation.outputs.insert("out".to_owned(), output);
            });
            site.build(item);
        }
    }
}

#[test]
fn bytes_that_are_not_utf_8_reach_the_build_unchanged() {
    let mut site = Site::new();
    let bytes = b"caf\xe9 \xff\xfe";
    let item = site.add_with("bytes", &["write $out"], |_, derivation| {
        derivation.environment.insert("bytes", bytes.as_slice());
        let command = [b"append $out $bytes ".as_slice(), bytes].concat();
        derivation.arguments.push(command.into());
    });
    site.build(item);
    let content = fs::read(site.physical(item)).unwrap();
    assert_eq!(content, [bytes.as_slice(), b" ", bytes].concat());
}

#[test]
fn a_download_comes_from_the_fetcher() {
    let mut site = Site::new();
    let shelf = site.root.join("shelf");
    fs::create_dir(&shelf).unwrap();
    fs::write(shelf.join("source.txt"), "the source").unwrap();
    let source = site.add_with("source.txt", &[], |_, derivation| {
        derivation.builder = "builtin:download".into();
        derivation.system = "builtin".to_owned();
        derivation.input_sources.clear();
        let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("the source"));
        derivation.outputs.insert("out".to_owned(), output);
        derivation.environment = [("url", "https://example.org/source.txt")].into();
    });
    let item = site.add_with("user", &["copy $source $out"], |site, derivation| {
        site.input(derivation, source);
        let path = site.logical(source, "out");
        derivation.environment.insert("source".to_owned(), path);
    });
    site.build(item);
    assert_eq!(fs::read(site.physical(item)).unwrap(), b"the source");
    let events = site.events();
    assert!(matches!(
        &events[0],
        Event::RunStarted {
            builds: 1,
            downloads: 1,
            ..
        }
    ));
    assert!(events.iter().any(
        |event| matches!(event, Event::DownloadProgress { item, .. } if item == "source.txt")
    ));
}

/// Writes a tar of one directory with the toy in it, as a seed's archive.
fn seed_archive(site: &Site) -> Vec<u8> {
    let toy = fs::read(
        site.store
            .directories()
            .physical(site.items[0].derivation.input_sources.first().unwrap()),
    );
    let toy = toy.unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(toy.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, "bin/toy", toy.as_slice())
        .unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn a_seed_is_unpacked_and_is_the_root_of_the_builds_that_name_it() {
    let mut site = Site::new();
    let first = site.add("first", &["write $out"]);
    site.build(first);
    let archive = seed_archive(&site);
    let shelf = site.root.join("shelf");
    fs::create_dir(&shelf).unwrap();
    fs::write(shelf.join("base.tar"), &archive).unwrap();
    let download = site.add_with("base.tar", &[], |_, derivation| {
        derivation.builder = "builtin:download".into();
        derivation.input_sources.clear();
        let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of(&archive));
        derivation.outputs.insert("out".to_owned(), output);
        derivation
            .environment
            .insert("url".to_owned(), "https://example.org/base.tar".to_owned());
    });
    let seed = site.add_with("seed", &[], |site, derivation| {
        derivation.builder = "builtin:unpack-seed".into();
        derivation.input_sources.clear();
        site.input(derivation, download);
        derivation
            .environment
            .insert("format".to_owned(), "tar".to_owned());
        derivation
            .environment
            .insert("archives".to_owned(), site.logical(download, "out"));
        derivation
            .environment
            .insert("links".to_owned(), "/bin/sh -> toy".to_owned());
        derivation
            .environment
            .insert("files".to_owned(), "{\"/release\":\"14.3\"}".to_owned());
    });
    let in_seed = |site: &Site, derivation: &mut bootstrap::formats::derivation::Derivation| {
        site.input(derivation, seed);
        derivation.builder = "/bin/sh".into();
        derivation
            .environment
            .insert("seed".to_owned(), site.logical(seed, "out"));
        derivation
            .environment
            .insert("disallowedReferences".to_owned(), site.logical(seed, "out"));
    };
    let item = site.add_with("stage0", &["copy /release $out"], in_seed);
    let spoiler = site.add_with("spoiler", &["write /release 15.0", "write $out"], in_seed);
    let peeper = site.add_with("peeper", &["copy $seed/release $out"], in_seed);
    let referrer = site.add_with("referrer", &["link $out $seed"], in_seed);
    site.build(item);
    assert_eq!(fs::read(site.physical(item)).unwrap(), b"14.3");
    assert_eq!(
        fs::metadata(site.physical(seed).join("bin/toy"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o555
    );
    // The root is read-only, the seed is not in the store, and nothing may refer to it.
    site.fail_build(spoiler);
    site.fail_build(peeper);
    let error = site.fail(referrer).to_string();
    assert!(error.contains(&site.logical(seed, "out")), "{error}");
    assert!(error.ends_with("it is in the output itself"), "{error}");
}

#[test]
fn a_variable_called_seed_is_the_derivations_own_business() {
    let mut site = Site::new();
    let other = site.add("other", &["write $out"]);
    for (label, value) in [("words", "whatever"), ("foreign", "/gnu/store/no-such")] {
        let item = site.add_with(label, &["write $out $seed"], |_, derivation| {
            derivation
                .environment
                .insert("seed".to_owned(), value.to_owned());
        });
        site.build(item);
        assert_eq!(fs::read(site.physical(item)).unwrap(), value.as_bytes());
    }
    // An ordinary input stays where inputs are, whatever variable names it.
    let item = site.add_with("input", &["copy $seed $out"], |site, derivation| {
        site.input(derivation, other);
        let seed = site.logical(other, "out");
        derivation.environment.insert("seed".to_owned(), seed);
    });
    site.build(item);
}

#[test]
fn nothing_is_left_in_the_place_for_temporary_files() {
    let mut site = Site::new();
    let item = site.add(
        "messy",
        &[
            "mkdir $NIX_BUILD_TOP/d",
            "write $NIX_BUILD_TOP/d/f",
            "chmod $NIX_BUILD_TOP/d 0",
            "write $out",
        ],
    );
    site.build(item);
    assert!(names(&site.settings.temporary).is_empty());
}

#[test]
fn tokens_that_a_build_invents_and_keeps_do_not_matter_to_the_next() {
    let mut site = Site::new();
    let cheat = site.add_own("cheat", &["take 1", "tokens 3000", "write $out"]);
    site.build(cheat);
    let honest = site.add_own("honest", &["take 1", "write $out"]);
    site.build(honest);
}

#[test]
fn what_a_build_does_to_its_pipe_of_tokens_does_not_reach_the_next() {
    let mut site = Site::new();
    let first = site.add_own("first", &["pipe change", "write $out"]);
    let second = site.add_with("second", &["pipe", "write $out"], |site, derivation| {
        site.input(derivation, first);
        share_jobs(derivation);
    });
    site.build(second);
}

#[test]
fn the_closure_of_an_input_is_listed_where_the_derivation_asks_for_it() {
    let mut site = Site::new();
    let library = site.add("library", &["write $out"]);
    let tool = site.add_with("tool", &["link $out $library"], |site, derivation| {
        site.input(derivation, library);
        let path = site.logical(library, "out");
        derivation.environment.insert("library", path);
    });
    let item = site.add_with(
        "list",
        &["copy $NIX_BUILD_TOP/graph $out"],
        |site, derivation| {
            site.input(derivation, tool);
            let pair = format!("graph {}", site.logical(tool, "out"));
            derivation.environment.insert("exportReferencesGraph", pair);
        },
    );
    site.build(item);
    let [library, tool] = [library, tool].map(|item| site.logical(item, "out"));
    let mut items = [
        format!("{library}\n\n0\n"),
        format!("{tool}\n\n1\n{library}\n"),
    ];
    items.sort();
    let found = fs::read_to_string(site.physical(item)).unwrap();
    assert_eq!(found, items.concat());
    for pair in ["graph", "../graph PATH", "graph /etc/passwd"] {
        let label = format!("wrong-{}", pair.len());
        let wrong = site.add_with(&label, &["write $out"], |site, derivation| {
            site.input(derivation, item);
            let pair = pair.replace("PATH", &tool);
            derivation.environment.insert("exportReferencesGraph", pair);
        });
        let error = site.fail(wrong).to_string();
        assert!(error.contains("exportReferencesGraph: "), "{error}");
    }
}
