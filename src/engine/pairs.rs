// SPDX-License-Identifier: GPL-3.0-or-later
//! Pairs of outputs that were made in two ways, and how they compare.
//!
//! Both sides are hashed before they are compared: a document that names two outputs with their hashes says that these
//! are the ones that were compared.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::document;
use super::error::EngineError;
use super::run::FinishedRun;
use super::session::Session;
use crate::builder::error::BuildError;
use crate::diagnostics::FileError;
use crate::events::cancellation::Cancellation;
use crate::formats::count::{agreeing, counted};
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;
use crate::verify::attestation::{Attestation, AttestedOutput, SecondOutput, Seen};
use crate::verify::cause::Circumstances;
use crate::verify::compare::{self, FileDifference, Side};
use crate::verify::rewrite::Rewriting;
use crate::verify::whole::{self, Checked};

/// An output of one of the ways.
#[derive(Debug, Clone)]
pub(super) struct PairOutput {
    pub label: String,
    pub output: String,
    pub path: StorePath,
    /// The placeholders that it is compared with.
    pub rewriting: Rc<Rewriting>,
}

/// The two ways.
#[derive(Debug, Clone)]
pub struct Ways {
    /// The name of the check in documents.
    pub check: &'static str,
    /// The first way, such as `from the seed a`.
    pub first: String,
    /// The second way.
    pub second: String,
}

/// Which output is compared with which.
#[derive(Debug, Default)]
struct Matched {
    pairs: Vec<[PairOutput; 2]>,
    /// `LABEL:OUTPUT` of those that only one way has.
    alone: [BTreeSet<String>; 2],
}

/// Finds for each output the one of the same name.
fn match_up(first: Vec<PairOutput>, second: Vec<PairOutput>) -> Matched {
    let mut matched = Matched::default();
    let mut others: BTreeMap<(String, String), PairOutput> = second
        .into_iter()
        .map(|made| ((made.label.clone(), made.output.clone()), made))
        .collect();
    for made in first {
        match others.remove(&(made.label.clone(), made.output.clone())) {
            Some(other) => matched.pairs.push([made, other]),
            None => {
                matched.alone[0].insert(format!("{}:{}", made.label, made.output));
            }
        }
    }
    matched.alone[1].extend(
        others
            .into_keys()
            .map(|(label, output)| format!("{label}:{output}")),
    );
    matched
}

/// How the outputs of two ways compare.
#[derive(Debug)]
pub struct PairReport {
    /// The two ways.
    pub ways: Ways,
    /// Each output that both ways made, the smallest first.
    pub pairs: Vec<Pair>,
    /// Outputs that only one of the two ways made, as `LABEL:OUTPUT`.
    pub alone: [BTreeSet<String>; 2],
    /// The same as a document.
    pub attestation: Attestation,
}

/// An output that both ways made.
#[derive(Debug)]
pub struct Pair {
    /// `LABEL:OUTPUT`.
    pub name: String,
    /// Its path in each way.
    pub paths: [String; 2],
    /// How the two compare.
    pub verdict: PairVerdict,
}

/// How the two outputs of a pair compare.
#[derive(Debug)]
pub enum PairVerdict {
    /// Equal, but for store hashes.
    Same,
    /// These files differ.
    Differs(Vec<FileDifference>),
    /// Not compared: one is not what was registered.
    Damaged {
        /// Which: 0 or 1.
        side: usize,
        /// What is wrong with it.
        seen: Seen,
        /// The same in more words; may be empty.
        detail: String,
    },
}

impl PairVerdict {
    /// The result as documents have it.
    fn seen(&self) -> Seen {
        match self {
            Self::Same => Seen::Equivalent,
            Self::Differs(_) => Seen::Differs,
            Self::Damaged { seen, .. } => *seen,
        }
    }

    /// The details that documents have.
    fn detail(&self, ways: &Ways) -> String {
        match self {
            Self::Same => format!("the same {}, but for store hashes", ways.second),
            Self::Differs(files) => {
                let names = files.iter().take(5).map(|file| file.path.as_str());
                let names: Vec<&str> = names.collect();
                let verb = agreeing(files.len(), "differs", "differ");
                format!(
                    "{} {verb} {}: {}",
                    counted(files.len(), "file"),
                    ways.second,
                    names.join(", ")
                )
            }
            Self::Damaged { side, seen, detail } => {
                let way = [&ways.first, &ways.second][*side];
                let word = document::word(*seen);
                match detail.as_str() {
                    "" => format!("the one {way}: {word}"),
                    detail => format!("the one {way}: {word}: {detail}"),
                }
            }
        }
    }
}

impl PairReport {
    /// How many outputs there are.
    pub fn all(&self) -> usize {
        self.pairs.len() + self.alone.iter().map(BTreeSet::len).sum::<usize>()
    }
}

