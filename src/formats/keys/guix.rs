// SPDX-License-Identifier: GPL-3.0-or-later
//! Signatures and public keys as Guix has them, S-expressions of libgcrypt's:
//!
//! ```text
//! (signature (data (flags rfc6979) (hash sha256 #DIGEST#))
//!            (sig-val (ecdsa (r #R#) (s #S#)))
//!            (public-key (ecc (curve Ed25519) (q #Q#))))
//! ```
//!
//! The public key is also what `guix archive --authorize` reads, and what entries of the access control list in
//! `/etc/guix/acl` hold. Guix compares keys as expressions: they must have exactly these members in this order. `Q` is
//! the 32 bytes of RFC 8032. What is signed is the digest, by [`ecdsa`](super::ecdsa).
//!
//! Guix takes libgcrypt's text for ISO-8859-1 and writes it as UTF-8, into narinfos and exports. Where a number is a
//! quoted string with bytes above 127, the text is then not libgcrypt's any more. So both readings of a text are tried.

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
    #[error("its signature cannot be read: expected an Ed25519 signature as Guix writes it")]
    Malformed,
    /// It is by an RSA key.
    #[error("it is signed by an RSA key, and RSA is not supported")]
    Rsa,
    /// It is by a key that is not trusted: its 32 bytes in base 64, as after `NAME:`.
    #[error("it is signed by the key {0}")]
    Stranger(String),
    /// It is of something else.
    #[error("the signature does not match its content")]
    Differs(Sha256Digest),
    /// It is not by the key that it names.
    #[error("bad signature for key {0}")]
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

/// `text` as it is and, where it is UTF-8 of ISO-8859-1, as libgcrypt wrote it.
fn readings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = vec![text.to_vec()];
    if !text.is_ascii()
        && let Ok(text) = std::str::from_utf8(text)
    {
        let bytes = text.chars().map(|character| u8::try_from(character).ok());
        readings.extend(bytes.collect::<Option<Vec<u8>>>());
    }
    readings
}

/// What a file of public keys holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PublicKeys {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// Whether there are RSA keys, which are not among `keys`.
    pub rsa: bool,
    /// Whether there are keys that an access control list does not allow to sign imports, and so are not among `keys`.
    pub other_tags: bool,
}

/// The public keys in `text`: one alone, or those that an access control list allows to sign imports. All are called
/// `name`.
pub fn public_keys(text: &[u8], name: &str) -> PublicKeys {
    let mut found = PublicKeys::default();
    for expression in readings(text).iter().filter_map(|text| Sexp::parse(text)) {
        let allowed = match expression.list("acl") {
            Some(entries) => {
                let entries = entries.iter().filter_map(|entry| entry.list("entry"));
                let (good, other): (Vec<_>, Vec<_>) = entries.partition(|entry| may_import(entry));
                found.other_tags |= !other.is_empty();
                good.into_iter().flatten().cloned().collect()
            }
            None => vec![expression],
        };
        for key in allowed.iter().filter_map(|key| key.list("public-key")) {
            found.rsa |= only(key, "rsa").is_some();
            let key = point(key).map(|bytes| PublicKey::new(name, bytes));
            found
                .keys
                .extend(key.filter(|key| !found.keys.contains(key)));
        }
    }
    found
}

