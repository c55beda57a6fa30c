//! Signatures and public keys as Guix has them, S-expressions of libgcrypt's:
//!
//! ```text
//! (signature (data (flags rfc6979) (hash sha256 #DIGEST#))
//!            (sig-val (ecdsa (r #R#) (s #S#)))
//!            (public-key (ecc (curve Ed25519) (q #Q#))))
//! ```
//!
//! The public key is also what `guix archive --authorize` reads, and what entries of the access control list in
//! `/etc/guix/acl` hold. Guix compares keys as expressions: they must have exactly these members in this order. `Q` is the
//! 32 bytes of RFC 8032. What is signed is the digest, by [`ecdsa`](super::ecdsa).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ecdsa::Signature;
use super::sexp::{Sexp, only, single};
use super::{PublicKey, SecretKey};
use crate::formats::hash::Sha256Digest;

/// Why a signature does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Mistrust {
    /// It cannot be read.
    #[error("a signature that is no Ed25519 signature of Guix's")]
    Malformed,
    /// It is by a key that nobody trusts: its 32 bytes in base 64, as after `NAME:`.
    #[error("it is signed by the key {0}")]
    Stranger(String),
    /// It is of something else.
    #[error("it is signed for other bytes")]
    Differs(Sha256Digest),
    /// It is not by the key that it names.
    #[error("a signature that {0} has not made")]
    Forged(String),
}

fn list(name: &str, elements: impl IntoIterator<Item = Sexp>) -> Sexp {
    let name = Sexp::atom(name);
    Sexp::List(std::iter::once(name).chain(elements).collect())
}

/// `key` as Guix has it.
pub fn public_key(key: &PublicKey) -> Sexp {
    let curve = list("curve", [Sexp::atom("Ed25519")]);
    let point = list("q", [Sexp::atom(*key.bytes())]);
    list("public-key", [list("ecc", [curve, point])])
}

/// The bytes of a public key: the elements after `public-key`.
fn point(key: &[Sexp]) -> Option<[u8; 32]> {
    let [Sexp::List(_)] = key else {
        return None;
    };
    let members = only(key, "ecc")?;
    let is_ours = members.len() == 2 && single(only(members, "curve")?) == Some(b"Ed25519");
    let bytes = single(only(members, "q")?)?.try_into().ok()?;
    is_ours.then_some(bytes)
}

/// Every public key in `text`: one alone, or those of an access control list. All are called `name`.
pub fn public_keys(text: &[u8], name: &str) -> Vec<PublicKey> {
    let expression = Sexp::parse(text);
    let found = expression.iter().flat_map(|found| found.all("public-key"));
    found
        .filter_map(|key| point(key.list("public-key")?))
        .map(|bytes| PublicKey::new(name, bytes))
        .collect()
}

/// `number` without zeros before it, as libgcrypt writes numbers.
fn number(bytes: &[u8; 32]) -> Sexp {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Sexp::atom(&bytes[zeros..])
}

/// The signature of `digest` by `key`.
pub fn sign(key: &SecretKey, digest: &Sha256Digest) -> Sexp {
    sexp_of(&key.sign_digest(digest), &key.public(), digest)
}

/// `signature`, which is of `digest` by the owner of `key`, as Guix has it.
pub fn sexp_of(signature: &Signature, key: &PublicKey, digest: &Sha256Digest) -> Sexp {
    let flags = list("flags", [Sexp::atom("rfc6979")]);
    let hash = list("hash", [Sexp::atom("sha256"), Sexp::atom(digest.0)]);
    let numbers = [("r", signature.r), ("s", signature.s)];
    let numbers = numbers.map(|(name, bytes)| list(name, [number(&bytes)]));
    list(
        "signature",
        [
            list("data", [flags, hash]),
            list("sig-val", [list("ecdsa", numbers)]),
            public_key(key),
        ],
    )
}

/// Checks that `text` is a signature of `digest` by one of `keys`.
///
/// # Errors
/// Where it is not.
pub fn check(text: &str, digest: &Sha256Digest, keys: &[PublicKey]) -> Result<(), Mistrust> {
    let (signed, signature, bytes) = read(text).ok_or(Mistrust::Malformed)?;
    let key = keys
        .iter()
        .find(|key| *key.bytes() == bytes)
        .ok_or_else(|| Mistrust::Stranger(STANDARD.encode(bytes)))?;
    if signed != *digest {
        return Err(Mistrust::Differs(signed));
    }
    match key.has_signed_digest(digest, &signature) {
        true => Ok(()),
        false => Err(Mistrust::Forged(key.name().to_owned())),
    }
}

