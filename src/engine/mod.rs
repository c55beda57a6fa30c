// SPDX-License-Identifier: GPL-3.0-or-later
//! The engine: everything a front end can do with a store, without arguments, terminals, sockets or exit statuses.
//!
//! A [`Session`] holds the options of one user of the store: directories, recipes and seed, limits, servers. A front
//! end makes one, opens the store with it, and calls its methods. Progress goes out as [`events`](crate::events); the
//! front end stops work through a [`Cancellation`](crate::events::cancellation::Cancellation). The command line makes
//! one session per command. The daemon makes one session per client, each in a process of its own.
//!
//! ```no_run
//! # use bootstrap::engine::{EngineError, RealiseMode, Session, SessionOptions, WantedDerivation};
//! # use bootstrap::formats::store_path::StorePath;
//! # use bootstrap::events::{EventSender, cancellation::Cancellation};
//! # fn realise(options: SessionOptions) -> Result<(), EngineError> {
//! let session = Session::new(options);
//! let (events, _receiver) = EventSender::channel();
//! let cancellation = Cancellation::new();
//! let store = session.open_store(&events, &cancellation)?;
//! let derivation = "00000000000000000000000000000000-hello-2.12.drv";
//! let wanted = [WantedDerivation::all(StorePath::from_base_name(derivation)?)];
//! let realised = session.realise(&store, &wanted, RealiseMode::Build, &events, &cancellation)?;
//! assert!(realised.report.errors.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here is global to the process. What is (signal handlers, the table of locks, the registry of temporary
//! roots) is described in `docs/architecture.md`.

pub mod builtins;
mod dependents;
mod derivation_graph;
mod derivations;
mod diverse;
pub mod document;
mod error;
mod explain;
mod forecast;
mod garbage;
mod guix_client;
mod guix_module;
mod lock;
mod log;
mod machine;
mod manifest;
mod notice;
mod options;
mod pairs;
mod planned;
pub mod programs;
mod realise;
mod rebuild;
mod repair;
mod run;
mod seeds;
mod session;
mod shell;
mod shell_syntax;
mod stored_repair;
mod stored_run;
mod substitutes;
mod wanted;
mod watcher;

pub use derivation_graph::{DerivationGraph, DerivationNode};
pub use derivations::StoredDerivations;
pub use document::{Makers, word};
pub use error::EngineError;
pub use explain::Explanation;
pub use forecast::{Forecast, OfferedItem, PlannedBuild, PlannedDownload};
pub use garbage::{Collected, generation};
pub use guix_client::{BOUNDARIES, Boundary, GuixFault, Passage, Served};
pub use guix_module::GuixModule;
pub use lock::{LockComparison, WrittenLock};
pub use log::BuildLog;
pub use machine::{Clock, Disk, Machine, Reached};
pub use manifest::Manifest;
pub use notice::{BuiltAgain, ChangeCause, Notice, Notify, Reason, Repaired, Why};
pub use options::{BuildOptions, SeedOptions, SessionOptions, TrustedKeys, check_root};
pub use pairs::{Pair, PairReport, PairVerdict, Ways};
pub use planned::{
    PlanTarget, Planned, derivations, graph, nodes, outputs_in_store, targets, valid_closure,
    valid_inputs, valid_outputs,
};
pub use realise::{RealiseMode, Realised};
pub use rebuild::{RebuildOptions, Rounds, SeenOutput};
pub use repair::RepairReport;
pub use run::{ALL_ROOTS, FinishedRun, Targets, first_error};
pub use seeds::{ChosenSeeds, DescribedSeed, UpdatedSeed, system_of};
pub use session::{SPARE, Session};
pub use shell::ShellCommand;
pub use stored_repair::StoredRepair;
pub use stored_run::{StoredRun, WantedOutput};
pub use substitutes::install_substitutes;
pub use wanted::WantedDerivation;
pub use watcher::Watcher;
