// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --rebuild` and `build --check`: building again, and what came out differently.

use super::document;
use crate::cli::arguments::VerifyArguments;
use crate::cli::context::{Context, print};
use crate::cli::failure::{CommandFailure, Status};
use crate::engine::{RebuildOptions, Targets, nodes};
use crate::formats::keys::SecretKey;
use crate::road::plan::Plan;
use crate::show::progress::size::counted;
use crate::show::rebuilds::{DIFFERENCE, describe};
use crate::show::records::Rebuilds;

/// `bootstrap verify --rebuild`.
pub fn rebuild(
    context: &Context,
    arguments: &VerifyArguments,
    key: Option<&SecretKey>,
) -> Result<(), CommandFailure> {
    let rounds = usize::from(arguments.rounds);
    let options = match arguments.vary {
        true => {
            let directory = arguments.vary_directory.as_deref();
            RebuildOptions::varied(&context.session, rounds, directory)?
        }
        false => RebuildOptions::plain(rounds),
    };
    let wanted = |plan: &Plan| match arguments.packages.as_slice() {
        [] => Ok(plan.everything()?),
        packages => nodes(plan, packages),
    };
    again(context, &wanted, options, key)
}

/// `bootstrap build --check`, once everything is built.
pub fn check(context: &Context, packages: &[String]) -> Result<(), CommandFailure> {
    let wanted = |plan: &Plan| nodes(plan, packages);
    again(context, &wanted, RebuildOptions::plain(1), None)
}

/// Builds what is `wanted` again and reports the result.
fn again(
    context: &Context,
    wanted: Targets<'_>,
    options: RebuildOptions,
    key: Option<&SecretKey>,
) -> Result<(), CommandFailure> {
    let done = context.session.rebuild(wanted, options, context);
    let (run, rounds) = done.map_err(|error| context.failure(error))?;
    let bad = rounds.differing();
    let attestation = (context.options.json || key.is_some()).then(|| {
        let mut attestation = context.session.attestation(&run.planned, &["rebuild"]);
        rounds.note(&context.session, &mut attestation);
        document::note_rebuilds(context, &run.planned.plan, &mut attestation);
        attestation.good = bad == 0 && rounds.failed.is_empty();
        attestation
    });
    // Not before: the document keeps these rounds apart from those that were recorded already.
    let records = Rebuilds::new(&context.directories.state);
    records.record(&run, &rounds);
    match attestation {
        Some(attestation) => document::put_out(&attestation, key)?,
        None => print(
            &context
                .invocation
                .complete(&describe(&context.session, &rounds)),
        )?,
    }
    match (bad, rounds.failed.len()) {
        (0, 0) => Ok(()),
        (0, failed) => Err(CommandFailure::new(
            rounds.first_failure.map_or(Status::Failed, Status::from),
            format!(
                "{} could not be built again: the reasons are above, the logs under {}",
                counted(failed, "package"),
                context.directories.log.join("rebuilds").display()
            ),
            "",
        )),
        (bad, _) => Err(CommandFailure::new(
            Status::Hashes,
            format!(
                "{} came out differently when built again",
                counted(bad, "output")
            ),
            DIFFERENCE,
        )),
    }
}
