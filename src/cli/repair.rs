//! `build --repair`, in words.

use super::context::Context;
use super::failure::{Failure, Status};
use crate::engine::Repaired;
use crate::show::progress::size::counted;

/// Repairs what is damaged of `packages`, which need not be built.
pub fn repair(context: &Context, packages: &[String]) -> Result<(), Failure> {
    let report = context.session.repair(packages, context);
    let report = report.map_err(|error| context.failure(error))?;
    if report.damaged == 0 {
        context.note("nothing of it is damaged");
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
            "nothing in this plan makes {}",
            report.hopeless.join(", ")
        ));
        hint = "restore it from a copy";
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Status::Hashes, reasons.join("; "), hint)),
    }
}

/// One step of a repair.
pub(super) fn describe(step: &Repaired) -> String {
    match step {
        Repaired::Metadata(path) => format!("{path}: times, modes and owners repaired"),
        Repaired::Record(path) => format!("{path}: its record repaired"),
        Repaired::Replaced {
            path,
            kept: Some(kept),
        } => format!("{path}: repaired; the damaged copy is {}", kept.display()),
        Repaired::Replaced { path, kept: None } => format!("{path}: put back"),
        Repaired::Rehashed {
            path,
            recorded,
            found,
        } => format!("{path}: the recorded SHA-256 {recorded} was wrong; recorded is now {found}"),
        Repaired::NotBuilt { label, because } => {
            format!("{label}: not built again, since {because}, which it is built with, is damaged")
        }
        Repaired::Refused {
            path,
            recorded,
            found,
            kept,
        } => format!(
            "{path}: recorded is the SHA-256 {recorded}, but the build gave {found}; the item stays as it is, and what the \
             build gave is {}. Either the record is damaged too, or the build is not reproducible: compare with a lock \
             (`bootstrap verify --lock`). Once nothing keeps the item (`bootstrap roots`), `bootstrap gc` removes it, and it \
             can be built anew",
            kept.display()
        ),
    }
}
