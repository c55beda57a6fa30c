// SPDX-License-Identifier: GPL-3.0-or-later
//! From an official base system to the implicit inputs of GNU Guix's `gnu-build-system`.
//!
//! Data flows one way: [`recipe`](road::recipe)s and a [`seed`](road::seed) make a [`plan`](road::plan), a graph of
//! [`derivation`](formats::derivation)s; [`fetch`] brings the bytes, [`builder`] runs each derivation in a [`sandbox`]
//! and registers its outputs in the [`store`]; [`verify`] sees whether they are still the same bytes, and whether a
//! second build gives them again. [`cli`] and [`show`] face users.

pub mod archive;
pub mod atomic_file;
pub mod builder;
pub mod cli;
pub mod daemon;
pub mod diagnostics;
pub mod engine;
pub mod events;
pub mod exchange;
pub mod fetch;
pub mod formats;
mod free_space;
mod key_files;
mod limited_file;
mod limited_output;
mod process_limit;
mod process_messages;
pub mod road;
pub mod sandbox;
pub mod show;
pub mod store;
mod threads;
pub mod verify;
