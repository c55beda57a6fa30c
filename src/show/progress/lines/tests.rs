// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::events::{Made, OutputMade};

fn story() -> Vec<Event> {
    let item = || "stage0/sed".to_owned();
    let source = || "source/sed-4.9.tar.xz".to_owned();
    let made = |nar_size| Made {
        outputs: vec![OutputMade {
            name: "out".into(),
            path: "/gnu/store/x".into(),
            nar_size,
        }],
        seconds: 2.5,
        ..Made::default()
    };
    let progress = |received| Event::DownloadProgress {
        item: source(),
        received,
        total: Some(1 << 20),
        location: "https://example.org/sed-4.9.tar.xz".into(),
    };
    vec![
        Event::RunStarted {
            builds: 2,
            downloads: 2,
            reused: 0,
        },
        Event::Started {
            item: source(),
            kind: Kind::Download,
            derivation: "x.drv".into(),
            log: None,
        },
        progress(0),
        progress(1000),
        Event::Finished {
            item: source(),
            kind: Kind::Download,
            made: made(1 << 20),
        },
        Event::Started {
            item: "source/grep-3.8.tar.xz".into(),
            kind: Kind::Download,
            derivation: "z.drv".into(),
            log: None,
        },
        Event::Finished {
            item: "source/grep-3.8.tar.xz".into(),
            kind: Kind::Download,
            made: Made {
                cached: true,
                seconds: 0.1,
                ..made(1 << 20)
            },
        },
        Event::Started {
            item: item(),
            kind: Kind::Build,
            derivation: "y.drv".into(),
            log: None,
        },
        Event::PhaseStarted {
            item: item(),
            phase: "configure".into(),
        },
        Event::Line {
            item: item(),
            text: "checking for gcc... no".into(),
        },
        Event::PhaseEnded {
            item: item(),
            phase: "configure".into(),
            seconds: 1.0,
            succeeded: false,
        },
        Event::Failed {
            item: item(),
            message: "the phase `configure` failed with exit status 77".into(),
            hint: None,
            likely_cause: None,
            last_lines: vec![
                "checking for gcc... no".into(),
                "no acceptable C compiler".into(),
            ],
            log: Some("/var/log/guix/drvs/ab/c.drv.gz".into()),
            kept: Some("/tmp/guix-build-sed-4.9.drv-0".into()),
        },
        Event::Skipped {
            item: "sed".into(),
            because: item(),
        },
    ]
}

fn shown(verbosity: Verbosity, color: bool) -> String {
    let mut output = Vec::new();
    let mut lines = ProgressLines::new(&mut output, verbosity, color, Invocation::default());
    for event in story() {
        lines.report(&event);
    }
    lines.end();
    String::from_utf8(output).unwrap()
}

#[test]
fn a_run_reads_as_lines() {
    insta::assert_snapshot!(shown(Verbosity::Normal, false));
}

#[test]
fn substitutes_are_shown_as_they_arrive_and_counted_before_the_run() {
    let mut output = Vec::new();
    let mut lines =
        ProgressLines::new(&mut output, Verbosity::Normal, false, Invocation::default());
    let started = |item: &str| Event::Started {
        item: item.into(),
        kind: Kind::Substitute,
        derivation: "x.drv".into(),
        log: None,
    };
    let progress = |received| Event::DownloadProgress {
        item: "libc".into(),
        received,
        total: Some(1 << 20),
        location: "https://example.org".into(),
    };
    let substitutes = [
        Event::SubstitutesFound {
            substitutes: 2,
            size: Some(1 << 20),
            location: "https://example.org".into(),
        },
        started("libc"),
        started("gcc:lib"),
        progress(0),
        progress(1 << 20),
        Event::Finished {
            item: "libc".into(),
            kind: Kind::Substitute,
            made: Made {
                outputs: vec![OutputMade {
                    name: "out".into(),
                    path: "/gnu/store/x".into(),
                    nar_size: 3 << 20,
                }],
                seconds: 2.5,
                ..Made::default()
            },
        },
        Event::SubstitutesEnded {
            location: "https://example.org".into(),
            installed: 1,
            nar_size: 3 << 20,
            problem: Some("it broke off".into()),
        },
    ];
    for event in substitutes.into_iter().chain(story()) {
        lines.report(&event);
    }
    let text = String::from_utf8(output).unwrap();
    let told = "2 to take from https://example.org, 1.0 MiB\n\
                libc: downloading from https://example.org\n\
                [1/2] libc: installed, 3.0 MiB in 2.5 s\n\
                installed 1 item, 3.0 MiB, from https://example.org; then: it broke off; the rest comes from other \
                servers or is built\n\
                2 to build, 2 to fetch\n";
    assert!(text.starts_with(told), "{text}");
    assert!(text.contains("[1/4] source/"), "{text}");
}

#[test]
fn only_a_slow_step_of_the_preparation_has_a_line_and_only_one() {
    let mut writer = EventWriter::new(Verbosity::Normal, false, Invocation::default());
    let step = |step: &str| Event::Preparing { step: step.into() };
    assert_eq!(writer.text(&step("reading recipes")), None);
    assert_eq!(writer.slow_step(), None);
    writer.text(&step("asking the archive"));
    writer.step.as_mut().unwrap().1 -= SLOW_STEP;
    let shown = writer.slow_step();
    assert_eq!(shown.as_deref(), Some("preparing: asking the archive"));
    assert_eq!(writer.slow_step(), None);
}

