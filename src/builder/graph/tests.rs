// SPDX-License-Identifier: GPL-3.0-or-later
use std::cell::RefCell;

use super::*;
use crate::builder::testing::Items;

fn labels(todo: &Todo<'_>) -> Vec<String> {
    todo.tasks
        .iter()
        .map(|task| task.job.label.to_owned())
        .collect()
}

/// Offers none of `jobs`.
fn none(jobs: &[WantedJob<'_>]) -> Result<Vec<Option<Offered>>, GraphError> {
    Ok(jobs.iter().map(|_| None).collect())
}

fn missing<'a>(
    items: &'a Items,
    wanted: &str,
    valid: &[&str],
    estimates: &BTreeMap<&str, u64>,
) -> Result<Todo<'a>, GraphError> {
    let valid: BTreeSet<StorePath> = valid.iter().map(|label| items.output(label)).collect();
    items.graph().missing_with(
        [items.path(wanted)],
        |asked| {
            let found = asked.iter().filter(|path| valid.contains(**path));
            Ok(found.map(|path| (*path).clone()).collect())
        },
        none,
        |label| {
            estimates
                .get(label)
                .map(|seconds| Duration::from_secs(*seconds))
        },
    )
}

#[test]
fn what_is_missing_comes_after_what_it_needs() {
    let items = Items::new(&[
        ("source", &[]),
        ("lib", &["source"]),
        ("tool", &["lib", "source"]),
    ]);
    let todo = missing(&items, "tool", &[], &BTreeMap::new()).unwrap();
    assert_eq!(labels(&todo), ["source", "lib", "tool"]);
    assert_eq!(todo.tasks[2].inputs.len(), 2);
    assert!(todo.reused.is_empty());
}

#[test]
fn a_valid_item_needs_none_of_its_inputs() {
    let items = Items::new(&[("source", &[]), ("lib", &["source"]), ("tool", &["lib"])]);
    let todo = missing(&items, "tool", &["lib"], &BTreeMap::new()).unwrap();
    assert_eq!(labels(&todo), ["tool"]);
    let todo = missing(&items, "tool", &["tool"], &BTreeMap::new()).unwrap();
    assert_eq!(labels(&todo), [""; 0]);
    assert_eq!(todo.reused, ["tool"]);
}

#[test]
fn a_second_output_that_is_missing_has_the_item_made_again() {
    let mut items = Items::new(&[("libc", &[]), ("tool", &["libc"])]);
    items.add_output("libc", "static");
    items.use_output("tool", "libc", "static");
    let todo = missing(&items, "tool", &["libc"], &BTreeMap::new()).unwrap();
    assert_eq!(labels(&todo), ["libc", "tool"]);
    let todo = missing(&items, "tool", &["libc", "libc:static"], &BTreeMap::new()).unwrap();
    assert_eq!(labels(&todo), ["tool"]);
}

#[test]
fn urgency_is_the_length_of_the_longest_chain() {
    let items = Items::new(&[
        ("short", &[]),
        ("long", &[]),
        ("end", &["long", "short"]),
        ("lonely", &[]),
        ("all", &["end", "lonely"]),
    ]);
    let estimates = BTreeMap::from([
        ("short", 1),
        ("long", 5),
        ("end", 7),
        ("lonely", 2),
        ("all", 3),
    ]);
    let todo = missing(&items, "all", &[], &estimates).unwrap();
    let urgency: BTreeMap<&str, u64> = todo
        .tasks
        .iter()
        .map(|task| (task.job.label, task.urgency / 1000))
        .collect();
    let expected = BTreeMap::from([
        ("all", 3),
        ("end", 10),
        ("long", 15),
        ("lonely", 5),
        ("short", 11),
    ]);
    assert_eq!(urgency, expected);
}

