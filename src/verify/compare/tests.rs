// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::formats::nar::Tree;
use crate::formats::store_path::StorePath;
use crate::store::nar::restore_tree;

fn compared(first: &Tree, second: &Tree) -> Vec<FileDifference> {
    let directory = tempfile::tempdir().unwrap();
    let roots = ["one", "two"].map(|name| directory.path().join(name));
    restore_tree(first, &roots[0]).unwrap();
    restore_tree(second, &roots[1]).unwrap();
    let circumstances = Circumstances::default();
    let none = Rewriting::none();
    let [one, other] = [&roots[0], &roots[1]].map(|root| Side {
        root,
        rewriting: &none,
        circumstances: &circumstances,
    });
    compare(one, other, &|| true).unwrap()
}

#[test]
fn equal_trees_have_no_differences() {
    let tree = Tree::directory([("a", Tree::file("x")), ("b", Tree::symlink("a"))]);
    assert!(compared(&tree, &tree).is_empty());
}

#[test]
fn a_piece_of_the_own_hash_is_no_difference_and_any_other_byte_is() {
    let differ = |first: &str, second: &str| {
        let directory = tempfile::tempdir().unwrap();
        let circumstances = Circumstances::default();
        let sides = [(first, 'a'), (second, 'b')].map(|(text, letter)| {
            let root = directory.path().join(letter.to_string());
            fs::write(&root, text).unwrap();
            let mut rewriting = Rewriting::none();
            let name = format!("{}-x", letter.to_string().repeat(32));
            let path = StorePath::from_base_name(&name).unwrap();
            rewriting.add(&path, "x:out");
            (root, rewriting)
        });
        let [one, other] = sides.each_ref().map(|(root, rewriting)| Side {
            root,
            rewriting,
            circumstances: &circumstances,
        });
        !compare(one, other, &|| true).unwrap().is_empty()
    };
    assert!(!differ("a-x/lib", "b-x/lib"));
    assert!(differ("a-x/lib", "a-x/lib "));
    assert!(differ("a-x/lib c", "b-x/lib d"));
    // What both have is not a piece of a hash, whatever it looks like.
    assert!(!differ("a-x/lib", "a-x/lib"));
    assert!(differ("b-x/lib", "a-x/lib"));
}

#[test]
fn every_sort_of_difference_is_told() {
    let first = Tree::directory([
        ("content", Tree::file("one\n")),
        ("executable", Tree::file("x")),
        ("gone", Tree::file("")),
        ("kind", Tree::file("")),
        ("link", Tree::symlink("here")),
        ("same", Tree::file("same")),
    ]);
    let second = Tree::directory([
        ("content", Tree::file("two\n")),
        ("executable", Tree::executable("x")),
        ("kind", Tree::directory::<&str>([])),
        ("link", Tree::symlink("there")),
        ("new", Tree::directory([("deep", Tree::file(""))])),
        ("same", Tree::file("same")),
    ]);
    let found = compared(&first, &second);
    let text = describe(&found);
    assert_eq!(
        text,
        "  content: 3 bytes differ of 4\n    line 1: 3 bytes\n      - one\n      + two\n  \
         executable: executable in the second only\n  gone: only in the first\n  \
         kind: a file, then a directory\n  link: a link to here, then to there\n  new: only in the second\n"
    );
}

#[test]
fn one_file_can_be_the_whole_output() {
    let found = compared(&Tree::file("a"), &Tree::file("b"));
    assert_eq!(found.len(), 1);
    assert!(describe(&found).starts_with("  the output itself: 1 byte differs of 1\n"));
}

#[test]
fn trees_that_differ_in_rewritten_paths_only_are_equal() {
    use crate::formats::store_path::StorePath;
    let path =
        |letter: &str| StorePath::from_base_name(&format!("{}-sed", letter.repeat(32))).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let circumstances = Circumstances::default();
    let sides = ["a", "b"].map(|letter| {
        let name = path(letter).base_name().to_owned();
        let tree = Tree::directory([
            (name.clone(), Tree::file(format!("in {name}"))),
            (
                "link".to_owned(),
                Tree::symlink(format!("/gnu/store/{name}")),
            ),
        ]);
        let root = directory.path().join(letter);
        restore_tree(&tree, &root).unwrap();
        let mut rewriting = Rewriting::none();
        rewriting.add(&path(letter), "sed:out");
        (root, rewriting)
    });
    let side = |rewriting, number: usize| Side {
        root: sides[number].0.as_path(),
        rewriting,
        circumstances: &circumstances,
    };
    let found = compare(side(&sides[0].1, 0), side(&sides[1].1, 1), &|| true).unwrap();
    assert_eq!(found, []);
    let none = Rewriting::none();
    assert_eq!(
        compare(side(&none, 0), side(&none, 1), &|| true)
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn links_to_other_bytes_differ_though_they_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let circumstances = Circumstances::default();
    let none = Rewriting::none();
    let roots = [b"\xff", b"\xfe"].map(|target| {
        let root = directory.path().join(visible(target));
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &root).unwrap();
        root
    });
    let [one, other] = [&roots[0], &roots[1]].map(|root| Side {
        root,
        rewriting: &none,
        circumstances: &circumstances,
    });
    let text = describe(&compare(one, other, &|| true).unwrap());
    assert_eq!(
        text,
        "  the output itself: a link to \\xff, then to \\xfe\n"
    );
}

#[test]
fn entries_with_one_name_after_rewriting_are_an_error() {
    use crate::formats::store_path::StorePath;
    let directory = tempfile::tempdir().unwrap();
    let circumstances = Circumstances::default();
    let mut rewriting = Rewriting::none();
    for letter in ["a", "b"] {
        let name = format!("{}-sed", letter.repeat(32));
        fs::write(directory.path().join(&name), letter).unwrap();
        rewriting.add(&StorePath::from_base_name(&name).unwrap(), "sed:out");
    }
    let side = Side {
        root: directory.path(),
        rewriting: &rewriting,
        circumstances: &circumstances,
    };
    let error = compare(side, side, &|| true).unwrap_err().to_string();
    assert!(error.contains("has the same name"), "{error}");
}

#[test]
fn special_files_are_never_equal() {
    let directory = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(directory.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let circumstances = Circumstances::default();
    let none = Rewriting::none();
    let side = Side {
        root: directory.path(),
        rewriting: &none,
        circumstances: &circumstances,
    };
    let error = compare(side, side, &|| true).unwrap_err().to_string();
    assert!(
        error.contains("pipe: it is a device, socket or pipe"),
        "{error}"
    );
}

#[test]
fn a_tree_that_is_not_there_is_an_error() {
    let circumstances = Circumstances::default();
    let none = Rewriting::none();
    let side = Side {
        root: Path::new("/nonexistent/tree"),
        rewriting: &none,
        circumstances: &circumstances,
    };
    let error = compare(side, side, &|| true).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/tree"), "{error}");
}
