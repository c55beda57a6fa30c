// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that mean harm, with the help of other processes of the machine.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::derivation::Output;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::interruptions::{eventually, staged};
use crate::site::{Site, names};
use crate::stored::{added, expect};

/// The test is the accomplice: it has a descriptor of the output while the builder still runs.
#[test]
fn what_an_accomplice_holds_open_is_not_what_a_fixed_output_becomes() {
    let mut site = Site::new();
    let tree = Tree::directory([("file", Tree::file("good in a tree"))]);
    for (method, content, archive, commands, file) in [
        (
            FixedOutputMethod::Flat,
            "good alone",
            b"good alone".to_vec(),
            ["write $out good alone", "sleep 500"].as_slice(),
            None,
        ),
        (
            FixedOutputMethod::Recursive,
            "good in a tree",
            tree.to_nar().unwrap(),
            ["mkdir $out", "write $out/file good in a tree", "sleep 500"].as_slice(),
            Some("file"),
        ),
    ] {
        let hash = ContentHash::of(HashAlgorithm::Sha256, archive);
        let label = format!("fixed-{method:?}");
        let item = site.add_with(&label, commands, |_, derivation| {
            let output = Output::fixed(method, hash);
            derivation.outputs.insert("out".to_owned(), output);
        });
        let place = |output: PathBuf| file.map_or(output.clone(), |file| output.join(file));
        let (held, made) = (place(staged(&site, item)), place(site.physical(item)));
        let mut accomplice = std::thread::scope(|scope| {
            let accomplice = scope.spawn(|| {
                let is_written = || fs::read(&held).is_ok_and(|read| read == content.as_bytes());
                eventually("the output is there", is_written);
                File::options().append(true).open(&held).unwrap()
            });
            site.build(item);
            accomplice.join().unwrap()
        });
        accomplice.write_all(b", and evil").unwrap();
        assert_eq!(fs::read_to_string(made).unwrap(), content);
    }
}

/// Also of a build that fails, and whatever it does to the modes of its own directories.
#[test]
fn other_users_reach_no_program_that_a_build_makes_while_it_runs() {
    let mut site = Site::new();
    let item = site.add(
        "hostile",
        &[
            "mkdir $out",
            "write $out/program x",
            "chmod $out/program 4755",
            "chmod $out 777",
            "write $NIX_BUILD_TOP/program x",
            "chmod $NIX_BUILD_TOP/program 4755",
            "chmod $NIX_BUILD_TOP 777",
            "write $out/begun",
            "sleep 500",
            "exit 1",
        ],
    );
    let output = staged(&site, item);
    let temporary = site.settings.temporary.clone();
    let store = site.store.directories().store.clone();
    let is_closed = |program: &Path, top: &Path| {
        assert_eq!(fs::metadata(program).unwrap().mode() & 0o7777, 0o4755);
        let above = program.ancestors().skip(1);
        let mut above = above.take_while(|directory| *directory != top);
        above.any(|directory| fs::metadata(directory).unwrap().mode() & 0o077 == 0)
    };
    std::thread::scope(|scope| {
        let closed = scope.spawn(|| {
            eventually("the programs are there", || output.join("begun").exists());
            let runs = names(&temporary);
            let run = temporary.join(runs.first().unwrap());
            (
                is_closed(&output.join("program"), &store),
                is_closed(&run.join("0-hostile.drv/program"), &temporary),
            )
        });
        site.fail_build(item);
        let (output, directory) = closed.join().unwrap();
        assert!(output, "the output can be reached");
        assert!(directory, "the build directory can be reached");
    });
}

#[test]
fn a_download_reads_no_file_of_this_machine() {
    let mut site = Site::new();
    let secret = site.root.join("secret");
    fs::write(&secret, "secret").unwrap();
    let secret = secret.display();
    for (number, url) in [
        format!("\"file://{secret}\""),
        format!("\"{secret}\""),
        format!("(\"http://127.0.0.1:1/x\" \"file://{secret}\")"),
    ]
    .iter()
    .enumerate()
    {
        let item = site.add_with(&format!("local-{number}"), &[], |_, derivation| {
            derivation.builder = "builtin:download".into();
            derivation.input_sources.clear();
            let output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("secret"));
            derivation.outputs.insert("out".to_owned(), output);
            derivation.environment.insert("url", url.as_str());
        });
        let derivation = added(&site, item);
        let (_, errors) = expect(&site, 1, &["--offline", "build", &derivation]);
        assert!(errors.contains("names a file of this machine"), "{errors}");
        assert!(!site.is_valid(item));
    }
}
