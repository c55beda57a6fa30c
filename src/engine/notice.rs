//! What a front end may want to tell its user, as data.

use std::path::PathBuf;
use std::sync::Arc;

use super::explain::BuiltAgain;
use super::repair::Repaired;

/// Something worth telling the user that is neither an event of a run nor an error. The front end finds the words.
#[derive(Debug)]
pub enum Notice {
    /// This machine's own lock of a seed replaces an earlier lock than the pinned one, and is not used.
    OutdatedLock {
        /// The seed.
        seed: String,
        /// The machine's own lock.
        file: PathBuf,
    },
    /// Packages that were built before are about to be built again.
    BuiltAgain(Vec<BuiltAgain>),
    /// A repair took a step.
    Repaired(Repaired),
    /// A substitute server broke down and is not asked again.
    ServerLeft {
        /// The problem, with the server's URL.
        problem: String,
    },
}

/// Receives notices, on any thread.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;
