// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::events::{Made, PlannedItem};
use indicatif::InMemoryTerm;

pub fn on_screen(columns: u16) -> (Bars, InMemoryTerm) {
    let terminal = InMemoryTerm::new(12, columns);
    let bars = Bars::with_columns(Verbosity::Normal, false, columns, Invocation::default());
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 250);
    bars.screen.set_draw_target(target);
    (bars, terminal)
}

fn started(item: &str, kind: Kind) -> Event {
    Event::Started {
        item: item.into(),
        kind,
        derivation: "x.drv".into(),
        log: None,
    }
}

/// Waits for the next drawing: their rate is limited.
fn wait() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

/// Shows a run with a build and two downloads, one of unknown size.
fn story(bars: &mut Bars) {
    bars.report(&Event::RunStarted {
        builds: 2,
        downloads: 2,
        reused: 0,
    });
    bars.report(&started("stage0/sed", Kind::Build));
    bars.report(&Event::PhaseStarted {
        item: "stage0/sed".into(),
        phase: "configure".into(),
    });
    bars.report(&Event::Line {
        item: "stage0/sed".into(),
        text: "  checking for gcc... yes".into(),
    });
    for (item, total) in [
        ("source/grep-3.8.tar.xz", Some(2 << 20)),
        ("source/gcc-12_12.2.0.orig.tar.gz", None),
    ] {
        bars.report(&started(item, Kind::Download));
        bars.report(&Event::DownloadProgress {
            item: item.into(),
            received: 1 << 20,
            total,
            location: "https://example.org/with/a/long/path/to/the/file".into(),
        });
    }
    wait();
    bars.tick();
}

#[test]
fn what_does_not_fit_is_left_out_as_a_whole() {
    let (mut bars, terminal) = on_screen(44);
    story(&mut bars);
    let screen = terminal.contents();
    let overview = screen.lines().find(|line| line.contains("0/4"));
    let overview = overview.unwrap().trim_end();
    assert!(overview.ends_with("1 building"), "{screen}");
}

#[test]
fn the_screen_shows_the_run_its_builds_and_its_downloads() {
    let (mut bars, terminal) = on_screen(100);
    story(&mut bars);
    let screen = terminal.contents();
    assert!(
        screen.contains(" 0 %  0/4  1 building, 2 fetching"),
        "{screen}"
    );
    assert!(
        screen.contains("stage0/sed           configure checking for gcc... yes"),
        "{screen}"
    );
    assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
    assert!(screen.contains(".orig.tar.gz from https://"), "{screen}");
}

#[test]
fn every_line_fits_the_terminal_however_narrow() {
    for columns in [120, 100, 80, 79, 60, 40, 30] {
        let (mut bars, terminal) = on_screen(columns);
        story(&mut bars);
        let screen = terminal.contents();
        let lines: Vec<&str> = screen.lines().collect();
        // A line that does not fit would continue in the next.
        assert_eq!(lines.len(), 4, "{columns}\n{screen}");
        for (line, part) in lines.iter().zip([
            " 0 %  0/4  1 b",
            "  stage0/sed ",
            "1.00 MiB/2.00 MiB",
            "1.00 MiB",
        ]) {
            assert!(line.contains(part), "{columns}: {part}\n{screen}");
            assert!(line.chars().count() <= usize::from(columns), "{screen}");
        }
        bars.end();
        assert_eq!(terminal.contents(), "");
    }
}

#[test]
fn bars_have_colours_only_on_request() {
    assert_eq!(bar(80, false, "green"), "{bar:20}");
    assert_eq!(bar(80, true, "green"), "{bar:20.green/dim}");
    assert_eq!(bar(200, false, "green"), "{bar:20}");
    assert_eq!(bar(7, false, "green"), "{bar:4}");
}

#[test]
fn an_estimate_by_recipes_alone_is_marked() {
    for (guessed, said) in [
        (
            true,
            "this takes about 1 min 40 s, going by recipes timed on two cores",
        ),
        (false, ""),
    ] {
        let (mut bars, terminal) = on_screen(100);
        bars.report(&Event::Planned {
            items: vec![PlannedItem {
                item: "sed".into(),
                kind: Kind::Build,
                inputs: Vec::new(),
                seconds: Some(100.4),
                guessed,
            }],
            jobs: 1,
            downloads: 1,
            cores: 1,
        });
        wait();
        bars.end();
        assert_eq!(terminal.contents(), said);
    }
}

