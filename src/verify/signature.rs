//! Ed25519 signatures of JSON documents.
//!
//! Signed is the document without its member `signature`, as JSON without spaces and with the members of every object
//! sorted by name: so white space and order do not matter. A key is a file in PKCS #8, as `openssl genpkey -algorithm
//! ed25519` writes it, in PEM or DER. The signature holds the public key, which people compare with the one they know: by
//! itself it says only that the document was not changed.

use std::path::{Path, PathBuf};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::hash::base16;

/// The member that holds the signature.
const MEMBER: &str = "signature";

/// A key or signature that does not do.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key cannot be read.
    #[error("cannot read the key {}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is no Ed25519 key.
    #[error(
        "{} is no Ed25519 key in PKCS #8 ({detail}): make one with `openssl genpkey -algorithm ed25519 -out FILE`",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The document is not a JSON object.
    #[error("only a JSON object can be signed")]
    Document,
    /// The signature is not in the form that this program writes.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
    /// The signature is not of this document.
    #[error("the signature does not belong to the document: it was changed after it was signed")]
    Wrong,
}

/// A private key.
pub struct Key(Ed25519KeyPair);

impl Key {
    /// Reads the key in the file `path`.
    pub fn read(path: &Path) -> Result<Self, SignatureError> {
        let bytes = std::fs::read(path).map_err(|source| SignatureError::KeyFile {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |detail: String| SignatureError::Key {
            path: path.to_owned(),
            detail,
        };
        let der = match bytes.starts_with(b"-----") {
            true => PrivatePkcs8KeyDer::from_pem_slice(&bytes)
                .map_err(|error| wrong(error.to_string()))?
                .secret_pkcs8_der()
                .to_vec(),
            false => bytes,
        };
        // OpenSSL leaves the public key out.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Self)
            .map_err(|error| wrong(error.to_string()))
    }
}

/// `document` with the signature of `key`, in place of one it has.
pub fn sign(mut document: Value, key: &Key) -> Result<Value, SignatureError> {
    let signature = key.0.sign(&signed_bytes(&mut document)?);
    let object = document.as_object_mut().ok_or(SignatureError::Document)?;
    object.insert(
        MEMBER.to_owned(),
        json!({
            "algorithm": "ed25519",
            "public_key": base16(key.0.public_key().as_ref()),
            "value": base16(signature.as_ref()),
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
    let key = member("public_key").unwrap_or_default();
    let bytes = |text: &str, length: usize| {
        let digits = text.as_bytes();
        if digits.len() != 2 * length || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let pairs = digits.chunks_exact(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<Vec<u8>>>()
    };
    let key_bytes = bytes(key, 32).ok_or(SignatureError::Malformed(
        "expected a public key of 64 hexadecimal digits",
    ))?;
    let value = bytes(member("value").unwrap_or_default(), 64).ok_or(SignatureError::Malformed(
        "expected a value of 128 hexadecimal digits",
    ))?;
    let key = key.to_owned();
    UnparsedPublicKey::new(&ED25519, key_bytes)
        .verify(&signed_bytes(&mut document)?, &value)
        .map_err(|_| SignatureError::Wrong)?;
    Ok(Some(key))
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

    fn key() -> Key {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, PEM).unwrap();
        Key::read(&path).unwrap()
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

    #[test]
    fn what_is_no_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(
            Key::read(&path),
            Err(SignatureError::KeyFile { .. })
        ));
        for content in [
            "",
            "secret",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            assert!(
                matches!(Key::read(&path), Err(SignatureError::Key { .. })),
                "{content}"
            );
        }
    }
}
