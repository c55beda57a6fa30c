// SPDX-License-Identifier: GPL-3.0-or-later
//! `--dry-run`: what a run would download, build and reuse.

use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::engine::Targets;
use crate::show::forecast::{describe, shown};
use crate::show::progress::estimate::Estimator;

/// Says what making what is `wanted` would mean.
pub fn forecast(context: &Context, wanted: Targets<'_>) -> Result<(), Failure> {
    let planned = context.plan()?;
    let wanted = wanted(&planned.plan)?;
    let found = context.session.forecast(&planned, &wanted)?;
    let mut estimator = Estimator::default();
    estimator.observe(&found.planned, 0.0);
    let shown = shown(&found, &estimator);
    match context.options.json {
        true => print_json(&shown),
        false => print(&describe(&shown)),
    }
}
