//! From an official base system to the implicit inputs of GNU Guix's `gnu-build-system`.
//!
//! Data flows one way: [`recipe`]s and a [`seed`] make a [`plan`], a graph of [`derivation`]s; [`fetch`] brings
//! the bytes, [`build`] runs each derivation in a [`sandbox`] and registers its outputs in the [`store`]; [`verify`] sees
//! whether they are still the same bytes, and whether a second build gives them again.
//! [`cli`] and [`progress`] face people.

mod advice;
pub mod archive;
pub mod build;
pub mod cli;
pub mod derivation;
pub mod directories;
pub mod exchange;
pub mod fetch;
pub mod hash;
pub mod keys;
pub mod picture;
pub mod plan;
pub mod progress;
pub mod recipe;
mod record_file;
pub mod records;
pub mod report;
pub mod sandbox;
pub mod seed;
pub mod store;
pub mod system;
pub mod verify;
