// SPDX-License-Identifier: GPL-3.0-or-later
//! ECDSA over the curve of Ed25519, which is what libgcrypt makes with the keys that `guix archive --generate-key`
//! writes: they name the curve `Ed25519` without the flag `eddsa`.
//!
//! The point of a key is the same in both schemes, so one key does for both: the secret number is the one that Ed25519
//! derives from the seed (RFC 8032, 5.1.5). The number drawn for a signature is RFC 6979's with HMAC-SHA-256, and has
//! nothing to do with Ed25519's, so neither kind of signature tells anything about a key that the other does not.
//!
//! With `n` the order of the base point `B`, and `z` the leftmost 253 bits of the digest:
//!
//! ```text
//! r = x-coordinate of k B, modulo n          s = (z + r d) / k, modulo n
//! ```
//!
//! What touches the secret number runs in constant time, in curve25519-dalek. That gives no x-coordinates; ours is
//! computed from a point that the signature discloses.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use num_bigint::BigUint;
use ring::hmac;
use sha2::{Digest, Sha512};

use super::{PublicKey, SecretKey};
use crate::formats::hash::Sha256Digest;

/// Bits of a digest beyond those of the order of the base point, which has 253.
const EXCESS: u32 = 3;

/// A signature: two numbers, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// From the point that was drawn.
    pub r: [u8; 32],
    /// From the digest and the secret key.
    pub s: [u8; 32],
}

impl SecretKey {
    /// The secret number of Ed25519, reduced.
    fn scalar(&self) -> Scalar {
        let hashed = Sha512::digest(self.seed);
        let mut lower = [0; 32];
        lower.copy_from_slice(&hashed[..32]);
        Scalar::from_bytes_mod_order(clamp_integer(lower))
    }

    /// The ECDSA signature of `digest`.
    pub fn sign_digest(&self, digest: &Sha256Digest) -> Signature {
        sign_with(&self.scalar(), digest)
    }
}

/// The ECDSA signature of `digest` with the secret number `secret`.
pub(super) fn sign_with(secret: &Scalar, digest: &Sha256Digest) -> Signature {
    let message = leftmost(digest.0);
    let mut drawn = Drawn::new(secret, &message);
    loop {
        let k = drawn.next();
        let r = x_coordinate(&EdwardsPoint::mul_base(&k).compress());
        let s = k.invert() * (message + r * secret);
        if r != Scalar::ZERO && s != Scalar::ZERO {
            return Signature {
                r: reversed(r.to_bytes()),
                s: reversed(s.to_bytes()),
            };
        }
    }
}

impl PublicKey {
    /// Whether `signature` is this key's ECDSA signature of `digest`.
    pub fn has_signed_digest(&self, digest: &Sha256Digest, signature: &Signature) -> bool {
        let number = |bytes| Option::<Scalar>::from(Scalar::from_canonical_bytes(reversed(bytes)));
        let (Some(r), Some(s)) = (number(signature.r), number(signature.s)) else {
            return false;
        };
        let Some(key) = CompressedEdwardsY(self.bytes).decompress() else {
            return false;
        };
        if r == Scalar::ZERO || s == Scalar::ZERO {
            return false;
        }
        let inverse = s.invert();
        let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(
            &(r * inverse),
            &key,
            &(leftmost(digest.0) * inverse),
        );
        x_coordinate(&point.compress()) == r
    }
}

fn reversed(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes.reverse();
    bytes
}

/// The leftmost 253 bits of `bytes`, little-endian.
fn shifted(bytes: [u8; 32]) -> [u8; 32] {
    let mut number = reversed(bytes);
    let mut carry = 0;
    for byte in number.iter_mut().rev() {
        let low = *byte << (8 - EXCESS);
        *byte = *byte >> EXCESS | carry;
        carry = low;
    }
    number
}

/// The leftmost 253 bits of `bytes`, modulo the order.
fn leftmost(bytes: [u8; 32]) -> Scalar {
    Scalar::from_bytes_mod_order(shifted(bytes))
}

/// The numbers that RFC 6979, 3.2, draws for a key and a message.
struct Drawn {
    key: hmac::Key,
    value: [u8; 32],
}

