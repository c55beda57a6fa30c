// SPDX-License-Identifier: GPL-3.0-or-later
//! Ed25519 signatures of JSON documents.
//!
//! Signed is the document without its member `signature`, as JSON without spaces and with the members of every object
//! sorted by name: so white space and order do not matter. Keys are those of [`keys`](crate::formats::keys). The
//! signature holds the public key, which the reader compares with the one they know: by itself it says only that the
//! document was not changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::formats::hash::{base16, bytes_of_base16};
use crate::formats::keys::{KeyError, PUBLIC, PublicKey, SIGNATURE, SecretKey};

/// The member that holds the signature.
const MEMBER: &str = "signature";

/// A signature that does not do. Messages go on from the document's name.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SignatureError {
    /// The document is not a JSON object.
    #[error("only a JSON object can be signed")]
    #[diagnostic(help("`bootstrap verify --json --sign KEY` writes a signed document"))]
    Document,
    /// The signature is not in the form that this program writes.
    #[error("its signature is malformed: {0}")]
    #[diagnostic(help("have it signed again: `bootstrap verify --json --sign KEY`"))]
    Malformed(&'static str),
    /// The signature is not of this document.
    #[error("its signature does not match: it was changed after it was signed")]
    #[diagnostic(help("do not rely on it; ask its signer for the original document"))]
    Wrong,
}

/// `document` with the signature of `key`, in place of one it has.
pub fn sign(mut document: Value, key: &SecretKey) -> Result<Value, SignatureError> {
    let signature = key.sign(&signed_bytes(&mut document)?);
    let object = document.as_object_mut().ok_or(SignatureError::Document)?;
    object.insert(
        MEMBER.to_owned(),
        json!({
            "algorithm": "ed25519",
            "public_key": base16(key.public().bytes()),
            "value": base16(&signature),
        }),
    );
    Ok(document)
}

/// Checks the signature of `document`, and gives the public key in base 16; `None` where there is no signature.
pub fn check(mut document: Value) -> Result<Option<String>, SignatureError> {
    let Some(signature) = document.get(MEMBER).cloned() else {
        return Ok(None);
    };
    let member = |name| signature.get(name).and_then(Value::as_str);
    if member("algorithm") != Some("ed25519") {
        return Err(SignatureError::Malformed("expected the algorithm ed25519"));
    }
    let key = bytes_of_base16(member("public_key").unwrap_or_default().as_bytes());
    let key: Option<[u8; PUBLIC]> = key.and_then(|bytes| bytes.try_into().ok());
    let key = key.ok_or(SignatureError::Malformed(
        "expected a public key of 64 hexadecimal digits",
    ))?;
    let value = bytes_of_base16(member("value").unwrap_or_default().as_bytes());
    let value = value
        .filter(|value| value.len() == SIGNATURE)
        .ok_or(SignatureError::Malformed(
            "expected a value of 128 hexadecimal digits",
        ))?;
    match PublicKey::new("", key).has_signed(&signed_bytes(&mut document)?, &value) {
        true => Ok(Some(base16(&key))),
        false => Err(SignatureError::Wrong),
    }
}

/// Reads the public keys that `text` stands for: 64 hexadecimal digits, as [`check`] gives them, `NAME:BASE64`, or the
/// name of a file that holds one, or Guix's access control list. In base 16, as [`check`] gives them.
///
/// # Errors
/// Where it is none of these, or the file cannot be read.
pub fn public_keys(text: &str) -> Result<Vec<String>, KeyError> {
    let bytes = bytes_of_base16(text.as_bytes()).filter(|bytes| bytes.len() == PUBLIC);
    if let Some(bytes) = bytes {
        return Ok(vec![base16(&bytes)]);
    }
    let keys = match PublicKey::parse(text) {
        Some(key) => vec![key],
        None => PublicKey::read(Path::new(text))?,
    };
    Ok(keys.iter().map(|key| base16(key.bytes())).collect())
}

/// What is signed of `document`, which loses its signature.
fn signed_bytes(document: &mut Value) -> Result<Vec<u8>, SignatureError> {
    let object = document.as_object_mut().ok_or(SignatureError::Document)?;
    object.remove(MEMBER);
    let mut bytes = Vec::new();
    write_sorted(document, &mut bytes);
    Ok(bytes)
}

/// Writes `value` without spaces, members sorted: whether serde_json sorts them depends on how it was compiled.
fn write_sorted(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(values) => {
            bytes.push(b'[');
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    bytes.push(b',');
                }
                write_sorted(value, bytes);
            }
            bytes.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            bytes.push(b'{');
            for (number, (name, value)) in members.into_iter().enumerate() {
                if number > 0 {
                    bytes.push(b',');
                }
                bytes.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                bytes.push(b':');
                write_sorted(value, bytes);
            }
            bytes.push(b'}');
        }
        simple => bytes.extend_from_slice(simple.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From RFC 8410, section 10.3.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                       -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    fn key() -> SecretKey {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, PEM).unwrap();
        SecretKey::read(&path).unwrap()
    }

    #[test]
    fn a_signed_document_is_whole_whatever_its_white_space_and_order() {
        let signed = sign(json!({"b": [1, {"y": "\"", "x": null}], "a": true}), &key()).unwrap();
        assert_eq!(check(signed.clone()).unwrap().as_deref(), Some(PUBLIC));
        let text = serde_json::to_string_pretty(&signed).unwrap();
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(check(again).unwrap().as_deref(), Some(PUBLIC));
        assert_eq!(
            String::from_utf8(signed_bytes(&mut signed.clone()).unwrap()).unwrap(),
            r#"{"a":true,"b":[1,{"x":null,"y":"\""}]}"#
        );
    }

    #[test]
    fn a_changed_document_is_found_out() {
        let mut signed = sign(json!({"a": 1}), &key()).unwrap();
        signed["a"] = json!(2);
        assert!(matches!(check(signed), Err(SignatureError::Wrong)));
        let mut signed = sign(json!({"a": 1}), &key()).unwrap();
        signed["b"] = json!(1);
        assert!(matches!(check(signed), Err(SignatureError::Wrong)));
    }

    #[test]
    fn a_key_is_known_by_its_digits_its_text_or_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pub");
        let public = key().public().to_string();
        std::fs::write(&path, format!("{public}\n")).unwrap();
        let upper = PUBLIC.to_uppercase();
        for text in [upper.as_str(), &public, path.to_str().unwrap()] {
            assert_eq!(public_keys(text).unwrap(), [PUBLIC]);
        }
        for text in ["", &PUBLIC[1..], "nobody:AAAA", "/nonexistent/key.pub"] {
            assert!(public_keys(text).is_err(), "{text}");
        }
    }

    #[test]
    fn malformed_signatures_are_refused_and_absent_ones_told() {
        assert_eq!(check(json!({"a": 1})).unwrap(), None);
        for signature in [
            json!(1),
            json!({"algorithm": "rsa"}),
            json!({"algorithm": "ed25519", "public_key": "zz", "value": ""}),
            json!({"algorithm": "ed25519", "public_key": PUBLIC, "value": "+1"}),
        ] {
            let checked = check(json!({"signature": signature}));
            assert!(
                matches!(checked, Err(SignatureError::Malformed(_))),
                "{checked:?}"
            );
        }
        assert!(matches!(
            sign(json!([1]), &key()),
            Err(SignatureError::Document)
        ));
    }
}
