//! A seed of packages, one of whose pinned versions is gone from the archive. What stands in APT's place does as it does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use bootstrap::formats::hash::Sha256Digest;

use crate::small::mounting;
use crate::world::World;
use crate::{manifests, result};

/// What `apt-get` does here: the archive has one file.
const APT_GET: &str = r#"#!/bin/sh
set -eu
case $1 in
    update) exit 0 ;;
    -qq) echo "Inst base (2 Debian:12 [amd64])"; exit 0 ;;
esac
for argument do :; done
[ "$argument" = base=2 ] || {
    echo "E: Version '${argument#*=}' for 'base' was not found" >&2
    exit 100
}
cp "${0%/*}/base.deb" base_2_amd64.deb
"#;

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

/// A world whose seed `packages` pins version 1 of its only package, while the archive has version 2.
struct Archive {
    world: World,
}

impl Archive {
    fn new() -> Self {
        let world = World::new();
        // The seed `one` holds the builder, which is all that a seed needs.
        let toml = fs::read_to_string(world.path("seeds/one.toml")).unwrap();
        let sha256 = toml
            .lines()
            .find_map(|line| line.strip_prefix("sha256 = \"")?.strip_suffix('"'))
            .unwrap();
        let file = world.path(&format!("root/var/cache/bootstrap/files/{sha256}"));
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
        let pinned = Sha256Digest::of("version 1");
        world.file(
            "seeds/packages.lock",
            &format!("base 1 amd64 9 {pinned} base_1_amd64.deb\n"),
        );
        world.file("programs/apt-get", APT_GET);
        world.file("programs/apt-config", "#!/bin/sh\n");
        fs::write(world.path("programs/base.deb"), &package).unwrap();
        world.file(
            "apt/sources.list",
            "deb http://deb.example.org/debian bookworm main\n",
        );
        let archive = Self { world };
        archive.offer(&[(2, package.len(), Sha256Digest::of(&package))]);
        archive
    }

    /// What the index offers: version, size and digest of each.
    fn offer(&self, versions: &[(u32, usize, Sha256Digest)]) {
        let paragraphs: String = versions
            .iter()
            .map(|(version, size, sha256)| {
                format!(
                    "Package: base\nVersion: {version}\nArchitecture: amd64\nSize: {size}\nSHA256: {sha256}\n\n"
                )
            })
            .collect();
        let script = format!("#!/bin/sh\ncat <<END\n{paragraphs}END\n");
        self.world.file("programs/apt-cache", &script);
        for program in ["apt-get", "apt-cache", "apt-config"] {
            let path = self.world.path("programs").join(program);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Runs the command with these programs, in a mount namespace where /etc/apt is ours.
    fn run(&self, arguments: &[&str]) -> Output {
        let world = &self.world;
        let template = world.command(&[&["--seed", "packages"], arguments].concat());
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", world.path("programs").display());
        mounting("mount --bind \"$0\" /etc/apt; exec \"$@\"")
            .arg(world.path("apt"))
            .arg(template.get_program())
            .args(
                template
                    .get_args()
                    .filter(|argument| *argument != "--offline"),
            )
            .env_remove("BOOTSTRAP_ROOT")
            .env("PATH", path)
            .current_dir(world.path(""))
            .output()
            .expect("these tests need util-linux")
    }
}

/// Whether there is a directory to put ours in the place of; there is one wherever APT is.
fn has_apt() -> bool {
    let has = Path::new("/etc/apt").is_dir();
    if !has {
        eprintln!("left out: this machine has no /etc/apt, and nothing can be mounted there");
    }
    has
}

#[test]
fn a_version_that_is_gone_is_replaced_with_one_line_and_a_note_in_the_manifest() {
    if !has_apt() {
        return;
    }
    let archive = Archive::new();
    let (status, out, err) = result(&archive.run(&["--locked", "build", "tool"]));
    assert_eq!(status, Some(3), "{out}\n{err}");
    assert!(err.contains("pins: base 1;"), "{err}");
    assert!(err.contains("run without --locked"), "{err}");

    let (status, out, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!(status, Some(0), "{out}\n{err}");
    let notices: Vec<&str> = err
        .lines()
        .filter(|line| line.contains("no longer has"))
        .collect();
    assert_eq!(
        notices,
        [
            "bootstrap: seed packages: the archive no longer has all that the lock pins; using instead base 1 -> 2"
        ],
        "{err}"
    );
    let manifest = manifests(&archive.world).pop().unwrap();
    let seed = &manifest["seeds"][0];
    assert_eq!(seed["name"], "packages");
    assert_eq!(seed["changes"], serde_json::json!(["base 1 -> 2"]));
    assert_eq!(manifest["locked"], false);
    let file = fs::read(archive.world.path("programs/base.deb")).unwrap();
    assert_eq!(seed["archives"][0][1], Sha256Digest::of(file).to_base16());

    // Later runs know, and say nothing; the lock alone still does not do.
    let (status, _, err) = result(&archive.run(&["build", "tool"]));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let (status, _, err) = result(&archive.run(&["--locked", "build", "tool"]));
    assert_eq!(status, Some(3), "{err}");
}

#[test]
fn other_bytes_of_the_pinned_version_end_with_status_3_and_are_not_used() {
    if !has_apt() {
        return;
    }
    let archive = Archive::new();
    let other = Sha256Digest::of("other bytes");
    archive.offer(&[(1, 9, other)]);
    for options in [&[][..], &["--locked"]] {
        let (status, out, err) = result(&archive.run(&[options, &["build", "tool"]].concat()));
        assert_eq!(status, Some(3), "{out}\n{err}");
        assert!(err.contains("packages.lock pins other bytes"), "{err}");
        assert!(err.contains("base 1 "), "{err}");
        assert!(err.contains(&other.to_base16()), "{err}");
    }
    let replacement = "root/var/guix/bootstrap/seeds/packages.lock";
    assert!(!archive.world.path(replacement).exists());
}
