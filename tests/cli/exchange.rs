// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys, exports and substitutes from the command line.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use bootstrap::formats::store_path::StoreDir;
use bootstrap::store::directories::Directories;
use bootstrap::store::{StagedOutput, Store};

use crate::World;
use crate::server::{serve, serve_halves};

/// Puts something where the outputs of `package` belong, as if it had been built.
fn pretend(world: &World, package: &str) {
    pretend_with(world, package, &[]);
}

/// Like [`pretend`]; what is there refers to `references`, which are valid.
fn pretend_with(world: &World, package: &str, references: &[&str]) {
    let (out, _) = world.expect(0, &["show", "--json", package]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir.clone(), Some(&world.path("root")));
    let store = Store::open(directories).unwrap();
    let outputs = shown["outputs"].as_array().unwrap().iter();
    let staged = outputs.map(|output| {
        let path = store_dir.parse(output["path"].as_str().unwrap()).unwrap();
        let staged = store
            .directories()
            .store
            .join(format!("staged-{}", path.name()));
        let text = format!("this is {package} {}", references.join(" "));
        fs::write(&staged, text.trim_end()).unwrap();
        let candidates = references.iter().map(|path| store_dir.parse(path).unwrap());
        StagedOutput {
            staged,
            path,
            candidates: candidates.collect(),
            deriver: None,
        }
    });
    let staged: Vec<StagedOutput> = staged.collect();
    let locks = store
        .lock(staged.iter().map(|output| &output.path))
        .unwrap();
    let prepared = store.prepare_outputs(&locks, staged, &|| true).unwrap();
    prepared.commit().unwrap();
}

pub fn key(world: &World) -> (String, String) {
    let file = world.path("key").to_str().unwrap().to_owned();
    let (public, _) = world.expect(0, &["key", "test-1", &file]);
    (file, public.trim().to_owned())
}

#[test]
fn what_one_machine_builds_and_publishes_another_need_not_build() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    let directory = directory.to_str().unwrap();
    let (_, err) = world.expect(2, &["publish", directory, "libc", "--key", &secret]);
    assert!(err.contains("is not valid: it has not been built"), "{err}");
    pretend(&world, "libc");
    let (_, err) = world.expect(0, &["publish", directory, "libc", "--key", &secret]);
    assert!(err.contains("published 2 items"), "{err}");
    assert!(!err.contains("nothing is signed"), "{err}");
    // JSON output says so, too.
    let (_, err) = world.expect(0, &["--json", "publish", directory, "libc"]);
    assert!(err.contains("nothing is signed"), "{err}");

    let other = World::with_recipes();
    let url = format!("file://{directory}");
    let arguments = ["--substitute-urls", &url, "build", "libc", "--trusted-keys"];
    let (_, err) = other.expect(
        3,
        &[
            &arguments[..],
            &["test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        ]
        .concat(),
    );
    assert!(
        err.contains("has no signature by a key that is trusted"),
        "{err}"
    );
    let (out, err) = other.expect(0, &[&arguments[..], &[&public]].concat());
    for line in [
        "2 to take from URL, ",
        "\nlibc: downloading from URL\n",
        "\nlibc:static: downloading from URL\n",
        "/2] libc: installed, ",
        "/2] libc:static: installed, ",
        "\ninstalled 2 items, ",
    ] {
        assert!(err.contains(&line.replace("URL", &url)), "{line}: {err}");
    }
    assert_eq!(out.lines().count(), 2, "{out}");
    other.expect(0, &["path", "libc"]);
    let (_, err) = other.expect(2, &["--substitute-urls", &url, "build", "tool"]);
    assert!(
        err.contains("--substitute-urls without --trusted-keys"),
        "{err}"
    );
}

/// Publishes a made-up libc of `world`, signed with the key in the file `secret`; gives the directory.
fn publish_libc(world: &World, secret: &str) -> PathBuf {
    pretend(world, "libc");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    world.expect(0, &["publish", published, "libc", "--key", secret]);
    directory
}

/// Puts something else where the output of `package` is.
fn damage(world: &World, package: &str) {
    let (out, _) = world.expect(0, &["path", package]);
    let item = out.trim().trim_start_matches('/');
    let item = world.path("root").join(item);
    fs::set_permissions(&item, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&item, "something else").unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o444)).unwrap();
}