#[test]
fn items_skipped_for_one_failure_have_one_line() {
    let mut output = Vec::new();
    let mut lines =
        ProgressLines::new(&mut output, Verbosity::Normal, false, Invocation::default());
    for (item, because) in [
        ("bash", "gcc"),
        ("sed", "gcc"),
        ("xz", "gcc"),
        ("zstd", "xz"),
    ] {
        lines.report(&Event::Skipped {
            item: item.into(),
            because: because.into(),
        });
    }
    lines.report(&Event::Interrupted);
    let text = String::from_utf8(output).unwrap();
    let told = "bash and 2 more: not tried, since gcc failed\nzstd: not tried, since xz failed\nstopping; ";
    assert!(text.starts_with(told), "{text}");
}

#[test]
fn verbose_shows_the_output_of_builds_and_quiet_only_failures() {
    assert!(shown(Verbosity::Verbose, false).contains("stage0/sed> checking for gcc... no\n"));
    let quiet = shown(Verbosity::Quiet, false);
    assert!(
        quiet.starts_with("stage0/sed: failed: the phase `configure`"),
        "{quiet}"
    );
    assert!(!quiet.contains("not tried"), "{quiet}");
}

#[test]
fn a_cause_is_explained_once() {
    let mut output = Vec::new();
    let mut lines = ProgressLines::new(&mut output, Verbosity::Quiet, false, Invocation::default());
    let fail = |item: &str, message: String| Event::Failed {
        item: item.to_owned(),
        message,
        hint: None,
        likely_cause: None,
        last_lines: Vec::new(),
        log: None,
        kept: None,
    };
    for name in ["a.tar", "b.tar", "c.tar", "d.tar", "e.tar", "f.tar"] {
        lines.report(&fail(
            &format!("source/{name}"),
            format!("source/{name}: {name} is not in the cache"),
        ));
    }
    lines.report(&fail("source/g.tar", "g.tar cannot be read".into()));
    let text = String::from_utf8(output).unwrap();
    assert_eq!(
        text,
        "source/a.tar: failed: a.tar is not in the cache\n\
         source/b.tar: failed, for the same reason as source/a.tar\n\
         source/c.tar: failed, for the same reason as source/a.tar\n\
         source/d.tar: failed, for the same reason as source/a.tar; more such failures are counted at the end\n\
         source/g.tar: failed: g.tar cannot be read\n"
    );
}

#[test]
fn without_a_network_the_places_that_were_tried_are_shown_once() {
    let mut output = Vec::new();
    let mut lines = ProgressLines::new(&mut output, Verbosity::Quiet, false, Invocation::default());
    let unknown = "failed to lookup address information: Temporary failure in name resolution";
    for (name, hash) in [("a_1.deb", "a"), ("b_2.deb", "b"), ("c_3.deb", "c")] {
        let hash = hash.repeat(64);
        lines.report(&Event::Failed {
            item: format!("seed/{name}"),
            message: format!(
                "seed/{name}: cannot fetch {name} (SHA-256 {hash}); tried:\n  http://a.example/pool/{name}: {unknown}\n  \
                 http://b.example/sha256/{hash}: {unknown} (as found earlier in this run)"
            ),
            hint: Some(format!("put the file into /cache under the name {hash}")),
            likely_cause: None,
            last_lines: Vec::new(),
            log: None,
            kept: None,
        });
    }
    let text = String::from_utf8(output).unwrap();
    let (first, others) = text.split_once("  hint: ").unwrap();
    assert_eq!(first.lines().count(), 3, "{text}");
    let (_, others) = others.split_once('\n').unwrap();
    assert_eq!(
        others,
        "seed/b_2.deb: failed, for the same reason as seed/a_1.deb\n\
         seed/c_3.deb: failed, for the same reason as seed/a_1.deb\n"
    );
}

#[test]
fn the_commands_after_a_failure_are_for_the_store_of_the_run() {
    let mut output = Vec::new();
    let invocation = Invocation::new([("root", "/tmp/try".to_owned())]);
    let mut lines = ProgressLines::new(&mut output, Verbosity::Quiet, false, invocation);
    for kept in [None, Some("/tmp/a b".into())] {
        lines.report(&Event::Failed {
            item: "sed".into(),
            message: "no source; run `bootstrap fetch`, or `bootstrap fetch sed`".into(),
            hint: Some("run `bootstrap try`".into()),
            likely_cause: Some("run `bootstrap test`".into()),
            last_lines: vec!["run `bootstrap test`".into()],
            log: Some("/tmp/try/log.gz".into()),
            kept,
        });
    }
    let text = String::from_utf8(output).unwrap();
    for command in [
        "run `bootstrap --root /tmp/try fetch`, or `bootstrap --root /tmp/try fetch sed`\n",
        "`bootstrap --root /tmp/try log sed`, /tmp/try/log.gz",
        "`bootstrap --root /tmp/try --keep-failed build sed`",
        "`bootstrap --root /tmp/try shell --of sed`\n",
        "`bootstrap --root /tmp/try shell --of sed --directory '/tmp/a b'`\n",
        "  | run `bootstrap test`\n  most likely: run `bootstrap test`\n  hint: run `bootstrap --root /tmp/try try`\n",
    ] {
        assert!(text.contains(command), "{command}\n{text}");
    }
}

#[test]
fn colours_appear_only_on_request() {
    assert!(shown(Verbosity::Normal, true).contains("\x1b[1;31mfailed\x1b[0m"));
    assert!(!shown(Verbosity::Verbose, false).contains('\x1b'));
}
