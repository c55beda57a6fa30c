// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify`: what the store holds against the database, a lock, or another user's document.

use std::collections::BTreeMap;

use super::arguments::VerifyArguments;
use super::context::{Context, LISTED, print};
use super::failure::{CommandFailure, Status};
use crate::engine::{EngineError, Makers, document as engine_document, valid_closure, word};
use crate::formats::count::agreeing;
use crate::formats::keys::SecretKey;
use crate::formats::visible::visible;
use crate::show::progress::size;
use crate::verify::whole::{self, Checked, Condition, StoreCheckReport};

mod compare;
mod document;
pub mod lock_command;
mod pairs;
pub mod rebuild;
mod recover;

/// `bootstrap verify`.
pub fn verify(context: &Context, arguments: &VerifyArguments) -> Result<(), CommandFailure> {
    if let Some([first, second]) = arguments.compare.as_deref() {
        return compare::compare(context, [first, second], &arguments.signed_by);
    }
    if arguments.recover {
        return recover::recover(context);
    }
    let key = arguments.sign.as_deref().map(SecretKey::read).transpose()?;
    let (session, packages) = (&context.session, &arguments.packages);
    if arguments.fixpoint {
        let compared = session.fixpoint(packages, context);
        return pairs::report(context, compared, key.as_ref());
    }
    if let Some([first, second]) = arguments.diverse.as_deref() {
        let compared = session.diverse([first, second], packages, context);
        return pairs::report(context, compared, key.as_ref());
    }
    if arguments.rebuild {
        return rebuild::rebuild(context, arguments, key.as_ref());
    }
    whole_store(context, arguments, key.as_ref())
}

/// Compares the store with the database, and with a lock where one is given.
fn whole_store(
    context: &Context,
    arguments: &VerifyArguments,
    key: Option<&SecretKey>,
) -> Result<(), CommandFailure> {
    let (session, packages) = (&context.session, arguments.packages.as_slice());
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let cores = session.build_settings().cores;
    let interruption = context.interruption();
    let goes_on = || !interruption.is_cancelled();
    let start = std::time::Instant::now();
    let report = match packages {
        [] => whole::everything(&store, cores, &goes_on),
        packages => {
            let paths = valid_closure(&context.session, &planned, &store, packages)?;
            whole::items(&store, &paths, cores, &goes_on)
        }
    };
    let report = report.map_err(EngineError::from)?;
    let makers = Makers::of(&planned.plan);
    let mut attestation = session.attestation(&planned, &["store"]);
    engine_document::note_items(session, &makers, &report, &mut attestation);
    document::note_rebuilds(context, &planned.plan, &mut attestation);
    let seconds = start.elapsed().as_secs_f64();

    let mut text = String::new();
    let mut nothing_compared = None;
    if let Some(file) = &arguments.lock {
        let compared =
            session.compare_with_lock(&planned, &store, file, packages, &mut attestation)?;
        text = lock_command::describe(file, &compared);
        nothing_compared = compared.is_empty().then_some(file);
    }
    let bad = attestation
        .outputs
        .iter()
        .filter(|output| !output.result.is_good())
        .count()
        + attestation.other_damage.len();
    attestation.good = bad == 0;
    if context.options.json || key.is_some() {
        document::put_out(&attestation, key)?;
    } else {
        let summary = describe(context, &makers, &report, seconds);
        print(&context.invocation.complete(&(text + &summary)))?;
    }
    let different = attestation.lock.map_or(0, |counts| counts.different);
    let damaged = bad.saturating_sub(different);
    if let Some(failure) = complaint(report.items.len(), damaged, different) {
        return Err(failure);
    }
    match nothing_compared {
        None => Ok(()),
        Some(file) => Err(CommandFailure::new(
            Status::Hashes,
            format!(
                "nothing was compared with {}: no output of this plan is both in it and in the store",
                file.display()
            ),
            "build something first, give the lock of the same seed and recipes, or have one written: `bootstrap lock`",
        )),
    }
}

