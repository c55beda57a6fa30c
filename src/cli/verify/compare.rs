// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --compare`: documents of two machines.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::cli::context::{Context, print, print_json};
use crate::cli::failure::{Failure, Status};
use crate::formats::visible::visible;
use crate::show::progress::size::counted;
use crate::verify::attestation::{self, Attestation, Comparison};
use crate::verify::signature;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// The public keys that signed the documents, in base 16.
    signed_by: [Option<String>; 2],
}

/// `bootstrap verify --compare A.json B.json`. With `signed_by`, both have to be signed by one of these keys.
pub fn compare(
    context: &Context,
    [first, second]: [&Path; 2],
    signed_by: &[String],
) -> Result<(), Failure> {
    let mut trusted = BTreeSet::new();
    for key in signed_by {
        trusted.extend(signature::public_keys(key)?);
    }
    let (first_document, first_key) = read(first)?;
    let (second_document, second_key) = read(second)?;
    if !signed_by.is_empty() {
        require_signature(first, first_key.as_deref(), &trusted)?;
        require_signature(second, second_key.as_deref(), &trusted)?;
    }
    let comparison = attestation::compare(&first_document, &second_document);
    let keys = [first_key, second_key];
    if context.options.json {
        print_json(&Shown {
            comparison: &comparison,
            signed_by: keys,
        })?;
    } else {
        print(&describe(&comparison, [first, second], &keys))?;
    }
    if comparison.agrees() {
        return Ok(());
    }
    let message = match comparison.same.is_empty() && comparison.different.is_empty() {
        true => "nothing was compared: the documents have no output in common".to_owned(),
        false => format!(
            "the documents do not agree: {}, {} not good where verified, {} of other kinds",
            counted(comparison.different.len(), "different output"),
            comparison.bad.len(),
            counted(comparison.damage.len(), "problem")
        ),
    };
    Err(Failure::new(Status::Hashes, message, ""))
}

/// A document, and the key that signed it, if one has.
fn read(path: &Path) -> Result<(Attestation, Option<String>), Failure> {
    let bytes = std::fs::read(path).map_err(Failure::reading(path))?;
    let name = path.display().to_string();
    // What the signature covers and what is read are the same bytes.
    let value = attestation::read::value(&name, &bytes)?;
    let document = Attestation::from_value(&name, value.clone())?;
    let key = signature::check(value).map_err(Failure::signature(name))?;
    Ok((document, key))
}

/// Fails unless `key`, which signed the document `path`, is one of those `trusted`.
fn require_signature(
    path: &Path,
    key: Option<&str>,
    trusted: &BTreeSet<String>,
) -> Result<(), Failure> {
    let path = path.display();
    let (message, hint) = match key {
        Some(key) if trusted.contains(key) => return Ok(()),
        Some(key) => (
            format!("{path} is signed by the Ed25519 key {key}, which --signed-by does not name"),
            "ask its author for their key",
        ),
        None => (
            format!("{path} is not signed, and --signed-by requires a signature"),
            "ask its author for the signed document, and sign your own with --sign",
        ),
    };
    Err(Failure::new(Status::Hashes, message, hint))
}

fn describe(comparison: &Comparison, files: [&Path; 2], keys: &[Option<String>; 2]) -> String {
    let mut text = String::new();
    for (file, key) in files.iter().zip(keys) {
        let signed = match key {
            Some(key) => format!("signed by the Ed25519 key {key}"),
            None => "not signed".to_owned(),
        };
        text.push_str(&format!("{}: {signed}\n", file.display()));
    }
    for line in &comparison.origin {
        text.push_str(&format!("other origin: {}\n", visible(line)));
    }
    for line in &comparison.impure {
        text.push_str(&format!("impure: {}\n", visible(line)));
    }
    for different in &comparison.different {
        text.push_str(&format!(
            "differs: {} {}\n  {}\n  {}\n",
            visible(&different.output),
            different.path,
            different.first,
            different.second
        ));
    }
    for (names, word) in [
        (&comparison.bad, "not good"),
        (&comparison.damage, "damage"),
        (&comparison.incomparable, "other derivation"),
        (&comparison.only_first, "in the first only"),
        (&comparison.only_second, "in the second only"),
    ] {
        for name in names {
            text.push_str(&format!("{word}: {}\n", visible(name)));
        }
    }
    text.push_str(&format!(
        "{} outputs the same, {} differ, {} cannot be compared\n",
        comparison.same.len(),
        comparison.different.len(),
        comparison.incomparable.len() + comparison.only_first.len() + comparison.only_second.len()
    ));
    text
}
