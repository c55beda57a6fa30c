// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys as they are shown, and the errors for wrong ones.

use std::fs;

use super::{key, pretend};
use crate::World;

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
