//! Verification: whether the store still holds what was registered, and whether a second build gives the same bytes.
//!
//! [`whole`] hashes store items again and compares with the database. [`compare`] is the account of two trees that should be
//! equal and are not: which files, which bytes, in which section of which program, and why, as far as the bytes tell.
//! Nothing here changes the store; putting it right is `build --repair`'s.

#[cfg(test)]
pub(crate) mod testing;
pub mod whole;
