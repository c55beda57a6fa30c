//! Ed25519 keys (RFC 8032) in Nix's spelling: `NAME:BASE64`, in the base 64 of RFC 4648 with padding.
//!
//! A public key is 32 bytes, a secret one 64: the seed and the public key. A signature is spelled alike, with the name of
//! the key that made it.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::ExchangeError;

const SEED: usize = 32;
const PUBLIC: usize = 32;
const SIGNATURE: usize = 64;

/// A key to sign with.
pub struct SecretKey {
    name: String,
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
    /// Reads the key in the file `path`.
    ///
    /// # Errors
    /// Where the file cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, ExchangeError> {
        let text =
            std::fs::read_to_string(path).map_err(ExchangeError::io("read the key", path))?;
        Self::parse(&text).ok_or_else(|| ExchangeError::Key {
            what: path.display().to_string(),
            kind: "secret",
            bytes: SEED + PUBLIC,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, bytes) = split(text, SEED + PUBLIC)?;
        let (seed, public) = bytes.split_at(SEED);
        Some(Self {
            name: name.to_owned(),
            pair: Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?,
        })
    }

    /// Makes a new key called `name`: the secret key in the new file `path`, which only its owner can read, the public one
    /// in `path` with `.pub` after it.
    ///
    /// # Errors
    /// Where a file is there already or cannot be written.
    pub fn generate(name: &str, path: &Path) -> Result<PublicKey, ExchangeError> {
        let wrong = || ExchangeError::Key {
            what: format!("`{name}`"),
            kind: "secret",
            bytes: SEED + PUBLIC,
        };
        if name.is_empty() || name.contains([':', ' ', '\n']) {
            return Err(wrong());
        }
        let mut seed = [0; SEED];
        SystemRandom::new().fill(&mut seed).map_err(|_| wrong())?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| wrong())?;
        let public = pair.public_key().as_ref();
        let secret = format!("{name}:{}\n", STANDARD.encode([&seed, public].concat()));
        let public = format!("{name}:{}\n", STANDARD.encode(public));
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        for (path, text, mode) in [
            (path.to_owned(), &secret, 0o600),
            (PathBuf::from(public_path), &public, 0o644),
        ] {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(mode).open(&path);
            let mut file = file.map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => ExchangeError::KeyExists(path.clone()),
                _ => ExchangeError::io("create", &path)(error),
            })?;
            file.write_all(text.as_bytes())
                .map_err(ExchangeError::io("write", &path))?;
        }
        PublicKey::parse(&public).ok_or_else(wrong)
    }

    /// The signature of `message`, as narinfos have it.
    pub fn sign(&self, message: &str) -> String {
        let signature = self.pair.sign(message.as_bytes());
        format!("{}:{}", self.name, STANDARD.encode(signature))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey({})", self.name)
    }
}

impl PublicKey {
    /// Reads `NAME:BASE64`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, bytes) = split(text, PUBLIC)?;
        Some(Self {
            name: name.to_owned(),
            bytes: bytes.try_into().ok()?,
        })
    }

    /// Reads keys with white space between them, from an option called `what`.
    ///
    /// # Errors
    /// Names the first that is none.
    pub fn parse_all(what: &str, text: &str) -> Result<Vec<Self>, ExchangeError> {
        text.split_whitespace()
            .map(|key| {
                Self::parse(key).ok_or_else(|| ExchangeError::Key {
                    what: format!("{what}: `{key}`"),
                    kind: "public",
                    bytes: PUBLIC,
                })
            })
            .collect()
    }

    /// Whether `signature`, spelled `NAME:BASE64`, is this key's of `message`.
    pub fn has_signed(&self, message: &str, signature: &str) -> bool {
        split(signature, SIGNATURE).is_some_and(|(name, bytes)| {
            let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
            name == self.name && key.verify(message.as_bytes(), &bytes).is_ok()
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
        let signature = secret.sign("message");
        assert!(signature.starts_with("here-1:"));
        assert!(public.has_signed("message", &signature));
        assert!(!public.has_signed("massage", &signature));
        assert!(!public.has_signed("message", &signature.replace("here-1", "here-2")));
        assert!(!public.has_signed("message", "here-1:AAAA"));
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
            Err(ExchangeError::KeyExists(_))
        ));
        assert!(matches!(
            SecretKey::read(&path),
            Err(ExchangeError::Key { .. })
        ));
        for name in ["", "a:b", "a b"] {
            assert!(SecretKey::generate(name, &directory.path().join("new")).is_err());
        }
        let error = PublicKey::parse_all("--trusted-keys", "nonsense").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("--trusted-keys: `nonsense` is no public key")
        );
        assert!(PublicKey::parse("a:!!!").is_none());
    }

    /// The first test of RFC 8032, 7.1: the empty message.
    #[test]
    fn a_published_signature_is_accepted() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2)
                .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
                .collect()
        };
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                         d25bf5f0595bbe24655141438e7a100b";
        let key = format!("rfc:{}", STANDARD.encode(hex(key)));
        let signature = format!("rfc:{}", STANDARD.encode(hex(signature)));
        assert!(PublicKey::parse(&key).unwrap().has_signed("", &signature));
    }
}