#[test]
fn what_a_recipe_says_counts_where_no_earlier_run_tells_at_the_pace_of_what_was_made_here() {
    let items = Items::new(&[("known", &[]), ("said", &[]), ("all", &["known", "said"])]);
    let jobs = ["known", "said", "all"].map(|label| BuildJob {
        typical: (label != "all").then_some(Duration::from_secs(540)),
        ..items.graph().get(items.path(label)).unwrap()
    });
    let graph: BuildGraph<'_> = jobs.into_iter().collect();
    let expected = |known: Option<u64>| {
        let estimate = |label: &str| match label {
            "known" => known.map(Duration::from_secs),
            _ => None,
        };
        let nothing = |_: &BTreeSet<&StorePath>| Ok(BTreeSet::new());
        let todo = graph.missing_with([items.path("all")], nothing, none, estimate);
        let alone = graph.alone(
            ["known", "said", "all"].map(|label| items.path(label)),
            estimate,
        );
        let [todo, alone] = [todo, alone].map(|todo| -> BTreeMap<String, _> {
            let tasks = todo.unwrap().tasks.into_iter();
            let expected =
                |task: BuildTask<'_>| (task.expected.map(|time| time.as_secs()), task.guessed);
            tasks
                .map(|task| (task.job.label.to_owned(), expected(task)))
                .collect()
        });
        assert_eq!(todo, alone);
        ["known", "said", "all"].map(|label| todo[label])
    };
    let nobody_knows = (None, false);
    assert_eq!(
        expected(None),
        [(Some(540), true), (Some(540), true), nobody_knows]
    );
    // 1200 s for 600 s, a minute of each being certain: twice as slow.
    assert_eq!(
        expected(Some(1140)),
        [(Some(1140), false), (Some(1080), true), nobody_knows]
    );
}

#[test]
fn what_is_made_again_waits_for_nothing_and_the_longest_comes_first() {
    let items = Items::new(&[("lib", &[]), ("tool", &["lib"])]);
    let estimate = |label: &str| (label == "lib").then_some(Duration::from_secs(70));
    let wanted = ["tool", "lib"].map(|label| items.path(label));
    let todo = items.graph().alone(wanted, estimate).unwrap();
    assert_eq!(labels(&todo), ["tool", "lib"]);
    assert!(todo.tasks.iter().all(|task| task.inputs.is_empty()));
    assert_eq!(
        [10_000, 70_000],
        [0, 1].map(|number| todo.tasks[number].urgency)
    );
}

#[test]
fn an_input_outside_the_plan_is_named() {
    let mut items = Items::new(&[("lib", &[]), ("tool", &["lib"])]);
    items.forget("lib");
    let error = missing(&items, "tool", &[], &BTreeMap::new()).unwrap_err();
    assert!(
        error.to_string().starts_with("tool needs the derivation"),
        "{error}"
    );
}

#[test]
fn an_unknown_output_is_named() {
    let mut items = Items::new(&[("lib", &[]), ("tool", &["lib"])]);
    items.use_output("tool", "lib", "doc");
    let error = missing(&items, "tool", &[], &BTreeMap::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tool needs the output `doc` of lib, which has no such output"
    );
}

#[test]
fn a_circle_is_an_error() {
    let mut items = Items::new(&[("a", &[]), ("b", &["a"])]);
    items.use_output("a", "b", "out");
    let error = missing(&items, "b", &[], &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, GraphError::Cycle { .. }), "{error}");
}

#[test]
fn of_what_is_offered_only_the_outputs_that_are_wanted_count() {
    let mut items = Items::new(&[("library", &[]), ("tool", &["library"]), ("all", &[])]);
    items.add_output("library", "static");
    items.add_output("library", "doc");
    // `all` wants the static library, and a tool that wants the other one a layer later.
    items.use_output("all", "library", "static");
    items.use_output("all", "tool", "out");
    let asked = RefCell::new(Vec::new());
    let offers = |jobs: &[WantedJob<'_>]| {
        let offers = jobs.iter().map(|wanted| {
            asked.borrow_mut().push(wanted.outputs.clone());
            (wanted.job.label == "library").then(|| Offered {
                brings: wanted.outputs.clone(),
            })
        });
        Ok::<_, GraphError>(offers.collect())
    };
    let nothing = |_: &BTreeSet<&StorePath>| Ok(BTreeSet::new());
    let graph = items.graph();
    let todo = graph.missing_with([items.path("all")], nothing, offers, |_| None);
    let todo = todo.unwrap();
    assert_eq!(labels(&todo), ["library", "tool", "all"]);
    let both = BTreeSet::from(["library:static", "library"].map(|label| items.output(label)));
    assert_eq!(todo.tasks[0].outputs, both);
    assert_eq!(
        todo.tasks[0].way,
        Way::Alternative(Offered { brings: both })
    );
    // Only the outputs that the request names.
    let wanted = WantedOutputs {
        path: items.path("library"),
        names: Some(BTreeSet::from(["doc"])),
    };
    asked.borrow_mut().clear();
    let todo = graph.missing_with([wanted], nothing, offers, |_| None);
    assert_eq!(todo.unwrap().tasks.len(), 1);
    let doc = BTreeSet::from([items.output("library:doc")]);
    assert_eq!(asked.into_inner(), [doc]);
}
