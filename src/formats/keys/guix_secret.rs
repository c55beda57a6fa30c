// SPDX-License-Identifier: GPL-3.0-or-later
//! Secret keys as `guix archive --generate-key` writes them, in `/etc/guix/signing-key.sec`:
//!
//! ```text
//! (key-data (public-key (ecc (curve Ed25519) (q #Q#)))
//!           (private-key (ecc (curve Ed25519) (q #Q#) (d #D#))))
//! ```
//!
//! `D` is the secret number itself, big-endian, where Ed25519 has a seed that the number is derived from. So such a key
//! signs as Guix does and in no other way.

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use super::PublicKey;
use super::ecdsa::{Signature, sign_with};
use super::sexp::{Sexp, only, single};
use crate::formats::hash::Sha256Digest;

/// A key that Guix has made to sign with.
pub struct GuixSecretKey {
    number: Scalar,
    public: PublicKey,
}

impl GuixSecretKey {
    /// Reads the key in `text`. `None` where it is another kind of key, or the public key is not that of the secret
    /// number.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let expression = Sexp::parse(text.trim_ascii())?;
        let [secret] = expression.all("private-key")[..] else {
            return None;
        };
        let members = only(secret.list("private-key")?, "ecc")?;
        if single(only(members, "curve")?) != Some(b"Ed25519") {
            return None;
        }
        let point: [u8; 32] = single(only(members, "q")?)?.try_into().ok()?;
        let digits = single(only(members, "d")?)?;
        let zeros = digits.iter().take_while(|byte| **byte == 0).count();
        let digits = &digits[zeros..];
        let mut bytes = [0; 32];
        let start = bytes.len().checked_sub(digits.len())?;
        bytes[start..].copy_from_slice(digits);
        bytes.reverse();
        let number = Scalar::from_bytes_mod_order(bytes);
        let is_its_own = EdwardsPoint::mul_base(&number).compress().0 == point;
        is_its_own.then(|| Self {
            number,
            public: PublicKey::new("guix", point),
        })
    }

    /// What checks its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The ECDSA signature of `digest`.
    pub fn sign_digest(&self, digest: &Sha256Digest) -> Signature {
        sign_with(&self.number, digest)
    }
}

impl fmt::Debug for GuixSecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GuixSecretKey({:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guix;
    use super::*;

    fn text(number: u64) -> String {
        let point = EdwardsPoint::mul_base(&Scalar::from(number)).compress();
        let hexadecimal: String = point.0.iter().map(|byte| format!("{byte:02X}")).collect();
        format!(
            "(key-data (public-key (ecc (curve Ed25519) (q #{hexadecimal}#)))\n \
             (private-key (ecc (curve Ed25519) (q #{hexadecimal}#) (d #{number:016X}#))))\n"
        )
    }

    #[test]
    fn a_key_of_guix_signs_what_its_public_key_checks() {
        let key = GuixSecretKey::parse(text(0x1234_5678_9abc).as_bytes()).unwrap();
        let digest = Sha256Digest::of("content");
        let signed = guix::sexp_of(&key.sign_digest(&digest), key.public(), &digest).to_string();
        let keys = [key.public().clone()];
        assert_eq!(guix::check(&signed, &digest, &keys), Ok(()));
        assert!(guix::check(&signed, &Sha256Digest::of("other"), &keys).is_err());
    }

    #[test]
    fn other_texts_are_not_keys() {
        let good = text(7);
        for bad in [
            "",
            "(key-data)",
            &good.replace("Ed25519", "NIST P-256"),
            // The public key is another's.
            &good.replace("(d #0000000000000007#)", "(d #0000000000000008#)"),
            &good.replace("private-key", "public-key"),
        ] {
            assert!(GuixSecretKey::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
