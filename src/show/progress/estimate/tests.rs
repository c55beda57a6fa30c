// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::events::{Made, Stamped};
use crate::formats::system::System;
use crate::road::recipe::{self, RecipeSource, Stage};

fn item(name: &str, seconds: Option<f64>, inputs: &[&str]) -> PlannedItem {
    PlannedItem {
        item: name.into(),
        kind: if name.starts_with("source/") {
            Kind::Download
        } else {
            Kind::Build
        },
        inputs: inputs.iter().map(|input| (*input).into()).collect(),
        seconds,
        guessed: false,
    }
}

fn planned(items: Vec<PlannedItem>, jobs: usize) -> Event {
    Event::Planned {
        items,
        jobs,
        downloads: 4,
        cores: jobs,
    }
}

fn started(name: &str) -> Event {
    Event::Started {
        item: name.into(),
        kind: Kind::Build,
        derivation: "x.drv".into(),
        log: None,
    }
}

fn finished(name: &str, seconds: f64) -> Event {
    Event::Finished {
        item: name.into(),
        kind: Kind::Build,
        made: Made {
            seconds,
            ..Made::default()
        },
    }
}

fn seconds(estimator: &Estimator, now: f64) -> f64 {
    estimator.remaining(now).unwrap().as_secs_f64()
}

#[test]
fn a_chain_takes_its_sum_and_parallel_items_add_nothing() {
    let mut estimator = Estimator::default();
    estimator.observe(
        &planned(
            vec![
                item("source/a", Some(2.0), &[]),
                item("a", Some(10.0), &["source/a"]),
                item("b", Some(20.0), &["a"]),
                item("c", Some(5.0), &[]),
            ],
            2,
        ),
        0.0,
    );
    assert_eq!(seconds(&estimator, 0.0), 32.0);
}

#[test]
fn jobs_share_independent_items() {
    let items = (0..8).map(|number| item(&format!("p{number}"), Some(10.0), &[]));
    let items: Vec<PlannedItem> = items.collect();
    for (jobs, expected) in [(1, 80.0), (2, 40.0), (3, 30.0)] {
        let mut estimator = Estimator::default();
        estimator.observe(&planned(items.clone(), jobs), 0.0);
        assert_eq!(seconds(&estimator, 0.0), expected);
    }
}

#[test]
fn elapsed_time_is_subtracted_and_never_below_zero() {
    let mut estimator = Estimator::default();
    estimator.observe(&planned(vec![item("a", Some(100.0), &[])], 1), 0.0);
    estimator.observe(&started("a"), 0.0);
    assert_eq!(seconds(&estimator, 40.0), 60.0);
    // Longer than expected: a share of its time so far is added.
    assert_eq!(seconds(&estimator, 200.0), 20.0);
    estimator.observe(&finished("a", 210.0), 210.0);
    assert_eq!(seconds(&estimator, 210.0), 0.0);
}

#[test]
fn failed_and_skipped_items_take_no_time() {
    let mut estimator = Estimator::default();
    let items = vec![item("a", Some(10.0), &[]), item("b", Some(50.0), &["a"])];
    estimator.observe(&planned(items, 1), 0.0);
    estimator.observe(&started("a"), 0.0);
    estimator.observe(
        &Event::Failed {
            item: "a".into(),
            message: String::new(),
            hint: None,
            likely_cause: None,
            last_lines: Vec::new(),
            log: None,
            kept: None,
        },
        3.0,
    );
    estimator.observe(
        &Event::Skipped {
            item: "b".into(),
            because: "a".into(),
        },
        3.0,
    );
    assert_eq!(seconds(&estimator, 3.0), 0.0);
}

#[test]
fn there_is_no_estimate_if_little_is_known() {
    let mut estimator = Estimator::default();
    assert_eq!(estimator.remaining(0.0), None);
    let items = vec![
        item("a", Some(10.0), &[]),
        item("b", None, &[]),
        item("c", None, &[]),
    ];
    estimator.observe(&planned(items, 1), 0.0);
    assert_eq!(estimator.remaining(0.0), None);
}

#[test]
fn a_circular_plan_ends() {
    let mut estimator = Estimator::default();
    let items = vec![
        item("a", Some(f64::INFINITY), &["b", "a", "nobody"]),
        item("b", Some(-3.0), &["a"]),
    ];
    estimator.observe(&planned(items, 0), 0.0);
    assert_eq!(estimator.remaining(0.0), None);
}

