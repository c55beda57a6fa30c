// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a Guix client builds on this store's inputs, boundary by boundary: from the client's program to a lowered
//! package. The first boundary that does not hold is the last that is looked at.
//!
//! A script that `guix repl` runs asks the client. It adds a few small items to the store.

use std::path::Path;

use super::session::Session;

mod fault;
mod program;
mod walk;

pub use fault::GuixFault;

/// The names of the boundaries, in order.
pub const BOUNDARIES: [&str; 8] = [
    "client",
    "configuration",
    "store connection",
    "derivation",
    "daemon",
    "inputs",
    "execution",
    "module",
];

/// A boundary between a Guix client and a build.
#[derive(Debug)]
pub struct Boundary {
    /// Its name, of [`BOUNDARIES`].
    pub name: &'static str,
    /// What was seen where it holds, or why it does not hold.
    pub outcome: Result<Passage, Box<GuixFault>>,
}

/// What was seen at a boundary that holds.
#[derive(Debug)]
pub struct Passage {
    /// What was seen.
    pub seen: String,
    /// What may go wrong at later boundaries.
    pub doubts: Vec<GuixFault>,
}

impl From<String> for Passage {
    fn from(seen: String) -> Self {
        Self {
            seen,
            doubts: Vec::new(),
        }
    }
}

/// What this program's daemon reports about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It serves the client.
    Yes {
        /// Whether it trusts the client.
        trusted: bool,
    },
    /// It does not serve the client.
    No,
    /// Nothing is known, and why.
    Unknown(String),
}

impl Session {
    /// Walks the boundaries of the Guix client `program`, a path or a name on PATH, up to the first that does not hold.
    /// `served` reports whether this program's daemon serves the process of that number at the moment.
    pub fn examine_guix(&self, program: &Path, served: &dyn Fn(u32) -> Served) -> Vec<Boundary> {
        let mut boundaries = Vec::new();
        let mut walk = None;
        for (number, name) in BOUNDARIES.into_iter().enumerate() {
            let walk = match &mut walk {
                Some(walk) => Ok(walk),
                None => {
                    walk::ClientWalk::new(self, program, served).map(|begun| walk.insert(begun))
                }
            };
            let outcome = walk.and_then(|walk| walk.step(number)).map_err(Box::new);
            let holds = outcome.is_ok();
            boundaries.push(Boundary { name, outcome });
            if !holds {
                break;
            }
        }
        boundaries
    }
}
