//! `verify`: what the store holds against the database, a lock, or somebody else's document.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::VerifyArguments;
use super::context::{Context, Planned, print};
use super::equipment;
use super::failure::{Failure, Status};
use super::run;
use crate::formats::store_path::StorePath;
use crate::road::plan::Plan;
use crate::show::progress::size;
use crate::store::Store;
use crate::store::canonical::Deviation;
use crate::verify::attestation::{AttestedOutput, Seen};
use crate::verify::whole::{self, Checked, Condition, Report};

mod compare;
mod diverse;
mod document;
pub mod lock;
mod pairs;
pub mod rebuild;
mod recover;

/// How many files of an item are named.
const FILES: usize = 5;

/// `bootstrap verify`.
pub fn verify(context: &Context, arguments: &VerifyArguments) -> Result<(), Failure> {
    if let Some([first, second]) = arguments.compare.as_deref() {
        return compare::compare(context, [first, second], &arguments.signed_by);
    }
    if arguments.recover {
        return recover::recover(context);
    }
    let key = arguments.sign.as_deref().map(document::read_key);
    let key = key.transpose()?;
    if arguments.fixpoint {
        return diverse::fixpoint(context, &arguments.packages, key.as_ref());
    }
    if let Some([first, second]) = arguments.diverse.as_deref() {
        return diverse::diverse(context, [first, second], &arguments.packages, key.as_ref());
    }
    if arguments.rebuild {
        return rebuild::rebuild(context, arguments, key.as_ref());
    }
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let cores = equipment::settings(context).cores;
    let start = std::time::Instant::now();
    let report = match arguments.packages.as_slice() {
        [] => whole::everything(&store, cores)?,
        packages => whole::items(
            &store,
            &closure(context, &planned, &store, packages)?,
            cores,
        )?,
    };
    let makers = Makers::of(&planned.plan);
    let mut attestation = document::new(context, &planned, &["store"]);
    note_items(context, &makers, &report, &mut attestation);
    document::note_rebuilds(context, &planned.plan, &mut attestation);
    let seconds = start.elapsed().as_secs_f64();

    let mut text = String::new();
    if let Some(file) = &arguments.lock {
        let labels = labels(&planned.plan, &arguments.packages)?;
        text = lock::compare(context, &planned, &store, file, &labels, &mut attestation)?;
    }
    let bad = attestation
        .outputs
        .iter()
        .filter(|output| !output.result.is_good())
        .count()
        + attestation.other_damage.len();
    attestation.good = bad == 0;
    if context.options.json || key.is_some() {
        document::put_out(&attestation, key.as_ref())?;
    } else {
        let summary = describe(context, &makers, &report, seconds);
        print(&context.invocation.complete(&(text + &summary)))?;
    }
    let different = attestation.lock.map_or(0, |counts| counts.different);
    match complaint(report.items.len(), bad.saturating_sub(different), different) {
        None => Ok(()),
        Some(message) => Err(Failure::Told {
            message,
            status: Status::Hashes,
        }),
    }
}

/// What is wrong with so many `items`, and what to do: `damaged` of them are not what was registered, and `different` outputs are,
/// but not what the lock has.
fn complaint(items: usize, damaged: usize, different: usize) -> Option<String> {
    let damage = (damaged > 0).then(|| {
        format!(
            "{damaged} of {} items not as they should be; `bootstrap build --repair PKG` makes what is damaged of a package \
             anew",
            items.max(damaged)
        )
    });
    let difference = (different > 0).then(|| {
        format!(
            "{different} outputs are not what the lock has; `bootstrap verify --rebuild PKG` tells whether they come out the \
             same here each time"
        )
    });
    let parts: Vec<String> = damage.into_iter().chain(difference).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The labels of the packages called `packages`; of all nodes where none is named.
fn labels(plan: &Plan, packages: &[String]) -> Result<BTreeSet<String>, Failure> {
    let nodes = match packages {
        [] => (0..plan.nodes().len()).collect(),
        packages => run::named(plan, packages)?,
    };
    Ok(nodes
        .into_iter()
        .map(|index| plan.nodes()[index].label.clone())
        .collect())
}

/// The outputs of `packages`, which must be valid, and all that they refer to.
fn closure(
    context: &Context,
    planned: &Planned,
    store: &Store,
    packages: &[String],
) -> Result<BTreeSet<StorePath>, Failure> {
    let mut outputs = Vec::new();
    for index in run::named(&planned.plan, packages)? {
        let node = &planned.plan.nodes()[index];
        for (_, path) in node.output_paths() {
            if !store.is_valid(path)? {
                return Err(Failure::NotBuilt {
                    package: node.label.clone(),
                    path: context.shown(path),
                });
            }
            outputs.push(path);
        }
    }
    Ok(store.closure(outputs)?)
}

/// Who makes each store item that the plan knows.
pub struct Makers<'p> {
    outputs: BTreeMap<&'p StorePath, (&'p str, &'p str)>,
    /// Derivations and what they are given as it is.
    others: BTreeMap<&'p StorePath, &'p str>,
}

