// SPDX-License-Identifier: GPL-3.0-or-later
//! The `.drv` format: one ATerm,
//! `Derive(outputs,input-derivations,input-sources,system,builder,arguments,environment)`.
//!
//! ```text
//! Derive([("out","/gnu/store/…-a","","")],              outputs: name, path, algorithm (`r:` = recursive), hash
//!        [("/gnu/store/…-b.drv",["lib","out"])],         input derivations and their outputs
//!        ["/gnu/store/…-c"],                             input sources
//!        "x86_64-linux","/gnu/store/…/bin/sh",["-e"],    system, builder, arguments
//!        [("out","/gnu/store/…-a")])                     environment
//! ```
//! without white space between the parts. Strings are bytes, not necessarily UTF-8; they escape `"` and `\` with a
//! backslash, and line feed, carriage return and tab as `\n`, `\r` and `\t`. All lists but the arguments are sorted,
//! without duplicates.
//!
//! A `.drv` file's own path, and the paths of its outputs, are hashes of these bytes. So the reader accepts only what
//! the writer writes: what [`parse`] accepts, [`write()`] gives back to the byte. (Nix's reader is more lenient; its
//! and Guix's writers are not.) One pass, no recursion, time and memory linear in the input. Only names and the system
//! must be UTF-8.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use bstr::{BString, ByteSlice};

use super::{Derivation, FixedOutput, Output};
use crate::formats::content_hash::{ContentHash, HashAlgorithm, InvalidHash, UnknownAlgorithm};
use crate::formats::store_path::{FixedOutputMethod, StoreDir, StorePath, StorePathError};

/// Bytes that are not a derivation, and where that shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("not a derivation in ATerm format: at byte {offset}: {problem}")]
pub struct AtermError {
    /// The position of the first byte that does not fit, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub problem: AtermProblem,
}

/// What is wrong with the bytes at an [`AtermError`]'s offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum AtermProblem {
    /// Something else than the grammar allows.
    #[error("expected {expected}, saw {seen}")]
    Unexpected {
        /// What the grammar allows.
        expected: &'static str,
        /// What is there.
        seen: String,
    },
    /// The name of an output, the system, a path or a hash that is not UTF-8.
    #[error("the string that starts here is not UTF-8")]
    Encoding,
    /// A backslash before a character that needs none.
    #[error("`\\{}` is not an escape: expected one of \\\" \\\\ \\n \\r \\t", char::from(*.0).escape_default())]
    Escape(u8),
    /// A control character that the writer would have escaped.
    #[error("a bare control character in a string: expected the escape `\\{0}`")]
    Unescaped(char),
    /// A list element that does not come after the one before it.
    #[error("{what} are not sorted or not unique: `{}` comes too late", entry.escape_default())]
    Order {
        /// The list.
        what: &'static str,
        /// The element.
        entry: String,
    },
    /// A string where a store path belongs that is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    StorePath(#[from] StorePathError),
    /// An output with an unknown hash algorithm.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// A fixed output's hash that is not the algorithm's number of hexadecimal digits.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hash(#[from] InvalidHash),
    /// A fixed output's hash with upper-case digits.
    #[error("the hash `{0}` has upper-case digits: expected lower-case ones")]
    UpperCase(String),
    /// A hash without an algorithm.
    #[error("the hash `{}` has no algorithm: expected an empty string", .0.escape_default())]
    HashWithoutAlgorithm(String),
}

/// `derivation` as the bytes of a `.drv` file. Output paths that are not known are written as empty strings.
pub fn write(store_dir: &StoreDir, derivation: &Derivation) -> Vec<u8> {
    let inputs = derivation
        .input_derivations
        .iter()
        .map(|(path, outputs)| (store_dir.display(path), outputs.clone()))
        .collect();
    write_with(store_dir, derivation, &inputs, false)
}

/// As [`write()`], with `inputs` in the place of the input derivations (hash modulo replaces paths by hashes), and,
/// when `mask_outputs`, with empty output paths both in the outputs and in the environment.
pub(super) fn write_with(
    store_dir: &StoreDir,
    derivation: &Derivation,
    inputs: &BTreeMap<String, BTreeSet<String>>,
    mask_outputs: bool,
) -> Vec<u8> {
    let mut text = AtermWriter(b"Derive(".to_vec());
    text.list(&derivation.outputs, |text, (name, output)| {
        let path = match &output.path {
            Some(path) if !mask_outputs => store_dir.display(path),
            _ => String::new(),
        };
        let (algorithm, hash) = match (output.fixed, output.unhashed) {
            (Some(fixed), _) => (fixed.algorithm(), fixed.hash.to_base16()),
            (None, Some((method, algorithm))) => {
                (format!("{}{algorithm}", method.prefix()), String::new())
            }
            (None, None) => Default::default(),
        };
        text.tuple([name, &path, &algorithm, &hash].map(|part| part.as_bytes()));
    });
    text.raw(b",");
    text.list(inputs, |text, (input, outputs)| {
        text.raw(b"(");
        text.string(input.as_bytes());
        text.raw(b",");
        text.list(outputs, |text, name| text.string(name.as_bytes()));
        text.raw(b")");
    });
    text.raw(b",");
    text.list(&derivation.input_sources, |text, path| {
        text.string(store_dir.display(path).as_bytes());
    });
    text.raw(b",");
    text.string(derivation.system.as_bytes());
    text.raw(b",");
    text.string(&derivation.builder);
    text.raw(b",");
    text.list(&derivation.arguments, |text, argument| {
        text.string(argument);
    });
    text.raw(b",");
    text.list(&derivation.environment, |text, (name, value)| {
        let is_output = |name: &str| derivation.outputs.contains_key(name);
        let masked = mask_outputs && name.to_str().is_ok_and(is_output);
        text.tuple([name.as_bytes(), if masked { b"" } else { value }]);
    });
    text.raw(b")");
    text.0
}

