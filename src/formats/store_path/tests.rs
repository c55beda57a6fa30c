// SPDX-License-Identifier: GPL-3.0-or-later
//! Store paths: what is one, and how it is computed.

use super::*;
use proptest::prelude::*;

fn gnu_store() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

const HASH: &str = "ik7ca0lvb90mqs5ni81jy2fvx0gmxfpf";

#[test]
fn the_parts_of_a_path_are_told_apart() {
    let text = format!("/gnu/store/{HASH}-hello-1.0.drv");
    let path = gnu_store().parse(&text).unwrap();
    assert_eq!(path.hash_part(), HASH);
    assert_eq!(path.name(), "hello-1.0.drv");
    assert!(path.is_derivation());
    assert_eq!(gnu_store().display(&path), text);
}

#[test]
fn store_directories_that_have_a_second_spelling_are_refused() {
    for path in [
        "",
        "/",
        "gnu/store",
        "/gnu/store/",
        "/gnu//store",
        "/gnu/../store",
        "/gnu/./store",
        "/a:b",
        "/a\nb",
    ] {
        assert_eq!(
            StoreDir::new(path),
            Err(StorePathError::StoreDir(path.into()))
        );
    }
    assert!(StoreDir::new("/nix/store").is_ok());
}

#[test]
fn paths_outside_below_or_beside_the_store_are_refused() {
    for path in [
        format!("/nix/store/{HASH}-x"),
        format!("/gnu/store/{HASH}-x/bin"),
        format!("/gnu/store{HASH}-x"),
        format!("/gnu/store/{HASH}-x/"),
        "/gnu/store".into(),
        "/gnu/store/".into(),
    ] {
        assert!(
            matches!(
                gnu_store().parse(&path),
                Err(StorePathError::NotInStore { .. })
            ),
            "{path}"
        );
    }
}

#[test]
fn malformed_base_names_are_refused_without_a_panic() {
    for name in [
        "",
        "x",
        HASH,
        "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
    ] {
        assert!(StorePath::from_base_name(name).is_err(), "{name}");
    }
    let straddling = format!("{}\u{e9}-x", &HASH[..31]);
    assert!(StorePath::from_base_name(&straddling).is_err());
    let outside = format!("e{}-x", &HASH[1..]);
    assert!(matches!(
        StorePath::from_base_name(&outside),
        Err(StorePathError::HashPart { .. })
    ));
    assert_eq!(
        StorePath::from_base_name(&format!("{HASH}-")),
        Err(StorePathError::EmptyName)
    );
}

#[test]
fn names_follow_guix_rules() {
    assert!(check_name("a+b-c.d_e?f=G9").is_ok());
    assert!(check_name(&"a".repeat(211)).is_ok());
    assert!(matches!(
        check_name(&"a".repeat(212)),
        Err(StorePathError::LongName { .. })
    ));
    assert!(matches!(
        check_name(".hidden"),
        Err(StorePathError::LeadingDot(_))
    ));
    for name in ["a/b", "a b", "a\0b", "caf\u{e9}", "a~b", "a@b", "a:b"] {
        assert!(
            matches!(check_name(name), Err(StorePathError::Character { .. })),
            "{name}"
        );
    }
}

// The expected values of the next four were computed by Nix 2.8 with NIX_STORE_DIR=/gnu/store; tests/oracle_*.rs
// compares many more, live.

#[test]
fn a_text_without_references() {
    // builtins.toFile "greeting" "hello\n"
    let path = text_path(&gnu_store(), "greeting", b"hello\n", &BTreeSet::new()).unwrap();
    assert_eq!(
        path.base_name(),
        "iqfx25xdw6zflfihi1n8a8p3dxclgakz-greeting"
    );
}

#[test]
fn a_text_with_references() {
    let path = text_path(&gnu_store(), "greeting", b"hello\n", &BTreeSet::new()).unwrap();
    let content = format!("see {}\n", gnu_store().display(&path));
    let second = text_path(
        &gnu_store(),
        "second",
        content.as_bytes(),
        &BTreeSet::from([path]),
    )
    .unwrap();
    assert_eq!(
        second.base_name(),
        "cf613x4n8p93wsdfamsw3s4hqrjcd6mk-second"
    );
}

#[test]
fn fixed_outputs() {
    let digest = Sha256Digest::of("hello\n");
    let flat =
        fixed_output_path(&gnu_store(), "greeting", FixedOutputMethod::Flat, digest).unwrap();
    assert_eq!(
        flat.base_name(),
        "mm2kk6lb9qlhz3k5l4c8j2shnxiraq6i-greeting"
    );
    let recursive = fixed_output_path(
        &gnu_store(),
        "greeting",
        FixedOutputMethod::Recursive,
        digest,
    )
    .unwrap();
    assert_eq!(
        recursive.base_name(),
        "rn3j48lz0y6zlpf0izmr0mcpidj4c8zm-greeting"
    );
    assert_eq!(
        recursive,
        source_path(&gnu_store(), "greeting", &digest, &BTreeSet::new()).unwrap()
    );
}

#[test]
fn the_store_directory_is_part_of_the_hash() {
    let nix = StoreDir::new("/nix/store").unwrap();
    let digest = Sha256Digest::of("x");
    let here = output_path(&gnu_store(), "out", "a", &digest).unwrap();
    assert_ne!(here, output_path(&nix, "out", "a", &digest).unwrap());
}

#[test]
fn outputs_other_than_out_have_a_suffix() {
    let digest = Sha256Digest::of("x");
    assert_eq!(
        output_path(&gnu_store(), "out", "a", &digest)
            .unwrap()
            .name(),
        "a"
    );
    assert_eq!(
        output_path(&gnu_store(), "lib", "a", &digest)
            .unwrap()
            .name(),
        "a-lib"
    );
    assert!(output_path(&gnu_store(), "a/b", "a", &digest).is_err());
    assert!(output_path(&gnu_store(), "lib", &"a".repeat(208), &digest).is_err());
}

proptest! {
    #[test]
    fn parsing_undoes_display(name in "[a-zA-Z0-9+_?=-][a-zA-Z0-9+._?=-]{0,60}", seed in any::<u64>()) {
        let path = output_path(&gnu_store(), "out", &name, &Sha256Digest::of(seed.to_le_bytes())).unwrap();
        prop_assert_eq!(gnu_store().parse(&gnu_store().display(&path)), Ok(path));
    }

    #[test]
    fn any_text_gives_a_path_or_an_error(text in "\\PC{0,80}") {
        let _ = StorePath::from_base_name(&text);
        let _ = gnu_store().parse(&text);
    }
}
