//! Keys, exports and substitutes from the command line.

use std::fs;

use bootstrap::directories::Directories;
use bootstrap::store::path::StoreDir;
use bootstrap::store::{StagedOutput, Store};

use crate::World;
use crate::server::serve;

/// Puts something where the outputs of `package` belong, as if it had been built.
fn pretend(world: &World, package: &str) {
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
        fs::write(&staged, format!("this is {package}")).unwrap();
        StagedOutput {
            staged,
            path,
            candidates: Default::default(),
            deriver: None,
        }
    });
    store.register_outputs(staged.collect()).unwrap();
}

fn key(world: &World) -> (String, String) {
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
    let (_, err) = world.expect(1, &["publish", directory, "libc", "--key", &secret]);
    assert!(
        err.contains("is not valid: nothing has built it yet"),
        "{err}"
    );
    pretend(&world, "libc");
    let (_, err) = world.expect(0, &["publish", directory, "libc", "--key", &secret]);
    assert!(err.contains("published 2 items"), "{err}");

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
    assert!(err.contains("libc: from file://"), "{err}");
    assert_eq!(out.lines().count(), 2, "{out}");
    other.expect(0, &["path", "libc"]);
    let (_, err) = other.expect(2, &["--substitute-urls", &url, "build", "tool"]);
    assert!(
        err.contains("--substitute-urls without --trusted-keys"),
        "{err}"
    );
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
    assert!(err.contains("libc: from file://"), "{err}");
    assert!(!err.contains("tool: from file://"), "{err}");
    // What is there as a whole is taken without what it is built with.
    pretend(&world, "tool");
    world.expect(0, &["publish", directory, "tool", "--key", &secret]);
    let other = World::with_recipes();
    let (_, err) = other.expect(0, &[&arguments[..], &["tool"]].concat());
    assert!(err.contains("tool: from file://"), "{err}");
    assert!(!err.contains("libc: from file://"), "{err}");
}

#[test]
fn an_export_is_imported_where_its_signer_is_trusted() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (secret, public) = key(&world);
    let file = world.path("libc.export");
    let file = file.to_str().unwrap();
    let (_, err) = world.expect(0, &["export", "libc:static", "--key", &secret, "-o", file]);
    assert!(err.contains("exported 1 items"), "{err}");
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
    let (_, err) = other.expect(1, &["import", "/dev/null"]);
    assert!(
        err.contains("/dev/null is no export of store items: it ends too early"),
        "{err}"
    );
    other.expect(5, &["import", "/nowhere/at/all"]);
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
    assert!(err.contains("/dev/null is no public key"), "{err}");
    world.expect(2, &["key", "--guix", "/dev/null", "name", "file"]);
    world.expect(2, &["key", "name"]);
}

#[test]
fn wrong_keys_and_packages_are_named() {
    let world = World::with_recipes();
    pretend(&world, "libc");
    let (secret, _) = key(&world);
    let (_, err) = world.expect(2, &["key", "test-1", &secret]);
    assert!(err.contains("WORLD/key is there already"), "{err}");
    let (_, err) = world.expect(
        2,
        &["export", "libc", "--key", "/dev/null", "-o", "/dev/null"],
    );
    assert!(err.contains("/dev/null is no secret key"), "{err}");
    let (_, err) = world.expect(2, &["export", "libc:dynamic", "-o", "/dev/null"]);
    assert!(
        err.contains("libc has no output `dynamic`; it has out, static"),
        "{err}"
    );
    let (_, err) = world.expect(1, &["export", "tool", "-o", "/dev/null"]);
    let build = world.command_line("build tool");
    assert!(err.contains(&format!("run {build}")), "{err}");
    let (_, err) = world.expect(2, &["import", "/dev/null", "--trusted-keys", "mine"]);
    assert!(
        err.contains("--trusted-keys: `mine` is no public key"),
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
        assert!(err.contains(&format!("{package}: from {url}, ")), "{err}");
        other.expect(0, &["path", package]);
    }
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(err.contains("installed 3 items, "), "{err}");
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
    other.expect(1, &["path", "tool"]);
}

#[test]
fn a_dry_run_asks_servers_what_they_have_and_takes_nothing() {
    let world = World::with_recipes();
    let (secret, public) = key(&world);
    let directory = world.path("published");
    pretend(&world, "libc");
    let published = directory.to_str().unwrap();
    world.expect(0, &["publish", published, "libc", "--key", &secret]);
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
        // As the store was.
        other.expect(1, &["path", "libc"]);
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
    // A server that is not there is passed over.
    let gone = [
        "--substitute-urls",
        "http://127.0.0.1:9",
        "--trusted-keys",
        &public,
    ];
    let (out, err) = other.expect(0, &[&gone[..], &["build", "--dry-run", "libc"]].concat());
    assert!(err.contains("going on without this server"), "{err}");
    assert!(
        out.contains("\n  libc              never built here"),
        "{out}"
    );
}
