//! From an official base system to the implicit inputs of GNU Guix's `gnu-build-system`.
//!
//! Data flows one way: [`recipe`]s and a [`seed`] make a [`plan`], a graph of [`derivation`]s; [`fetch`] brings
//! the bytes, [`build`] runs each derivation in a [`sandbox`] and registers its outputs in the [`store`].
//! [`cli`] and [`progress`] face people.

pub mod archive;
pub mod directories;
pub mod fetch;
pub mod hash;
pub mod seed;
pub mod store;
