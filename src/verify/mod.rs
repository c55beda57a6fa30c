//! Verification: whether the store still holds what was registered, and whether a second build gives the same bytes.
//!
//! [`whole`] hashes store items again and compares with the database, [`lock`] compares with what others have on record.
//! [`attestation`] is the document that says what was seen, [`signature`] whose it is. Nothing here changes the store;
//! putting it right is `build --repair`'s.

pub mod attestation;
pub mod lock;
pub mod signature;
#[cfg(test)]
pub(crate) mod testing;
pub mod whole;
