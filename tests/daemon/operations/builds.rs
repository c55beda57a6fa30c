// SPDX-License-Identifier: GPL-3.0-or-later
//! The operation that builds: what it keeps, repairs and records.

use std::collections::BTreeMap;

use bootstrap::fetch::cache::Cache;
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::keys::{SecretKey, guix};
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;

use super::store_dir;
use crate::client::{Client, Daemon, SYSTEM, tool};
use crate::tokens::{Builder, build, set_limits};

/// A server that is dead.
const DEAD: &str = "http://127.0.0.1:1/file";

/// A derivation whose output is the file with that hash, at `url`, as a client adds it, and the output's path.
pub fn download_of(sha256: Sha256Digest, url: &str) -> (String, String) {
    let store_dir = store_dir();
    let derivation = Derivation {
        outputs: BTreeMap::from([(
            "out".to_owned(),
            Output::fixed(FixedOutputMethod::Flat, sha256),
        )]),
        system: "builtin".to_owned(),
        builder: "builtin:download".into(),
        environment: [("url", format!("\"{url}\"").as_str())].into(),
        ..Derivation::default()
    };
    let mut known = DerivationSet::default();
    let (_, derivation) = instantiate(&store_dir, "file", derivation, &mut known).unwrap();
    let text = String::from_utf8(aterm::write(&store_dir, &derivation)).unwrap();
    let output = store_dir.display(derivation.output_path("out").unwrap());
    (text, output)
}

#[test]
fn what_is_built_already_is_kept_for_who_asks_for_it() {
    let daemon = Daemon::start();
    let archive = Tree::file(b"the file").to_nar().unwrap();
    let (text, output) = download_of(Sha256Digest::of("the file"), DEAD);
    let mut client = daemon.connect();
    let drv = client.add_text("file.drv", &text, &[]);
    let build = |client: &mut Client| {
        client.ask(9, |fields| {
            fields.strings([drv.as_str()]);
            fields.long(0);
        })
    };
    assert!(build(&mut client).is_err());
    assert_eq!(
        client.add("file", false, "sha256", &archive),
        Ok(output.clone())
    );
    let mut second = daemon.connect();
    build(&mut second).unwrap();
    assert_eq!(second.long(), 1);
    drop(client);
    daemon.wait_until("the first session ends", || daemon.sessions().len() < 2);
    daemon.connect().collect_garbage();
    assert!(second.is_valid(&output) && second.is_valid(&drv));
    drop(second);
    daemon.wait_until("all sessions end", || daemon.sessions().is_empty());
    daemon.connect().collect_garbage();
    let mut last = daemon.connect();
    assert!(!last.is_valid(&output) && !last.is_valid(&drv));
}

#[test]
fn a_check_that_finds_other_bytes_is_a_failed_build() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "check");
    let derivation = |client: &mut Client, name: &str, content: &str| {
        builder.derivation(client, name, &[&format!("write $out {content}")])
    };
    let same = derivation(&mut client, "same", "x");
    let other = derivation(&mut client, "other", "$NIX_BUILD_CORES");
    set_limits(&mut client, 1, 1);
    build(&mut client, &[same.clone(), other.clone()]).unwrap();
    set_limits(&mut client, 1, 2);
    let check = |client: &mut Client, derivation: &str| {
        client.log.clear();
        let checked = client.ask(9, |fields| {
            fields.strings([derivation]);
            fields.long(2);
        });
        (checked, String::from_utf8_lossy(&client.log).into_owned())
    };
    let (checked, log) = check(&mut client, &same);
    checked.unwrap();
    assert_eq!(client.long(), 1);
    assert!(
        log.contains(&format!("@ build-succeeded {same} -")),
        "{log}"
    );
    let (checked, log) = check(&mut client, &other);
    let error = format!("{:?}", checked.unwrap_err());
    assert!(
        error.contains("may not be deterministic: output"),
        "{error}"
    );
    assert!(
        log.contains(&format!("@ build-failed {other} - 1 ")),
        "{log}"
    );
    assert!(!log.contains("@ build-succeeded"), "{log}");
}

#[test]
fn logs_are_compressed_as_the_daemon_is_told() {
    for (kind, ending) in [("gzip", ".gz"), ("bzip2", ".bz2"), ("none", "")] {
        let daemon = Daemon::with(&["--log-compression", kind]);
        let mut client = daemon.connect();
        let builder = Builder::add(&mut client, "logs");
        let derivation = builder.derivation(&mut client, "logged", &["say heard", "write $out x"]);
        build(&mut client, std::slice::from_ref(&derivation)).unwrap();
        let base_name = derivation.strip_prefix("/gnu/store/").unwrap();
        let (first, rest) = base_name.split_at(2);
        let logs = daemon.root().join("var/log/guix/drvs").join(first);
        let log = logs.join(format!("{rest}{ending}"));
        assert!(log.is_file(), "{}", log.display());
        let shown = tool()
            .args([
                "--root",
                daemon.root().to_str().unwrap(),
                "log",
                &derivation,
            ])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "heard\n");
    }
}