/// What is wrong with so many `items`: `damaged` of them are not what was registered, and `different` outputs are, but
/// not what the lock has.
fn complaint(items: usize, damaged: usize, different: usize) -> Option<CommandFailure> {
    let mut messages = Vec::new();
    let mut hints = Vec::new();
    if damaged > 0 {
        messages.push(format!(
            "{damaged} of {} damaged",
            size::counted(items.max(damaged), "item")
        ));
        hints.push("`bootstrap build --repair PKG` repairs a package");
    }
    if different > 0 {
        messages.push(format!(
            "{} {} not what the lock has",
            size::counted(different, "output"),
            agreeing(different, "is", "are")
        ));
        hints.push(
            "`bootstrap verify --rebuild PKG` shows whether they come out the same here each time",
        );
    }
    (!messages.is_empty())
        .then(|| CommandFailure::new(Status::Hashes, messages.join("; "), hints.join("; ")))
}

/// The report in words: what is wrong and what to do, then one line about the whole.
fn describe(
    context: &Context,
    makers: &Makers<'_>,
    report: &StoreCheckReport,
    seconds: f64,
) -> String {
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for checked in &report.items {
        *counts
            .entry(word(engine_document::seen(&checked.condition).0))
            .or_default() += 1;
    }
    for checked in report.damaged() {
        text.push_str(&describe_item(context, makers, checked));
    }
    for path in &report.strays.unregistered {
        text.push_str(&format!("unregistered: {}\n", context.shown(path)));
    }
    if !report.strays.unregistered.is_empty() {
        text.push_str(
            "  left by runs that were killed, or kept by --repair or --rebuild: `bootstrap gc` removes them\n",
        );
    }
    for name in report.strays.foreign.iter().take(LISTED) {
        text.push_str(&format!(
            "extra: {}/{}\n",
            context.directories.store.display(),
            visible(name)
        ));
    }
    let more = report.strays.foreign.len().saturating_sub(LISTED);
    if more > 0 {
        text.push_str(&format!("extra: {more} more, which --json names\n"));
    }
    if !report.strays.foreign.is_empty() {
        text.push_str("  not store items: inspect and delete them by hand\n");
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    text.push_str(&format!(
        "{}, {} in {}: {}\n",
        size::counted(report.items.len(), "item"),
        size::bytes(report.bytes),
        size::seconds(seconds),
        match counts.is_empty() {
            true => "nothing is registered".to_owned(),
            false => counts.join(", "),
        }
    ));
    text
}

fn describe_item(context: &Context, makers: &Makers<'_>, checked: &Checked) -> String {
    let info = &checked.info;
    let (seen, _) = engine_document::seen(&checked.condition);
    let mut text = format!("{}: {}\n", word(seen), context.shown(&info.path));
    let mut line = |line: &str| text.push_str(&format!("  {line}\n"));
    match &checked.condition {
        Condition::Intact | Condition::Missing => {}
        Condition::Touched(files) => engine_document::list(files)
            .iter()
            .for_each(|file| line(file)),
        Condition::Altered {
            found,
            size,
            suspects,
        } => {
            line(&format!(
                "expected the SHA-256 {}, saw {found}",
                info.nar_sha256
            ));
            if *size != info.nar_size {
                line(&format!(
                    "expected {} bytes as an archive, saw {size}",
                    info.nar_size
                ));
            }
            engine_document::list(suspects)
                .iter()
                .for_each(|file| line(file));
        }
        Condition::Misrecorded(wrong) => wrong.problems.iter().for_each(|problem| line(problem)),
        Condition::Unreadable(detail) => line(detail),
    }
    match makers.label(&info.path) {
        Some(label) => line(&format!(
            "repair it with `bootstrap build --repair {label}`"
        )),
        None => line(
            "no package of this plan builds it: `bootstrap gc --keep-generations 1` removes it if only old generations \
             need it; else restore it from a copy",
        ),
    }
    text
}
