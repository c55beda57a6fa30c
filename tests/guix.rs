// SPDX-License-Identifier: GPL-3.0-or-later
//! Guix on the other side, as far as Debian has it: its cryptography is libgcrypt by guile-gcrypt, and its modules are
//! read by Guile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::stream::{Trust, import};
use bootstrap::exchange::substitute::{Server, Substituter};
use bootstrap::formats::hash::{Sha256Digest, bytes_of_base16};
use bootstrap::formats::keys::{PublicKey, guix};
use bootstrap::formats::store_path::StorePath;
use bootstrap::store::StagedOutput;

mod place;

use place::{Place, unobserved};

/// The implicit inputs of `gnu-build-system`, by the names and in the order of Guix's `%final-inputs`.
const FINAL_INPUTS: [&str; 20] = [
    "tar",
    "gzip",
    "bzip2",
    "file",
    "diffutils",
    "patch",
    "findutils",
    "gawk",
    "zstd",
    "sed",
    "grep",
    "xz",
    "coreutils",
    "make",
    "bash",
    "ld-wrapper",
    "binutils",
    "gcc",
    "libc",
    "libc:static",
];

/// Runs `tests/oracle/gcrypt.scm`: whether it succeeds, and what it prints.
fn guile<A: AsRef<OsStr>>(arguments: &[A]) -> (bool, String) {
    let (good, text, errors) = run_guile("gcrypt.scm", arguments);
    assert!(
        !errors.contains("no code for module"),
        "{errors}\nIs guile-gcrypt installed (apt-get install guile-gcrypt)?"
    );
    (good, text)
}

fn oracle(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/oracle")
        .join(file)
}

/// Runs a script of `tests/oracle`: whether it succeeded, and its standard output and error.
fn run_guile<A: AsRef<OsStr>>(script: &str, arguments: &[A]) -> (bool, String, String) {
    let output = Command::new("guile")
        .args(["--no-auto-compile", "-s"])
        .arg(oracle(script))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run guile: {error}. Install it with `apt-get install guile-3.0 guile-gcrypt`.")
        });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.success(), out, err)
}