#[test]
fn what_has_failed_is_named_alone_and_forgotten_with_its_derivation() {
    let daemon = Daemon::with(&["--cache-failures"]);
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "failures");
    let failing = builder.derivation(&mut client, "failing", &["exit 1"]);
    let good = builder.derivation(&mut client, "good", &["write $out x"]);
    set_limits(&mut client, 1, 1);
    // The other one is built before or not at all.
    let refused = build(&mut client, &[good, failing.clone()]).unwrap_err();
    assert_eq!(refused.message, format!("build of `{failing}' failed"));
    let failed = |client: &mut Client| {
        client.ask(24, |_| ()).unwrap();
        client.strings()
    };
    assert_eq!(failed(&mut client).len(), 1);
    let forget = [failing.as_str()];
    client.ask(25, |fields| fields.strings(forget)).unwrap();
    assert_eq!(client.long(), 1);
    assert_eq!(failed(&mut client), Vec::<String>::new());
}

#[test]
fn a_download_that_failed_has_a_log_that_says_why() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (text, _) = download_of(Sha256Digest::of("nowhere"), DEAD);
    let drv = client.add_text("file.drv", &text, &[]);
    build(&mut client, std::slice::from_ref(&drv)).unwrap_err();
    let root = daemon.root().to_str().unwrap();
    let shown = tool().args(["--root", root, "log", &drv]).output().unwrap();
    let log = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(log.contains("http://127.0.0.1:1/file"), "{log}");
}

#[test]
fn builds_see_a_directory_of_the_machine_that_the_daemon_names() {
    // Not below /tmp, where builds have their own.
    let machine = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = machine.path().join("file");
    std::fs::write(&file, "of the machine").unwrap();
    let file = file.to_str().unwrap();
    let daemon = Daemon::with(&["--chroot-directory", machine.path().to_str().unwrap()]);
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "shown");
    let reads = builder.derivation(&mut client, "reads", &[&format!("copy {file} $out")]);
    build(&mut client, &[reads]).unwrap();
    let copied = daemon
        .items()
        .into_iter()
        .find(|name| name.ends_with("-reads"));
    let copied = daemon.root().join("gnu/store").join(copied.unwrap());
    assert_eq!(std::fs::read_to_string(copied).unwrap(), "of the machine");
    let writes = builder.derivation(&mut client, "writes", &[&format!("append {file} x")]);
    build(&mut client, &[writes]).unwrap_err();
    // Another daemon's builds do not see it.
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "hidden");
    let reads = builder.derivation(&mut client, "reads", &[&format!("copy {file} $out")]);
    build(&mut client, &[reads]).unwrap_err();
}

#[test]
fn damaged_items_are_repaired_for_trusted_clients() {
    let bytes = "the file";
    let sha256 = Sha256Digest::of(bytes);
    let (text, output) = download_of(sha256, DEAD);

    let daemon = Daemon::start();
    let source = daemon.root().join("file");
    std::fs::write(&source, bytes).unwrap();
    let cache = Cache::new(&daemon.root().join("var/cache/bootstrap"));
    cache.import(&source, sha256).unwrap();
    let mut client = daemon.connect();
    let drv = client.add_text("file.drv", &text, &[]);
    let other = client.add_text("other", "text", &[]);
    let build = |client: &mut Client, mode: u64| {
        client.log.clear();
        client.ask(9, |fields| {
            fields.strings([drv.as_str()]);
            fields.long(mode);
        })
    };
    let verify = |client: &mut Client, contents: u64| {
        client.log.clear();
        client.verify_store(contents, 1)
    };
    let on_disk = |path: &str| daemon.root().join(path.trim_start_matches('/'));
    let change = |path: &str| {
        std::fs::remove_file(on_disk(path)).unwrap();
        std::fs::write(on_disk(path), "changed").unwrap();
    };
    build(&mut client, 0).unwrap();
    assert_eq!(client.long(), 1);
    // A check asks the server, whatever the cache has.
    let error = build(&mut client, 2).unwrap_err();
    assert!(format!("{error:?}").contains("failed"), "{error:?}");
    for contents in [0, 1] {
        assert_eq!(verify(&mut client, contents), 0);
    }

    change(&output);
    build(&mut client, 1).unwrap();
    assert_eq!(client.long(), 1);
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains(&format!("path `{output}' was replaced")),
        "{log}"
    );
    assert_eq!(std::fs::read_to_string(on_disk(&output)).unwrap(), bytes);

    change(&output);
    change(&other);
    assert_eq!(verify(&mut client, 1), 1);
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains(&format!("cannot repair path `{other}'")),
        "{log}"
    );
    assert_eq!(std::fs::read_to_string(on_disk(&output)).unwrap(), bytes);

    // What is gone is put back, or becomes invalid where that cannot be done and nothing keeps it.
    let mut second = daemon.connect();
    drop(client);
    daemon.wait_until("the first session ends", || daemon.sessions().len() < 2);
    for path in [&output, &other] {
        std::fs::remove_file(on_disk(path)).unwrap();
    }
    assert_eq!(verify(&mut second, 0), 0);
    assert!(second.is_valid(&output) && !second.is_valid(&other));
    assert_eq!(std::fs::read_to_string(on_disk(&output)).unwrap(), bytes);
}

