// SPDX-License-Identifier: GPL-3.0-or-later
//! A seed of pinned packages on a host without APT: where its files come from, and what happens once one is gone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bootstrap::formats::hash::Sha256Digest;

use crate::server::serve;
use crate::world::World;
use crate::{manifests, result, seed_archive};

/// Where a mirror has the pinned file.
const POOL: &str = "debian/pool/main/b/base/base_1_amd64.deb";
/// Where the snapshot archive has it.
const KEPT: &str = "snapshot/debian/20261123T180000Z/pool/main/b/base/base_1_amd64.deb";
/// What `seed update` writes on this machine.
const OWN_LOCK: &str = "root/var/guix/bootstrap/seeds/packages.lock";

/// A Debian package with `program` as its shell: an `ar` archive of a version and two tar archives (deb(5)).
fn package(program: &[u8]) -> Vec<u8> {
    let mut data = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    data.append_data(&mut header, "bin/sh", program).unwrap();
    let data = data.into_inner().unwrap();
    let control = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar", &control),
        ("data.tar", &data),
    ] {
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            "100644",
            content.len()
        );
        package.extend_from_slice(header.as_bytes());
        package.extend_from_slice(content);
        if content.len() % 2 == 1 {
            package.push(b'\n');
        }
    }
    package
}

/// A world whose seed `packages` pins the package `base`, and a server for it, which has nothing yet.
struct Archive {
    world: World,
    package: Vec<u8>,
    server: String,
}

impl Archive {
    fn new() -> Self {
        let world = World::new();
        // The seed `one` holds the builder, which is all that a seed needs.
        let file = seed_archive(&world);
        let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
        let mut program = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap() == Path::new("bin/sh") {
                std::io::Read::read_to_end(&mut entry, &mut program).unwrap();
            }
        }
        let package = package(&program);
        world.file(
            "seeds/packages.toml",
            "name = \"packages\"\nsystem = \"x86_64-linux\"\nkind = \"debian\"\nrelease = \"bookworm\"\n\
             architecture = \"amd64\"\nsource-variant = \"upstream\"\nshell = \"/bin/sh\"\n\
             search-path = [\"/bin\"]\npackages = [\"base\"]\n",
        );
        world.file(
            "seeds/packages.lock",
            &format!(
                "snapshot 20261123T180000Z\nbase 1 amd64 {} {} {POOL}\n",
                package.len(),
                Sha256Digest::of(&package)
            ),
        );
        fs::create_dir(world.path("served")).unwrap();
        let server = serve(&world.path("served"));
        Self {
            world,
            package,
            server,
        }
    }

    /// Puts `bytes` where the server finds them under `name`.
    fn offer(&self, name: &str, bytes: &[u8]) {
        let place = self.world.path("served").join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    /// Runs the command where no program is on the PATH, with the server as every mirror of Debian.
    fn run(&self, arguments: &[&str]) -> Output {
        let template = self
            .world
            .command(&[&["--seed", "packages"], arguments].concat());
        let server = &self.server;
        Command::new(template.get_program())
            .args(
                template
                    .get_args()
                    .filter(|argument| *argument != "--offline"),
            )
            .env_remove("BOOTSTRAP_ROOT")
            .env("PATH", self.world.path("empty"))
            .env(
                "BOOTSTRAP_MIRRORS",
                format!(
                    "debian={server}/debian debian-security={server}/security debian-snapshot={server}/snapshot"
                ),
            )
            .current_dir(self.world.path(""))
            .output()
            .unwrap()
    }

    /// The store path of the tool.
    fn planned(&self) -> String {
        let (status, out, err) = result(&self.run(&["show", "--json", "tool"]));
        assert_eq!(status, Some(0), "{err}");
        let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
        shown["outputs"].to_string()
    }
}

