// SPDX-License-Identifier: GPL-3.0-or-later
//! Other ways to make an item than to run its builder here: substitute servers, and later other machines.
//!
//! The scheduler asks what an [`Alternative`] offers before it looks at the inputs of an item. What is offered becomes
//! a task without these inputs. Where the alternative then fails to deliver, the item is built: its inputs become
//! tasks, too, while everything else goes on.

use std::collections::BTreeSet;

use super::error::BuildError;
use super::graph::{BuildJob, Offered, WantedJob};
use crate::formats::store_path::StorePath;

/// A way to make items other than their builders.
pub trait Alternative: Sync {
    /// What it offers to make of the outputs that are wanted of `jobs`, in their order; `None` for what it does not.
    /// Changes nothing.
    ///
    /// # Errors
    /// Where something is so wrong that the items must not be built instead.
    fn offers(&self, jobs: &[WantedJob<'_>]) -> Result<Vec<Option<Offered>>, BuildError>;

    /// Makes `outputs` of `job`, which it has offered, valid. Reports what it does in events of its own. Returns soon
    /// after a cancellation.
    ///
    /// # Errors
    /// Where something is so wrong that the item must not be built instead, or the run was stopped.
    fn make(
        &self,
        job: BuildJob<'_>,
        outputs: &BTreeSet<StorePath>,
    ) -> Result<Delivery, BuildError>;

    /// Everything that was asked of it is done, for now; also where it has offered nothing.
    fn pause(&self);
}

/// What came of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The outputs are valid.
    Delivered,
    /// They are not: the item is to be built.
    Failed,
}
