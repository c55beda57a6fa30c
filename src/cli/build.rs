// SPDX-License-Identifier: GPL-3.0-or-later
//! `build`: packages and derivations of the store, and what they need.

use super::arguments::BuildArguments;
use super::context::Context;
use super::failure::CommandFailure;
use super::{derivations, forecast, realise, repair, shell, verify};
use crate::engine::{EngineError, FinishedRun, PlanTarget, WantedDerivation, nodes, targets};
use crate::road::plan::Plan;
use crate::show::progress::size::counted;

/// `bootstrap build PKG…`.
pub fn build(context: &Context, arguments: &BuildArguments) -> Result<(), CommandFailure> {
    let names = &arguments.packages;
    if let (Some(link), [_, _, ..]) = (&arguments.add_root, names.as_slice()) {
        return Err(CommandFailure::usage(
            format!(
                "one link, {}, cannot lead to {} packages",
                link.display(),
                names.len()
            ),
            "name one package with --add-root",
        ));
    }
    let (meant, packages): (Vec<_>, Vec<_>) = names
        .iter()
        .cloned()
        .partition(|name| WantedDerivation::is_meant_by(name));
    let meant = derivations::read(context, arguments, &meant)?;
    let wanted = |plan: &Plan| {
        let named = nodes(plan, &packages)?;
        match arguments.dependents {
            true => Ok(plan.dependents(named).into_iter().collect()),
            false => Ok(named),
        }
    };
    if arguments.dry_run {
        let wanted: Option<&dyn Fn(&Plan) -> _> = match packages.is_empty() {
            true => None,
            false => Some(&wanted),
        };
        return forecast::forecast(context, wanted, &meant);
    }
    if packages.is_empty() {
        return derivations::build(context, arguments, &meant);
    }
    if arguments.repair {
        repair::repair(context, &packages)?;
        derivations::repair(context, &meant)?;
    }
    let run = context.run(&wanted)?;
    if arguments.shell_on_failure {
        shell::after_failure(context, &run)?;
    }
    if arguments.check && !run.is_complete() {
        return Err(context.failure(EngineError::Run(Box::new(run.report))));
    }
    let add_roots = |run: &FinishedRun<'_>| {
        let plan = &run.planned.plan;
        for target in &run.targets {
            let name = format!("build/{}", plan.nodes()[*target].label);
            run.add_roots(&name, plan.closure([*target]))?;
        }
        if let Some(link) = &arguments.add_root {
            run.add_links(link, &targets(plan, &packages)?[0])?;
        }
        Ok(())
    };
    let go_on = run.is_complete() || context.options.keep_going;
    let stored = match meant.is_empty() || !go_on {
        true => None,
        false => Some(derivations::realise(context, &meant)?),
    };
    let later = stored
        .as_ref()
        .map(|stored| &stored.realised.report.summary);
    let plan = &run.planned.plan;
    let named = match arguments.dependents {
        true => run.targets.iter().copied().map(PlanTarget::all).collect(),
        false => targets(plan, &packages)?,
    };
    let finished = realise::finish_with(context, &run, &named, later, add_roots);
    if finished.is_ok() && !arguments.dependents {
        note_dependents(context, &run)?;
    }
    if let Some(stored) = &stored {
        finished.and(derivations::finish(context, arguments, stored, false))?;
    } else {
        finished?;
    }
    match arguments.check {
        true => {
            let checked = verify::rebuild::check(context, &packages);
            checked.and(derivations::check(context, &meant))
        }
        false => Ok(()),
    }
}

/// After a build that made something: says how many packages need it and are not built from it.
fn note_dependents(context: &Context, run: &FinishedRun<'_>) -> Result<(), CommandFailure> {
    let (labels, missing) = run.waiting_dependents()?;
    if missing > 0 {
        let verb = if missing == 1 { "needs" } else { "need" };
        context.note(&format!(
            "{} {verb} {} and would be rebuilt: `bootstrap build --dependents {}`",
            counted(missing, "package"),
            labels.join(", "),
            labels.join(" ")
        ));
    }
    Ok(())
}
