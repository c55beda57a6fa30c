// SPDX-License-Identifier: GPL-3.0-or-later
//! `fetch`: sources and seed, without building anything.

use super::context::Context;
use super::failure::CommandFailure;
use super::{forecast, realise};
use crate::engine::nodes;
use crate::road::plan::{NodeKind, Plan};

/// `bootstrap fetch [PKG…]`.
pub fn fetch(context: &Context, packages: &[String], dry_run: bool) -> Result<(), CommandFailure> {
    let wanted = |plan: &Plan| {
        let packages = match packages {
            [] => plan.everything()?,
            packages => nodes(plan, packages)?,
        };
        let needed = plan.closure(packages).into_iter();
        Ok(needed
            .filter(|index| plan.nodes()[*index].kind == NodeKind::Download)
            .collect())
    };
    if dry_run {
        return forecast::forecast(context, Some(&wanted), &[]);
    }
    let run = context.run(&wanted)?;
    realise::finish(context, &run, |_| Ok(()))
}