/// What this program prints with `arguments`, on a machine without any settings.
fn bootstrap(root: &Path, arguments: &[&OsStr]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
        .arg("--root")
        .arg(root)
        .args(arguments)
        .env("BOOTSTRAP_CONFIG", "/dev/null")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

impl Place {
    /// An item of the store.
    fn item(&self) -> StorePath {
        let path = StorePath::from_base_name(&format!("{}-item", "a".repeat(32))).unwrap();
        let staged = self.store.directories().store.join("staged");
        fs::write(&staged, "content").unwrap();
        let output = StagedOutput {
            staged,
            path,
            candidates: Default::default(),
            deriver: None,
        };
        self.register(output)
    }

    fn import(&self, mut bytes: &[u8], keys: &[PublicKey]) -> Result<Vec<StorePath>, String> {
        let scratch = self.path("scratch");
        let imported = import(
            &self.store,
            &mut bytes,
            Trust {
                keys,
                unsigned: false,
            },
            &scratch,
            "memory",
        );
        imported.map_err(|error| error.to_string())
    }

    /// Whether libgcrypt says that `signature` is of `digest`.
    fn is_good(&self, signature: &[u8], digest: &Sha256Digest) -> bool {
        let file = self.path("signature");
        fs::write(&file, signature).unwrap();
        let digest = digest.to_base16();
        let arguments = [OsStr::new("verify"), file.as_os_str(), OsStr::new(&digest)];
        guile(&arguments).0
    }

    /// A key that libgcrypt makes, in a file.
    fn their_key(&self) -> PathBuf {
        let file = self.path("signing-key");
        assert!(guile(&[OsStr::new("key"), file.as_os_str()]).0);
        file
    }
}

/// What libgcrypt signs with the key in `file`.
fn their_signature(file: &Path, digest: &Sha256Digest) -> String {
    let digest = digest.to_base16();
    let arguments = [OsStr::new("sign"), file.as_os_str(), OsStr::new(&digest)];
    let (good, text) = guile(&arguments);
    assert!(good);
    text
}

#[test]
fn libgcrypt_verifies_the_signature_of_an_export() {
    let place = Place::new();
    let path = place.item();
    let (secret, _) = place.key();
    let bytes = place.export(&path, Some(&secret));
    let start = b"(signature ";
    let at = bytes
        .windows(start.len())
        .position(|window| window == start);
    let at = at.unwrap();
    let length = u64::from_le_bytes(bytes[at - 8..at].try_into().unwrap()) as usize;
    // What is signed lies between the mark before the item and the mark before the signature.
    let digest = Sha256Digest::of(&bytes[8..at - 16]);
    let signature = &bytes[at..at + length];
    assert!(place.is_good(signature, &digest));
    assert!(!place.is_good(signature, &Sha256Digest::of("other")));
}

#[test]
fn what_libgcrypt_has_signed_is_imported_where_its_key_is_trusted() {
    let place = Place::new();
    let path = place.item();
    let unsigned = place.export(&path, None);
    let (item, _) = unsigned.split_at(unsigned.len() - 16);
    let key = place.their_key();
    let signature = their_signature(&key, &Sha256Digest::of(&item[8..]));
    let mut signed = item.to_vec();
    signed.extend(1u64.to_le_bytes());
    signed.extend((signature.len() as u64).to_le_bytes());
    signed.extend(signature.as_bytes());
    signed.resize(signed.len().next_multiple_of(8), 0);
    signed.extend(0u64.to_le_bytes());

    let public = PublicKey::read(&key.with_extension("pub")).unwrap();
    assert_eq!(public.len(), 1);
    let other = Place::new();
    let error = other.import(&signed, &[]).unwrap_err();
    assert!(error.contains("it is signed by the key "), "{error}");
    let error = other.import(&unsigned, &public).unwrap_err();
    assert!(error.contains("it is not signed"), "{error}");
    assert_eq!(other.import(&signed, &public), Ok(vec![path]));
}

/// In one of about 1,300, libgcrypt writes a number as a quoted string, which Guix then encodes again.
/// `BOOTSTRAP_SIGNATURES` may ask for more than the usual number.
#[test]
fn every_signature_of_libgcrypts_is_accepted() {
    const PIECES: u64 = 4;
    let count = std::env::var("BOOTSTRAP_SIGNATURES").ok();
    let count: u64 = count.map_or(20_000, |count| count.parse().unwrap());
    let place = Place::new();
    let key = place.their_key();
    let public = PublicKey::read(&key.with_extension("pub")).unwrap();
    let quoted: u64 = std::thread::scope(|scope| {
        let pieces = (0..PIECES).map(|piece| {
            let (key, public) = (&key, &public);
            scope.spawn(move || {
                let (from, to) = (count * piece / PIECES, count * (piece + 1) / PIECES);
                let (from_text, to_text) = (from.to_string(), to.to_string());
                let arguments = [
                    OsStr::new("signatures"),
                    key.as_os_str(),
                    OsStr::new(&from_text),
                    OsStr::new(&to_text),
                ];
                let (good, text) = guile(&arguments);
                assert!(good);
                assert_eq!(text.lines().count() as u64, to - from);
                let mut quoted = 0;
                for (number, line) in (from..to).zip(text.lines()) {
                    let signature = bytes_of_base16(line.as_bytes()).unwrap();
                    quoted += u64::from(signature.contains(&b'"'));
                    let digest = Sha256Digest::of(number.to_le_bytes());
                    let checked = guix::check(&signature, &digest, public);
                    let shown = String::from_utf8_lossy(&signature);
                    assert_eq!(checked, Ok(()), "{number}: {shown}");
                }
                quoted
            })
        });
        let pieces: Vec<_> = pieces.collect();
        pieces.into_iter().map(|piece| piece.join().unwrap()).sum()
    });
    println!("{count} signatures, {quoted} with a quoted string");
    assert!(quoted > count / 10_000, "none has what this test is about");
}

#[test]
fn libgcrypt_verifies_the_narinfos_of_what_is_published() {
    let place = Place::new();
    let path = place.item();
    let (secret, public) = place.key();
    let directory = place.path("published");
    publish(
        &place.store,
        &[path.clone()].into(),
        Some(&secret),
        &directory,
    )
    .unwrap();
    let narinfo = directory.join(format!("{}.narinfo", path.hash_part()));
    let text = fs::read_to_string(&narinfo).unwrap();
    let (signed, signature) = text.split_once("Signature:").unwrap();
    let parts: Vec<&str> = signature.trim().split(';').collect();
    assert_eq!(parts[..2], ["1", "test-1"]);
    let signature = STANDARD.decode(parts[2]).unwrap();
    assert!(place.is_good(&signature, &Sha256Digest::of(signed)));
    let key = fs::read_to_string(directory.join("signing-key.pub")).unwrap();
    assert_eq!(key.trim(), guix::public_key(&public).to_string());

    // As a server of Guix's has it, which knows nothing of Nix's signatures.
    let signed: String = signed
        .lines()
        .filter(|line| !line.starts_with("Sig:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let key = place.their_key();
    let signature = their_signature(&key, &Sha256Digest::of(&signed));
    let signature = STANDARD.encode(signature);
    fs::write(&narinfo, format!("{signed}Signature: 1;host;{signature}\n")).unwrap();
    let server = |keys: &[PublicKey]| {
        let server = Server::new(&format!("file://{}", directory.display())).unwrap();
        Substituter::new(vec![server], keys.to_vec())
    };
    let wanted = [BTreeSet::from([path.clone()])];
    let other = Place::new();
    let unobserved = unobserved();
    let refused = server(&[public]).install(&other.store, &wanted, &unobserved);
    assert!(refused.unwrap_err().is_mistrust());
    let theirs = PublicKey::read(&key.with_extension("pub")).unwrap();
    let installed = server(&theirs).install(&other.store, &wanted, &unobserved);
    let paths: Vec<_> = installed
        .unwrap()
        .into_iter()
        .flatten()
        .map(|set| set.paths)
        .collect();
    assert_eq!(paths, [[path]]);
}

#[test]
fn guile_reads_the_module_of_the_final_inputs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("final-inputs.scm");
    let arguments = ["export".as_ref(), "--guix".as_ref(), file.as_os_str()];
    bootstrap(directory.path(), &arguments);
    let (good, text) = guile(&[OsStr::new("final-inputs"), file.as_os_str()]);
    assert!(good, "{}", fs::read_to_string(&file).unwrap());
    let lines: Vec<&str> = text.lines().collect();
    let (count, names) = lines.split_last().unwrap();
    assert_eq!(names, FINAL_INPUTS);
    // Both outputs of libc are one package.
    assert_eq!(*count, "20 packages");
}

#[test]
fn guile_loads_the_module_and_each_package_is_the_derivation_that_was_planned() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("final-inputs.scm");
    let arguments = ["export".as_ref(), "--guix".as_ref(), file.as_os_str()];
    bootstrap(directory.path(), &arguments);
    let listed = bootstrap(directory.path(), &["list".as_ref(), "--json".as_ref()]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let stubs = oracle("stubs");
    let (good, text, errors) =
        run_guile("final-inputs.scm", &[stubs.as_os_str(), file.as_os_str()]);
    assert!(good, "{errors}");
    let mut lines = text.lines();
    for input in FINAL_INPUTS {
        let (name, wanted) = input.split_once(':').unwrap_or((input, "out"));
        let package = listed.iter().find(|one| one["name"] == name);
        let package = package.unwrap();
        let version = package["version"].as_str().unwrap();
        let derivation = package["derivation"].as_str().unwrap();
        assert!(derivation.ends_with(&format!("-{name}-{version}.drv")));
        let outputs = package["outputs"].as_array().unwrap().iter();
        let outputs: Vec<&str> = outputs
            .map(|output| output["name"].as_str().unwrap())
            .collect();
        assert!(outputs.contains(&wanted));
        let asked = match wanted {
            "out" => "-",
            output => output,
        };
        let outputs = outputs.join(",");
        assert_eq!(
            lines.next().unwrap(),
            format!("{input} {asked} {name} {version} {outputs} {derivation}")
        );
    }
    // The directories that a build on these inputs looks into.
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "gcc C_INCLUDE_PATH : include",
            "gcc CPLUS_INCLUDE_PATH : include/c++,include",
            "gcc OBJC_INCLUDE_PATH : include",
            "gcc OBJCPLUS_INCLUDE_PATH : include/c++,include",
            "gcc LIBRARY_PATH : lib,lib64",
            "libc GUIX_LOCPATH : lib/locale",
            "libc PATH_LOCALE none share/locale",
            "libc TZDIR none share/zoneinfo",
        ]
    );
}

