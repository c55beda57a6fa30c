// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --compare`: documents of two machines.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::cli::context::{Context, print, print_json};
use crate::cli::failure::{CommandFailure, Status};
use crate::show::comparisons;
use crate::show::progress::size::counted;
use crate::verify::attestation::{self, Attestation, Comparison};
use crate::verify::signature;

#[derive(Debug, Serialize)]
struct ComparisonDocument<'a> {
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
) -> Result<(), CommandFailure> {
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
        print_json(&ComparisonDocument {
            comparison: &comparison,
            signed_by: keys,
        })?;
    } else {
        print(&comparisons::documents(&comparison, [first, second], &keys))?;
    }
    if comparison.agrees() {
        return Ok(());
    }
    let message = match comparison.same.is_empty() && comparison.different.is_empty() {
        true => "nothing was compared: the documents have no output in common".to_owned(),
        false => format!(
            "the documents do not agree: {}, {} that failed their own verification, {} of other kinds",
            counted(comparison.different.len(), "different output"),
            comparison.bad.len(),
            counted(comparison.damage.len(), "problem")
        ),
    };
    Err(CommandFailure::new(Status::Hashes, message, ""))
}

/// A document, and the key that signed it, if one has.
fn read(path: &Path) -> Result<(Attestation, Option<String>), CommandFailure> {
    let bytes = crate::limited_file::read_document(path).map_err(CommandFailure::reading(path))?;
    let name = path.display().to_string();
    // What the signature covers and what is read are the same bytes.
    let value = attestation::read::value(&name, &bytes)?;
    let document = Attestation::from_value(&name, value.clone())?;
    let key = signature::check(value).map_err(CommandFailure::signature(name))?;
    Ok((document, key))
}

/// Fails unless `key`, which signed the document `path`, is one of those `trusted`.
fn require_signature(
    path: &Path,
    key: Option<&str>,
    trusted: &BTreeSet<String>,
) -> Result<(), CommandFailure> {
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
    Err(CommandFailure::new(Status::Hashes, message, hint))
}
