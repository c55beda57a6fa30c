// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether this machine can build: what `doctor` prints, and its exit status.

use serde_json::Value;

use crate::World;
use crate::server::serve_with;

const SERVER: &str = "https://127.0.0.1:9";

impl World {
    /// The findings of `doctor --json` with `arguments`. The exit status must fit them: whether this machine itself can
    /// build is not the test's to say.
    fn findings(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["doctor", "--json"], arguments].concat());
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let bad = findings.iter().filter(|one| one["state"] == "bad").count();
        let status = if bad == 0 { 0 } else { 5 };
        assert_eq!(output.status.code(), Some(status), "{findings:#?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(error.contains(&format!("{bad} of ")), bad > 0, "{error}");
        findings
    }

    /// Has sources come from a server that says it is `date`; gives where that is.
    fn with_server(&self, date: &str) -> String {
        let directory = self.path("served");
        std::fs::create_dir(&directory).unwrap();
        let url = serve_with(&directory, &format!("Date: {date}\r\n"), |_| {});
        self.replace(SERVER, &url);
        url.strip_prefix("http://").unwrap().to_owned()
    }
}

fn of<'f>(findings: &'f [Value], what: &str) -> &'f Value {
    let found = findings.iter().find(|one| one["what"] == what);
    found.unwrap_or_else(|| panic!("{what}: {findings:#?}"))
}

#[test]
fn everything_is_looked_at_by_itself_and_what_is_not_good_has_a_remedy() {
    let findings = World::with_recipes().findings(&["--offline"]);
    for what in [
        "system",
        "sandbox",
        "privileges",
        "store's disk",
        "build directory's disk",
        "memory",
        "clock",
        "network",
        "distribution's archive",
        "seed's programs",
        "recipes and seed",
        "store",
    ] {
        of(&findings, what);
    }
    let features = findings.iter().filter(|one| {
        let what = one["what"].as_str().unwrap();
        what.starts_with("kernel: ")
    });
    assert!(features.count() >= 6, "{findings:#?}");
    if cfg!(target_os = "linux") {
        for name in ["user", "mount", "process", "network"] {
            of(&findings, &format!("kernel: {name} namespaces"));
        }
    }
    for finding in &findings {
        assert!(
            finding["seen"]
                .as_str()
                .is_some_and(|seen| !seen.is_empty())
        );
        let is_good = finding["state"] == "good";
        assert_eq!(finding["remedy"].is_null(), is_good, "{finding}");
    }
    assert_eq!(of(&findings, "network")["seen"], "not used (--offline)");
    assert_eq!(
        of(&findings, "distribution's archive")["seen"],
        "the seed needs none"
    );
}

#[test]
fn a_server_that_does_not_answer_is_named_and_is_no_reason_not_to_build() {
    let findings = World::with_recipes().findings(&[]);
    let network = of(&findings, "network");
    assert_eq!(network["state"], "doubtful");
    let seen = network["seen"].as_str().unwrap();
    assert!(seen.starts_with("127.0.0.1:9: "), "{seen}");
    let remedy = network["remedy"].as_str().unwrap();
    assert!(remedy.contains("/seeds fetch` where"), "{remedy}");
}

#[test]
fn a_clock_that_a_server_contradicts_makes_the_machine_unfit() {
    for date in [
        "Sat, 01 Jan 2000 00:00:00 GMT",
        "Fri, 01 Jan 2100 00:00:00 GMT",
    ] {
        let world = World::with_recipes();
        let host = world.with_server(date);
        let findings = world.findings(&[]);
        let clock = of(&findings, "clock");
        assert_eq!(clock["state"], "bad");
        let seen = clock["seen"].as_str().unwrap();
        assert!(seen.ends_with(&format!("that of {host}")), "{seen}");
        assert_eq!(of(&findings, "network")["seen"], format!("{host} answers"));
        let (out, err) = world.expect(5, &["doctor"]);
        assert!(out.contains("\nBAD       clock: "), "{out}");
        assert!(
            out.contains("\n          hint: Set it, for example"),
            "{out}"
        );
        assert!(
            err.contains("checks failed: this machine cannot build yet"),
            "{err}"
        );
    }
}

#[test]
fn a_clock_behind_the_newest_build_is_wrong_too() {
    let world = World::with_recipes();
    let record = |ended: u64| {
        format!(
            "{{\"item\":\"sed\",\"kind\":\"build\",\"derivation\":\"x.drv\",\"started\":1,\"ended\":{ended},\"cores\":1,\
             \"outputs\":[],\"seconds\":1.0,\"user_seconds\":1.0,\"system_seconds\":1.0,\"phases\":[]}}\n"
        )
    };
    let file = "root/var/guix/bootstrap/builds.jsonl";
    // The year 2100.
    world.file(file, &(record(4_102_444_800) + &record(1_795_400_000)));
    let findings = world.findings(&["--offline"]);
    let clock = of(&findings, "clock");
    assert_eq!(clock["state"], "bad");
    let seen = clock["seen"].as_str().unwrap();
    assert!(seen.ends_with("behind the newest recorded build"), "{seen}");
}

#[test]
fn another_systems_builds_and_bad_recipes_make_it_unfit() {
    let world = World::with_recipes();
    let other = match cfg!(target_os = "linux") {
        true => "small-freebsd",
        false => "small-linux",
    };
    let output = world.run_from(other, &["doctor", "--offline"]);
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("BAD       system: this machine is "),
        "{text}"
    );
    world.file("recipes/make/recipe.toml", "name = 1\n");
    let findings = world.findings(&["--offline"]);
    let recipes = of(&findings, "recipes and seed");
    assert_eq!(recipes["state"], "bad");
    let seen = recipes["seen"].as_str().unwrap();
    assert!(seen.contains("make/recipe.toml"), "{seen}");
}