impl Drawn {
    fn new(secret: &Scalar, message: &Scalar) -> Self {
        let secret = reversed(secret.to_bytes());
        let message = reversed(message.to_bytes());
        let mut drawn = Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]),
            value: [1; 32],
        };
        drawn.stir(0, &[secret, message].concat());
        drawn.stir(1, &[secret, message].concat());
        drawn
    }

    fn stir(&mut self, mark: u8, more: &[u8]) {
        let key = hmac::sign(&self.key, &[&self.value[..], &[mark], more].concat());
        self.key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        self.step();
    }

    fn step(&mut self) {
        let value = hmac::sign(&self.key, &self.value);
        self.value.copy_from_slice(value.as_ref());
    }

    /// The next number that is neither zero nor too large.
    fn next(&mut self) -> Scalar {
        loop {
            self.step();
            let number = Option::<Scalar>::from(Scalar::from_canonical_bytes(shifted(self.value)));
            // For the turn after this one.
            self.stir(0, &[]);
            if let Some(number) = number.filter(|number| *number != Scalar::ZERO) {
                return number;
            }
        }
    }
}

/// The x-coordinate of a point, modulo the order of the base point: the root of (y² - 1) / (d y² + 1) that has the sign
/// in the encoding's highest bit (RFC 8032, 5.1.3).
fn x_coordinate(point: &CompressedEdwardsY) -> Scalar {
    let one = BigUint::from(1u8);
    let prime = (&one << 255u32) - BigUint::from(19u8);
    let inverse = |number: &BigUint| number.modpow(&(&prime - BigUint::from(2u8)), &prime);
    let mut bytes = point.to_bytes();
    let sign = bytes[31] >> 7;
    bytes[31] &= 0x7f;
    let y = BigUint::from_bytes_le(&bytes);
    let square = &y * &y % &prime;
    let d = (&prime - BigUint::from(121_665u32)) * inverse(&BigUint::from(121_666u32)) % &prime;
    let over = (&square + &prime - &one) % &prime;
    let under = (d * square + &one) % &prime;
    let wanted = over * inverse(&under) % &prime;
    // The prime is 5 modulo 8: this is a root of the number or of its negative.
    let mut x = wanted.modpow(&((&prime + BigUint::from(3u8)) >> 3u32), &prime);
    if &x * &x % &prime != wanted {
        let root = BigUint::from(2u8).modpow(&((&prime - &one) >> 2u32), &prime);
        x = x * root % &prime;
    }
    if x.bit(0) != (sign == 1) && x.bits() > 0 {
        x = &prime - x;
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(x.to_bytes_le()) {
        *to = from;
    }
    Scalar::from_bytes_mod_order(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::keys::testing;

    #[test]
    fn a_signature_is_of_its_key_and_digest_only() {
        let key = testing::key();
        let digest = Sha256Digest::of("message");
        let signature = key.sign_digest(&digest);
        let public = key.public();
        assert!(public.has_signed_digest(&digest, &signature));
        assert!(!public.has_signed_digest(&Sha256Digest::of("massage"), &signature));
        let other = PublicKey::new("other", [1; 32]);
        assert!(!other.has_signed_digest(&digest, &signature));
        let zero = Signature {
            r: [0; 32],
            ..signature
        };
        let large = Signature {
            s: [0xff; 32],
            ..signature
        };
        for wrong in [zero, large] {
            assert!(!public.has_signed_digest(&digest, &wrong));
        }
        assert_eq!(
            key.sign_digest(&digest),
            signature,
            "nothing is left to chance"
        );
    }

    #[test]
    fn coordinates_are_those_of_points() {
        // The base point's, from RFC 8032, 5.1.
        let base = EdwardsPoint::mul_base(&Scalar::ONE);
        let expected = BigUint::parse_bytes(
            b"15112221349535400772501151409588531511454012693041857206046113283949847762202",
            10,
        );
        let order = (BigUint::from(1u8) << 252u32)
            + BigUint::parse_bytes(b"27742317777372353535851937790883648493", 10).unwrap();
        let x = |point: EdwardsPoint| {
            BigUint::from_bytes_le(&x_coordinate(&point.compress()).to_bytes())
        };
        assert_eq!(x(base), expected.clone().unwrap() % &order);
        let prime = (BigUint::from(1u8) << 255u32) - BigUint::from(19u8);
        assert_eq!(x(-base), (prime - expected.unwrap()) % &order);
    }

    /// `A.2` of RFC 6979 has no curve of this size: this only says that numbers differ, and are small enough.
    #[test]
    fn numbers_differ_by_key_message_and_turn() {
        let (one, two) = (Scalar::ONE, Scalar::from(2u8));
        let mut all: Vec<[u8; 32]> = Vec::new();
        for (secret, message) in [(one, one), (one, two), (two, one)] {
            let mut drawn = Drawn::new(&secret, &message);
            all.extend([drawn.next().to_bytes(), drawn.next().to_bytes()]);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((count, all.len()), (6, 6));
    }
}
