// SPDX-License-Identifier: GPL-3.0-or-later
//! Ed25519 keys (RFC 8032): what exports, substitutes and attestations are signed with, and checked.
//!
//! | module | what | format of |
//! |---|---|---|
//! | this one | keys, and signatures spelled `NAME:BASE64` | Nix |
//! | [`guix`] | signatures and public keys as S-expressions | Guix |
//! | [`sexp`] | S-expressions | libgcrypt, SPKI |
//! | [`ecdsa`] | the kind of signature that Guix's keys make | RFC 6979 |
//!
//! A secret key is read from a file in either of two forms, whatever it is to sign:
//!
//! - `NAME:BASE64`, as Nix has it: the seed (32 bytes) and the public key (32 bytes) in the base 64 of RFC 4648 with
//!   padding. This is what `bootstrap key` writes.
//! - PKCS #8 (RFC 8410) in PEM or DER, as `openssl genpkey -algorithm ed25519` writes it. Such a key is named after its
//!   file, without the extension.
//!
//! A public key is `NAME:BASE64` with 32 bytes, or Guix's S-expression.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use crate::diagnostics::FileError;
use crate::formats::visible::{visible, visible_path};

pub mod ecdsa;
pub mod guix;
mod guix_secret;
pub mod sexp;
#[cfg(test)]
pub(crate) mod testing;

pub use guix_secret::GuixSecretKey;

/// Bytes of a seed.
const SEED: usize = 32;
/// Bytes of a public key.
pub const PUBLIC: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE: usize = 64;
/// How PKCS #8 announces a seed: the algorithm's number (1.3.101.112), then an octet string within an octet string.
const PKCS8_SEED: [u8; 9] = [0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeyError {
    /// A file without a secret key.
    #[error(
        "{what} is not a secret key: expected NAME:BASE64 with {} bytes, as `bootstrap key NAME FILE` writes it, or Ed25519 in \
         PKCS #8, as `openssl genpkey -algorithm ed25519 -out FILE` does",
        SEED + PUBLIC
    )]
    Secret {
        /// The file.
        what: String,
    },
    /// A name that no key can have.
    #[error(
        "`{}` cannot be a key's name: expected letters, digits, dots and dashes, such as example.org-1",
        visible(.0)
    )]
    Name(String),
    /// An option or file without a public key.
    #[error(
        "{what} is not a public key: expected NAME:BASE64 with {PUBLIC} bytes, as `bootstrap key NAME FILE` prints it, or the \
         path of a file that holds one (`/…`, `./…`), or Guix's signing-key.pub or acl"
    )]
    Public {
        /// The option and what it holds.
        what: String,
    },
    /// A file with nothing but RSA keys.
    #[error("{what} holds an RSA key: RSA keys are not supported")]
    #[diagnostic(help("make an Ed25519 key, as `guix archive --generate-key` does by default"))]
    Rsa {
        /// The file.
        what: String,
    },
    /// An access control list that lets no key sign imports.
    #[error("{what} lists keys, but none with the tag `(guix import)`")]
    Tags {
        /// The file.
        what: String,
    },
    /// A key file that is there already.
    #[error("{} exists already", visible_path(.0))]
    #[diagnostic(help("give another name: a new key cannot check what the old one signed"))]
    Exists(PathBuf),
    /// A key file that cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// No random numbers.
    #[error("cannot get random numbers from the system for a key")]
    #[diagnostic(help("make the key on another machine, and copy its file here"))]
    Random,
}

impl KeyError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let wrap = FileError::named_by_user(action, path);
        move |source| Self::File(wrap(source))
    }
}

/// A key to sign with.
pub struct SecretKey {
    name: String,
    seed: [u8; SEED],
    pair: Ed25519KeyPair,
}

/// A key to check signatures with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: [u8; PUBLIC],
}

/// `NAME:BASE64` with `length` bytes.
fn split(text: &str, length: usize) -> Option<(&str, Vec<u8>)> {
    let (name, encoded) = text.trim().split_once(':')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    (!name.is_empty() && bytes.len() == length).then_some((name, bytes))
}

