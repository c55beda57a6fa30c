// SPDX-License-Identifier: GPL-3.0-or-later
//! Guix's formats, which are Nix's: hashes, store paths, derivations, archives, signatures.
//!
//! Nothing here touches a file: these modules read and write bytes.

pub mod base32;
pub mod calendar;
pub mod content_hash;
pub mod count;
pub mod derivation;
pub mod hash;
pub mod keys;
pub mod nar;
pub mod narinfo;
pub mod path_info;
pub mod scheme;
pub mod secrets;
pub mod store_path;
pub mod system;
pub mod visible;
pub mod worker;