/// The files in `directory` whose names end in `suffix`.
fn ending(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .collect()
}

#[test]
fn a_damaged_item_is_not_published() {
    let world = World::with_recipes();
    let (secret, _) = key(&world);
    pretend(&world, "tool");
    damage(&world, "tool");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    let (_, err) = world.expect(3, &["publish", published, "tool", "--key", &secret]);
    assert!(
        err.contains("-tool-1.0 is damaged in the store: expected the NAR hash"),
        "{err}"
    );
    let repair = world.command_line("build --repair PKG");
    assert!(err.contains(&repair), "{err}");
    assert_eq!(ending(&directory, ".narinfo"), Vec::<PathBuf>::new());
    assert_eq!(ending(&directory.join("nar"), ""), Vec::<PathBuf>::new());
}

#[test]
fn a_broken_archive_is_made_again_and_what_is_whole_is_left_alone() {
    let world = World::with_recipes();
    let (secret, _) = key(&world);
    pretend(&world, "tool");
    let directory = world.path("published");
    let published = directory.to_str().unwrap();
    let publish = |key: &[&str], written: usize| {
        let (_, err) = world.expect(0, &[&["publish", published, "tool"][..], key].concat());
        let said = match written {
            1 => "published 1 item,".to_owned(),
            _ => format!("published {written} items,"),
        };
        assert!(err.contains(&said), "{err}");
    };
    let signed = ["--key", &secret];
    publish(&signed, 1);
    let archive = ending(&directory.join("nar"), ".nar.zst").remove(0);
    let narinfo = ending(&directory, ".narinfo").remove(0);
    let (whole, text) = (fs::read(&archive).unwrap(), fs::read(&narinfo).unwrap());
    // Without a key, what was signed stays signed.
    let unsigned: &[&str] = &[];
    for (key, length) in [
        (&signed[..], whole.len() / 2),
        (&signed[..], 0),
        (unsigned, 3),
    ] {
        fs::write(&archive, &whole[..length]).unwrap();
        publish(key, 1);
        assert_eq!(fs::read(&archive).unwrap(), whole);
        assert_eq!(fs::read(&narinfo).unwrap(), text);
        publish(key, 0);
    }
    // Nothing says how long the archives have to be.
    fs::remove_file(&narinfo).unwrap();
    fs::write(&archive, "").unwrap();
    publish(&signed, 1);
    assert_eq!(fs::read(&archive).unwrap(), whole);
}

#[test]
fn what_a_server_lacks_is_built_from_what_it_has() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    let directory = directory.to_str().unwrap();
    pretend(&world, "libc");
    world.expect(0, &["publish", directory, "libc", "--key", &secret]);
    let url = format!("file://{directory}");
    let arguments = [
        "--substitute-urls",
        &url,
        "--trusted-keys",
        &public,
        "build",
    ];
    // There is nothing to build it with, but by then what it is built with has been asked for.
    let other = World::with_recipes();
    let failed = other.run(&[&arguments[..], &["tool"]].concat());
    assert!(!failed.status.success());
    let err = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(err.contains("libc: installed, "), "{err}");
    assert!(!err.contains("tool: installed, "), "{err}");
    // What is there as a whole is taken without what it is built with.
    pretend(&world, "tool");
    world.expect(0, &["publish", directory, "tool", "--key", &secret]);
    let other = World::with_recipes();
    let (_, err) = other.expect(0, &[&arguments[..], &["tool"]].concat());
    assert!(err.contains("tool: installed, "), "{err}");
    assert!(!err.contains("libc: installed, "), "{err}");
}

