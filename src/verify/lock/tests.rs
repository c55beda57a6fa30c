// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

fn output(path: &str, content: &str) -> LockedOutput {
    LockedOutput {
        path: format!("/gnu/store/{path}"),
        sha256: Sha256Digest::of(content),
        size: content.len() as u64,
        references: BTreeSet::from([format!("/gnu/store/{path}")]),
    }
}

fn record(items: &[(&str, &str, &str)]) -> Record {
    let derivations = items.iter().map(|(label, derivation, content)| {
        let outputs = [("out".to_owned(), output(label, content))].into();
        let path = format!("/gnu/store/{derivation}.drv");
        ((*label).to_owned(), LockedDerivation { path, outputs })
    });
    Record {
        seed: "small".into(),
        impure: None,
        derivations: derivations.collect(),
    }
}

fn key(content: &str) -> SeedKey {
    SeedKey {
        system: "x86_64-linux".into(),
        sha256: Sha256Digest::of(content),
    }
}

fn lock() -> Lock {
    Lock {
        records: BTreeMap::from([
            (
                key("one"),
                record(&[("sed", "d1", "x"), ("stage0/sed", "d2", "y")]),
            ),
            (key("two"), record(&[("sed", "d3", "z")])),
        ]),
    }
}

fn parse(text: &str) -> Result<Lock, LockFileError> {
    Lock::parse(text, Path::new("some.lock"))
}

/// `body` with the sum that it must have.
fn summed(body: &str) -> String {
    format!("{body}sum {}\n", Sha256Digest::of(body))
}

#[test]
fn what_is_written_is_read_again_and_sorted() {
    let text = lock().to_text();
    assert_eq!(parse(&text).unwrap(), lock());
    assert_eq!(parse(&text).unwrap().to_text(), text);
    let small = Lock {
        records: BTreeMap::from([(key("one"), record(&[("sed", "d1", "x")]))]),
    };
    let (seed, nar) = (Sha256Digest::of("one"), Sha256Digest::of("x"));
    assert!(small.to_text().starts_with(&format!(
        "{HEADER}seed x86_64-linux {seed} small\n  derivation sed /gnu/store/d1.drv\n    \
         output out /gnu/store/sed {nar} 1\n      reference /gnu/store/sed\nsum "
    )));
}

#[test]
fn the_reason_why_nobody_else_has_a_seed_is_read_again() {
    let mut lock = lock();
    let made = lock.records.get_mut(&key("one")).unwrap();
    made.impure = Some("it is mine".to_owned());
    let text = lock.to_text();
    let seed = Sha256Digest::of("one");
    let lines = format!("seed x86_64-linux {seed} small\n  impure it is mine\n  derivation sed");
    assert_eq!(text.matches("impure").count(), 1);
    assert!(text.contains(&lines), "{text}");
    assert_eq!(parse(&text).unwrap(), lock);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let text = lock().to_text().into_bytes();
    for position in 0..text.len() {
        let mut flipped = text.clone();
        flipped[position] ^= 1 << (position % 8);
        let read = parse(&String::from_utf8_lossy(&flipped));
        assert!(read.is_err(), "byte {position}");
    }
}

#[test]
fn a_lock_that_was_cut_short_is_refused() {
    let text = lock().to_text();
    for end in [0, 1, 80, text.len() - 1] {
        let error = parse(&text[..end]).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{error}");
    }
    // Nothing of another file is shown.
    let error = parse("root:secret\nuser:secret\n").unwrap_err().to_string();
    assert!(error.ends_with(", but is another line"), "{error}");
}

