//! The store: paths, NARs, references, the database of valid paths, roots and garbage collection.
//!
//! Formats are Guix's (and so Nix's) to the byte, with the store directory a value.

pub mod base32;
pub mod canonical;
pub mod nar;
pub mod path;
pub mod scan;
