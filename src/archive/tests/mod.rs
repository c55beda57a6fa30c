// SPDX-License-Identifier: GPL-3.0-or-later
//! Ordinary archives unpack as they should; hostile ones are refused and leave nothing outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

mod limits;
mod packages;
mod sparse;

use super::error::Limit;
use super::testing::{TarWriter, deb, gzip, xz, zstandard};
use super::*;

/// A directory with an `outside` that must stay as it is, and a tree beside it.
struct UnpackDirectory {
    directory: tempfile::TempDir,
}

/// For unpacking without a stop.
static GO: AtomicBool = AtomicBool::new(false);

impl UnpackDirectory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/victim"), "untouched").unwrap();
        Self { directory }
    }

    fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    fn unpack_with(
        &self,
        bytes: &[u8],
        format: Format,
        limits: ArchiveLimits,
    ) -> Result<(), ArchiveError> {
        let archive = self.directory.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let mut tree = ArchiveTree::create(&self.tree(), MERGED_USR, limits).unwrap();
        unpack(&archive, format, &mut tree, &GO)
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.unpack_with(bytes, Format::Tar, ArchiveLimits::default())
    }

    fn assert_outside_untouched(&self) {
        let outside = self.directory.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["victim"]);
        assert_eq!(
            fs::read_to_string(outside.join("victim")).unwrap(),
            "untouched"
        );
        let status = fs::metadata(outside.join("victim")).unwrap();
        assert_eq!((status.nlink(), status.mode() & 0o7777), (1, 0o644));
        let mut top: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        top.sort();
        assert_eq!(top, ["archive", "outside", "tree"]);
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Asserts that `bytes` is refused with a message that has all of `words`, and harms nothing.
fn assert_refused(bytes: &[u8], words: &[&str]) {
    let place = UnpackDirectory::new();
    let message = place.unpack(bytes).unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    place.assert_outside_untouched();
}

#[test]
fn files_links_and_directories_arrive_in_every_compression() {
    let large: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number / 7) as u8)
        .collect();
    let mut tar = TarWriter::default();
    tar.directory("./")
        .directory("./a/")
        .file("./a/empty", b"")
        .program("./a/large", &large)
        .symlink("./a/absolute", "/etc/passwd")
        .symlink("./dangling", "../../nowhere")
        .hard_link("./b/second", "./a/large")
        .file("implicit/parent/file", b"x");
    let tar = tar.finish();
    for bytes in [tar.clone(), gzip(&tar), xz(&tar), zstandard(&tar)] {
        let place = UnpackDirectory::new();
        place.unpack(&bytes).unwrap();
        let tree = place.tree();
        assert_eq!(fs::read(tree.join("a/large")).unwrap(), large);
        assert_eq!(fs::read(tree.join("b/second")).unwrap(), large);
        assert_eq!(fs::read(tree.join("a/empty")).unwrap(), b"");
        assert_eq!(fs::read(tree.join("implicit/parent/file")).unwrap(), b"x");
        assert_eq!(
            fs::read_link(tree.join("a/absolute")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(
            fs::read_link(tree.join("dangling")).unwrap(),
            Path::new("../../nowhere")
        );
        assert_eq!(mode(&tree.join("a/large")), 0o755);
        assert_eq!(mode(&tree.join("a/empty")), 0o644);
        assert_eq!(fs::metadata(tree.join("a/large")).unwrap().nlink(), 2);
    }
}

#[test]
fn long_names_arrive_from_pax_and_gnu_headers() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let mut tar = TarWriter::default();
    tar.pax(&[("path", &long), ("mtime", "1.5"), ("SCHILY.fflags", "schg")])
        .file("short", b"pax")
        .gnu_long(b'L', &format!("{long}.gnu"))
        .gnu_long(b'K', &"t".repeat(300))
        .symlink("short", "short")
        .pax(&[("linkpath", &long), ("comment", "two\nlines")])
        .hard_link("linked", "short");
    let place = UnpackDirectory::new();
    place.unpack(&tar.finish()).unwrap();
    assert_eq!(fs::read(place.tree().join(&long)).unwrap(), b"pax");
    assert_eq!(fs::read(place.tree().join("linked")).unwrap(), b"pax");
    let link = fs::read_link(place.tree().join(format!("{long}.gnu"))).unwrap();
    assert_eq!(link, Path::new(&"t".repeat(300)));
    assert!(!place.tree().join("short").exists());
}