#[test]
fn an_export_is_imported_where_its_signer_is_trusted() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (secret, public) = key(&world);
    let file = world.path("libc.export");
    let file = file.to_str().unwrap();
    let (_, err) = world.expect(0, &["export", "libc:static", "--key", &secret, "-o", file]);
    assert!(err.contains("exported 1 item,"), "{err}");
    let other = World::with_recipes();
    let (_, err) = other.expect(3, &["import", file]);
    let bytes = public.strip_prefix("test-1:").unwrap();
    assert!(
        err.contains(&format!("it is signed by the key {bytes}")),
        "{err}"
    );
    // The key may be given by a file, too.
    let public_file = format!("{secret}.pub");
    let (out, _) = other.expect(0, &["import", file, "--trusted-keys", &public_file]);
    assert!(out.ends_with("-libc-1.0-static\n"), "{out}");
    let (_, err) = other.expect(2, &["import", "/dev/null"]);
    assert!(
        err.contains("/dev/null is not an export of store items: it ends too early"),
        "{err}"
    );
    other.expect(2, &["import", "/nowhere/at/all"]);
}

#[test]
fn an_export_is_of_the_closure_or_of_the_items_alone() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (libc, _) = world.expect(0, &["path", "libc"]);
    let libc = libc.lines().next().unwrap();
    pretend_with(&world, "tool", &[libc]);
    let (tool, _) = world.expect(0, &["path", "tool"]);
    let tool = tool.lines().next().unwrap();
    let [whole, closure, alone] =
        ["whole", "closure", "alone"].map(|name| world.path(name).to_str().unwrap().to_owned());
    for (arguments, file, count) in [
        (&["export", "tool"][..], &whole, 2),
        (&["export", "--closure", "tool"][..], &closure, 2),
        (&["export", "--nar", "tool"][..], &alone, 1),
    ] {
        let (_, err) = world.expect(0, &[arguments, &["-o", file.as_str()]].concat());
        let said = match count {
            1 => "exported 1 item, ".to_owned(),
            _ => format!("exported {count} items, "),
        };
        assert!(err.contains(&said), "{arguments:?}: {err}");
    }
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&closure).unwrap());
    // An item has its path for a name, whatever made it; also where it is on disk.
    let by_path = world.path("by path").to_str().unwrap().to_owned();
    let on_disk = world.path(&format!("root{tool}"));
    for name in [tool, on_disk.to_str().unwrap()] {
        world.expect(0, &["export", name, "-o", &by_path]);
        assert_eq!(fs::read(&by_path).unwrap(), fs::read(&whole).unwrap());
    }
    let absent = format!("/gnu/store/{}-absent", "0".repeat(32));
    for command in [
        &["export", absent.as_str(), "-o", "/dev/null"],
        &["publish", "published", absent.as_str(), "tool"],
    ] {
        let (_, err) = world.expect(2, command);
        let said = format!("{absent} is not valid: it is not in the store");
        assert!(err.contains(&said), "{err}");
    }
    let (_, err) = world.expect(2, &["export", "/etc/passwd", "-o", "/dev/null"]);
    assert!(err.contains("/etc/passwd"), "{err}");
    let both = ["export", "--nar", "--closure", "tool", "-o", "/dev/null"];
    let (_, err) = world.expect(2, &both);
    assert!(err.contains("cannot be used with"), "{err}");

    // What it refers to is not there, nor comes with it.
    let other = World::with_recipes();
    let (out, err) = other.expect(2, &["import", "--unsigned", &alone]);
    assert_eq!(out, "");
    let said = format!("{tool} needs {libc}, which is neither valid here nor in {alone}");
    assert!(err.contains(&said), "{said}: {err}");
    other.expect(2, &["path", "tool"]);
    // As it says.
    let (out, _) = other.expect(0, &["import", "--unsigned", &closure]);
    assert_eq!(out, format!("{libc}\n{tool}\n"));
    other.expect(0, &["path", "tool"]);
    // Where the rest is there, the item alone is enough.
    let third = World::with_recipes();
    pretend(&third, "libc");
    let (out, _) = third.expect(0, &["import", "--unsigned", &alone]);
    assert_eq!(out, format!("{tool}\n"));
}

