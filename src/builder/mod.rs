// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds: the graph of derivations, run in parallel, each in its own sandbox, into valid store items.
//!
//! This is the only part that runs programs. [`events`](crate::events) are all that it reports about what it
//! does.

pub mod alternative;
mod build;
pub mod builtin;
mod builtin_run;
mod context;
mod deadline;
mod derivations;
pub mod diagnosis;
pub mod environment;
pub mod error;
mod excerpt;
mod export_graph;
mod failure_cause;
pub mod graph;
pub mod history;
pub mod hook;
pub mod jobserver;
pub mod kept_directory;
pub mod log;
pub mod output;
mod outputs;
pub mod pace;
pub mod rebuild;
pub(crate) mod record_file;
pub mod references;
mod remote_build;
pub mod run;
mod sandboxed;
pub mod scheduler;
mod scratch;
pub mod settings;
pub mod shared_tokens;
#[cfg(test)]
pub(crate) mod testing;
pub mod variation;
pub mod watch;
pub mod world;