struct AtermWriter(Vec<u8>);

impl AtermWriter {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn list<T>(
        &mut self,
        entries: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.raw(b"[");
        for (index, entry) in entries.into_iter().enumerate() {
            if index > 0 {
                self.raw(b",");
            }
            write(self, entry);
        }
        self.raw(b"]");
    }

    fn tuple<const N: usize>(&mut self, strings: [&[u8]; N]) {
        for (index, string) in strings.into_iter().enumerate() {
            self.raw(if index == 0 { b"(" } else { b"," });
            self.string(string);
        }
        self.raw(b")");
    }

    fn string(&mut self, string: &[u8]) {
        self.0.reserve(string.len() + 2);
        self.0.push(b'"');
        let mut rest = string;
        while let Some((at, letter)) = first_escape(rest) {
            self.raw(&rest[..at]);
            self.raw(&[b'\\', letter]);
            rest = &rest[at + 1..];
        }
        self.raw(rest);
        self.0.push(b'"');
    }
}

/// Where the first byte is that must be escaped, and what then follows the backslash.
fn first_escape(bytes: &[u8]) -> Option<(usize, u8)> {
    let escapes = bytes.iter().map(|byte| escape_of(*byte)).enumerate();
    escapes
        .filter_map(|(at, letter)| Some((at, letter?)))
        .next()
}

/// What follows the backslash where `byte` must be escaped.
fn escape_of(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

/// Reads the bytes of a `.drv` file whose paths are in `store_dir`.
pub fn parse(store_dir: &StoreDir, bytes: &[u8]) -> Result<Derivation, AtermError> {
    let mut parser = Parser {
        store_dir,
        bytes,
        offset: 0,
    };
    let derivation = parser.derivation()?;
    match parser.peek() {
        None => Ok(derivation),
        Some(_) => Err(parser.unexpected("the end of the file")),
    }
}

struct Parser<'a> {
    store_dir: &'a StoreDir,
    bytes: &'a [u8],
    offset: usize,
}

