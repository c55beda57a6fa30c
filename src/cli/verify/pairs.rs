//! Outputs made in two ways, and how they compare: what `verify --fixpoint` and `verify --diverse` have in common.
//!
//! Both sides are hashed before they are compared: a document that tells of two outputs with their hashes says that these
//! are the ones that were looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{document, seen, word};
use crate::cli::context::{Context, print};
use crate::cli::equipment;
use crate::cli::failure::{Failure, Status};
use crate::cli::run::Run;
use crate::formats::keys::SecretKey;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;
use crate::verify::attestation::{AttestedOutput, SecondOutput, Seen};
use crate::verify::cause::Circumstances;
use crate::verify::compare::{self, FileDifference, Side};
use crate::verify::rewrite::Rewriting;
use crate::verify::whole::{self, Checked};

/// An output of one of the ways.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub label: String,
    pub output: String,
    pub path: StorePath,
    /// What stands for what where it is compared.
    pub rewriting: Rc<Rewriting>,
}

/// How the two ways are told apart.
pub(super) struct Ways<'w> {
    pub check: &'w str,
    pub first: String,
    pub second: String,
}

/// Which output is compared with which.
#[derive(Debug, Default)]
struct Matched {
    pairs: Vec<[Made; 2]>,
    /// `LABEL:OUTPUT` of those that only one way has.
    alone: [BTreeSet<String>; 2],
}