/// What is signed, the signature, and the key.
fn read(text: &str) -> Option<(Sha256Digest, Signature, [u8; 32])> {
    let expression = Sexp::parse(text.as_bytes())?;
    let members = expression.list("signature")?;
    let [algorithm, digest] = only(only(members, "data")?, "hash")? else {
        return None;
    };
    if algorithm.bytes()? != b"sha256" {
        return None;
    }
    let digest = Sha256Digest(digest.bytes()?.try_into().ok()?);
    let numbers = only(only(members, "sig-val")?, "ecdsa")?;
    let number = |name| {
        let bytes = single(only(numbers, name)?)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        let mut number = [0; 32];
        let start = number.len().checked_sub(bytes.len())?;
        number[start..].copy_from_slice(bytes);
        Some(number)
    };
    let signature = Signature {
        r: number("r")?,
        s: number("s")?,
    };
    Some((digest, signature, point(only(members, "public-key")?)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key whose seed is 32 times 7.
    pub fn key() -> SecretKey {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test-1");
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend([7; 32]);
        std::fs::write(&path, der).unwrap();
        SecretKey::read(&path).unwrap()
    }

    /// What libgcrypt 1.10 writes for this key and the SHA-256 of `abc`.
    const OURS: &str = "(signature (data (flags rfc6979) (hash sha256 \
        #BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD#)) (sig-val (ecdsa (r \
        #0BA30BA8EDBD25986D0AC7D77858E88568F8FEE431271B40014F5BD034E88399#) (s \
        #034717572F19F0320232B8631B81930E4562E550B744AF2F01017DB86AF06738#))) (public-key (ecc (curve Ed25519) (q \
        #EA4A6C63E29C520ABEF5507B132EC5F9954776AEBEBE7B92421EEA691446D22C#))))";
    /// Its signature of the same by a key that it made itself, in its own layout.
    const THEIRS: &str = "(signature \n (data \n  (flags rfc6979)\n  (hash sha256 \
        #BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD#)\n  )\n (sig-val \n  (ecdsa \n   (r \
        #09EB2F38B1942DF29892F2E5B074C2555562256A715DB10285CDD5B905A60867#)\n   (s \
        #054C3CA8E65B19895F9EAAA5C88B50B11E583D76C3715847869205158A9A30AB#)\n   )\n  )\n (public-key \n  (ecc \n   \
        (curve Ed25519)\n   (q \
        #9B078E65D8FF63FEB9BD06FE10F2935AA2B0DDEA16C8E4E9B62A23E823031694#)\n   )\n  )\n )\n";

    #[test]
    fn a_signature_is_to_the_byte_what_libgcrypt_writes() {
        let digest = Sha256Digest::of("abc");
        assert_eq!(sign(&key(), &digest).to_string(), OURS);
        assert_eq!(check(OURS, &digest, &[key().public()]), Ok(()));
    }

    #[test]
    fn a_signature_of_libgcrypts_is_accepted() {
        let key = THEIRS.rsplit_once("(public-key").unwrap().1;
        let key = format!("(public-key{}", key.trim_end().strip_suffix(')').unwrap());
        let keys = public_keys(key.as_bytes(), "theirs");
        assert_eq!(check(THEIRS, &Sha256Digest::of("abc"), &keys), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_told_apart() {
        let digest = Sha256Digest::of("abc");
        let keys = [key().public()];
        assert!(matches!(
            check(OURS, &digest, &[]),
            Err(Mistrust::Stranger(_))
        ));
        assert_eq!(
            check(OURS, &Sha256Digest::of("abd"), &keys),
            Err(Mistrust::Differs(digest))
        );
        let forged = OURS.replace("AF06738", "AF06739");
        let name = keys[0].name().to_owned();
        assert_eq!(check(&forged, &digest, &keys), Err(Mistrust::Forged(name)));
        for (from, to) in [
            ("sha256", "sha512"),
            ("ecdsa", "eddsa"),
            ("(r ", "(t "),
            ("(r #", "(r #01"),
            ("(hash sha256", "(hash sha256 0:) (hash sha256"),
            ("Ed25519", "Ed448"),
            ("(curve Ed25519)", "(curve Ed25519) (flags eddsa)"),
            ("22C#", "#"),
            ("))))", ")))"),
            (OURS, "test-1:AAAA"),
        ] {
            let text = OURS.replace(from, to);
            let checked = check(&text, &digest, &keys);
            assert_eq!(checked, Err(Mistrust::Malformed), "{text}");
        }
    }

    #[test]
    fn keys_are_read_one_alone_or_from_an_access_control_list() {
        let public = PublicKey::new("acl", *key().public().bytes());
        let alone = public_key(&public).to_string();
        assert!(OURS.contains(&alone));
        assert_eq!(
            public_keys(alone.as_bytes(), "acl"),
            std::slice::from_ref(&public)
        );
        let entry = format!("(entry {alone} (tag (guix import)))");
        let list = format!("(acl {entry} {})", entry.replace("22C#", "22D#"));
        let keys = public_keys(list.as_bytes(), "acl");
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0], public);
        assert!(public_keys(b"(acl)", "acl").is_empty());
        assert!(public_keys(b"nonsense (", "acl").is_empty());
    }
}
