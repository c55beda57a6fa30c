//! Builds: the graph of derivations, run in parallel, each in its own sandbox, into valid store items.
//!
//! This is the only part that runs programs. [`events`] is the only thing it tells anybody about what it does.

pub mod cancellation;
pub mod error;
pub mod events;
pub mod graph;
pub mod jobserver;
pub mod scheduler;
#[cfg(test)]
pub(crate) mod testing;