/// Finds for each output the one of the same name.
fn match_up(first: Vec<Made>, second: Vec<Made>) -> Matched {
    let mut matched = Matched::default();
    let mut others: BTreeMap<(String, String), Made> = second
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

/// What came of one pair.
struct Judged {
    result: Seen,
    /// For the document.
    detail: String,
    /// For people: whole lines.
    text: String,
}

/// Compares the outputs of both ways, which come from `runs`, and tells what was found.
pub(super) fn report(
    context: &Context,
    runs: &[&Run<'_>],
    ways: &Ways<'_>,
    made: [Vec<Made>; 2],
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let [first, second] = made;
    let matched = match_up(first, second);
    let both = matched.pairs.iter().flatten();
    let paths: BTreeSet<StorePath> = both.map(|made| made.path.clone()).collect();
    let cores = equipment::settings(context).cores;
    let report = whole::items(&runs[0].store, &paths, cores)?;
    let checked: BTreeMap<&StorePath, &Checked> = report
        .items
        .iter()
        .map(|checked| (&checked.info.path, checked))
        .collect();
    let find = |made: &Made| {
        let found = checked.get(&made.path).copied();
        found.ok_or_else(|| Failure::NotBuilt {
            package: made.label.clone(),
            path: context.shown(&made.path),
        })
    };
    let mut pairs = Vec::with_capacity(matched.pairs.len());
    for pair in &matched.pairs {
        pairs.push((pair, [find(&pair[0])?, find(&pair[1])?]));
    }
    // The small ones first: people look at the first lines while gcc is still being read.
    pairs.sort_by_key(|(_, [first, _])| first.info.nar_size);

    let mut attestation = document::new(context, &runs[0].planned, &[ways.check]);
    for run in &runs[1..] {
        document::add_origin(&mut attestation, context, &run.planned);
    }
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (pair, sides) in &pairs {
        let judged = judge(context, pair, ways, *sides)?;
        text.push_str(&judged.text);
        if !judged.result.is_good() {
            let kind = match judged.result {
                Seen::Differs => "differ",
                _ => "are not as they were registered",
            };
            *counts.entry(kind).or_default() += 1;
        }
        let [first, second] = sides.map(|checked| &checked.info);
        attestation.outputs.push(AttestedOutput {
            package: pair[0].label.clone(),
            output: pair[0].output.clone(),
            path: context.shown(&first.path),
            sha256: first.nar_sha256.to_base16(),
            size: first.nar_size,
            result: judged.result,
            made: Some(ways.first.clone()),
            second: Some(SecondOutput {
                made: ways.second.clone(),
                path: context.shown(&second.path),
                sha256: second.nar_sha256.to_base16(),
                size: second.nar_size,
            }),
            rebuilt: None,
            detail: judged.detail,
        });
    }
    let sides = [&ways.first, &ways.second];
    for (names, way) in matched.alone.iter().zip(sides) {
        for name in names {
            *counts.entry("were made in one way only").or_default() += 1;
            text.push_str(&format!("only one: {name}, {way}\n"));
            let other = attestation.other_damage.entry(name.clone());
            other.or_insert(format!("there is only one, {way}"));
        }
    }
    let bad: usize = counts.values().sum();
    let alone: usize = matched.alone.iter().map(BTreeSet::len).sum();
    let all = pairs.len() + alone;
    attestation.good = bad == 0 && all > 0;
    document::sort(&mut attestation);
    if context.options.json || key.is_some() {
        document::put_out(&attestation, key)?;
    } else {
        text.push_str(&format!(
            "{} of {all} outputs the same, but for store hashes\n",
            all - bad
        ));
        print(&text)?;
    }
    if all == 0 {
        return Err(Failure::Told {
            message: format!(
                "there is nothing to compare: no output was made both {} and {}",
                ways.first, ways.second
            ),
            status: Status::Failed,
        });
    }
    match counts.is_empty() {
        true => Ok(()),
        false => {
            let counts = counts.iter();
            let counts: Vec<String> = counts
                .map(|(kind, count)| format!("{count} outputs {kind}"))
                .collect();
            Err(Failure::Told {
                message: format!(
                    "{}, those {} and those {}",
                    counts.join(", "),
                    ways.first,
                    ways.second
                ),
                status: Status::Hashes,
            })
        }
    }
}

/// Looks at both outputs of a pair, and compares them where both are what was registered.
fn judge(
    context: &Context,
    pair: &[Made; 2],
    ways: &Ways<'_>,
    sides: [&Checked; 2],
) -> Result<Judged, Failure> {
    let Made { label, output, .. } = &pair[0];
    let name = format!("{label}:{output}");
    for (checked, way) in sides.into_iter().zip([&ways.first, &ways.second]) {
        if checked.condition.is_intact() {
            continue;
        }
        let (result, detail) = seen(&checked.condition);
        let path = context.shown(&checked.info.path);
        let detail = match detail.as_str() {
            "" => word(result).to_owned(),
            detail => format!("{}: {detail}", word(result)),
        };
        return Ok(Judged {
            result,
            text: format!("not compared: {name}\n  {path}, {way}: {detail}\n"),
            detail: format!("the one {way}: {detail}"),
        });
    }
    let infos = sides.map(|checked| &checked.info);
    let files = differences(context, pair, infos)?;
    if files.is_empty() {
        return Ok(Judged {
            result: Seen::Equivalent,
            text: format!("the same: {name}\n"),
            detail: format!("the same {}, but for store hashes", ways.second),
        });
    }
    let names = files.iter().take(5).map(|file| file.path.as_str());
    let names: Vec<&str> = names.collect();
    let [first, second] = infos.map(|info| context.shown(&info.path));
    Ok(Judged {
        result: Seen::Differs,
        text: format!(
            "differs: {name}\n  first, {}: {first}\n  second, {}: {second}\n{}",
            ways.first,
            ways.second,
            compare::describe(&files)
        ),
        detail: format!(
            "{} files differ {}: {}",
            files.len(),
            ways.second,
            names.join(", ")
        ),
    })
}

fn differences(
    context: &Context,
    pair: &[Made; 2],
    infos: [&PathInfo; 2],
) -> Result<Vec<FileDifference>, Failure> {
    let roots = infos.map(|info| context.directories.physical(&info.path));
    let circumstances = infos.map(|info| Circumstances {
        time: info.registration_time,
        ..Circumstances::default()
    });
    let side = |number: usize| Side {
        root: &roots[number],
        rewriting: &pair[number].rewriting,
        circumstances: &circumstances[number],
    };
    compare::compare(side(0), side(1)).map_err(|error| Failure::Io {
        action: error.action,
        what: error.path.display().to_string(),
        error: error.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(label: &str, output: &str, letter: char) -> Made {
        let name = format!("{}-x", letter.to_string().repeat(32));
        Made {
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
