// SPDX-License-Identifier: GPL-3.0-or-later
//! S-expressions as libgcrypt reads and writes them: an atom is a string of bytes, a list holds atoms and lists.
//!
//! Read are the canonical form (`3:abc`) and what the advanced form may have (RFC 9804): tokens (`abc`), base 16
//! (`#616263#`), base 64 (`|YWJj|`) and quoted strings with C's escapes. libgcrypt writes an atom as a token where it
//! can, as a quoted string where its first byte is ASCII and all are printable in ISO-8859-1, and in base 16 otherwise.
//! So one signature in a thousand has a quoted string in the place of a number. Display hints (`[text/plain]`) are
//! skipped. The transport form in braces is not read. Written is the advanced form on one line.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::formats::hash::bytes_of_base16;

/// Deeper expressions are not read: signatures have five levels.
const DEPTH_MAX: usize = 32;

/// An S-expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sexp {
    /// Bytes.
    Atom(Vec<u8>),
    /// Expressions.
    List(Vec<Sexp>),
}

impl Sexp {
    /// An atom.
    pub fn atom(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Atom(bytes.into())
    }

    /// Reads an expression with nothing but white space around it; `None` where there is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut reader = SexpReader { text, at: 0 };
        let expression = reader.expression(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(expression)
    }

    /// The elements of a list that begins with the atom `name`, without that.
    pub fn list(&self, name: &str) -> Option<&[Self]> {
        match self {
            Self::List(elements) => match elements.split_first()? {
                (Self::Atom(first), rest) if first == name.as_bytes() => Some(rest),
                _ => None,
            },
            Self::Atom(_) => None,
        }
    }

    /// The bytes of an atom.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) => Some(bytes),
            Self::List(_) => None,
        }
    }

    /// Every list that begins with the atom `name`, at whatever depth, in order.
    pub fn all<'s>(&'s self, name: &str) -> Vec<&'s Self> {
        let mut found = Vec::new();
        if self.list(name).is_some() {
            found.push(self);
        }
        if let Self::List(elements) = self {
            found.extend(elements.iter().flat_map(|element| element.all(name)));
        }
        found
    }
}

/// The one list among `elements` that begins with the atom `name`.
pub fn only<'s>(elements: &'s [Sexp], name: &str) -> Option<&'s [Sexp]> {
    let mut found = elements.iter().filter_map(|element| element.list(name));
    let list = found.next()?;
    found.next().is_none().then_some(list)
}

/// The bytes of the one atom of `elements`.
pub fn single(elements: &[Sexp]) -> Option<&[u8]> {
    match elements {
        [atom] => atom.bytes(),
        _ => None,
    }
}

impl fmt::Display for Sexp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(bytes) if is_token(bytes) => bytes
                .iter()
                .try_for_each(|byte| write!(formatter, "{}", char::from(*byte))),
            Self::Atom(bytes) => {
                formatter.write_str("#")?;
                bytes
                    .iter()
                    .try_for_each(|byte| write!(formatter, "{byte:02X}"))?;
                formatter.write_str("#")
            }
            Self::List(elements) => {
                formatter.write_str("(")?;
                for (number, element) in elements.iter().enumerate() {
                    if number > 0 {
                        formatter.write_str(" ")?;
                    }
                    element.fmt(formatter)?;
                }
                formatter.write_str(")")
            }
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-./_:*+=".contains(&byte)
}

fn is_token(bytes: &[u8]) -> bool {
    // A digit would begin a length.
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|byte| is_token_byte(*byte))
}

