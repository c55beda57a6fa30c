// SPDX-License-Identifier: GPL-3.0-or-later
//! Tests of the rules themselves, with made-up sources.

use crate::imports::lines_of_code;
use crate::{Tree, is_global, types};

#[test]
fn types_are_found_however_they_are_written() {
    let code = "pub struct A<'a> {\nenum B {\npub(crate) trait C: D {\npub(in crate::e) type F = u8;\n    type Item = u8;\n";
    assert_eq!(types(code).collect::<Vec<_>>(), ["A", "B", "C", "F"]);
}

#[test]
fn what_belongs_to_the_process_is_found() {
    for code in [
        "static TABLE: Mutex<u8> = x;",
        "    pub(crate) static NEXT: AtomicU64 = x;",
        "static mut ODD: u8 = 0;",
        "let old = rustix::process::umask(mode);",
    ] {
        assert!(is_global(code), "{code}");
    }
    for code in ["fn f() -> &'static str {", "const A: &'static str = x;"] {
        assert!(!is_global(code), "{code}");
    }
}

/// The faults of made-up sources.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter();
    let tree = Tree::new(files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    tree.faults().into_iter().collect()
}

#[test]
fn an_import_that_points_up_is_found_however_it_is_written() {
    for import in [
        "use crate::engine::Session;",
        "pub(crate) use crate::engine::Session;",
        "use crate::{engine::Session, formats::hash};",
        "use crate::{formats::{hash, keys}, engine::{self, Session}};",
        "use super::engine::Session;",
        "fn f() { crate::engine::run(); }",
        "fn f() -> super::engine::Session {}",
    ] {
        let found = faults(&[
            ("store.rs", import),
            ("engine/mod.rs", ""),
            ("formats/mod.rs", ""),
        ]);
        assert_eq!(
            found,
            ["store imports from the layer above engine"],
            "{import}"
        );
    }
    let down = [
        ("engine/mod.rs", "use crate::store::Store;"),
        ("store.rs", ""),
    ];
    assert!(faults(&down).is_empty());
}

#[test]
fn peers_do_not_know_each_other() {
    let found = faults(&[
        ("road/plan.rs", "use crate::verify::Lock;"),
        ("road/mod.rs", ""),
        ("verify.rs", ""),
    ]);
    assert_eq!(found, ["road::plan imports from its peer verify"]);
    let found = faults(&[("odd.rs", "use crate::store::Store;"), ("store.rs", "")]);
    assert_eq!(found, ["odd is in no layer"]);
}

#[test]
fn circles_of_any_length_are_found_through_re_exports_too() {
    let two = [
        ("store/mod.rs", "mod a; mod b;"),
        ("store/a.rs", "use super::b::B;"),
        ("store/b.rs", "use crate::store::a::A;"),
    ];
    assert_eq!(faults(&two), ["circle: store::a, store::b"]);
    let three = [
        ("store/mod.rs", "pub use a::A;"),
        ("store/a.rs", "use super::b::B;"),
        ("store/b/mod.rs", ""),
        ("store/b/inner.rs", "use super::super::c::C;"),
        ("store/c.rs", "use crate::store::A;"),
    ];
    assert_eq!(faults(&three), ["circle: store::a, store::b, store::c"]);
    let none = [
        ("store/mod.rs", "pub use a::A;"),
        ("store/a.rs", "use super::b::B;"),
        ("store/b.rs", ""),
    ];
    assert!(faults(&none).is_empty());
}

#[test]
fn comments_strings_and_tests_import_nothing() {
    let text = "// use crate::engine::A;\n/// [`crate::engine::A`]\nconst B: &str = \"\\\" use crate::engine::A;\";\nconst C: char = '\"';\n\
                #[cfg(test)]\nmod tests {\n    use crate::engine::A;\n}\n";
    let files = [
        ("store/mod.rs", text),
        ("store/tests.rs", "use crate::engine::A;"),
        ("engine/mod.rs", ""),
    ];
    assert!(faults(&files).is_empty());
}

#[test]
fn formats_know_no_files_and_the_command_line_calls_neither_store_nor_builder() {
    let found = faults(&[("formats/mod.rs", ""), ("formats/keys.rs", "use std::fs;")]);
    assert_eq!(found, ["formats::keys uses files"]);
    let files = |import| {
        [
            ("cli/gc.rs", import),
            ("cli/mod.rs", ""),
            ("store/mod.rs", ""),
            ("store/gc.rs", ""),
        ]
    };
    let found = faults(&files("use crate::store::gc::{self, CollectOptions};"));
    assert_eq!(found, ["cli::gc uses store::gc, which is not a type"]);
    let found = faults(&files("use crate::store::gc::collect;"));
    assert_eq!(
        found,
        ["cli::gc uses store::gc::collect, which is not a type"]
    );
    let found = faults(&files(
        "use crate::store::gc::Garbage;\nconst A: Garbage = Garbage::of(Garbage::ALL, Garbage::Dead);",
    ));
    assert_eq!(found, ["cli::gc calls Garbage::of"]);
    assert!(faults(&files("use crate::store::gc::CollectOptions;")).is_empty());
}

#[test]
fn lines_of_code_are_counted_without_blanks_comments_and_tests() {
    let text = "//! What.\n\nuse a::b;\n/// Doc.\nfn f() {\n    // Why.\n    g()\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
    assert_eq!(lines_of_code(text), 4);
    // An item for tests alone is in the middle of the code.
    assert_eq!(
        lines_of_code("fn f() {}\n#[cfg(test)]\nuse a::b;\nfn g() {}\n"),
        4
    );
}
