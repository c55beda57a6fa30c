// SPDX-License-Identifier: GPL-3.0-or-later
//! `doctor`: whether this machine can build, and what to do where it cannot.
//!
//! The engine looks; what is made of it is in [`checks`].

use super::context::{Context, print, print_json};
use super::failure::{Failure, Status};
use crate::show::checks::{self, Finding, State};
use crate::show::progress::processor;

/// `bootstrap doctor`. Where anything is bad the exit status is that of an unfit environment.
pub fn doctor(context: &Context) -> Result<(), Failure> {
    let mut findings = look(context);
    for remedy in findings.iter_mut().filter_map(|one| one.remedy.as_mut()) {
        *remedy = context.invocation.complete(remedy);
    }
    if context.options.json {
        print_json(&findings)?;
    } else {
        print(&checks::describe(&findings))?;
    }
    match findings
        .iter()
        .filter(|one| one.state == State::Bad)
        .count()
    {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::Environment,
            format!(
                "{count} of {} checks failed: this machine cannot build yet",
                findings.len()
            ),
            "",
        )),
    }
}

fn look(context: &Context) -> Vec<Finding> {
    let machine = context.session.examine_machine();
    let refused = machine.refused;
    let refused = refused.as_ref();
    let refused = refused.map(|(place, error)| (place.as_path(), error));
    let mut findings = vec![
        checks::host(&machine.system, context.session.options().system),
        checks::sandbox(machine.sandbox),
    ];
    findings.extend(machine.features.iter().map(checks::feature));
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
        let text = Failure::from(error).render(false, &context.invocation);
        text.trim_end().to_owned()
    })));
    let items = machine.items;
    let items = items.map_err(|error| context.invocation.complete(&error.to_string()));
    findings.push(checks::store(items));
    findings
}
