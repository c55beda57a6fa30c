use super::*;
use crate::build::testing::Items;

fn labels(todo: &Todo<'_>) -> Vec<String> {
    todo.tasks
        .iter()
        .map(|task| task.job.label.to_owned())
        .collect()
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
fn what_a_recipe_says_counts_where_no_earlier_run_tells() {
    let items = Items::new(&[("known", &[]), ("said", &[]), ("all", &["known", "said"])]);
    let jobs = ["known", "said", "all"].map(|label| Job {
        typical: Some(Duration::from_secs(50)),
        ..items.graph().get(items.path(label)).unwrap()
    });
    let graph: Graph<'_> = jobs.into_iter().collect();
    let estimate = |label: &str| (label == "known").then_some(Duration::from_secs(7));
    let none = |_: &BTreeSet<&StorePath>| Ok(BTreeSet::new());
    let todo = graph
        .missing_with([items.path("all")], none, estimate)
        .unwrap();
    let expected: BTreeMap<&str, Option<Duration>> = todo
        .tasks
        .iter()
        .map(|task| (task.job.label, task.expected))
        .collect();
    assert_eq!(expected["known"], Some(Duration::from_secs(7)));
    assert_eq!(expected["said"], Some(Duration::from_secs(50)));
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