#[test]
fn a_system_that_guix_does_not_know_is_defined_beside_the_module() {
    let directory = tempfile::tempdir().unwrap();
    let export = |seed: &str, file: &Path| {
        let seed = ["--seed".as_ref(), seed.as_ref()];
        let export = ["export".as_ref(), "--guix".as_ref(), file.as_os_str()];
        bootstrap(directory.path(), &[&seed[..], &export].concat())
    };
    let (linux, freebsd) = (directory.path().join("linux"), directory.path().join("new"));
    let freebsd_module = freebsd.join("inputs.scm");
    fs::create_dir(&linux).unwrap();
    export("debian-13-amd64", &linux.join("inputs.scm"));
    assert!(!linux.join("guix").exists());

    fs::create_dir(&freebsd).unwrap();
    export("freebsd-15.1-amd64", &freebsd_module);
    let platform = freebsd.join("guix/platforms/x86_64-freebsd.scm");
    let platform = fs::read_to_string(platform).unwrap();
    assert!(platform.contains("(define-module (guix platforms x86_64-freebsd)"));
    assert!(platform.contains("(system \"x86_64-freebsd\")"));
    // Written once more, over what is there; and to where nothing can be beside it.
    export("freebsd-15.1-amd64", &freebsd_module);
    let printed = export("freebsd-15.1-amd64", Path::new("/dev/stdout"));
    assert!(printed.contains("(define %system \"x86_64-freebsd\")"));
    // Also where standard output is a file: then beside that.
    let shell =
        "exec \"$0\" --root \"$1\" --seed freebsd-15.1-amd64 export --guix /dev/stdout >\"$2\"";
    let redirected = directory.path().join("redirected/inputs.scm");
    fs::create_dir(redirected.parent().unwrap()).unwrap();
    let status = Command::new("sh")
        .args(["-c", shell, env!("CARGO_BIN_EXE_bootstrap")])
        .args([directory.path(), &redirected])
        .env("BOOTSTRAP_CONFIG", "/dev/null")
        .status();
    assert!(status.unwrap().success());
    assert!(!Path::new("/dev/guix").exists());
    let beside = directory
        .path()
        .join("redirected/guix/platforms/x86_64-freebsd.scm");
    assert!(
        fs::read_to_string(beside)
            .unwrap()
            .contains("(resolve-interface '(stdout))")
    );
    // The client for FreeBSD has the same.
    let patch = fs::read_to_string("recipes/guix/freebsd.patch").unwrap();
    let added: Vec<&str> = patch
        .lines()
        .filter_map(|line| line.strip_prefix('+'))
        .collect();
    let definition = &platform[platform.find("(define x86_64-freebsd").unwrap()..];
    let definition = &definition[..definition.find("\n\n").unwrap()];
    assert!(added.join("\n").contains(definition));
    // Of the module's own name.
    assert!(platform.contains("(resolve-interface '(inputs))"));

    let stubs = oracle("stubs");
    let arguments = [
        stubs.as_os_str(),
        freebsd_module.as_os_str(),
        "x86_64-freebsd".as_ref(),
    ];
    let (good, _, errors) = run_guile("other-system.scm", &arguments);
    assert!(good, "{errors}");
}

#[test]
fn the_stubs_take_the_fields_of_guixs_records_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("final-inputs.scm");
    let arguments = ["export".as_ref(), "--guix".as_ref(), file.as_os_str()];
    bootstrap(directory.path(), &arguments);
    let module = fs::read_to_string(&file).unwrap();
    let stubs = oracle("stubs");
    for (part, other, problem) in [
        ("(home-page ", "(homepage ", "package has no field homepage"),
        ("(source #f)", "", "package lacks the field source"),
        (
            "(source #f)",
            "(source #f) (source #f)",
            "package has twice the field source",
        ),
        ("(lower ", "(builder ", "build-system has no field builder"),
        ("(system system)", "", "bag lacks the field system"),
        (
            "(files '",
            "(directories '",
            "search-path-specification has no field directories",
        ),
    ] {
        fs::write(&file, module.replacen(part, other, 1)).unwrap();
        let (good, _, errors) =
            run_guile("final-inputs.scm", &[stubs.as_os_str(), file.as_os_str()]);
        assert!(!good && errors.contains(problem), "{problem}: {errors}");
    }
}
