// SPDX-License-Identifier: GPL-3.0-or-later
//! Scheme data as Guile reads and writes them, for the attributes and files of Guix's downloads.
//!
//! Guix writes the attribute `url` of a `builtin:download` derivation, and the lists of mirrors that it names, with
//! `write`. They come from clients, so they are only ever read as data (CVE-2025-59378): nothing here evaluates
//! anything, and `#.`, with which Guile would, is refused. Read are lists, dotted pairs, strings, symbols, and `quote`
//! and its relatives; whatever else is one word (numbers, booleans, characters, keywords) is kept as a
//! [`Datum::Symbol`] with its spelling.

use std::fmt;

/// Data within data deeper than this are refused.
const DEPTH_MAX: usize = 64;

/// A datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A string.
    String(String),
    /// A symbol, number, boolean, character or keyword, as it is spelt.
    Symbol(String),
    /// A proper list. `'x` is the list of the symbol `quote` and `x`.
    List(Vec<Datum>),
    /// `(a b . c)`: the elements before the dot, at least one, and the one after it, which is not a list.
    Dotted(Vec<Datum>, Box<Datum>),
}

/// A text that is not one datum, or uses syntax that is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("not a Scheme datum: at byte {offset}: {problem}")]
pub struct SchemeError {
    /// The position of the problem, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl Datum {
    /// Reads the one datum of `text`, with nothing but white space and comments around it.
    ///
    /// # Errors
    /// Where `text` is not a datum or holds more than one.
    pub fn parse(text: &str) -> Result<Self, SchemeError> {
        let (datum, end) = Self::parse_first(text)?;
        let mut reader = SchemeReader { text, at: end };
        reader.skip_atmosphere(0)?;
        match reader.peek() {
            None => Ok(datum),
            Some(_) => Err(reader.error("more than one datum")),
        }
    }

    /// Reads the first datum of `text`, as Guile's `read` does, and where it ends.
    ///
    /// # Errors
    /// Where `text` does not begin with a datum.
    pub fn parse_first(text: &str) -> Result<(Self, usize), SchemeError> {
        let mut reader = SchemeReader { text, at: 0 };
        let datum = reader.datum(0)?;
        Ok((datum, reader.at))
    }

    /// The text of a string.
    pub fn string(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The spelling of a symbol.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements of a list after the symbol `name`, which must be its first.
    pub fn form(&self, name: &str) -> Option<&[Self]> {
        let (first, rest) = self.list()?.split_first()?;
        (first.symbol()? == name).then_some(rest)
    }
}

/// Writes what Guile's `write` does; strings are read back by it as they are.
impl fmt::Display for Datum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = |formatter: &mut fmt::Formatter<'_>, elements: &[Self]| {
            for (number, element) in elements.iter().enumerate() {
                if number > 0 {
                    formatter.write_str(" ")?;
                }
                element.fmt(formatter)?;
            }
            Ok(())
        };
        match self {
            Self::String(text) => {
                formatter.write_str("\"")?;
                for character in text.chars() {
                    match character {
                        '"' | '\\' => write!(formatter, "\\{character}")?,
                        '\n' => formatter.write_str("\\n")?,
                        '\t' => formatter.write_str("\\t")?,
                        '\r' => formatter.write_str("\\r")?,
                        '\u{7}' => formatter.write_str("\\a")?,
                        '\u{8}' => formatter.write_str("\\b")?,
                        '\u{b}' => formatter.write_str("\\v")?,
                        '\u{c}' => formatter.write_str("\\f")?,
                        _ if !character.is_control() => write!(formatter, "{character}")?,
                        _ => write!(formatter, "\\x{:02x}", u32::from(character))?,
                    }
                }
                formatter.write_str("\"")
            }
            // Only this notation holds any characters.
            Self::Symbol(text) if !is_plain(text) => write!(formatter, "#{{{text}}}#"),
            Self::Symbol(text) => formatter.write_str(text),
            Self::List(list) => {
                formatter.write_str("(")?;
                elements(formatter, list)?;
                formatter.write_str(")")
            }
            Self::Dotted(list, last) => {
                formatter.write_str("(")?;
                elements(formatter, list)?;
                write!(formatter, " . {last})")
            }
        }
    }
}

/// Whether `character` ends a symbol.
/// Whether a symbol is read back from its bare characters. Those of a character, such as `#\(`, may be delimiters.
fn is_plain(text: &str) -> bool {
    let checked = if text.starts_with("#\\") { 3 } else { 0 };
    !matches!(text, "" | ".") && !text.chars().skip(checked).any(is_delimiter)
}

fn is_delimiter(character: char) -> bool {
    character.is_whitespace() || matches!(character, '(' | ')' | '[' | ']' | '"' | ';')
}

