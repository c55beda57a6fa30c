// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use proptest::prelude::*;

fn symbol(text: &str) -> Datum {
    Datum::Symbol(text.to_owned())
}

fn string(text: &str) -> Datum {
    Datum::String(text.to_owned())
}

#[test]
fn what_guix_writes_is_read() {
    assert_eq!(
        Datum::parse("\"https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz\""),
        Ok(string("https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz"))
    );
    let mirrors = "((gnu \"https://a/\" \"https://b/\") (savannah \"c\"))";
    let read = Datum::parse(mirrors).unwrap();
    assert_eq!(
        read.list().unwrap()[0].form("gnu").unwrap()[1],
        string("https://b/")
    );
    assert_eq!(read.to_string(), mirrors);
    let code = Datum::parse("(begin (use-modules (guix base16)) '(a . \"b\") #t #:key #\\( 1.5)");
    let expected = Datum::List(vec![
        symbol("begin"),
        Datum::List(vec![
            symbol("use-modules"),
            Datum::List(vec![symbol("guix"), symbol("base16")]),
        ]),
        Datum::List(vec![
            symbol("quote"),
            Datum::Dotted(vec![symbol("a")], Box::new(string("b"))),
        ]),
        symbol("#t"),
        symbol("#:key"),
        symbol("#\\("),
        symbol("1.5"),
    ]);
    assert_eq!(code, Ok(expected));
}

#[test]
fn the_symbol_called_dot_is_not_a_dot() {
    assert!(Datum::parse("'.").is_err());
    assert!(Datum::parse(".").is_err());
    let list = Datum::parse("(a #{.}# b)").unwrap();
    assert_eq!(
        list,
        Datum::List(vec![symbol("a"), symbol("."), symbol("b")])
    );
    assert_eq!(list.to_string(), "(a #{.}# b)");
    assert_eq!(Datum::parse("#{a b}#").unwrap().to_string(), "#{a b}#");
}

#[test]
fn comments_and_dots_are_as_in_guile() {
    let list = || Ok(Datum::List(vec![symbol("a"), symbol("b"), symbol("c")]));
    for text in [
        "(a b c)",
        " ; first\n( a #| in #| between |# |# b #;(skipped) c ) ; last",
        "(a . (b c))",
        "(a b . (c))",
        "[a b c]",
        "(a #{b}# c)",
    ] {
        assert_eq!(Datum::parse(text), list(), "{text}");
    }
    assert_eq!(Datum::parse_first("a b").unwrap(), (symbol("a"), 1));
}

#[test]
fn what_is_not_a_datum_is_refused_where_that_shows() {
    let deep = "(".repeat(100_000);
    let comments = "#;".repeat(100_000);
    for (text, offset) in [
        ("", 0),
        ("(a", 2),
        (")", 0),
        ("a b", 2),
        ("(a]", 2),
        ("\"a", 2),
        ("\"\\q\"", 1),
        ("\"\\xg0\"", 1),
        ("\"\\ud800\"", 1),
        ("(. a)", 1),
        ("(a . b c)", 8),
        ("#.(system \"x\")", 0),
        ("#(1 2)", 0),
        ("#| a", 4),
        ("#{a", 0),
        (deep.as_str(), DEPTH_MAX + 1),
    ] {
        assert_eq!(Datum::parse(text).unwrap_err().offset, offset, "{text:.20}");
    }
    assert!(Datum::parse(&comments).is_err());
}

proptest! {
    #[test]
    fn any_string_is_read_back(text: String) {
        let datum = Datum::String(text);
        prop_assert_eq!(Datum::parse(&datum.to_string()), Ok(datum));
    }

    #[test]
    fn what_is_read_is_written_and_read_back(text in "[()a-c .'\"\\\\#;|\n]{0,24}") {
        if let Ok(datum) = Datum::parse(&text) {
            let written = datum.to_string();
            // A symbol in braces loses them.
            if !text.contains("#{") {
                prop_assert_eq!(Datum::parse(&written), Ok(datum), "{}", written);
            }
        }
    }
}
