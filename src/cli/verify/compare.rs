//! `verify --compare`: two people's documents.

use std::path::Path;

use serde::Serialize;

use crate::cli::context::{Context, print, print_json};
use crate::cli::failure::{Failure, Status};
use crate::verify::attestation::{self, Attestation, Comparison};
use crate::verify::signature;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// The public keys that signed the documents, in base 16.
    signed_by: [Option<String>; 2],
}

/// `bootstrap verify --compare A.json B.json`.
pub fn compare(context: &Context, first: &Path, second: &Path) -> Result<(), Failure> {
    let (first_document, first_key) = read(first)?;
    let (second_document, second_key) = read(second)?;
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
        true => "the documents have no output in common: they say nothing of each other".to_owned(),
        false => format!(
            "the documents do not agree: {} outputs differ, {} were not good where they were verified, and {} other \
             things were not as they should be",
            comparison.different.len(),
            comparison.bad.len(),
            comparison.damage.len()
        ),
    };
    Err(Failure::Told {
        message,
        status: Status::Hashes,
    })
}

/// A document, and the key that signed it, if one has.
fn read(path: &Path) -> Result<(Attestation, Option<String>), Failure> {
    let text = std::fs::read(path).map_err(Failure::reading(path))?;
    let text = String::from_utf8_lossy(&text);
    let document = Attestation::parse(&path.display().to_string(), &text)?;
    let key = match serde_json::from_str(&text) {
        Ok(value) => {
            signature::check(value).map_err(Failure::signature(path.display().to_string()))?
        }
        // It has just been read.
        Err(_) => None,
    };
    Ok((document, key))
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
        text.push_str(&format!("other origin: {line}\n"));
    }
    for different in &comparison.different {
        text.push_str(&format!(
            "differs: {} {}\n  {}\n  {}\n",
            different.output, different.path, different.first, different.second
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
            text.push_str(&format!("{word}: {name}\n"));
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