impl<'p> Makers<'p> {
    pub fn of(plan: &'p Plan) -> Self {
        let mut makers = Self {
            outputs: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        for node in plan.nodes() {
            let label = node.label.as_str();
            for (output, path) in node.output_paths() {
                makers.outputs.entry(path).or_insert((label, output));
            }
            makers.others.insert(&node.derivation_path, label);
            for source in &node.derivation.input_sources {
                makers.others.entry(source).or_insert(label);
            }
        }
        makers
    }

    /// The label of what makes `path`.
    pub fn label(&self, path: &StorePath) -> Option<&'p str> {
        let output = self.outputs.get(path).map(|(label, _)| *label);
        output.or_else(|| self.others.get(path).copied())
    }
}

/// Notes in the document what was seen.
fn note_items(
    context: &Context,
    makers: &Makers<'_>,
    report: &Report,
    attestation: &mut crate::verify::attestation::Attestation,
) {
    for checked in &report.items {
        let path = &checked.info.path;
        let (seen, detail) = seen(&checked.condition);
        match makers.outputs.get(path) {
            Some((label, output)) => attestation.outputs.push(AttestedOutput {
                package: (*label).to_owned(),
                output: (*output).to_owned(),
                path: context.shown(path),
                sha256: checked.info.nar_sha256.to_base16(),
                size: checked.info.nar_size,
                result: seen,
                made: None,
                second: None,
                rebuilt: None,
                detail,
            }),
            None if seen.is_good() => attestation.other_items += 1,
            None => {
                attestation
                    .other_damage
                    .insert(context.shown(path), format!("{}: {detail}", word(seen)));
            }
        }
    }
    let unregistered = report.strays.unregistered.iter();
    attestation.unregistered = unregistered.map(|path| context.shown(path)).collect();
    let foreign = report.strays.foreign.iter();
    let store_dir = &context.directories.store_dir;
    attestation.extra = foreign.map(|name| format!("{store_dir}/{name}")).collect();
    document::sort(attestation);
}

fn seen(condition: &Condition) -> (Seen, String) {
    match condition {
        Condition::Intact => (Seen::Intact, String::new()),
        Condition::Missing => (Seen::Missing, String::new()),
        Condition::Touched(files) => (Seen::Touched, list(files).join("; ")),
        Condition::Altered { found, .. } => (Seen::Altered, format!("its SHA-256 is now {found}")),
        Condition::Misrecorded(wrong) => (Seen::Misrecorded, wrong.problems.join("; ")),
        Condition::Unreadable(detail) => (Seen::Unreadable, detail.clone()),
    }
}

/// How people read `seen`.
fn word(seen: Seen) -> &'static str {
    match seen {
        Seen::Intact => "intact",
        Seen::Reproducible => "reproducible",
        Seen::Equivalent => "equivalent",
        Seen::Registered => "registered",
        Seen::Touched => "touched",
        Seen::Altered => "altered",
        Seen::Misrecorded => "misrecorded",
        Seen::Missing => "missing",
        Seen::Unreadable => "unreadable",
        Seen::Differs => "differs",
        Seen::Failed => "failed",
    }
}

fn list(files: &[Deviation]) -> Vec<String> {
    let mut lines: Vec<String> = files
        .iter()
        .take(FILES)
        .map(|file| match file.path.as_os_str().is_empty() {
            true => file.problem.clone(),
            false => format!("{}: {}", file.path.display(), file.problem),
        })
        .collect();
    if files.len() > FILES {
        lines.push(format!("and {} more files", files.len() - FILES));
    }
    lines
}

/// The report in words: what is wrong and what to do, then one line about the whole.
fn describe(context: &Context, makers: &Makers<'_>, report: &Report, seconds: f64) -> String {
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for checked in &report.items {
        *counts.entry(word(seen(&checked.condition).0)).or_default() += 1;
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
    for name in &report.strays.foreign {
        text.push_str(&format!(
            "extra: {}/{name}\n",
            context.directories.store.display()
        ));
    }
    if !report.strays.foreign.is_empty() {
        text.push_str(
            "  no store items, so nobody here made them: look at them and remove them by hand\n",
        );
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    text.push_str(&format!(
        "{} items, {} in {}: {}\n",
        report.items.len(),
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
    let (seen, _) = seen(&checked.condition);
    let mut text = format!("{}: {}\n", word(seen), context.shown(&info.path));
    let mut line = |line: &str| text.push_str(&format!("  {line}\n"));
    match &checked.condition {
        Condition::Intact | Condition::Missing => {}
        Condition::Touched(files) => list(files).iter().for_each(|file| line(file)),
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
            list(suspects).iter().for_each(|file| line(file));
        }
        Condition::Misrecorded(wrong) => wrong.problems.iter().for_each(|problem| line(problem)),
        Condition::Unreadable(detail) => line(detail),
    }
    match makers.label(&info.path) {
        Some(label) => line(&format!(
            "put it right with `bootstrap build --repair {label}`"
        )),
        None => line(
            "nothing in this plan makes it: `bootstrap gc --keep-generations 1` removes it if only old generations \
             need it; else restore it from a copy",
        ),
    }
    text
}