#[test]
fn failed_builds_are_recorded_where_that_is_wanted() {
    let store_dir = store_dir();
    let derivation = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        system: SYSTEM.to_owned(),
        builder: "/no/such/builder".into(),
        ..Derivation::default()
    };
    let mut known = DerivationSet::default();
    let (_, derivation) = instantiate(&store_dir, "bad", derivation, &mut known).unwrap();
    let text = String::from_utf8(aterm::write(&store_dir, &derivation)).unwrap();
    let output = store_dir.display(derivation.output_path("out").unwrap());

    let daemon = Daemon::with(&["--cache-failures"]);
    let mut client = daemon.connect();
    let drv = client.add_text("bad.drv", &text, &[]);
    let build = |client: &mut Client| {
        client.log.clear();
        let refused = client.ask(9, |fields| {
            fields.strings([drv.as_str()]);
            fields.long(0);
        });
        let refused = refused.unwrap_err();
        assert_eq!(refused.message, format!("build of `{drv}' failed"));
        String::from_utf8_lossy(&client.log).into_owned()
    };
    let failed = |client: &mut Client| {
        client.ask(24, |_| ()).unwrap();
        client.strings()
    };
    assert!(failed(&mut client).is_empty());
    let log = build(&mut client);
    assert!(log.contains("/no/such/builder"), "{log}");
    assert_eq!(failed(&mut client), [output.as_str()]);
    let log = build(&mut client);
    assert!(log.contains("it failed before"), "{log}");
    client
        .ask(25, |fields| fields.strings([output.as_str()]))
        .unwrap();
    assert_eq!(client.long(), 1);
    assert!(failed(&mut client).is_empty());
    let log = build(&mut client);
    assert!(log.contains("/no/such/builder"), "{log}");
}

#[test]
fn what_a_server_has_without_a_trusted_signature_is_built_with_one_warning() {
    let place = tempfile::tempdir().unwrap();
    let key = SecretKey::generate("test-1", &place.path().join("key")).unwrap();
    let acl = place.path().join("acl");
    let text = format!(
        "(acl (entry {} (tag (guix import))))",
        guix::public_key(&key)
    );
    std::fs::write(&acl, text).unwrap();
    let daemon = Daemon::with(&["--acl", acl.to_str().unwrap()]);
    let mut client = daemon.connect();
    let builder = Builder::add(&mut client, "unsigned");
    let mut derivations = Vec::new();
    for name in ["one", "two"] {
        let derivation = builder.derivation(&mut client, name, &["write $out x"]);
        client.ask_of(22, &derivation).unwrap();
        let output = client.strings().remove(0);
        let hash_part = &output["/gnu/store/".len()..][..32];
        let narinfo = format!(
            "StorePath: {output}\nURL: nar/{name}\nNarHash: sha256:{}\nNarSize: 120\nReferences: \n",
            "0".repeat(52)
        );
        let file = place.path().join(format!("{hash_part}.narinfo"));
        std::fs::write(file, narinfo).unwrap();
        derivations.push(derivation);
    }
    let about = place.path().join("nix-cache-info");
    std::fs::write(about, "StoreDir: /gnu/store\n").unwrap();
    client
        .ask(19, |fields| {
            // The last is substitutes; see `set_limits`.
            for number in [0, 0, 0, 0, 0, 0, 0, 0, 1] {
                fields.long(number);
            }
            fields.long(1);
            fields.string("substitute-urls");
            fields.string(format!("file://{}", place.path().display()));
        })
        .unwrap();
    build(&mut client, &derivations).unwrap();
    let log = String::from_utf8_lossy(&client.log).into_owned();
    let warnings = log.matches("has no signature by a key that is trusted");
    assert_eq!(warnings.count(), 1, "{log}");
}
