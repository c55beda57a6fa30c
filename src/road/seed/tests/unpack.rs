// SPDX-License-Identifier: GPL-3.0-or-later
//! From a seed's archives to its tree, through its derivation.

use super::*;
use crate::formats::derivation::Environment;
use crate::road::seed::unpack::check_names;

#[test]
fn a_seed_goes_through_its_derivation_and_is_unpacked() {
    let place = locked();
    let mut seed = load(&place.source(), "tools").unwrap();
    seed.links
        .insert("/bin/x".to_owned(), "name with -> arrow".to_owned());
    let directory = place.directory.path();
    let first = TarWriter::default()
        .program("./bin/compiler", b"1")
        .finish();
    let second = TarWriter::default().file("./usr/share/doc", b"2").finish();
    fs::write(directory.join("a.deb"), deb(&first)).unwrap();
    fs::write(directory.join("b.deb"), deb(&second)).unwrap();
    let environment =
        seed.environment(&["/gnu/store/a.deb".to_owned(), "/gnu/store/b.deb".to_owned()]);
    let physical = |path: &str| Some(directory.join(path.strip_prefix("/gnu/store/")?));
    let contents = Contents::from_environment(&environment, &physical).unwrap();
    assert_eq!(contents.links, seed.links);
    assert_eq!(contents.files, seed.files);
    let target = directory.join("tree");
    let unpacked = Unpacker
        .unpack(&contents, &target, &AtomicBool::new(false))
        .unwrap();
    assert_eq!(unpacked.entries, 2);
    assert_eq!(
        fs::read_link(target.join("bin")).unwrap(),
        Path::new("usr/bin")
    );
    assert_eq!(fs::read_to_string(target.join("usr/bin/cc")).unwrap(), "1");
    assert_eq!(
        fs::read_to_string(target.join("usr/bin/compiler.cfg")).unwrap(),
        "-flag\n"
    );
    assert_eq!(
        fs::read_link(target.join("usr/bin/x")).unwrap(),
        Path::new("name with -> arrow")
    );

    for (name, value) in [
        ("format", "zip"),
        ("archives", ""),
        ("archives", "/etc/passwd"),
        ("links", "x"),
        ("files", "{"),
    ] {
        let mut wrong = environment.clone();
        wrong.insert(name.to_owned(), value.to_owned());
        let error = Contents::from_environment(&wrong, &physical).unwrap_err();
        assert!(matches!(error, SeedError::Environment(_)), "{error}");
    }
    assert!(Contents::from_environment(&Environment::default(), &physical).is_err());
}

#[test]
fn a_name_of_the_top_folder_that_no_build_could_be_given_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("bin")).unwrap();
    check_names(directory.path()).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(directory.path().join(odd), "").unwrap();
    let error = check_names(directory.path()).unwrap_err();
    assert!(error.to_string().contains("caf\\xe9"), "{error}");
}

#[test]
fn an_archive_seed_keeps_its_top_level_directories() {
    let directory = tempfile::tempdir().unwrap();
    let tar = TarWriter::default()
        .program("./bin/sh", b"sh")
        .hard_link("./rescue/sh", "./bin/sh")
        .finish();
    let archive = directory.path().join("base.txz");
    fs::write(&archive, xz(&tar)).unwrap();
    let contents = Contents {
        format: Format::Tar,
        archives: vec![archive],
        links: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let target = directory.path().join("tree");
    Unpacker
        .unpack(&contents, &target, &AtomicBool::new(false))
        .unwrap();
    assert!(fs::symlink_metadata(target.join("bin")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(target.join("rescue/sh")).unwrap(), "sh");
}
