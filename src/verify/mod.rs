// SPDX-License-Identifier: GPL-3.0-or-later
//! Verification: whether the store still holds what was registered, and whether a second build gives the same bytes.
//!
//! [`whole`] hashes store items again and compares with the database, [`record`] looks at what else that says of them;
//! [`lock_file`] compares with what others have recorded. [`rebuild`] compares with a second build, of which [`vary`]
//! says what is different. Where it differs, [`compare`] gives the account: which files, [`account`] where in them,
//! [`cause`] why, as far as the bytes tell; [`rewrite`] makes outputs comparable that only refer to different store
//! paths. [`attestation`] is the document that says what was seen, [`signature`] whose it is. Nothing here changes the
//! store; putting it right is `build --repair`'s.

pub mod account;
pub mod attestation;
pub mod cause;
pub mod compare;
pub mod lock_file;
pub mod rebuild;
pub mod record;
pub mod rewrite;
pub mod signature;
#[cfg(test)]
pub(crate) mod testing;
pub mod vary;
pub mod whole;
