//! Seeds whose archives mean harm.

use std::fs;

use bootstrap::formats::hash::Sha256Digest;

use crate::leftovers;
use crate::world::World;

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
