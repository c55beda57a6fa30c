// SPDX-License-Identifier: GPL-3.0-or-later
//! `build --repair`, in words.

use super::context::Context;
use super::failure::{CommandFailure, Status};
use crate::show::progress::size::counted;

/// Repairs what is damaged of `packages`, which need not be built.
pub fn repair(context: &Context, packages: &[String]) -> Result<(), CommandFailure> {
    let report = context.session.repair(packages, context);
    let report = report.map_err(|error| context.failure(error))?;
    if report.damaged == 0 {
        context.note("no damage found");
    }
    let mut reasons = Vec::new();
    let mut hint = "";
    if !report.refused.is_empty() {
        reasons.push(format!(
            "{} could not be repaired: {}",
            counted(report.refused.len(), "package"),
            report.refused.join(", ")
        ));
    }
    if !report.hopeless.is_empty() {
        reasons.push(format!(
            "no package of this plan builds {}",
            report.hopeless.join(", ")
        ));
        hint = "restore it from a copy";
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(CommandFailure::new(
            Status::Hashes,
            reasons.join("; "),
            hint,
        )),
    }
}