#[test]
fn an_export_replaces_a_file_when_all_of_it_is_there_and_a_device_never() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let file = world.path("some/libc.export");
    world.file("some/libc.export", "what was there before");
    let export =
        |status: i32, output: &str| world.expect(status, &["export", "libc", "-o", output]);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(world.path("some")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    // Something else than the database says.
    let (out, _) = world.expect(0, &["path", "libc"]);
    let item = out.lines().next().unwrap().trim_start_matches('/');
    let item = world.path("root").join(item);
    let whole = fs::read(&item).unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&item, "something else").unwrap();
    let (_, err) = export(3, file.to_str().unwrap());
    assert!(err.contains("is damaged in the store"), "{err}");
    assert_eq!(fs::read(&file).unwrap(), b"what was there before");
    assert_eq!(names(), ["libc.export"]);
    fs::write(&item, whole).unwrap();
    fs::set_permissions(&item, PermissionsExt::from_mode(0o444)).unwrap();
    export(0, file.to_str().unwrap());
    assert!(fs::read(&file).unwrap().ends_with(&[0; 8]));
    assert_eq!(names(), ["libc.export"]);
    let device = |path: &str| fs::metadata(path).unwrap().file_type().is_char_device();
    export(0, "/dev/null");
    assert!(device("/dev/null"));
    let (_, err) = export(5, "/dev/full");
    assert!(err.contains("cannot write /dev/full: "), "{err}");
    assert!(device("/dev/full"));
}

#[test]
fn a_key_is_shown_as_guix_wants_it_from_either_half() {
    let world = World::with_recipes();
    let (secret, _) = key(&world);
    let (of_secret, _) = world.expect(0, &["key", "--guix", &secret]);
    assert!(
        of_secret.starts_with("(public-key (ecc (curve Ed25519) (q #"),
        "{of_secret}"
    );
    let public = format!("{secret}.pub");
    let (of_public, _) = world.expect(0, &["key", "--guix", &public]);
    assert_eq!(of_secret, of_public);
    // What was printed is a public key, too.
    let file = world.path("acl");
    fs::write(&file, &of_public).unwrap();
    let (again, _) = world.expect(0, &["key", "--guix", file.to_str().unwrap()]);
    assert_eq!(again, of_public);
    let (_, err) = world.expect(2, &["key", "--guix", "/dev/null"]);
    assert!(err.contains("/dev/null is not a public key"), "{err}");
    world.expect(2, &["key", "--guix", "/dev/null", "name", "file"]);
    world.expect(2, &["key", "name"]);
}

#[test]
fn wrong_keys_and_packages_are_named() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (secret, _) = key(&world);
    let (_, err) = world.expect(2, &["key", "test-1", &secret]);
    assert!(err.contains("WORLD/key exists already"), "{err}");
    let (_, err) = world.expect(
        2,
        &["export", "libc", "--key", "/dev/null", "-o", "/dev/null"],
    );
    assert!(err.contains("/dev/null is not a secret key"), "{err}");
    let (_, err) = world.expect(2, &["export", "libc:dynamic", "-o", "/dev/null"]);
    assert!(
        err.contains("libc has no output `dynamic`; it has out, static"),
        "{err}"
    );
    let (_, err) = world.expect(2, &["export", "tool", "-o", "/dev/null"]);
    let build = world.command_line("build tool");
    assert!(err.contains(&format!("run {build}")), "{err}");
    let (_, err) = world.expect(2, &["import", "/dev/null", "--trusted-keys", "mine"]);
    assert!(
        err.contains("--trusted-keys: `mine` is not a public key"),
        "{err}"
    );
    let (_, err) = world.expect(
        2,
        &[
            "build",
            "libc",
            "stage0/make",
            "--substitute-urls",
            "ftp://x",
            "--trusted-keys",
            "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ],
    );
    assert!(
        err.contains("ftp://x: expected http://, https:// or file://"),
        "{err}"
    );
}