/// The relative error at half time of an hour of fifty builds on two cores, as a scheduler would run them. All builds
/// take `pace` times as long as before, plus or minus a fifth.
fn error_at_half_time(pace: f64) -> f64 {
    let mut items: Vec<PlannedItem> = Vec::new();
    let mut actual = Vec::new();
    let mut random = 12345u64;
    let mut noise = || {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        0.8 + 0.4 * ((random >> 33) as f64 / (1u64 << 31) as f64)
    };
    for number in 0..50usize {
        let long = if number % 17 == 16 { 1500.0 } else { 45.0 };
        let inputs: Vec<String> = match number {
            0 => Vec::new(),
            // Each needs the first of its dozen, and each of these the one before.
            _ if number % 12 == 0 => vec![format!("p{}", number - 12)],
            _ => vec![format!("p{}", number / 12 * 12)],
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        items.push(item(&format!("p{number}"), Some(long), &inputs));
        actual.push(long * pace * noise());
    }
    let mut estimator = Estimator::default();
    estimator.observe(&planned(items.clone(), 2), 0.0);
    // A simple scheduler: in order, two at a time.
    let (mut clock, mut running, mut done) = (0.0f64, Vec::<(f64, usize)>::new(), Vec::new());
    let mut waiting: Vec<usize> = (0..items.len()).collect();
    let mut story: Vec<(f64, Event)> = Vec::new();
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < 2 {
            let ready = |number: &&usize| {
                let inputs = &items[**number].inputs;
                inputs.iter().all(|input| done.contains(input))
            };
            let chosen = waiting.iter().filter(ready).max_by(|one, other| {
                let seconds = |number: &usize| items[*number].seconds.unwrap();
                seconds(one).total_cmp(&seconds(other)).then(other.cmp(one))
            });
            let Some(number) = chosen.copied() else { break };
            waiting.retain(|other| *other != number);
            story.push((clock, started(&items[number].item)));
            running.push((clock + actual[number], number));
        }
        running.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (end, number) = running.remove(0);
        clock = end;
        done.push(items[number].item.clone());
        story.push((clock, finished(&items[number].item, actual[number])));
    }
    assert!(clock > 2000.0, "{clock}");
    let half = clock / 2.0;
    for (time, event) in story.iter().filter(|(time, _)| *time <= half) {
        estimator.observe(event, *time);
    }
    (seconds(&estimator, half) / half - 1.0).abs()
}

#[test]
fn at_half_time_of_an_hour_the_estimate_is_within_fifteen_per_cent() {
    for pace in [1.0, 0.8, 1.5] {
        let error = error_at_half_time(pace);
        assert!(error < 0.15, "at pace {pace} it is {error} off");
    }
}

/// The events of a whole bootstrap on two cores, two jobs at a time, in an hour and five minutes: the output of
/// `--progress json`, with times from the start. The plan lacks expected times: the tests fill them in.
const ROAD: &str = include_str!("road.events.jsonl");

/// The estimate for the rest of the recorded run when `part` of it is over, relative to the true rest (for the whole
/// run: in seconds), on a machine that is `slower` times as slow. `plan` fills in the plan of an item, from the item's
/// number and its recorded time.
fn replayed(part: f64, slower: f64, plan: impl Fn(usize, f64, &mut PlannedItem)) -> f64 {
    let mut events: Vec<Stamped> = ROAD
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut took = HashMap::new();
    for stamped in &mut events {
        stamped.time *= slower;
        if let Event::Finished { item, made, .. } = &mut stamped.event {
            took.insert(item.clone(), made.seconds);
            made.seconds *= slower;
        }
    }
    let Event::Planned { items, .. } = &mut events[0].event else {
        panic!("the first event is the plan");
    };
    assert_eq!(items.len(), took.len());
    for (number, item) in items.iter_mut().enumerate() {
        let took = took[&item.item];
        plan(number, took, item);
    }
    let end = events.last().unwrap().time;
    let now = end * part;
    let mut estimator = Estimator::default();
    for stamped in events.iter().filter(|stamped| stamped.time <= now) {
        estimator.observe(&stamped.event, stamped.time);
    }
    match part < 1.0 {
        true => seconds(&estimator, now) / (end - now),
        false => seconds(&estimator, now),
    }
}

