// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading documents that others wrote, some of whom may want to be misread.
//!
//! JSON does not say what two members of one name mean, and readers differ: of a document that has some, each could see
//! another half signed. So there are none here, and no output occurs twice. Names are without characters that
//! terminals act upon or do not show, hashes and store paths are such: where two of them are equal, they say something.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Attestation, AttestationError, FORMAT, NamedHash};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{StoreDir, StorePath, check_name};
use crate::formats::visible::{is_invisible, visible};

/// The JSON `bytes`, called `name` in messages.
///
/// # Errors
/// Where they are not JSON, not UTF-8, or an object has two members of one name.
pub fn value(name: &str, bytes: &[u8]) -> Result<Value, AttestationError> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(name, &error))?;
    let Strict(value) = serde_json::from_str(text).map_err(|error| malformed(name, &error))?;
    Ok(value)
}

fn malformed(name: &str, detail: &dyn fmt::Display) -> AttestationError {
    AttestationError::Malformed {
        name: name.to_owned(),
        // It may quote the document.
        detail: visible(detail.to_string()),
    }
}

impl Attestation {
    /// Reads the document `bytes`, called `name` in messages. A signature in it is not looked at.
    ///
    /// # Errors
    /// Where it is something else, or could be misread.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, AttestationError> {
        Self::from_value(name, value(name, bytes)?)
    }

    /// The document in `value`, which [`value`] has read.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn from_value(name: &str, value: Value) -> Result<Self, AttestationError> {
        let format = value.get("format").and_then(Value::as_u64);
        if let Some(found) = format.filter(|found| *found != u64::from(FORMAT)) {
            return Err(AttestationError::Format {
                name: name.to_owned(),
                found,
            });
        }
        let document: Self =
            serde_json::from_value(value).map_err(|error| malformed(name, &error))?;
        check(&document).map_err(|detail| malformed(name, &detail))?;
        Ok(document)
    }
}

/// Finds what is not as this program writes it.
fn check(document: &Attestation) -> Result<(), String> {
    name("the system", &document.system)?;
    for (what, hashes) in [
        ("seed", &document.seeds),
        ("source", &document.sources),
        ("plan", &document.plans),
    ] {
        for NamedHash {
            name: known,
            sha256,
        } in hashes
        {
            name(what, known)?;
            digest(known, sha256)?;
        }
    }
    for seed in document.impure.keys() {
        name("an impure seed", seed)?;
        if !document.seeds.iter().any(|known| &known.name == seed) {
            return Err(format!(
                "the impure seed {} is not among its seeds",
                visible(seed)
            ));
        }
    }
    for what in document.other_damage.keys() {
        name("what is damaged", what)?;
    }
    let mut outputs = BTreeSet::new();
    let mut items: BTreeMap<&str, &str> = BTreeMap::new();
    for output in &document.outputs {
        let shown = visible(format!("{}:{}", output.package, output.output));
        // A colon or a space would make the name of another output, or of a second one.
        let is_label = |letter: char| letter.is_ascii_graphic() && letter != ':';
        if output.package.is_empty() || !output.package.chars().all(is_label) {
            return Err(format!("{shown} is the name of no package"));
        }
        check_name(&output.output).map_err(|error| format!("{shown}: {error}"))?;
        if !outputs.insert((&output.package, &output.output)) {
            return Err(format!("the output {shown} occurs twice"));
        }
        let made = output.made.iter();
        for made in made.chain(output.second.iter().map(|second| &second.made)) {
            name("how an output was made", made)?;
        }
        let second = output.second.iter();
        let second = second.map(|second| (second.path.as_str(), second.sha256.as_str()));
        let first = (output.path.as_str(), output.sha256.as_str());
        for (path, sha256) in std::iter::once(first).chain(second) {
            store_path(&shown, path)?;
            digest(&shown, sha256)?;
            if items
                .insert(path, sha256)
                .is_some_and(|other| other != sha256)
            {
                return Err(format!("it has two hashes of {path}"));
            }
        }
    }
    Ok(())
}

fn name(what: &str, text: &str) -> Result<(), String> {
    match text.is_empty() || text.chars().any(is_invisible) {
        true => Err(format!(
            "expected a name for {what}, saw `{}`",
            visible(text)
        )),
        false => Ok(()),
    }
}

/// Lower case, as it is written: another spelling would be another hash where two are compared.
fn digest(of: &str, text: &str) -> Result<(), String> {
    match Sha256Digest::from_base16(text) {
        Ok(found) if found.to_base16() == text => Ok(()),
        _ => Err(format!(
            "{of}: expected a SHA-256 of 64 hexadecimal digits in lower case, saw `{}`",
            visible(text)
        )),
    }
}

/// In any store directory: what others built goes wherever they like.
fn store_path(of: &str, text: &str) -> Result<(), String> {
    let (directory, base_name) = text.rsplit_once('/').unwrap_or_default();
    let directory = StoreDir::new(directory);
    match directory.and_then(|_| StorePath::from_base_name(base_name)) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{of}: expected a store path, saw `{}`",
            visible(text)
        )),
    }
}

/// JSON without members of the same name.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                let name = visible(&name);
                return Err(A::Error::custom(format!(
                    "the member `{name}` occurs twice"
                )));
            }
            let Strict(value) = map.next_value()?;
            members.insert(name, value);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
#[path = "read/tests.rs"]
mod tests;