#[test]
fn lines_that_mean_nothing_are_named() {
    let seed = format!("seed x86_64-linux {} small\n", Sha256Digest::of("one"));
    let cases = [
        (
            "derivation sed /d.drv\n".to_owned(),
            1,
            "begins with `seed`",
        ),
        (
            format!("{seed}output out /p 00 1\n"),
            2,
            "begins with `derivation`",
        ),
        (
            format!("{seed}derivation a /d\nreference /p\n"),
            3,
            "begins with `output`",
        ),
        (
            format!("{seed}derivation a /d\noutput out /p 00 1\n"),
            3,
            "SHA-256",
        ),
        ("impure it is mine\n".to_owned(), 1, "begins with `seed`"),
        (format!("{seed}impure\n"), 2, "`impure REASON`"),
        ("seed x86_64-linux 12 small\n".to_owned(), 1, "SHA-256"),
        ("what is this\n".to_owned(), 1, "`seed SYSTEM"),
    ];
    for (body, line, expected) in cases {
        let error = parse(&summed(&body)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("some.lock:{line}: ")), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn comparison_tells_other_bytes_from_another_derivation() {
    let recorded = record(&[
        ("same", "1", "x"),
        ("differs", "2", "x"),
        ("moved", "3", "x"),
        ("gone", "4", "x"),
        ("refetched", "6", "x"),
    ]);
    let mut here = record(&[
        ("same", "1", "x"),
        ("differs", "2", "y"),
        ("moved", "33", "x"),
        ("new", "5", "x"),
        ("refetched", "66", "x"),
    ]);
    // Another derivation of the same output path is one whose sources come from elsewhere.
    let moved = here.derivations.get_mut("moved").unwrap();
    moved
        .outputs
        .insert("out".to_owned(), output("elsewhere", "x"));
    let compared = recorded.compare(&here, |_| true);
    let found: Vec<(&str, &LockFinding)> = compared
        .iter()
        .map(|compared| (compared.label.as_str(), &compared.finding))
        .collect();
    assert_eq!(found.len(), 6);
    assert!(
        matches!(found[0], ("differs", LockFinding::Differs { recorded, found })
        if recorded.sha256 == Sha256Digest::of("x") && found.sha256 == Sha256Digest::of("y"))
    );
    assert_eq!(found[1], ("gone", &LockFinding::NotBuilt));
    assert!(matches!(
        found[2],
        ("moved", LockFinding::OtherDerivation { .. })
    ));
    assert_eq!(found[3], ("new", &LockFinding::NotRecorded));
    assert_eq!(found[4], ("refetched", &LockFinding::Same));
    assert_eq!(found[5], ("same", &LockFinding::Same));
    assert!(recorded.compare(&Record::default(), |_| false).is_empty());
}

#[test]
fn other_references_alone_are_a_difference() {
    let recorded = record(&[("sed", "1", "x")]);
    let mut here = recorded.clone();
    let outputs = &mut here.derivations.get_mut("sed").unwrap().outputs;
    outputs.get_mut("out").unwrap().references.clear();
    let compared = recorded.compare(&here, |_| true);
    assert!(matches!(compared[0].finding, LockFinding::Differs { .. }));
}

#[test]
fn an_update_keeps_what_is_planned_the_same_and_not_built_here() {
    let mut recorded = record(&[
        ("kept", "1", "x"),
        ("changed", "2", "x"),
        ("again", "3", "x"),
    ]);
    recorded.update(record(&[("again", "3", "y")]), |label, path| {
        label != "changed" || path != "/gnu/store/2.drv"
    });
    assert_eq!(recorded, record(&[("kept", "1", "x"), ("again", "3", "y")]));
}

#[test]
fn a_lock_is_replaced_in_one_step_and_its_absence_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bootstrap.lock");
    assert!(matches!(Lock::read(&path), Err(LockFileError::Missing(_))));
    lock().write(&path).unwrap();
    assert_eq!(Lock::read(&path).unwrap(), lock());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let nowhere = directory.path().join("no/bootstrap.lock");
    assert!(matches!(
        lock().write(&nowhere),
        Err(LockFileError::File(_))
    ));
}

#[test]
fn a_lock_carries_the_version_and_older_ones_are_read() {
    let text = lock().to_text();
    let version = env!("CARGO_PKG_VERSION");
    let header = text.lines().next().unwrap();
    assert!(
        header.ends_with(&format!("`bootstrap lock` {version}.")),
        "{header}"
    );
    let older = text.replace(&format!(" {version}."), ".");
    let body = older.rsplit_once("sum ").unwrap().0;
    assert_eq!(parse(&summed(body)).unwrap(), lock());
}