#[test]
fn a_recorded_bootstrap_is_estimated_within_fifteen_per_cent_at_half_time() {
    for before in [1.0, 0.7, 1.5] {
        // Each build took this many times as long before, plus or minus a tenth. (gcc alone is three quarters of the
        // second half: an error of a fifth there would be one of the whole estimate.)
        let plan = |number: usize, took: f64, item: &mut PlannedItem| {
            let noise = 0.9 + 0.05 * (number * 7 % 5) as f64;
            item.seconds = Some(took * before * noise);
        };
        for part in [0.25, 0.5] {
            let estimate = replayed(part, 1.0, plan);
            assert!(
                (0.85..1.15).contains(&estimate),
                "{before}, {part}: {estimate} of what it took"
            );
        }
        assert_eq!(replayed(1.0, 1.0, plan), 0.0);
    }
}

#[test]
fn a_first_bootstrap_is_estimated_from_recipes_on_slow_and_fast_machines() {
    let recipes = recipe::load(&RecipeSource::Embedded).unwrap();
    let mut typical = HashMap::new();
    for recipe in recipes.iter() {
        for stage in recipe.stages.keys() {
            let label = match stage {
                Stage::Stage0 => format!("stage0/{}", recipe.name),
                _ => recipe.name.clone(),
            };
            let seconds = recipe.settings(*stage, System::X86_64Linux).typical_seconds;
            typical.insert(label, seconds.unwrap() as f64);
        }
    }
    // The recorded run built gcc 12, of which these are the times.
    typical.insert("stage0/gcc".to_owned(), 1624.0);
    typical.insert("gcc".to_owned(), 1569.0);
    let plan = |_: usize, _: f64, item: &mut PlannedItem| {
        // Recipes give no time for regenerated sources.
        item.seconds = match item.kind {
            Kind::Seed => Some(10.0),
            _ => typical.get(&item.item).copied(),
        };
        item.guessed = item.seconds.is_some();
    };
    // At the start the speed of the machine is unknown.
    let at_first = replayed(0.0, 1.0, plan);
    assert!((0.85..1.15).contains(&at_first), "{at_first}");
    for slower in [0.5, 1.0, 3.0, 12.0] {
        let estimate = replayed(0.5, slower, plan);
        // The recipes were timed in another run than the recorded one, with build directories on a disk.
        assert!(
            (0.85..1.15).contains(&estimate),
            "{slower} times as slow: {estimate} of what it took"
        );
        assert_eq!(replayed(1.0, slower, plan), 0.0);
    }
}

#[test]
fn an_item_that_runs_longer_than_expected_slows_the_rest() {
    let mut estimator = Estimator::default();
    let items = vec![item("a", Some(100.0), &[]), item("b", Some(100.0), &["a"])];
    estimator.observe(&planned(items, 1), 0.0);
    estimator.observe(&started("a"), 0.0);
    assert_eq!(seconds(&estimator, 50.0), 150.0);
    // Four times as long so far: 460 s of what should have been 160 s.
    let left = seconds(&estimator, 400.0);
    assert!((left - (40.0 + 287.5)).abs() < 0.1, "{left}");
}

#[test]
fn known_items_count_by_time_and_not_by_number() {
    let mut items: Vec<PlannedItem> = (0..3)
        .map(|number| item(&format!("unknown{number}"), None, &[]))
        .collect();
    items.push(item("small", Some(1.0), &[]));
    items.push(item("gcc", Some(1500.0), &[]));
    let mut estimator = Estimator::default();
    // Expected to take as long as the median of the known ones.
    estimator.observe(&planned(items.clone(), 5), 0.0);
    assert_eq!(estimator.remaining(0.0), None);
    items.extend((0..3).map(|number| item(&format!("small{number}"), Some(1.0), &[])));
    estimator.observe(&planned(items, 8), 0.0);
    assert_eq!(seconds(&estimator, 0.0), 1500.0);
}

#[test]
fn an_estimate_is_a_guess_while_most_of_it_is_from_recipes() {
    let guess = |name: &str, seconds: f64| PlannedItem {
        guessed: true,
        ..item(name, Some(seconds), &[])
    };
    let mut estimator = Estimator::default();
    assert!(!estimator.is_guess());
    let items = vec![guess("gcc", 1500.0), item("sed", Some(90.0), &[])];
    estimator.observe(&planned(items, 2), 0.0);
    assert!(estimator.is_guess());
    // Finished items are not guesses any more.
    estimator.observe(&finished("gcc", 1400.0), 1400.0);
    assert!(!estimator.is_guess());
}