/// Whether an entry of an access control list has the tag `(guix import)`, the only one that Guix heeds.
fn may_import(entry: &[Sexp]) -> bool {
    let import = Sexp::List(vec![Sexp::atom("guix"), Sexp::atom("import")]);
    only(entry, "tag") == Some(&[import])
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
pub fn check(
    text: impl AsRef<[u8]>,
    digest: &Sha256Digest,
    keys: &[PublicKey],
) -> Result<(), Mistrust> {
    let mut mistrust = Mistrust::Malformed;
    for text in readings(text.as_ref()) {
        match check_reading(&text, digest, keys) {
            Ok(()) => return Ok(()),
            // A reading that is not a signature has nothing to add.
            Err(Mistrust::Malformed) => {}
            Err(other) => mistrust = other,
        }
    }
    Err(mistrust)
}

fn check_reading(text: &[u8], digest: &Sha256Digest, keys: &[PublicKey]) -> Result<(), Mistrust> {
    let expression = Sexp::parse(text).ok_or(Mistrust::Malformed)?;
    if !expression.all("rsa").is_empty() {
        return Err(Mistrust::Rsa);
    }
    let (signed, signature, bytes) = read(&expression).ok_or(Mistrust::Malformed)?;
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
fn read(expression: &Sexp) -> Option<(Sha256Digest, Signature, [u8; 32])> {
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
mod tests {
    use super::*;
    use crate::formats::keys::testing::key;

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
        let keys = public_keys(key.as_bytes(), "theirs").keys;
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
            public_keys(alone.as_bytes(), "acl").keys,
            std::slice::from_ref(&public)
        );
        let entry = format!("(entry {alone} (tag (guix import)))");
        let list = format!("(acl {entry} {})", entry.replace("22C#", "22D#"));
        let keys = public_keys(list.as_bytes(), "acl").keys;
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0], public);
        for nothing in ["(acl)", "nonsense ("] {
            assert_eq!(
                public_keys(nothing.as_bytes(), "acl"),
                PublicKeys::default()
            );
        }
    }

    #[test]
    fn only_the_tag_guix_import_makes_a_key_of_an_access_control_list_trusted() {
        let key = public_key(&key().public()).to_string();
        for (tag, count) in [
            ("(tag (guix import))", 1),
            ("(tag (guix publish))", 0),
            ("(tag guix import)", 0),
            ("(tag (guix import)) (tag (guix import))", 0),
            ("(tag (guix import other))", 0),
            ("", 0),
        ] {
            let found = public_keys(format!("(acl (entry {key} {tag}))").as_bytes(), "acl");
            assert_eq!(
                (found.keys.len(), found.other_tags),
                (count, count == 0),
                "{tag}"
            );
        }
        // A key that is not an entry's own.
        let nested = format!("(acl (entry (x {key}) (tag (guix import))))");
        assert!(public_keys(nested.as_bytes(), "acl").keys.is_empty());
    }

    #[test]
    fn rsa_is_named_as_what_is_not_supported() {
        let key = "(public-key (rsa (n #00B1#) (e #010001#)))";
        let found = public_keys(key.as_bytes(), "old");
        assert!(found.rsa && found.keys.is_empty());
        let acl = format!("(acl (entry {key} (tag (guix import))))");
        assert!(public_keys(acl.as_bytes(), "old").rsa);
        let signature =
            format!("(signature (data (hash sha256 #00#)) (sig-val (rsa (s #01#))) {key})");
        let digest = Sha256Digest::of("abc");
        assert_eq!(check(&signature, &digest, &[]), Err(Mistrust::Rsa));
    }

    /// What libgcrypt 1.10 wrote for the SHA-256 of the number 6018, as Guix encodes it. Where `s` is in base 16
    /// otherwise, it is a quoted string here.
    #[test]
    fn a_number_that_is_printable_is_read_in_all_its_spellings() {
        let s = r#""\n6Ao:#6%Éí¨²&ñia7HÚ&ô¦Áõn% ¹É»·<""#;
        let hash = "36DC08B8FCA5FAD98EBA88EAA510C12ACA8AB7987D5929060B3DF38425725968";
        let r = "04E18E6E767557FFC4225459EA7B487FE90FE18EF2D15B324B3CEFBDA81B084A";
        let q = "5FF58E87CED09C6DEE3DC0C931A145517299AC52E30D07BFE11B8F91A248608B";
        let key = format!("(public-key (ecc (curve Ed25519) (q #{q}#)))");
        let signature = |s: &str| {
            format!(
                "(signature (data (flags rfc6979) (hash sha256 #{hash}#)) (sig-val (ecdsa (r #{r}#) (s {s}))) {key})"
            )
        };
        let digest = Sha256Digest::of(6018u64.to_le_bytes());
        let keys = public_keys(key.as_bytes(), "theirs").keys;
        let utf8 = signature(s);
        assert_eq!(check(&utf8, &digest, &keys), Ok(()));
        let latin1 = utf8
            .chars()
            .map(|character| u8::try_from(character).unwrap());
        let latin1: Vec<u8> = latin1.collect();
        assert_eq!(check(&latin1, &digest, &keys), Ok(()));
        let Some(Sexp::Atom(bytes)) = Sexp::parse(&readings(s.as_bytes())[1]) else {
            panic!("not an atom");
        };
        let base64 = format!("|{}|", STANDARD.encode(bytes));
        assert_eq!(check(signature(&base64), &digest, &keys), Ok(()));
        assert_eq!(
            check(&utf8, &Sha256Digest::of("other"), &keys),
            Err(Mistrust::Differs(digest))
        );
        // A public key with such a number, alone and in an access control list.
        let point = "\"\u{e9}0123456789012345678901234567890\"";
        let printable = key.replace(&format!("#{q}#"), point);
        let list = format!("(acl (entry {printable} (tag (guix import))))");
        for text in [printable, list] {
            let found = public_keys(text.as_bytes(), "theirs").keys;
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].bytes()[0], 0xe9);
        }
    }
}