impl SecretKey {
    /// Reads `bytes`, the contents of a file, in either form. A key without a name of its own is called `name`.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(Self::parse)
            .or_else(|| Self::from_pkcs8(bytes, name.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, bytes) = split(text, SEED + PUBLIC)?;
        let (seed, public) = bytes.split_at(SEED);
        Some(Self {
            name: name.to_owned(),
            seed: seed.try_into().ok()?,
            pair: Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?,
        })
    }

    fn from_pkcs8(bytes: &[u8], name: String) -> Option<Self> {
        let der = match bytes.starts_with(b"-----") {
            true => PrivatePkcs8KeyDer::from_pem_slice(bytes)
                .ok()?
                .secret_pkcs8_der()
                .to_vec(),
            false => bytes.to_vec(),
        };
        // OpenSSL leaves the public key out.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?;
        let at = der
            .windows(PKCS8_SEED.len())
            .position(|window| window == PKCS8_SEED)?
            + PKCS8_SEED.len();
        Some(Self {
            name,
            seed: der.get(at..at + SEED)?.try_into().ok()?,
            pair,
        })
    }

    /// Makes a new key called `name`.
    ///
    /// # Errors
    /// Where the name cannot be one, or the system has no randomness.
    pub fn random(name: &str) -> Result<Self, KeyError> {
        // It stands between colons, semicolons and white space.
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-+@".contains(letter);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let mut seed = [0; SEED];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| KeyError::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Random)?;
        Ok(Self {
            name: name.to_owned(),
            seed,
            pair,
        })
    }

    /// The key as `NAME:BASE64`: the secret itself, for a file that only its owner can read.
    pub fn to_secret_text(&self) -> String {
        let secret = STANDARD.encode([self.seed, self.public().bytes].concat());
        format!("{}:{secret}", self.name)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What checks its signatures.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey {
            name: self.name.clone(),
            bytes,
        }
    }

    /// The signature of `message`: Ed25519, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// The signature of `message` as Nix's narinfos have it, `NAME:BASE64`.
    pub fn sign_named(&self, message: &str) -> String {
        let signature = self.sign(message.as_bytes());
        format!("{}:{}", self.name, STANDARD.encode(signature))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey({})", self.name)
    }
}