#[test]
fn set_user_id_bits_are_dropped_and_only_the_execute_bit_counts() {
    let mut tar = TarWriter::default();
    tar.entry(b'0', "su", "", 0o4755, b"x")
        .entry(b'0', "wall", "", 0o2555, b"x")
        .entry(b'0', "secret", "", 0o000, b"x")
        .entry(b'5', "tmp", "", 0o1777, b"")
        .entry(b'5', "closed", "", 0o000, b"")
        .file("closed/file", b"x");
    let place = UnpackDirectory::new();
    place.unpack(&tar.finish()).unwrap();
    let tree = place.tree();
    assert_eq!(mode(&tree.join("su")), 0o755);
    assert_eq!(mode(&tree.join("wall")), 0o755);
    assert_eq!(mode(&tree.join("secret")), 0o644);
    assert_eq!(mode(&tree.join("tmp")), 0o755);
    assert_eq!(mode(&tree.join("closed")), 0o755);
}

#[test]
fn the_later_of_two_entries_counts_and_other_names_keep_the_earlier() {
    let mut tar = TarWriter::default();
    tar.file("f", b"first")
        .hard_link("kept", "f")
        .file("f", b"second")
        .symlink("l", "f")
        .file("l", b"a file now")
        .hard_link("f", "f");
    let place = UnpackDirectory::new();
    place.unpack(&tar.finish()).unwrap();
    let read = |name: &str| fs::read_to_string(place.tree().join(name)).unwrap();
    assert_eq!(read("f"), "second");
    assert_eq!(read("kept"), "first");
    assert_eq!(read("l"), "a file now");
}

#[test]
fn paths_out_of_the_tree_are_refused() {
    for name in ["/etc/x", "../outside/victim", "a/../../outside/new", "./.."] {
        let tar = TarWriter::default().file(name, b"evil").finish();
        assert_refused(&tar, &["refused", name]);
    }
    let long = format!("../{}", "x".repeat(200));
    let tar = TarWriter::default()
        .pax(&[("path", &long)])
        .file("x", b"")
        .finish();
    assert_refused(&tar, &["`..`"]);
    let tar = TarWriter::default()
        .gnu_long(b'L', "/abs")
        .file("x", b"")
        .finish();
    assert_refused(&tar, &["absolute"]);
}

#[test]
fn nothing_is_written_through_a_link() {
    for target in ["../outside", "/", ".", "real"] {
        let tar = TarWriter::default()
            .directory("real")
            .symlink("link", target)
            .file("link/victim", b"evil")
            .finish();
        assert_refused(&tar, &["link/victim", "leads through `link`"]);
        let tar = TarWriter::default()
            .directory("real")
            .symlink("link", target)
            .directory("link")
            .finish();
        assert_refused(&tar, &["`link`"]);
    }
    // A link in the place of a file is replaced, not followed.
    let place = UnpackDirectory::new();
    let tar = TarWriter::default()
        .symlink("f", "../outside/victim")
        .file("f", b"mine")
        .finish();
    place.unpack(&tar).unwrap();
    assert_eq!(fs::read(place.tree().join("f")).unwrap(), b"mine");
    place.assert_outside_untouched();
}

#[test]
fn a_directory_does_not_give_way() {
    for kind in [b'0', b'2', b'1'] {
        let tar = TarWriter::default()
            .file("f", b"x")
            .directory("d")
            .entry(kind, "d", "f", 0o644, b"")
            .finish();
        assert_refused(&tar, &["`d`", "replace a directory"]);
    }
    let tar = TarWriter::default().symlink("./", "x").finish();
    assert_refused(&tar, &["replace the tree itself"]);
}

#[test]
fn hard_links_out_of_the_tree_are_refused() {
    for target in ["../outside/victim", "/etc/passwd"] {
        let tar = TarWriter::default().hard_link("h", target).finish();
        assert_refused(&tar, &["hard link", target]);
    }
    let tar = TarWriter::default()
        .symlink("d", "../outside")
        .hard_link("h", "d/victim")
        .finish();
    assert_refused(&tar, &["leads through `d`"]);
    let tar = TarWriter::default()
        .symlink("s", "../outside/victim")
        .hard_link("h", "s")
        .finish();
    assert_refused(&tar, &["is not a file before it"]);
    for target in ["missing", "no/such", "./"] {
        let tar = TarWriter::default().hard_link("h", target).finish();
        assert_refused(&tar, &["`h`"]);
    }
}

