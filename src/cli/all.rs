// SPDX-License-Identifier: GPL-3.0-or-later
//! `all`: everything, from the seed to the proof.

use super::context::Context;
use super::failure::CommandFailure;
use super::{forecast, realise};
use crate::engine::ALL_ROOTS;
use crate::road::plan::Plan;

/// `bootstrap all`.
pub fn all(context: &Context, dry_run: bool) -> Result<(), CommandFailure> {
    let wanted = |plan: &Plan| Ok(plan.everything()?);
    if dry_run {
        return forecast::forecast(context, Some(&wanted), &[]);
    }
    let run = context.run(&wanted)?;
    realise::finish(context, &run, |run| {
        let targets = run.targets.iter().copied();
        run.add_roots(ALL_ROOTS, run.planned.plan.closure(targets))
    })
}