#[test]
fn substitutes_have_bars_until_their_server_is_done() {
    let (mut bars, terminal) = on_screen(100);
    let location = || "https://example.org".to_owned();
    bars.tick();
    assert_eq!(terminal.contents(), "");
    bars.report(&Event::SubstitutesFound {
        substitutes: 3,
        size: None,
        location: location(),
    });
    for item in ["libc", "gcc:lib"] {
        bars.report(&started(item, Kind::Substitute));
        bars.report(&Event::DownloadProgress {
            item: item.into(),
            received: 1 << 20,
            total: Some(2 << 20),
            location: location(),
        });
    }
    bars.report(&Event::Finished {
        item: "libc".into(),
        kind: Kind::Substitute,
        made: Default::default(),
    });
    wait();
    bars.tick();
    let screen = terminal.contents();
    assert!(
        screen.contains("33 %  1/3  0 building, 1 fetching"),
        "{screen}"
    );
    assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
    assert!(screen.contains("[1/3] libc: installed, 0 B"), "{screen}");
    // The server's other items are not fetched any more.
    bars.report(&Event::SubstitutesEnded {
        location: location(),
        installed: 1,
        nar_size: 1 << 20,
        problem: Some("it broke off".into()),
    });
    bars.report(&Event::RunStarted {
        builds: 2,
        downloads: 0,
        reused: 0,
    });
    wait();
    bars.tick();
    let screen = terminal.contents();
    assert!(screen.contains("installed 1 item, "), "{screen}");
    assert!(screen.contains(" 0 %  0/2  0 building, "), "{screen}");
    assert!(!screen.contains(" 0 fetching"), "{screen}");
    assert!(!screen.contains("gcc:lib"), "{screen}");
}

fn planned(seconds: &[f64]) -> [Event; 2] {
    let item = |(number, seconds): (usize, &f64)| PlannedItem {
        item: format!("p{number}"),
        kind: Kind::Build,
        inputs: Vec::new(),
        seconds: Some(*seconds),
        guessed: false,
    };
    [
        Event::RunStarted {
            builds: seconds.len(),
            downloads: 0,
            reused: 0,
        },
        Event::Planned {
            items: seconds.iter().enumerate().map(item).collect(),
            jobs: 1,
            downloads: 1,
            cores: 1,
        },
    ]
}

fn finished(item: &str, seconds: f64) -> Event {
    Event::Finished {
        item: item.into(),
        kind: Kind::Build,
        made: Made {
            seconds,
            ..Made::default()
        },
    }
}

#[test]
fn the_time_left_is_on_the_screen_at_every_usual_width() {
    for columns in [40, 60, 80, 100, 120] {
        let (mut bars, terminal) = on_screen(columns);
        for event in planned(&[3700.0, 25.0]) {
            bars.report(&event);
        }
        bars.report(&started("p0", Kind::Build));
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(
            screen.contains("0/2  1 h 02 min left"),
            "{columns}: {screen}"
        );
        bars.end();
    }
}

#[test]
fn the_bar_follows_the_forecast_time_and_not_the_count_of_items() {
    let (mut bars, terminal) = on_screen(100);
    let mut seconds = vec![0.0; 72];
    seconds.push(3600.0);
    for event in planned(&seconds) {
        bars.report(&event);
    }
    for number in 0..72 {
        bars.report(&finished(&format!("p{number}"), 0.0));
    }
    wait();
    bars.tick();
    let screen = terminal.contents();
    assert!(screen.contains(" 0 %  72/73  1 h 00 min left"), "{screen}");
    // Half of the forecast has passed.
    bars.planned = Instant::now().checked_sub(Duration::from_secs(3600));
    assert_eq!(bars.share(72, 73) / 10, 50);
}

#[test]
fn each_finished_package_leaves_a_line_and_sources_do_not() {
    let (mut bars, terminal) = on_screen(100);
    for event in planned(&[10.0, 500.0]) {
        bars.report(&event);
    }
    bars.report(&finished("p0", 12.0));
    bars.report(&Event::Finished {
        item: "source/p1.tar.gz".into(),
        kind: Kind::Download,
        made: Made::default(),
    });
    wait();
    bars.end();
    assert_eq!(terminal.contents(), "[1/2] p0: built, 0 B in 12.0 s");
}

#[test]
fn preparation_shows_its_step_and_time_and_leaves_nothing() {
    let (mut bars, terminal) = on_screen(80);
    bars.report(&Event::Preparing {
        step: "reading recipes".into(),
    });
    wait();
    // A command that finds everything done within a tick shows nothing.
    assert_eq!(terminal.contents(), "");
    bars.tick();
    wait();
    bars.tick();
    let screen = terminal.contents();
    assert!(
        screen.contains("preparing: reading recipes, 0.0 s"),
        "{screen}"
    );
    bars.end();
    assert_eq!(terminal.contents(), "");
}

#[test]
fn failures_stay_and_bars_go() {
    let (mut bars, terminal) = on_screen(100);
    bars.report(&Event::RunStarted {
        builds: 1,
        downloads: 0,
        reused: 0,
    });
    bars.report(&started("sed", Kind::Build));
    bars.report(&Event::Failed {
        item: "sed".into(),
        message: "exit status 1".into(),
        hint: None,
        likely_cause: None,
        last_lines: vec!["oh no".into()],
        log: None,
        kept: None,
    });
    wait();
    bars.end();
    assert_eq!(terminal.contents(), "sed: failed: exit status 1\n  | oh no");
}