impl PublicKey {
    /// The key `bytes`, called `name`.
    pub fn new(name: impl Into<String>, bytes: [u8; PUBLIC]) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }

    /// Reads `NAME:BASE64`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, bytes) = split(text, PUBLIC)?;
        Some(Self::new(name, bytes.try_into().ok()?))
    }

    /// Reads the public keys in `bytes`, the contents of a file that messages call `what`; there is at least one. A key
    /// without a name of its own is called `name`.
    ///
    /// # Errors
    /// Where the file holds no key.
    pub fn all_from_bytes(bytes: &[u8], name: &str, what: String) -> Result<Vec<Self>, KeyError> {
        let text = std::str::from_utf8(bytes).ok();
        if let Some(key) = text.and_then(Self::parse) {
            return Ok(vec![key]);
        }
        match guix::public_keys(bytes, name) {
            guix::PublicKeys { keys, .. } if !keys.is_empty() => Ok(keys),
            guix::PublicKeys { rsa: true, .. } => Err(KeyError::Rsa { what }),
            guix::PublicKeys {
                other_tags: true, ..
            } => Err(KeyError::Tags { what }),
            _ => Err(KeyError::Public { what }),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> &[u8; PUBLIC] {
        &self.bytes
    }

    /// Whether `signature` is this key's of `message`.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        key.verify(message, signature).is_ok()
    }

    /// Whether `signature`, spelled `NAME:BASE64`, is this key's of `message`.
    pub fn has_signed_named(&self, message: &str, signature: &str) -> bool {
        split(signature, SIGNATURE).is_some_and(|(name, bytes)| {
            name == self.name && self.has_signed(message.as_bytes(), &bytes)
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, STANDARD.encode(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_can_be_checked_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let public = SecretKey::generate("here-1", &path).unwrap();
        let secret = SecretKey::read(&path).unwrap();
        let signature = secret.sign_named("message");
        assert!(signature.starts_with("here-1:"));
        assert!(public.has_signed_named("message", &signature));
        assert!(!public.has_signed_named("massage", &signature));
        assert!(!public.has_signed_named("message", &signature.replace("here-1", "here-2")));
        assert!(!public.has_signed_named("message", "here-1:AAAA"));
        let text = std::fs::read_to_string(directory.path().join("key.pub")).unwrap();
        assert_eq!(PublicKey::parse(&text), Some(public.clone()));
        assert_eq!(PublicKey::parse(&public.to_string()), Some(public));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_is_never_overwritten_and_a_bad_one_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "here-1:c2hvcnQ=").unwrap();
        assert!(matches!(
            SecretKey::generate("a", &path),
            Err(KeyError::Exists(_))
        ));
        // Nor is half a key left where the other half cannot be written.
        let half = directory.path().join("half");
        std::fs::write(directory.path().join("half.pub"), "").unwrap();
        assert!(matches!(
            SecretKey::generate("a", &half),
            Err(KeyError::Exists(_))
        ));
        assert!(!half.exists());
        for name in ["", "a:b", "a b", "a;b"] {
            let made = SecretKey::generate(name, &directory.path().join("new"));
            assert!(matches!(made, Err(KeyError::Name(_))), "{name}");
        }
        for content in [
            "",
            "secret",
            "here-1:c2hvcnQ=",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            let read = SecretKey::read(&path);
            assert!(matches!(read, Err(KeyError::Secret { .. })), "{content}");
            let read = PublicKey::read(&path);
            assert!(matches!(read, Err(KeyError::Public { .. })), "{content}");
        }
        let nowhere = directory.path().join("nowhere");
        let error = SecretKey::read(&nowhere).unwrap_err();
        assert!(matches!(error, KeyError::File(_)));
        // A name that begins like one of a file is one.
        let error = PublicKey::parse_all("--trusted-keys", "./nowhere").unwrap_err();
        assert!(matches!(error, KeyError::File(_)), "{error}");
        let error = PublicKey::parse_all("--trusted-keys", "nonsense").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("--trusted-keys: `nonsense` is not a public key")
        );
        assert!(PublicKey::parse("a:!!!").is_none());
    }

    /// The key of RFC 8410, 10.3, with and without the public half that version 2 of the format has (RFC 5958).
    #[test]
    fn a_key_of_openssl_is_called_as_its_file_and_is_the_same_key() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("example.org-1.pem");
        std::fs::write(&path, pem).unwrap();
        let key = SecretKey::read(&path).unwrap();
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(crate::formats::hash::base16(key.public().bytes()), public);
        assert_eq!(key.name(), "example.org-1");
        assert!(key.public().has_signed(b"message", &key.sign(b"message")));

        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut second = der.secret_pkcs8_der().to_vec();
        second[1] = 0x51;
        second[4] = 1;
        second.extend([0x81, 0x21, 0x00]);
        second.extend(key.public().bytes());
        std::fs::write(&path, second).unwrap();
        assert_eq!(SecretKey::read(&path).unwrap().seed, key.seed);
    }

    /// The first test of RFC 8032, 7.1: the empty message.
    #[test]
    fn a_published_signature_is_accepted() {
        let hex = |text: &str| crate::formats::hash::bytes_of_base16(text.as_bytes()).unwrap();
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                         d25bf5f0595bbe24655141438e7a100b";
        let key = format!("rfc:{}", STANDARD.encode(hex(key)));
        let signature = format!("rfc:{}", STANDARD.encode(hex(signature)));
        assert!(
            PublicKey::parse(&key)
                .unwrap()
                .has_signed_named("", &signature)
        );
    }
}