#[test]
fn a_pinned_package_comes_from_a_mirror_by_its_hash() {
    let archive = Archive::new();
    archive.offer(POOL, &archive.package);
    let planned = archive.planned();
    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!(status, Some(0), "{out}\n{err}");
    assert!(planned.contains(out.trim()), "{planned}\n{out}");
    let manifest = manifests(&archive.world).pop().unwrap();
    let seed = &manifest["seeds"][0];
    assert_eq!(seed["changes"], serde_json::json!([]));
    let digest = Sha256Digest::of(&archive.package).to_base16();
    assert_eq!(seed["archives"][0][1], digest);
}

#[test]
fn a_package_that_the_mirror_no_longer_has_comes_from_the_snapshot_archive() {
    let archive = Archive::new();
    archive.offer(KEPT, &archive.package);
    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!(status, Some(0), "{out}\n{err}");
    assert!(err.contains(&format!("{}/{KEPT}", archive.server)), "{err}");
}

#[test]
fn a_package_that_is_gone_everywhere_stops_the_run_and_changes_nothing() {
    let archive = Archive::new();
    // The archive has a newer version.
    archive.offer(&POOL.replace("base_1_", "base_2_"), b"version 2");
    let planned = archive.planned();
    let (status, dry, err) = result(&archive.run(&["build", "--dry-run", "tool"]));
    assert_eq!(status, Some(0), "{err}");
    for options in [&[][..], &["--locked"]] {
        let (status, out, err) = result(&archive.run(&[options, &["build", "tool"]].concat()));
        assert_eq!((status, out.as_str()), (Some(4), ""), "{err}");
        for words in ["cannot fetch base_1_amd64.deb", POOL, KEPT] {
            assert!(err.contains(words), "{words}: {err}");
        }
    }
    // Neither a lock of the machine's own nor another plan, and the dry run says the same as before.
    assert!(!archive.world.path(OWN_LOCK).exists());
    assert_eq!(archive.planned(), planned);
    let (status, again, err) = result(&archive.run(&["build", "--dry-run", "tool"]));
    assert_eq!((status, again), (Some(0), dry), "{err}");
}

#[test]
fn a_seed_that_no_build_needs_is_not_asked_for() {
    let archive = Archive::new();
    archive.offer(POOL, &archive.package);
    let (status, built, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!(status, Some(0), "{err}");
    // The package leaves the mirror, the cache and the store; what was built from it stays.
    fs::remove_file(archive.world.path("served").join(POOL)).unwrap();
    let digest = Sha256Digest::of(&archive.package).to_base16();
    let cache = archive.world.path("root/var/cache/bootstrap/files");
    fs::remove_file(cache.join(digest)).unwrap();
    let (status, _, err) = result(&archive.run(&["gc"]));
    assert_eq!(status, Some(0), "{err}");
    let store = fs::read_dir(archive.world.path("root/gnu/store")).unwrap();
    let packages = store.filter(|item| {
        let name = item.as_ref().unwrap().file_name();
        name.to_str().unwrap().ends_with("_amd64.deb")
    });
    assert_eq!(packages.count(), 0);
    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!((status, out, err.as_str()), (Some(0), built, ""));
}

#[test]
fn other_bytes_of_the_pinned_version_end_with_status_3_and_are_not_used() {
    let archive = Archive::new();
    archive.offer(POOL, &[b'x'].repeat(archive.package.len()));
    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!((status, out.as_str()), (Some(3), ""), "{err}");
    assert!(err.contains("base_1_amd64.deb"), "{err}");
    assert!(err.contains("wrong bytes"), "{err}");
    // Where another place has the right ones, those are used.
    archive.offer(KEPT, &archive.package);
    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!(status, Some(0), "{out}\n{err}");
}

#[test]
fn a_mirror_that_cannot_be_one_is_a_wrong_command() {
    let archive = Archive::new();
    let (status, _, err) = result(&archive.run(&["--mirrors", "debian=/srv/debian", "list"]));
    assert_eq!(status, Some(2), "{err}");
    assert!(err.contains("debian=/srv/debian"), "{err}");
}
