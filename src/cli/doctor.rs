// SPDX-License-Identifier: GPL-3.0-or-later
//! `doctor`: whether this machine can build, or a Guix client build on the inputs, and what to do where that fails.
//!
//! The engine looks; what is made of it is in [`checks`].

use std::path::Path;

use super::context::{Context, print, print_json};
use super::failure::{CommandFailure, Status};
use crate::daemon::configuration::DaemonDirectories;
use crate::daemon::status::DaemonStatus;
use crate::sandbox::inherited::low_limits;
use crate::show::checks::{self, CheckFinding};
use crate::show::progress::processor;

/// `bootstrap doctor`, or with the program of a Guix client `bootstrap doctor --guix`. Where anything is bad the exit
/// status is that of an unfit environment.
pub fn doctor(context: &Context, guix: Option<&Path>) -> Result<(), CommandFailure> {
    let mut findings = match guix {
        Some(program) => {
            let places = DaemonDirectories::of(&context.directories);
            let served = |process| DaemonStatus::serves(&places, process);
            checks::boundaries(&context.session.examine_guix(program, &served))
        }
        None => examine(context),
    };
    for remedy in findings.iter_mut().filter_map(|one| one.remedy.as_mut()) {
        *remedy = context.invocation.complete(remedy);
    }
    match context.options.json {
        true => print_json(&findings)?,
        false => print(&checks::describe(&findings))?,
    }
    let failed = |message| Err(CommandFailure::new(Status::Environment, message, ""));
    checks::verdict(&findings, guix.is_some()).map_or(Ok(()), failed)
}

fn examine(context: &Context) -> Vec<CheckFinding> {
    let machine = context.session.examine_machine();
    let refused = machine.refused.as_ref();
    let refused = refused.map(|(place, error)| (place.as_path(), error));
    let mut findings = vec![
        checks::host(&machine.system, context.session.options().system),
        checks::sandbox(machine.sandbox),
    ];
    findings.extend(machine.features.iter().map(checks::feature));
    findings.push(checks::limits(&low_limits()));
    findings.push(checks::privileges(refused));
    for disk in machine.disks {
        findings.push(checks::programs(
            disk.what,
            &disk.place,
            disk.forbids_programs,
        ));
        findings.push(checks::space(
            disk.what,
            &disk.place,
            disk.free,
            disk.needed,
        ));
    }
    findings.push(checks::memory(machine.cores, processor::memory()));
    let clock = machine.clock;
    let server = clock.server.as_ref();
    let server = server.map(|(host, time)| (host.as_str(), *time));
    findings.push(checks::clock(clock.now, clock.newest, server));
    findings.push(checks::network(&machine.sources));
    findings.push(checks::archive(&machine.archive));
    if let Some((name, checked)) = machine.seed {
        findings.push(checks::seed(&name, checked));
    }
    findings.push(checks::recipes(machine.planned.map_err(|error| {
        let text = CommandFailure::from(error).render(false, &context.invocation);
        text.trim_end().to_owned()
    })));
    let items = machine.items;
    let items = items.map_err(|error| context.invocation.complete(&error.to_string()));
    findings.push(checks::store(items));
    findings
}