#[test]
fn substitutes_come_by_http_too_and_are_checked() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    pretend(&world, "libc");
    pretend(&world, "tool");
    let published = directory.to_str().unwrap();
    world.expect(0, &["publish", published, "libc", "tool", "--key", &secret]);
    let url = serve(&directory);
    let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
    let other = World::with_recipes();
    let (out, err) = other.expect(0, &[&servers[..], &["build", "tool", "libc"]].concat());
    for package in ["libc", "tool"] {
        assert!(err.contains(&format!("{package}: installed, ")), "{err}");
        other.expect(0, &["path", package]);
    }
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(err.contains("\ninstalled 3 items, "), "{err}");
    assert!(err.contains(&format!(", from {url}\n")), "{err}");
    // What was signed is what is taken.
    let narinfo = fs::read_dir(&directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).ok()?;
        (path.extension()? == "narinfo" && text.contains("-tool-1.0\n")).then_some((path, text))
    });
    let (path, text) = narinfo.unwrap();
    fs::write(&path, text.replace("NarSize: ", "NarSize: 1")).unwrap();
    let other = World::with_recipes();
    let (_, err) = other.expect(3, &[&servers[..], &["build", "tool"]].concat());
    assert!(err.contains("-tool-1.0, from http://"), "{err}");
    other.expect(2, &["path", "tool"]);
}

#[test]
fn a_dry_run_asks_servers_what_they_have_and_takes_nothing() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let archives = fs::read_dir(directory.join("nar")).unwrap();
    let zstd: u64 = archives
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "zst"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    for url in [format!("file://{published}"), serve(&directory)] {
        let other = World::with_recipes();
        let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
        let dry = |arguments: &[&str]| {
            let arguments = [&servers[..], &["build", "--dry-run", "tool"], arguments].concat();
            other.expect(0, &arguments).0
        };
        let out = dry(&[]);
        assert!(
            out.starts_with("to take from servers: 2 store items, "),
            "{out}"
        );
        let size = format!("\n  libc  {zstd} B from ");
        assert!(out.contains(&size), "{size}: {out}");
        // Nothing is fetched for libc alone.
        assert!(!out.contains("libc-1.0.tar.gz"), "{out}");
        let json: serde_json::Value = serde_json::from_str(&dry(&["--json"])).unwrap();
        let substitutes = json["substitutes"].as_array().unwrap();
        assert_eq!(substitutes.len(), 1, "{json}");
        assert_eq!(substitutes[0]["item"], "libc");
        assert_eq!(substitutes[0]["store_items"], 2);
        assert_eq!(substitutes[0]["download_size"], zstd);
        assert!(substitutes[0]["size"].as_u64().unwrap() > 0);
        let builds = json["builds"].as_array().unwrap();
        let built: Vec<_> = builds.iter().map(|build| &build["item"]).collect();
        assert!(!built.contains(&&serde_json::json!("libc")), "{built:?}");
        assert!(built.contains(&&serde_json::json!("tool")), "{built:?}");
        // A folder needs no network.
        let offline = dry(&["--offline"]);
        assert_eq!(offline.contains(&size), url.starts_with("file://"));
        // As the store was.
        other.expect(2, &["path", "libc"]);
        let plain = other.expect(0, &["build", "--dry-run", "tool"]).0;
        assert!(plain.contains("  libc "), "{plain}");
        assert!(!plain.contains("servers"), "{plain}");
    }
    let other = World::with_recipes();
    let url = format!("file://{published}");
    let dry = ["build", "--dry-run", "libc", "--substitute-urls", &url];
    let (_, err) = other.expect(2, &dry);
    assert!(
        err.contains("--substitute-urls without --trusted-keys"),
        "{err}"
    );
    let stranger = "test-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let (_, err) = other.expect(3, &[&dry[..], &["--trusted-keys", stranger]].concat());
    assert!(
        err.contains("has no signature by a key that is trusted"),
        "{err}"
    );
    // A server that is not there is left, one that does not say what it is only named.
    let empty = other.0.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = format!("file://{}", empty.display());
    let left = "going on without this server";
    for (url, said, is_left) in [
        ("http://127.0.0.1:9", "http://127.0.0.1:9: ", true),
        ("file:///nowhere", "there is no such directory", true),
        (
            "file:///nowhere?priority=10",
            "there is no such directory",
            true,
        ),
        (&empty, "this may not be a substitute server", false),
    ] {
        let gone = ["--substitute-urls", url, "--trusted-keys", &public];
        let (out, err) = other.expect(0, &[&gone[..], &["build", "--dry-run", "libc"]].concat());
        assert!(err.contains(said), "{err}");
        assert_eq!(err.contains(left), is_left, "{err}");
        assert!(
            out.contains("\n  libc              never built here"),
            "{out}"
        );
    }
    // A proxy that cannot be used is not the server's fault.
    let mut command = other.command("small-linux");
    command.args([
        "--substitute-urls",
        "http://cache.example.org",
        "--trusted-keys",
        &public,
    ]);
    command.args(["build", "--dry-run", "libc"]);
    for name in ["http_proxy", "HTTP_PROXY"] {
        command.env(name, "http://user:s3cret@127.0.0.1:9");
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    let err = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(err.contains("the proxy http://"), "{err}");
    assert!(err.contains("127.0.0.1:9 cannot be used"), "{err}");
    assert!(!err.contains("s3cret"), "{err}");
}