/// Compares the outputs of both ways, which come from `runs`.
pub(super) fn compare_pairs(
    session: &Session,
    runs: &[&FinishedRun<'_>],
    ways: Ways,
    made: [Vec<PairOutput>; 2],
    cancellation: &Cancellation,
) -> Result<PairReport, EngineError> {
    let [first, second] = made;
    let matched = match_up(first, second);
    let both = matched.pairs.iter().flatten();
    let paths: BTreeSet<StorePath> = both.map(|made| made.path.clone()).collect();
    let cores = session.build_settings().cores;
    let goes_on = || !cancellation.is_cancelled();
    let report = whole::items(&runs[0].store, &paths, cores, &goes_on)?;
    let checked: BTreeMap<&StorePath, &Checked> = report
        .items
        .iter()
        .map(|checked| (&checked.info.path, checked))
        .collect();
    let find = |made: &PairOutput| {
        let found = checked.get(&made.path).copied();
        found.ok_or_else(|| EngineError::NotBuilt {
            package: made.label.clone(),
            path: session.shown(&made.path),
        })
    };
    let mut pairs = Vec::with_capacity(matched.pairs.len());
    for pair in &matched.pairs {
        pairs.push((pair, [find(&pair[0])?, find(&pair[1])?]));
    }
    pairs.sort_by_key(|(_, [first, _])| first.info.nar_size);

    let mut attestation = session.attestation(&runs[0].planned, &[ways.check]);
    for run in &runs[1..] {
        document::add_origin(&mut attestation, run);
    }
    let mut compared = Vec::with_capacity(pairs.len());
    for (pair, sides) in pairs {
        let verdict = judge(session, pair, sides, &goes_on)?;
        let [first, second] = sides.map(|checked| &checked.info);
        attestation.outputs.push(AttestedOutput {
            package: pair[0].label.clone(),
            output: pair[0].output.clone(),
            path: session.shown(&first.path),
            sha256: first.nar_sha256.to_base16(),
            size: first.nar_size,
            result: verdict.seen(),
            made: Some(ways.first.clone()),
            second: Some(SecondOutput {
                made: ways.second.clone(),
                path: session.shown(&second.path),
                sha256: second.nar_sha256.to_base16(),
                size: second.nar_size,
            }),
            rebuilt: None,
            detail: verdict.detail(&ways),
        });
        compared.push(Pair {
            name: format!("{}:{}", pair[0].label, pair[0].output),
            paths: [session.shown(&first.path), session.shown(&second.path)],
            verdict,
        });
    }
    for (names, way) in matched.alone.iter().zip([&ways.first, &ways.second]) {
        for name in names {
            let other = attestation.other_damage.entry(name.clone());
            other.or_insert(format!("there is only one, {way}"));
        }
    }
    let is_good = compared.iter().all(|pair| pair.verdict.seen().is_good());
    let is_matched = matched.alone.iter().all(BTreeSet::is_empty);
    attestation.good = is_good && is_matched && !compared.is_empty();
    document::sort(&mut attestation);
    Ok(PairReport {
        ways,
        pairs: compared,
        alone: matched.alone,
        attestation,
    })
}

/// Compares both outputs of a pair where both are what was registered.
fn judge(
    session: &Session,
    pair: &[PairOutput; 2],
    sides: [&Checked; 2],
    goes_on: &dyn Fn() -> bool,
) -> Result<PairVerdict, EngineError> {
    for (side, checked) in sides.into_iter().enumerate() {
        if !checked.condition.is_intact() {
            let (seen, detail) = document::seen(&checked.condition);
            return Ok(PairVerdict::Damaged { side, seen, detail });
        }
    }
    let files = differences(session, pair, sides.map(|checked| &checked.info), goes_on)?;
    Ok(match files.is_empty() {
        true => PairVerdict::Same,
        false => PairVerdict::Differs(files),
    })
}

fn differences(
    session: &Session,
    pair: &[PairOutput; 2],
    infos: [&PathInfo; 2],
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<FileDifference>, EngineError> {
    let roots = infos.map(|info| session.directories().physical(&info.path));
    let circumstances = infos.map(|info| Circumstances {
        time: info.registration_time,
        ..Circumstances::default()
    });
    let side = |number: usize| Side {
        root: &roots[number],
        rewriting: &pair[number].rewriting,
        circumstances: &circumstances[number],
    };
    let compared = compare::compare(side(0), side(1), goes_on);
    if !goes_on() {
        return Err(BuildError::Interrupted.into());
    }
    Ok(compared.map_err(|error| FileError::in_store(error.action, error.path)(error.source))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(label: &str, output: &str, letter: char) -> PairOutput {
        let name = format!("{}-x", letter.to_string().repeat(32));
        PairOutput {
            label: label.to_owned(),
            output: output.to_owned(),
            path: StorePath::from_base_name(&name).unwrap(),
            rewriting: Rc::new(Rewriting::none()),
        }
    }

    #[test]
    fn an_output_without_a_counterpart_is_not_passed_over_on_either_side() {
        let matched = match_up(
            vec![made("sed", "out", 'a'), made("gcc", "lib", 'b')],
            vec![
                made("gcc", "out", 'c'),
                made("sed", "out", 'd'),
                made("tar", "out", 'f'),
            ],
        );
        let pairs: Vec<&str> = matched
            .pairs
            .iter()
            .map(|[one, _]| one.label.as_str())
            .collect();
        assert_eq!(pairs, ["sed"]);
        assert_ne!(matched.pairs[0][0].path, matched.pairs[0][1].path);
        let alone = matched.alone.map(Vec::from_iter);
        assert_eq!(alone[0], ["gcc:lib"]);
        assert_eq!(alone[1], ["gcc:out", "tar:out"]);
    }
}
