// SPDX-License-Identifier: GPL-3.0-or-later
//! `--dry-run`: what a run would download, build and reuse.

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::engine::{Targets, WantedDerivation};
use crate::show::forecast::{describe, shown};
use crate::show::progress::estimate::Estimator;

/// Says what making what is `wanted` of the plan, and the `derivations` of the store, would mean.
pub fn forecast(
    context: &Context,
    wanted: Option<Targets<'_>>,
    derivations: &[WantedDerivation],
) -> Result<(), CommandFailure> {
    let planned = match wanted {
        Some(wanted) => {
            let planned = context.plan()?;
            let nodes = wanted(&planned.plan)?;
            Some((planned, nodes))
        }
        None => None,
    };
    let planned = planned
        .as_ref()
        .map(|(planned, nodes)| (planned, nodes.as_slice()));
    let found = context.session.forecast(planned, derivations)?;
    let mut estimator = Estimator::default();
    estimator.observe(&found.planned, 0.0);
    let shown = shown(&found, &estimator);
    match context.options.json {
        true => print_json(&shown),
        false => print(&describe(&shown)),
    }
}
