// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds whose archives are hostile or unusual.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;

use bootstrap::formats::hash::Sha256Digest;

use crate::world::World;
use crate::{leftovers, seed_archive};

/// An entry of a tar archive: its kind, its name, and where it leads.
type Entry = (tar::EntryType, &'static str, &'static str);

/// A header with the name as it is: the library would refuse to write it.
fn header(kind: tar::EntryType, name: &str, link: &str) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    header
}

/// Makes the seed `one` of `world` an archive of `entries`.
fn plant(world: &World, entries: &[Entry]) {
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, name, link) in entries {
        archive
            .append(&header(*kind, name, link), std::io::empty())
            .unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let sha256 = Sha256Digest::of(&archive);
    let place = world.path(&format!("root/var/cache/bootstrap/files/{sha256}"));
    fs::write(place, &archive).unwrap();
    world.file(
        "seeds/one.toml",
        &format!(
            "name = \"one\"\nsystem = \"x86_64-linux\"\nkind = \"archive\"\n\
             url = \"https://127.0.0.1:9/hostile.tar\"\nsha256 = \"{sha256}\"\nsource-variant = \"upstream\"\n\
             shell = \"/bin/sh\"\nsearch-path = [\"/bin\"]\n"
        ),
    );
}

#[test]
fn a_hostile_seed_fails_the_run_and_leaves_nothing() {
    use tar::EntryType;
    let cases: [(&[Entry], &str); 5] = [
        (&[(EntryType::Regular, "../evil", "")], "../evil"),
        (
            &[
                (EntryType::Symlink, "out", "../../../../.."),
                (EntryType::Regular, "out/evil", ""),
            ],
            "out/evil",
        ),
        (
            &[(EntryType::Link, "hard", "../../../../seeds/one.toml")],
            "hard",
        ),
        (&[(EntryType::Char, "null", "")], "null"),
        (
            &[
                (EntryType::Directory, "directory", ""),
                (EntryType::Block, "directory/disk", ""),
            ],
            "directory/disk",
        ),
    ];
    for (entries, entry) in cases {
        let world = World::new();
        plant(&world, entries);
        let (out, err) = world.expect(1, &["build", "tool"]);
        assert_eq!(out, "");
        assert!(err.contains("hostile.tar"), "{entry}: {err}");
        assert!(err.contains(&format!("`{entry}`")), "{entry}: {err}");
        // The archive itself is a download like any other; no seed came of it, and nothing that needs one.
        let (listing, _) = world.expect(0, &["list", "--json"]);
        let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
        assert!(!listing.to_string().contains("\"valid\":true"), "{listing}");
        assert!(leftovers(&world).is_empty(), "{:?}", leftovers(&world));
        let store = fs::read_dir(world.path("root/gnu/store")).unwrap();
        for item in store {
            let name = item.unwrap().file_name().into_string().unwrap();
            assert!(!name.ends_with("-seed-one"), "{name}");
        }
        for place in ["evil", "root/evil", "root/gnu/evil", "root/gnu/store/evil"] {
            assert!(!world.path(place).exists(), "{place}");
        }
        world.expect(0, &["verify"]);
    }
}

#[test]
fn a_name_that_no_file_system_can_have_is_the_archives_fault() {
    let world = World::new();
    let name = "n".repeat(300);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, &name, std::io::empty())
        .unwrap();
    let archive = archive.into_inner().unwrap();
    let sha256 = Sha256Digest::of(&archive);
    fs::write(
        world.path(&format!("root/var/cache/bootstrap/files/{sha256}")),
        &archive,
    )
    .unwrap();
    let toml = fs::read_to_string(world.path("seeds/one.toml")).unwrap();
    let before = toml
        .lines()
        .find_map(|line| line.strip_prefix("sha256 = "))
        .unwrap();
    world.file(
        "seeds/one.toml",
        &toml.replace(before, &format!("\"{sha256}\"")),
    );
    let (_, err) = world.expect(1, &["build", "tool"]);
    assert!(err.contains("one.tar is refused"), "{err}");
    assert!(err.contains(&name), "{err}");
}