struct SexpReader<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> SexpReader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Skips `byte` where it is next.
    fn skip(&mut self, byte: u8) {
        if self.peek() == Some(byte) {
            self.at += 1;
        }
    }

    /// The bytes up to `end`, which is skipped.
    fn until(&mut self, end: u8) -> Option<&'t [u8]> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|byte| *byte == end)?;
        self.at += length + 1;
        rest.get(..length)
    }

    fn expression(&mut self, depth: usize) -> Option<Sexp> {
        self.skip_space();
        match self.next()? {
            b'(' if depth < DEPTH_MAX => {
                let mut elements = Vec::new();
                loop {
                    self.skip_space();
                    if self.peek()? == b')' {
                        self.at += 1;
                        return Some(Sexp::List(elements));
                    }
                    elements.push(self.expression(depth + 1)?);
                }
            }
            b'#' => base16(self.until(b'#')?).map(Sexp::Atom),
            b'|' => {
                let mut text = self.until(b'|')?.to_vec();
                text.retain(|byte| !byte.is_ascii_whitespace());
                STANDARD.decode(text).ok().map(Sexp::Atom)
            }
            b'"' => self.quoted().map(Sexp::Atom),
            b'[' if depth < DEPTH_MAX => {
                self.expression(depth + 1)?.bytes()?;
                self.skip_space();
                if self.next()? != b']' {
                    return None;
                }
                let hinted = self.expression(depth + 1)?;
                hinted.bytes().is_some().then_some(hinted)
            }
            digit if digit.is_ascii_digit() => {
                let start = self.at - 1;
                let length = self.until(b':')?;
                let length = std::str::from_utf8(self.text.get(start..start + 1 + length.len())?);
                let length: usize = length.ok()?.parse().ok()?;
                let bytes = self.text.get(self.at..self.at.checked_add(length)?)?;
                self.at += length;
                Some(Sexp::atom(bytes))
            }
            byte if is_token_byte(byte) => {
                let start = self.at - 1;
                while self.peek().is_some_and(is_token_byte) {
                    self.at += 1;
                }
                Some(Sexp::atom(self.text.get(start..self.at)?))
            }
            _ => None,
        }
    }

    /// The rest of a quoted string.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            bytes.push(match self.next()? {
                b'"' => return Some(bytes),
                b'\\' => match self.next()? {
                    b'b' => 8,
                    b't' => b'\t',
                    b'v' => 11,
                    b'n' => b'\n',
                    b'f' => 12,
                    b'r' => b'\r',
                    b'x' => {
                        let digits = self.text.get(self.at..self.at + 2)?;
                        self.at += 2;
                        *base16(digits)?.first()?
                    }
                    digit @ b'0'..=b'7' => {
                        let digits = [digit, self.next()?, self.next()?];
                        let digits = std::str::from_utf8(&digits).ok()?;
                        u8::from_str_radix(digits, 8).ok()?
                    }
                    quoted @ (b'"' | b'\'' | b'\\') => quoted,
                    // A line that goes on.
                    b'\n' => {
                        self.skip(b'\r');
                        continue;
                    }
                    b'\r' => {
                        self.skip(b'\n');
                        continue;
                    }
                    _ => return None,
                },
                byte => byte,
            });
        }
    }
}

/// The bytes whose base 16 is `text`, white space left out.
fn base16(text: &[u8]) -> Option<Vec<u8>> {
    let mut text = text.to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    bytes_of_base16(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_atom_is_the_same_atom() {
        let expected = Sexp::List(vec![Sexp::atom("abc"), Sexp::List(vec![])]);
        for text in [
            "(abc())",
            " ( abc ( ) )\n",
            "(#616263#())",
            "(#61 62\n63#())",
            "(\"abc\" ())",
            r#"("\x61b\143"())"#,
            "(3:abc())",
            "(|YWJj|())",
            "([text/plain]abc())",
            "([\"a hint\"] \"a\\\nbc\" ())",
        ] {
            assert_eq!(
                Sexp::parse(text.as_bytes()),
                Some(expected.clone()),
                "{text}"
            );
        }
        assert_eq!(expected.to_string(), "(abc ())");
        let raw = Sexp::parse(b"(a 4:(\")#)").unwrap();
        assert_eq!(raw.to_string(), "(a #28222923#)");
        assert_eq!(Sexp::parse(raw.to_string().as_bytes()), Some(raw));
    }

    #[test]
    fn what_is_no_expression_is_none() {
        let deep = "(".repeat(100_000);
        let hints = "[".repeat(100_000);
        for text in [
            "",
            "(",
            ")",
            "(a",
            "(a))",
            "a b",
            "#6#",
            "#6g#",
            "#61",
            "\"a",
            r#""\q""#,
            r#""\x4"#,
            r#""\400""#,
            "9:abc",
            "99999999999999999999:a",
            "3",
            "|!|",
            "|YQ",
            "{YQ==}",
            "(a\0)",
            "([x](a))",
            "([(x)]a)",
            "([x a)",
            &hints,
            &deep,
        ] {
            assert_eq!(Sexp::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn lists_are_found_by_their_first_atom() {
        let acl = Sexp::parse(b"(acl (entry (key 1:x)) (entry (key 1:y) (key 1:z)))").unwrap();
        let keys = acl.all("key").into_iter();
        let keys: Vec<_> = keys.map(|key| single(key.list("key").unwrap())).collect();
        assert_eq!(keys, [Some(&b"x"[..]), Some(b"y"), Some(b"z")]);
        let entries = acl.list("acl").unwrap();
        assert!(only(entries, "entry").is_none(), "there are two");
        assert!(only(entries[0].list("entry").unwrap(), "key").is_some());
    }
}
