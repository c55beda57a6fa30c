// SPDX-License-Identifier: GPL-3.0-or-later
//! The report of a finished run of sixty builds.

use bootstrap::show::report::{
    OutputShown, ReportData, ReportFile, ReportItem, ReportRebuild, SeedShown, Span, ValidShown,
};

pub const PACKAGES: usize = 60;
const START: f64 = 1_795_400_000.0;

fn label(number: usize) -> String {
    match number < PACKAGES / 2 {
        true => format!("stage0/p{number}"),
        false => format!("p{number}"),
    }
}

fn seconds(number: usize) -> f64 {
    10.0 + (number * number) as f64 % 173.0 + if number == 0 { -5.0 } else { 0.0 }
}

/// The slowest package.
pub fn slowest() -> String {
    let order = |one: &usize, other: &usize| seconds(*one).total_cmp(&seconds(*other));
    label((0..PACKAGES).max_by(order).unwrap())
}

fn item(number: usize) -> ReportItem {
    let path = format!("/gnu/store/{}-p{number}-1.0", "a".repeat(32));
    ReportItem {
        label: label(number),
        kind: "build",
        stage: Some(if number < PACKAGES / 2 {
            "stage0"
        } else {
            "final"
        }),
        version: "1.0".into(),
        synopsis: format!("Package number {number}"),
        derivation: format!("{path}.drv"),
        log: Some(format!("/var/log/guix/drvs/aa/p{number}.drv.gz")),
        files: if number == 31 { vec![0] } else { Vec::new() },
        outputs: vec![OutputShown {
            name: "out".into(),
            path,
            valid: Some(ValidShown {
                sha256: format!("{number:064x}"),
                size: (number as u64 + 1) << 16,
                references: vec![format!("/gnu/store/{}-libc-1", "b".repeat(32))],
            }),
        }],
        wanted: number + 10 > PACKAGES,
        tests: Some(!number.is_multiple_of(3)),
        tests_reason: number
            .is_multiple_of(3)
            .then(|| "they need a network".to_owned()),
        rebuilt: [Some(true), None, Some(false)][number % 3].map(|same| ReportRebuild {
            same,
            rounds: 1,
            ..ReportRebuild::default()
        }),
        seconds: Some(seconds(number)),
        processor_seconds: Some(seconds(number) * 1.7),
        failure: None,
        critical: number.is_multiple_of(10),
    }
}

pub fn report() -> ReportData {
    let mut clocks = [0.0f64; 2];
    let spans = (0..PACKAGES).map(|number| {
        let clock = &mut clocks[number % 2];
        let start = START + *clock;
        *clock += seconds(number);
        let part = seconds(number) / 10.0;
        Span {
            label: label(number),
            kind: "build",
            start,
            seconds: seconds(number),
            processor_seconds: seconds(number) * 1.7,
            phases: vec![
                ("unpack".into(), 0.0, part),
                ("configure".into(), part, part * 3.0),
                ("build".into(), part * 4.0, part * 4.0),
                ("check".into(), part * 8.0, part),
                ("install".into(), part * 9.0, part / 2.0),
            ],
            critical: number.is_multiple_of(10),
            failed: false,
            unfinished: false,
        }
    });
    let spans: Vec<Span> = spans.collect();
    let mut edges: Vec<(usize, usize)> = (1..PACKAGES).map(|number| (number, number / 2)).collect();
    edges.push((31, 0));
    ReportData {
        version: env!("CARGO_PKG_VERSION"),
        program: "bootstrap --root /srv/root".into(),
        system: "x86_64-linux".into(),
        seed: "debian-13-amd64".into(),
        made: 1_795_407_124,
        cores: 2,
        items: (0..PACKAGES).map(item).collect(),
        edges,
        files: vec![ReportFile {
            label: "source/p1-1.0.tar.gz".into(),
            sha256: "c".repeat(64),
            size: Some(12345),
            urls: vec!["mirror://gnu/p/p1-1.0.tar.gz".into()],
            valid: true,
            failure: None,
        }],
        seeds: vec![SeedShown {
            name: "debian-13-amd64".into(),
            sha256: "d".repeat(64),
            archives: 91,
            size: 180 << 20,
            changes: Vec::new(),
            impure: None,
        }],
        others: Vec::new(),
        samples: (0..600)
            .map(|number| {
                (
                    START + f64::from(number) * 5.0,
                    1.0 + f64::from(number % 7) / 7.0,
                )
            })
            .collect(),
        spans,
    }
}