#[test]
fn programs_are_told_of_each_substitute_and_it_is_on_record() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let url = format!("file://{published}");
    let other = World::with_recipes();
    let arguments = ["--substitute-urls", &url, "--trusted-keys", &public];
    let (out, err) = other.expect(
        0,
        &[&arguments[..], &["--progress", "json", "build", "libc"]].concat(),
    );
    let read = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|event| event["event"] != "preparing")
            .collect()
    };
    let events = read(&out);
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["run-started", "substitutes-found"], "{err}");
    assert_eq!(events[1]["substitutes"], 2);
    assert_eq!(events[1]["location"], url.as_str());
    let ended = kinds
        .iter()
        .position(|kind| *kind == "substitutes-ended")
        .unwrap();
    assert_eq!(events[ended]["installed"], 2);
    assert_eq!(events[ended]["problem"], serde_json::Value::Null);
    assert_eq!(kinds[ended + 1..], ["run-finished"]);
    for (item, output) in [("libc", "out"), ("libc:static", "static")] {
        let of_it: Vec<&serde_json::Value> = events
            .iter()
            .filter(|event| event["item"] == item)
            .collect();
        let (first, last) = (of_it[0], of_it[of_it.len() - 1]);
        assert_eq!(
            (&first["event"], &last["event"]),
            (&"started".into(), &"finished".into())
        );
        assert_eq!(
            (&first["kind"], &last["kind"]),
            (&"substitute".into(), &"substitute".into())
        );
        let derivation = first["derivation"].as_str().unwrap();
        assert!(derivation.ends_with("-libc-1.0.drv"), "{derivation}");
        assert_eq!(last["made"]["outputs"][0]["name"], output);
        let arrived = of_it
            .iter()
            .rfind(|event| event["event"] == "download-progress")
            .unwrap();
        assert_eq!(arrived["received"], arrived["total"]);
    }
    let runs = fs::read_dir(other.path("root/var/guix/bootstrap/runs")).unwrap();
    let runs: Vec<_> = runs
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(runs.len(), 1);
    let recorded = read(&runs[0]);
    let told = kinds.iter().filter(|kind| **kind != "download-progress");
    assert_eq!(recorded.len(), told.count());
    // A time that says nothing of how long a build takes.
    assert!(!other.path("root/var/guix/bootstrap/builds.jsonl").exists());
    // It took place all the same.
    let (out, _) = other.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let spans = report["spans"].as_array().unwrap().iter();
    let mut spans: Vec<_> = spans.map(|span| [&span["label"], &span["kind"]]).collect();
    spans.sort_by_key(|span| span[0].to_string());
    assert_eq!(
        spans,
        [["libc", "substitute"], ["libc:static", "substitute"]]
    );
    assert!(report["cores"].as_u64().unwrap() >= 1);
    let file = other.path("report.html");
    other.expect(0, &["report", "-o", file.to_str().unwrap()]);
    let page = fs::read_to_string(&file).unwrap();
    assert!(!page.contains("Nothing was built yet"), "{page}");
    assert!(page.contains(">2 substitutes</text>"), "{page}");
    // From other recipes it is another road's.
    other.replace("version = \"1.0\"", "version = \"1.1\"");
    let (out, _) = other.expect(0, &["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["spans"], serde_json::json!([]));
}

#[test]
fn everybody_can_read_what_is_on_record_whatever_the_umask_was() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let other = World::with_recipes();
    let url = format!("file://{published}");
    let plain = other.command("small-linux");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let servers = ["--substitute-urls", &url, "--trusted-keys", &public];
    let output = command.args(servers).args(["build", "libc"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let runs = other.path("root/var/guix/bootstrap/runs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&runs), 0o755);
    let events = ending(&runs, ".events.jsonl");
    assert_eq!(events.len(), 1);
    assert_eq!(mode(&events[0]), 0o644);
}

#[test]
fn a_server_that_breaks_off_is_gone_on_without() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    let published = directory.to_str().unwrap();
    let broken = serve_halves(&directory, "", |_| {}, |name| !name.starts_with("nar/"));
    let urls = format!("{broken} file://{published}");
    let other = World::with_recipes();
    let (_, err) = other.expect(
        0,
        &[
            "--substitute-urls",
            &urls,
            "--trusted-keys",
            &public,
            "build",
            "libc",
        ],
    );
    let said = format!("libc: not taken from {broken}: the archive of ");
    assert!(err.contains(&said), "{err}");
    let said = "; the rest comes from other servers or is built\n";
    assert!(err.contains(said), "{err}");
    assert!(err.contains("\ninstalled 2 items, "), "{err}");
}

#[test]
fn an_interrupt_stops_an_installation_at_once() {
    crate::signals::unignore();
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = publish_libc(&world, &secret);
    // Archives come by halves, and the server says nothing more.
    let (over, is_over) = channel::<()>();
    let is_over = Mutex::new(is_over);
    let url = serve_halves(
        &directory,
        "",
        |_| {},
        move |name| {
            if name.starts_with("nar/") {
                let _ = is_over
                    .lock()
                    .unwrap()
                    .recv_timeout(Duration::from_secs(50));
            }
            !name.starts_with("nar/")
        },
    );
    let other = World::with_recipes();
    let mut command = other.command("small-linux");
    command.args(["--substitute-urls", &url, "--trusted-keys", &public]);
    command.args(["--progress", "json", "build", "libc"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events: Vec<serde_json::Value> = Vec::new();
    let mut stopped = None;
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let arrived = event["received"].as_u64().unwrap_or(0);
        if arrived > 0 && stopped.is_none() {
            stopped = Some(std::time::Instant::now());
            let process = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        }
        events.push(event);
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(stopped.unwrap().elapsed() < Duration::from_secs(10));
    assert!(
        err.contains("interrupted; the same command goes on"),
        "{err}"
    );
    let last: Vec<&str> = events
        .iter()
        .rev()
        .take(3)
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(last, ["run-finished", "interrupted", "substitutes-ended"]);
    let summary = &events[events.len() - 1]["summary"];
    assert_eq!(summary["interrupted"], true);
    assert!(
        summary["not_started"]
            .as_array()
            .unwrap()
            .contains(&"libc".into())
    );
    let left = fs::read_dir(other.path("root/gnu/store")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("libc")),
        "{left:?}"
    );
    other.expect(2, &["path", "libc"]);
    drop(over);
}

#[test]
fn a_module_for_guix_comes_with_the_derivations_that_it_names() {
    let world = World::empty();
    let file = world.path("inputs.scm");
    let mut command = crate::plain_bootstrap();
    command.arg("--root").arg(world.path("root"));
    let output = command.args(["export", "--guix"]).arg(&file).output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("(define-module (inputs)"), "{text}");
    let said = "added 20 of the 20 derivations that the module names to the store, where Guix reads them\n";
    assert!(err.contains(said), "{err}");
    let named = text.split('"').filter(|word| word.ends_with(".drv"));
    let named: Vec<_> = named.map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(named.len(), 20);
    let place = world.path("root/gnu/store");
    for name in named {
        assert!(place.join(name).is_file(), "{name}");
    }
    let place = world.path("root/gnu/store");
    let said = format!(
        "the module names derivations in /gnu/store, and they are in {}: ",
        place.display()
    );
    assert!(err.contains(&said), "{err}");
}