struct SchemeReader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> SchemeReader<'t> {
    fn error(&self, problem: &'static str) -> SchemeError {
        SchemeError {
            offset: self.at,
            problem,
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn starts_with(&mut self, prefix: &str) -> bool {
        let starts = self.rest().starts_with(prefix);
        if starts {
            self.at += prefix.len();
        }
        starts
    }

    /// Skips white space and the three kinds of comments.
    fn skip_atmosphere(&mut self, depth: usize) -> Result<(), SchemeError> {
        loop {
            match self.peek() {
                Some(character) if character.is_whitespace() => {
                    self.next();
                }
                Some(';') => {
                    let line = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.at += line;
                }
                _ if self.starts_with("#;") => {
                    self.datum(depth + 1)?;
                }
                _ if self.starts_with("#|") => self.skip_block()?,
                _ => return Ok(()),
            }
        }
    }

    /// Skips to the end of a block comment, in which others may be.
    fn skip_block(&mut self) -> Result<(), SchemeError> {
        let mut open = 1;
        while open > 0 {
            if self.starts_with("|#") {
                open -= 1;
            } else if self.starts_with("#|") {
                open += 1;
            } else if self.next().is_none() {
                return Err(self.error("a comment that does not end"));
            }
        }
        Ok(())
    }

    fn datum(&mut self, depth: usize) -> Result<Datum, SchemeError> {
        if depth > DEPTH_MAX {
            return Err(self.error("too many levels"));
        }
        self.skip_atmosphere(depth)?;
        let start = self.at;
        let quote = |reader: &mut Self, name: &str| {
            let quoted = reader.datum(depth + 1)?;
            Ok(Datum::List(vec![Datum::Symbol(name.to_owned()), quoted]))
        };
        match self.next() {
            None => Err(self.error("a datum is missing")),
            Some('(') => self.elements(')', depth),
            Some('[') => self.elements(']', depth),
            Some(')' | ']') => {
                self.at = start;
                Err(self.error("a parenthesis that was not opened"))
            }
            Some('"') => self.string().map(Datum::String),
            Some('\'') => quote(self, "quote"),
            Some('`') => quote(self, "quasiquote"),
            Some(',') if self.starts_with("@") => quote(self, "unquote-splicing"),
            Some(',') => quote(self, "unquote"),
            Some('#') => {
                let rest = self.rest();
                self.at = start;
                match rest.chars().next() {
                    Some('t' | 'f' | ':') => Ok(Datum::Symbol(self.word(2))),
                    Some('\\') => Ok(Datum::Symbol(self.word(3))),
                    Some('{') => self.extended_symbol(),
                    _ => Err(self.error("syntax that is not read as data")),
                }
            }
            Some(_) => {
                self.at = start;
                match self.word(1) {
                    word if word == "." => {
                        self.at = start;
                        Err(self.error("a dot without an element before it"))
                    }
                    word => Ok(Datum::Symbol(word)),
                }
            }
        }
    }

    /// Characters up to the next delimiter, at least `least` of them.
    fn word(&mut self, least: usize) -> String {
        let start = self.at;
        for _ in 0..least {
            self.next();
        }
        while self.peek().is_some_and(|next| !is_delimiter(next)) {
            self.next();
        }
        self.text.get(start..self.at).unwrap_or_default().to_owned()
    }

    /// `#{any characters}#`.
    fn extended_symbol(&mut self) -> Result<Datum, SchemeError> {
        let rest = self.rest();
        let Some(length) = rest.find("}#").filter(|_| rest.starts_with("#{")) else {
            return Err(self.error("a symbol that does not end"));
        };
        self.at += length + 2;
        Ok(Datum::Symbol(rest[2..length].to_owned()))
    }

    /// The rest of a list.
    fn elements(&mut self, end: char, depth: usize) -> Result<Datum, SchemeError> {
        let mut elements = Vec::new();
        loop {
            self.skip_atmosphere(depth)?;
            match self.peek() {
                None => return Err(self.error("a list that does not end")),
                Some(next) if next == end => {
                    self.next();
                    return Ok(Datum::List(elements));
                }
                _ => {}
            }
            // A dot alone; the symbol of that name is written otherwise.
            let rest = self.rest();
            let is_dot = rest.starts_with('.')
                && rest.chars().nth(1).is_none_or(is_delimiter)
                && !elements.is_empty();
            if !is_dot {
                elements.push(self.datum(depth + 1)?);
                continue;
            }
            self.next();
            let last = self.datum(depth + 1)?;
            self.skip_atmosphere(depth)?;
            if self.next() != Some(end) {
                return Err(self.error("more than one element after a dot"));
            }
            return Ok(match last {
                Datum::List(rest) => {
                    elements.extend(rest);
                    Datum::List(elements)
                }
                Datum::Dotted(rest, last) => {
                    elements.extend(rest);
                    Datum::Dotted(elements, last)
                }
                last => Datum::Dotted(elements, Box::new(last)),
            });
        }
    }

    /// The rest of a string.
    fn string(&mut self) -> Result<String, SchemeError> {
        let mut string = String::new();
        loop {
            let start = self.at;
            match self.next() {
                None => return Err(self.error("a string that does not end")),
                Some('"') => return Ok(string),
                Some('\\') => match self.next() {
                    Some('\n') => {
                        while self.peek().is_some_and(|next| matches!(next, ' ' | '\t')) {
                            self.next();
                        }
                    }
                    Some('x') => string.push(self.hexadecimal(2, start)?),
                    Some('u') => string.push(self.hexadecimal(4, start)?),
                    Some('U') => string.push(self.hexadecimal(6, start)?),
                    Some(escape) => string.push(match escape {
                        '"' | '\\' | '|' => escape,
                        'a' => '\u{7}',
                        'b' => '\u{8}',
                        't' => '\t',
                        'n' => '\n',
                        'v' => '\u{b}',
                        'f' => '\u{c}',
                        'r' => '\r',
                        '0' => '\0',
                        _ => {
                            self.at = start;
                            return Err(self.error("an unknown escape in a string"));
                        }
                    }),
                    None => return Err(self.error("a string that does not end")),
                },
                Some(character) => string.push(character),
            }
        }
    }

    /// The character whose code is the next `digits` hexadecimal digits.
    fn hexadecimal(&mut self, digits: usize, start: usize) -> Result<char, SchemeError> {
        let text = self.rest().get(..digits);
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                self.at += digits;
                Ok(character)
            }
            None => {
                self.at = start;
                Err(self.error("an escape that is not a character"))
            }
        }
    }
}

#[cfg(test)]
#[path = "scheme/tests.rs"]
mod tests;
