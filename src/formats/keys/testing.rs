// SPDX-License-Identifier: GPL-3.0-or-later
//! A key for the tests of signatures.

use super::SecretKey;

/// A key called `test-1` whose seed is 32 times 7.
pub fn key() -> SecretKey {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test-1");
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend([7; 32]);
    std::fs::write(&path, der).unwrap();
    SecretKey::read(&path).unwrap()
}