#[test]
fn device_nodes_and_other_kinds_are_refused() {
    for (kind, word) in [
        (b'3', "device node"),
        (b'4', "device node"),
        (b'6', "named pipe"),
        (b'M', "type `M`"),
    ] {
        let tar = TarWriter::default()
            .entry(kind, "dev/x", "", 0o666, b"")
            .finish();
        assert_refused(&tar, &["dev/x", word]);
    }
}

#[test]
fn damaged_tars_are_errors() {
    let mut tar = TarWriter::default();
    tar.file("one", b"contents").file("two", &[1; 300_000]);
    let good = tar.finish();
    for cut in [100, 512 + 4, 1024 + 100, 1536 + 1000, 1536 + 200_000] {
        assert_refused(&good[..cut], &["archive"]);
    }
    let mut damaged = good.clone();
    damaged[3] ^= 1;
    assert_refused(&damaged, &["malformed", "checksum"]);
    assert_refused(
        b"<html>this is not the file you are looking for</html>",
        &["malformed"],
    );
    let compressed = xz(&good);
    assert_refused(
        &compressed[..compressed.len() - 5],
        &["cannot read the archive"],
    );
    // Two different sizes: one for each kind of reader.
    let tar = TarWriter::default()
        .pax(&[("size", "100")])
        .file("x", b"short")
        .finish();
    assert_refused(&tar, &["two different sizes"]);
    for record in [
        "5 a=b\n",
        "xx a=b\n",
        "999 a=b\n",
        "6 a b\n",
        "0 a=b\n",
        "1 a=b\n",
    ] {
        let tar = TarWriter::default()
            .entry(b'x', "pax", "", 0o644, record.as_bytes())
            .file("x", b"")
            .finish();
        assert_refused(&tar, &["malformed"]);
    }
}

#[test]
fn links_and_files_of_the_tool_itself_stay_in_the_tree_too() {
    let place = UnpackDirectory::new();
    let mut tree =
        ArchiveTree::create(&place.tree(), MERGED_USR, ArchiveLimits::default()).unwrap();
    tree.directory("seed", "/gnu/store").unwrap();
    tree.file("seed", "/usr/bin/old", b"old", true).unwrap();
    tree.symlink("seed", "/usr/bin/old", "new").unwrap();
    tree.symlink("seed", "/bin/cc", "clang").unwrap();
    tree.symlink("seed", "/out", "../outside").unwrap();
    assert!(tree.file("seed", "/out/victim", b"evil", false).is_err());
    assert!(
        tree.file("seed", "/../outside/victim", b"evil", false)
            .is_err()
    );
    assert_eq!(
        fs::read_link(place.tree().join("usr/bin/old")).unwrap(),
        Path::new("new")
    );
    assert_eq!(
        fs::read_link(place.tree().join("usr/bin/cc")).unwrap(),
        Path::new("clang")
    );
    assert!(place.tree().join("gnu/store").is_dir());
}

#[test]
fn the_tree_must_be_new_and_no_link() {
    let place = UnpackDirectory::new();
    let create = |path: &Path| ArchiveTree::create(path, &[], ArchiveLimits::default());
    assert!(create(&place.directory.path().join("outside")).is_err());
    let link = place.directory.path().join("link");
    fs::create_dir(place.directory.path().join("empty")).unwrap();
    symlink("empty", &link).unwrap();
    assert!(create(&link).is_err());
    assert!(create(&place.directory.path().join("empty")).is_ok());
}

#[test]
fn a_tree_that_cannot_be_written_is_not_the_archives_fault() {
    // Root writes anywhere, so take the directory away instead.
    let place = UnpackDirectory::new();
    let archive = place.directory.path().join("archive");
    fs::write(&archive, TarWriter::default().file("f", b"x").finish()).unwrap();
    let mut tree = ArchiveTree::create(&place.tree(), &[], ArchiveLimits::default()).unwrap();
    fs::set_permissions(place.tree(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir(place.tree()).unwrap();
    let error = unpack(&archive, Format::Tar, &mut tree, &GO).unwrap_err();
    assert!(error.is_environment(), "{error}");
}