/// Packs a base system as FreeBSD's releases are packed: by bsdtar, which writes files with holes as sparse files.
/// False where this machine has no bsdtar; `make test` installs it.
fn pack_with_bsdtar(world: &World) -> bool {
    let archive = seed_archive(world);
    let base = world.path("base");
    tar::Archive::new(fs::File::open(archive).unwrap())
        .unpack(&base)
        .unwrap();
    fs::create_dir(base.join("etc")).unwrap();
    let mut database = fs::File::create(base.join("etc/services.db")).unwrap();
    database.seek(SeekFrom::Start(1 << 20)).unwrap();
    database.write_all(b"middle").unwrap();
    database.set_len(3 << 20).unwrap();
    drop(database);
    let packed = Command::new("bsdtar")
        .args(["--xattrs", "--acls", "-cf"])
        .arg(world.path("base.tar"))
        .arg("-C")
        .args([&base, &".".into()])
        .status();
    match packed {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(error) => {
            assert!(
                std::env::var_os("BOOTSTRAP_PROGRAMS_REQUIRED").is_none(),
                "bsdtar: {error}"
            );
            eprintln!("left out: bsdtar: {error}");
            false
        }
    }
}

#[test]
fn a_base_with_holes_that_bsdtar_packed_is_a_seed() {
    let world = World::new();
    if !pack_with_bsdtar(&world) {
        return;
    }
    let archive = fs::read(world.path("base.tar")).unwrap();
    let is_sparse = |window: &[u8]| window == b"GNU.sparse.major=1";
    assert!(archive.windows(18).any(is_sparse), "bsdtar packed no holes");
    let place = world.path("base.tar").display().to_string();
    world.expect(0, &["--seed-file", &place, "build", "tool"]);
    let mut items = fs::read_dir(world.path("root/gnu/store")).unwrap();
    let seed = items
        .find_map(|item| {
            let path = item.unwrap().path().join("etc/services.db");
            path.exists().then_some(path)
        })
        .expect("the seed is in the store");
    let mut contents = Vec::new();
    fs::File::open(seed)
        .unwrap()
        .read_to_end(&mut contents)
        .unwrap();
    let mut expected = vec![0; 3 << 20];
    expected[1 << 20..][..6].copy_from_slice(b"middle");
    assert!(contents == expected);
}

#[test]
fn a_sparse_member_that_stands_for_terabytes_is_refused() {
    let world = World::new();
    let mut archive = tar::Builder::new(Vec::new());
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"etc/bomb"),
        ("GNU.sparse.realsize", b"10995116277760"),
    ];
    archive.append_pax_extensions(records).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(512);
    header.set_mode(0o644);
    let mut map = b"0\n".to_vec();
    map.resize(512, 0);
    archive
        .append_data(&mut header, "GNUSparseFile.0/bomb", &*map)
        .unwrap();
    let place = world.path("base.tar");
    fs::write(&place, archive.into_inner().unwrap()).unwrap();
    let place = place.display().to_string();
    let (_, err) = world.expect(1, &["--seed-file", &place, "build", "tool"]);
    assert!(err.contains("`etc/bomb`"), "{err}");
    assert!(err.contains("unpacked bytes"), "{err}");
    assert!(leftovers(&world).is_empty());
}

#[test]
fn an_archive_that_is_compressed_in_an_unknown_way_is_named() {
    let world = World::new();
    let place = world.path("base.tbz");
    fs::write(&place, b"BZh91AY&SY\x1b]0;title\x07").unwrap();
    let place = place.display().to_string();
    let (_, err) = world.expect(1, &["--seed-file", &place, "build", "tool"]);
    assert!(err.contains("compressed with bzip2"), "{err}");
    assert!(!err.contains('\x1b'), "{err:?}");
}

#[test]
fn a_link_in_the_top_folder_of_a_base_may_have_a_target_of_any_bytes() {
    let world = World::new();
    let archive = seed_archive(&world);
    // The entries before the end mark, and one more.
    let mut base = fs::read(archive).unwrap();
    base.truncate(base.len() - 1024);
    let mut link = header(tar::EntryType::Symlink, "here", "");
    link.as_gnu_mut().unwrap().linkname[..5].copy_from_slice(b"caf\xe9s");
    link.set_cksum();
    base.extend(link.as_bytes());
    base.extend([0; 1024]);
    let place = world.path("base.tar");
    fs::write(&place, base).unwrap();
    let place = place.display().to_string();
    world.expect(0, &["--seed-file", &place, "build", "tool"]);
}