impl Parser<'_> {
    fn derivation(&mut self) -> Result<Derivation, AtermError> {
        self.token("Derive(", "`Derive(`")?;
        let outputs = self.sorted_list("outputs", Self::output)?;
        self.token(",", "`,`")?;
        let input_derivations = self.sorted_list("input derivations", |parser| {
            parser.token("(", "`(`")?;
            let path = parser.store_path()?;
            parser.token(",", "`,`")?;
            let names = parser.sorted_list("outputs of an input derivation", |parser| {
                Ok((parser.text()?, ()))
            })?;
            parser.token(")", "`)`")?;
            Ok((path, names.into_keys().collect()))
        })?;
        self.token(",", "`,`")?;
        let input_sources =
            self.sorted_list("input sources", |parser| Ok((parser.store_path()?, ())))?;
        self.token(",", "`,`")?;
        let system = self.text()?;
        self.token(",", "`,`")?;
        let builder = self.string()?;
        self.token(",", "`,`")?;
        let mut arguments = Vec::new();
        self.list(|parser| {
            arguments.push(parser.string()?);
            Ok(())
        })?;
        self.token(",", "`,`")?;
        let environment = self.sorted_list("environment variables", |parser| {
            parser.token("(", "`(`")?;
            let name = parser.string()?;
            parser.token(",", "`,`")?;
            let value = parser.string()?;
            parser.token(")", "`)`")?;
            Ok((name, value))
        })?;
        self.token(")", "`)`")?;
        Ok(Derivation {
            outputs,
            input_derivations,
            input_sources: input_sources.into_keys().collect(),
            system,
            builder,
            arguments,
            environment: environment.into_iter().collect(),
        })
    }

    fn output(&mut self) -> Result<(String, Output), AtermError> {
        self.token("(", "`(`")?;
        let name = self.text()?;
        self.token(",", "`,`")?;
        let path = match self.rest().starts_with(b"\"\"") {
            true => {
                self.offset += 2;
                None
            }
            false => Some(self.store_path()?),
        };
        self.token(",", "`,`")?;
        let start = self.offset;
        let text = self.text()?;
        let method = match text.strip_prefix("r:") {
            Some(_) => FixedOutputMethod::Recursive,
            None => FixedOutputMethod::Flat,
        };
        let algorithm = match &text[method.prefix().len()..] {
            "" if text.is_empty() => None,
            name => {
                Some(HashAlgorithm::from_str(name).map_err(|error| error_at(start, error.into()))?)
            }
        };
        self.token(",", "`,`")?;
        let start = self.offset;
        let text = self.text()?;
        let fixed = match algorithm {
            None if text.is_empty() => None,
            None => return Err(error_at(start, AtermProblem::HashWithoutAlgorithm(text))),
            Some(_) if text.is_empty() => None,
            Some(algorithm) => {
                let hash = ContentHash::from_base16(algorithm, &text)
                    .map_err(|error| error_at(start, error.into()))?;
                if hash.to_base16() != text {
                    return Err(error_at(start, AtermProblem::UpperCase(text)));
                }
                Some(FixedOutput { method, hash })
            }
        };
        self.token(")", "`)`")?;
        let unhashed = match fixed {
            Some(_) => None,
            None => algorithm.map(|algorithm| (method, algorithm)),
        };
        let output = Output {
            path,
            fixed,
            unhashed,
        };
        Ok((name, output))
    }

    /// `[entry,entry,…]`, calling `entry` at the start of each.
    fn list(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<(), AtermError>,
    ) -> Result<(), AtermError> {
        self.token("[", "`[`")?;
        if self.peek() == Some(b']') {
            self.offset += 1;
            return Ok(());
        }
        loop {
            entry(self)?;
            match self.peek() {
                Some(b',') => self.offset += 1,
                Some(b']') => {
                    self.offset += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    /// A list whose keys must ascend.
    fn sorted_list<Key: Ord + AsRef<[u8]>, Value>(
        &mut self,
        what: &'static str,
        mut entry: impl FnMut(&mut Self) -> Result<(Key, Value), AtermError>,
    ) -> Result<BTreeMap<Key, Value>, AtermError> {
        let mut entries = BTreeMap::new();
        self.list(|parser| {
            let start = parser.offset;
            let (key, value) = entry(parser)?;
            if entries
                .last_key_value()
                .is_some_and(|(last, _)| *last >= key)
            {
                let entry = key.as_ref().to_str_lossy().into_owned();
                return Err(error_at(start, AtermProblem::Order { what, entry }));
            }
            entries.insert(key, value);
            Ok(())
        })?;
        Ok(entries)
    }

    fn store_path(&mut self) -> Result<StorePath, AtermError> {
        let start = self.offset;
        let text = self.text()?;
        self.store_dir
            .parse(&text)
            .map_err(|error| error_at(start, error.into()))
    }

    /// A string that must be UTF-8.
    fn text(&mut self) -> Result<String, AtermError> {
        let start = self.offset;
        String::from_utf8(self.string()?.into())
            .map_err(|_| error_at(start, AtermProblem::Encoding))
    }

    fn string(&mut self) -> Result<BString, AtermError> {
        self.token("\"", "a string")?;
        let mut string = Vec::new();
        loop {
            // Most strings hold nothing special: copy up to the next byte that is.
            let rest = self.rest();
            let plain = rest
                .iter()
                .position(|byte| escape_of(*byte).is_some())
                .unwrap_or(rest.len());
            string.extend_from_slice(&rest[..plain]);
            self.offset += plain;
            match self.peek() {
                None => return Err(self.unexpected("the end of a string")),
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(string.into());
                }
                Some(b'\\') => {
                    let escaped = match self.bytes.get(self.offset + 1) {
                        Some(byte @ (b'"' | b'\\')) => *byte,
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(byte) => {
                            return Err(error_at(self.offset, AtermProblem::Escape(*byte)));
                        }
                        None => {
                            self.offset += 1;
                            return Err(self.unexpected("an escaped character"));
                        }
                    };
                    string.push(escaped);
                    self.offset += 2;
                }
                Some(control) => {
                    let letter = escape_of(control).unwrap_or(control);
                    let problem = AtermProblem::Unescaped(char::from(letter));
                    return Err(error_at(self.offset, problem));
                }
            }
        }
    }

    fn token(&mut self, token: &str, expected: &'static str) -> Result<(), AtermError> {
        if self.rest().starts_with(token.as_bytes()) {
            self.offset += token.len();
            return Ok(());
        }
        // Point at the first byte that differs, not at the start of the token.
        let pairs = self.rest().iter().zip(token.as_bytes());
        self.offset += pairs.take_while(|(seen, wanted)| seen == wanted).count();
        Err(self.unexpected(expected))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    fn unexpected(&self, expected: &'static str) -> AtermError {
        let seen = match self.rest() {
            [] => "the end of the file".to_owned(),
            rest => format!("`{}`", rest[..rest.len().min(16)].escape_ascii()),
        };
        error_at(self.offset, AtermProblem::Unexpected { expected, seen })
    }
}

fn error_at(offset: usize, problem: AtermProblem) -> AtermError {
    AtermError { offset, problem }
}

#[cfg(test)]
mod tests;
