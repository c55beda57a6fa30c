// SPDX-License-Identifier: GPL-3.0-or-later
//! `build`: packages and what they need.

use super::arguments::BuildArguments;
use super::context::Context;
use super::failure::Failure;
use super::{forecast, realise, repair, shell, verify};
use crate::engine::{EngineError, nodes, targets};
use crate::road::plan::Plan;

/// `bootstrap build PKG…`.
pub fn build(context: &Context, arguments: &BuildArguments) -> Result<(), Failure> {
    let packages = &arguments.packages;
    if let (Some(link), [_, _, ..]) = (&arguments.add_root, packages.as_slice()) {
        return Err(Failure::usage(
            format!(
                "one link, {}, cannot lead to {} packages",
                link.display(),
                packages.len()
            ),
            "name one package with --add-root",
        ));
    }
    let wanted = |plan: &Plan| {
        let named = nodes(plan, packages)?;
        match arguments.dependents {
            true => Ok(plan.dependents(named).into_iter().collect()),
            false => Ok(named),
        }
    };
    if arguments.dry_run {
        return forecast::forecast(context, &wanted);
    }
    if arguments.repair {
        repair::repair(context, packages)?;
    }
    let run = context.run(&wanted)?;
    if arguments.shell_on_failure {
        shell::after_failure(context, &run)?;
    }
    if arguments.check && !run.is_complete() {
        return Err(context.failure(EngineError::Run(Box::new(run.report))));
    }
    realise::finish(context, &run, |run| {
        let plan = &run.planned.plan;
        for target in &run.targets {
            let name = format!("build/{}", plan.nodes()[*target].label);
            run.add_roots(&name, plan.closure([*target]))?;
        }
        if let Some(link) = &arguments.add_root {
            let target = &targets(plan, packages)?[0];
            run.add_links(link, &plan.nodes()[target.node])?;
        }
        Ok(())
    })?;
    match arguments.check {
        true => verify::rebuild::check(context, packages),
        false => Ok(()),
    }
}
