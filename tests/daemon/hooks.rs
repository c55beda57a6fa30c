// SPDX-License-Identifier: GPL-3.0-or-later
//! Build hooks: small shell scripts that make outputs "on another machine", or fail to, in each way there is.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::client::{Client, Daemon, Refused, SYSTEM};
use crate::processes;
use crate::tokens::{Builder, build};

/// What a hook does with an offer before it answers: notes it.
const OFFERED: &str = r#"
echo "$*" >> "$root/arguments"
while read -r room system drv features; do
    echo "$room $system $drv $features" >> "$root/offers"
"#;

/// Accepts, and reads what to make.
const ACCEPT: &str = r#"
    echo '# accept'
    read -r inputs
    read -r outputs
    echo "$inputs" > "$root/inputs"
"#;

/// Makes the outputs.
const MAKE: &str = r#"
    echo 'made elsewhere' >&4
    for output in $outputs; do printf elsewhere > "$root$output"; done
    exit 0
done
"#;

/// A daemon with a hook.
struct Site {
    daemon: Daemon,
    builder: Builder,
}

impl Site {
    /// One whose hook is the shell script of `parts`.
    fn new(name: &str, parts: &[&str], arguments: &[&str]) -> Self {
        let scripts = tempfile::tempdir().unwrap();
        let script = scripts.path().join("hook");
        std::fs::write(&script, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hook = script.to_str().unwrap().to_owned();
        let mut all = vec!["--build-hook", &hook];
        all.extend(arguments);
        let daemon = Daemon::with(&all);
        let root = daemon.root().display();
        // Its directory is known only now. The hook starts with the first build.
        let text = format!("#!/bin/sh\nroot={root}\n{}", parts.concat());
        std::fs::write(&script, text).unwrap();
        let _ = scripts.keep();
        let builder = Builder::add(&mut daemon.connect(), name);
        Self { daemon, builder }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.daemon.root().join(name)).unwrap_or_default()
    }

    /// A client that uses the hook, with these further options.
    fn client(&self, options: &[(&str, &str)]) -> Client {
        let mut client = self.daemon.connect();
        set_options(&mut client, true, options);
        client
    }

    /// What `derivation` has made, where it is valid.
    fn made(&self, client: &mut Client, derivation: &str) -> Option<String> {
        client.ask_of(22, derivation).unwrap();
        let outputs = client.strings();
        let output = outputs.first()?;
        client
            .is_valid(output)
            .then(|| self.file(output.trim_start_matches('/')))
    }
}

fn set_options(client: &mut Client, hook: bool, options: &[(&str, &str)]) {
    client
        .ask(19, |fields| {
            // Keep failed, keep going, fallback, verbosity, build hook, build verbosity, log type, traces, substitutes.
            for number in [0, 1, 0, 0, u64::from(hook), 0, 0, 1, 0] {
                fields.long(number);
            }
            fields.long(options.len() as u64);
            for (name, value) in options {
                fields.string(name);
                fields.string(value);
            }
        })
        .unwrap();
}

fn text_of(client: &Client) -> String {
    String::from_utf8_lossy(&client.log).into_owned()
}

#[test]
fn a_build_that_a_hook_accepts_is_an_item_like_any_other() {
    let site = Site::new(
        "hook-accepts",
        &[OFFERED, ACCEPT, MAKE],
        &["--timeout", "60"],
    );
    let mut client = site.client(&[("build-max-silent-time", "50")]);
    let derivation = site
        .builder
        .derivation(&mut client, "accepted", &["write $out here"]);
    build(&mut client, std::slice::from_ref(&derivation)).unwrap();
    assert_eq!(
        site.made(&mut client, &derivation).as_deref(),
        Some("elsewhere")
    );
    assert_eq!(site.file("offers"), format!("1 {SYSTEM} {derivation} \n"));
    assert_eq!(site.file("arguments"), format!("{SYSTEM} 50 1 60\n"));
    let inputs = site.file("inputs");
    let inputs: Vec<&str> = inputs.split_whitespace().collect();
    assert!(inputs.contains(&derivation.as_str()) && inputs.contains(&&*site.builder.path));
    let text = text_of(&client);
    for line in [
        &format!("@ build-started {derivation} - {SYSTEM} "),
        "made elsewhere\n",
        &format!("@ build-succeeded {derivation} -\n"),
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Records and logs have it as they have builds of this machine.
    let runs = site.daemon.root().join("var/guix/bootstrap/runs");
    let records = std::fs::read_dir(&runs).unwrap().flatten();
    let records: Vec<String> = records
        .filter_map(|record| std::fs::read_to_string(record.path()).ok())
        .collect();
    assert!(
        records.concat().contains("\"elsewhere\":true"),
        "{records:?}"
    );
    let log = crate::client::tool()
        .args([
            "--root",
            site.daemon.root().to_str().unwrap(),
            "log",
            &derivation,
        ])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&log.stdout).contains("made elsewhere"));
    assert_eq!(client.verify_store(1, 0), 0);
}

#[test]
fn what_a_hook_declines_is_built_here() {
    let site = Site::new("hook-declines", &[OFFERED, "echo '# decline'\ndone"], &[]);
    let mut client = site.client(&[]);
    let names = ["declined-1", "declined-2"];
    let derivations = names.map(|name| {
        site.builder
            .derivation(&mut client, name, &["write $out here"])
    });
    build(&mut client, &derivations).unwrap();
    for derivation in &derivations {
        assert_eq!(site.made(&mut client, derivation).as_deref(), Some("here"));
    }
    assert_eq!(site.file("offers").lines().count(), 2);
    // One hook was asked both times.
    assert_eq!(site.file("arguments").lines().count(), 1);
}

#[test]
fn what_a_hook_postpones_is_offered_again() {
    let postpone = r#"
    if [ ! -e "$root/asked-once" ]; then : > "$root/asked-once"; echo '# postpone'; continue; fi
    "#;
    let site = Site::new("hook-postpones", &[OFFERED, postpone, ACCEPT, MAKE], &[]);
    let mut client = site.client(&[]);
    let derivation = site
        .builder
        .derivation(&mut client, "postponed", &["write $out here"]);
    build(&mut client, std::slice::from_ref(&derivation)).unwrap();
    assert_eq!(
        site.made(&mut client, &derivation).as_deref(),
        Some("elsewhere")
    );
    assert_eq!(site.file("offers").lines().count(), 2);
}

#[test]
fn a_hook_that_fails_loses_no_build() {
    let sleep = "sleep 60 & ";
    for (number, (parts, said)) in [
        (&["exit 1"][..], "ended without an answer"),
        (&["echo '# perhaps'"], "found `perhaps'"),
        (&[OFFERED, ACCEPT, "exit 3; done"], "the build hook failed"),
        (
            &[OFFERED, ACCEPT, "kill -9 $$; done"],
            "the build hook failed",
        ),
        (
            &[OFFERED, ACCEPT, "exit 0; done"],
            "did not create /gnu/store/",
        ),
        // It leaves a process behind that keeps its output open.
        (
            &[OFFERED, ACCEPT, sleep, "exit 9; done"],
            "the build hook failed",
        ),
        // It accepts, and does not read what to make.
        (&["echo '# accept'; exit 4"], "the build hook failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let site = Site::new(&format!("hook-fails-{number}"), parts, &[]);
        let mut client = site.client(&[]);
        let name = format!("not-lost-{number}");
        let derivation = site
            .builder
            .derivation(&mut client, &name, &["write $out here"]);
        let began = Instant::now();
        build(&mut client, std::slice::from_ref(&derivation)).unwrap();
        assert_eq!(
            site.made(&mut client, &derivation).as_deref(),
            Some("here"),
            "{parts:?}"
        );
        let text = text_of(&client);
        assert!(text.contains(said), "{parts:?}: {text}");
        assert!(
            text.contains(&format!("@ hook-failed {derivation} - ")),
            "{text}"
        );
        assert!(began.elapsed() < Duration::from_secs(30), "{parts:?}");
    }
}

#[test]
fn a_build_that_fails_elsewhere_has_failed() {
    for (number, (end, status, said)) in [
        ("exit 100", 100, "it failed on another machine"),
        ("exit 101", 101, "it took too long on another machine"),
        // A pipe cannot be in a store.
        (
            "mkfifo $root$outputs; exit 0",
            1,
            "cannot become a store item",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let parts = [OFFERED, ACCEPT, "echo no luck >&4\n", end, "\ndone"];
        let site = Site::new(&format!("hook-failed-{number}"), &parts, &[]);
        let mut client = site.client(&[]);
        let name = format!("failed-elsewhere-{number}");
        let derivation = site
            .builder
            .derivation(&mut client, &name, &["write $out here"]);
        let failed = build(&mut client, std::slice::from_ref(&derivation)).unwrap_err();
        assert_eq!(failed.status, status, "{end}: {failed:?}");
        let text = text_of(&client);
        assert!(text.contains(said) && text.contains("no luck"), "{text}");
        assert_eq!(site.made(&mut client, &derivation), None);
    }
}

#[test]
fn limits_hold_for_hooks() {
    for (option, value) in [("build-timeout", "1"), ("build-max-silent-time", "1")] {
        let parts = [
            OFFERED,
            ACCEPT,
            "echo $$ > \"$root/process\"; sleep 60\ndone",
        ];
        let site = Site::new(&format!("hook-{option}"), &parts, &[]);
        let mut client = site.client(&[(option, value)]);
        let derivation = site
            .builder
            .derivation(&mut client, option, &["write $out here"]);
        let began = Instant::now();
        let failed: Refused = build(&mut client, &[derivation]).unwrap_err();
        assert_eq!(failed.status, 101, "{failed:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
        let process = site.file("process");
        assert!(!processes::exists(process.trim()));
    }
}

#[test]
fn builds_elsewhere_take_no_place_here() {
    let sleep = "    sleep 1\n";
    let site = Site::new(
        "hook-beside",
        &[OFFERED, ACCEPT, sleep, MAKE],
        &["--total-jobs", "1"],
    );
    let mut client = site.client(&[("build-max-jobs", "1")]);
    let derivations: Vec<String> = (0..6)
        .map(|number| {
            let name = format!("beside-{number}");
            site.builder
                .derivation(&mut client, &name, &["write $out here"])
        })
        .collect();
    let began = Instant::now();
    build(&mut client, &derivations).unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(4500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        site.file("offers").matches(&format!("1 {SYSTEM}")).count(),
        6
    );
}

#[test]
fn without_builds_here_only_what_prefers_this_machine_is_built() {
    let decline = [OFFERED, "echo '# decline'\ndone"];
    let site = Site::new("hook-nothing-here", &decline, &[]);
    let mut client = site.client(&[("build-max-jobs", "0")]);
    let declined = site
        .builder
        .derivation(&mut client, "not-here", &["write $out here"]);
    let failed = build(&mut client, std::slice::from_ref(&declined)).unwrap_err();
    assert!(failed.message.contains("not-here"), "{failed:?}");
    assert!(text_of(&client).contains("nothing is built here (--max-jobs=0)"));
    assert!(site.file("offers").starts_with(&format!("0 {SYSTEM} ")));
    let local = site.builder.derivation_with(
        &mut client,
        "prefers-here",
        &["write $out here"],
        &[("preferLocalBuild", "1")],
    );
    build(&mut client, std::slice::from_ref(&local)).unwrap();
    assert_eq!(site.made(&mut client, &local).as_deref(), Some("here"));
    assert_eq!(site.file("offers").lines().count(), 1);
}

#[test]
fn a_hook_learns_of_features_and_clients_can_do_without_it() {
    let site = Site::new("hook-features", &[OFFERED, ACCEPT, MAKE], &[]);
    let mut client = site.client(&[]);
    let needy = site.builder.derivation_with(
        &mut client,
        "needy",
        &["write $out here"],
        &[("requiredSystemFeatures", "kvm  big-parallel")],
    );
    build(&mut client, std::slice::from_ref(&needy)).unwrap();
    assert_eq!(
        site.file("offers"),
        format!("1 {SYSTEM} {needy} kvm,big-parallel\n")
    );
    // What would be more than one word, or another line, is not offered.
    for (name, features) in [
        ("hostile-1", "a,b"),
        ("hostile-2", "a/b"),
        ("hostile-3", "\u{1}"),
    ] {
        let hostile = site.builder.derivation_with(
            &mut client,
            name,
            &["write $out here"],
            &[("requiredSystemFeatures", features)],
        );
        build(&mut client, std::slice::from_ref(&hostile)).unwrap();
        assert_eq!(site.made(&mut client, &hostile).as_deref(), Some("here"));
    }
    set_options(&mut client, false, &[]);
    let own = site
        .builder
        .derivation(&mut client, "no-hook", &["write $out here"]);
    build(&mut client, std::slice::from_ref(&own)).unwrap();
    assert_eq!(site.made(&mut client, &own).as_deref(), Some("here"));
    assert_eq!(site.file("offers").lines().count(), 1);
}

#[test]
fn a_client_that_leaves_ends_its_hook() {
    let parts = [
        OFFERED,
        ACCEPT,
        "echo $$ > \"$root/process\"; sleep 60\ndone",
    ];
    let site = Site::new("hook-left", &parts, &[]);
    let mut client = site.client(&[]);
    let derivation = site
        .builder
        .derivation(&mut client, "left", &["write $out here"]);
    let stream = client.stream.try_clone().unwrap();
    let building = std::thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            build(&mut client, &[derivation])
        }));
        assert!(!matches!(result, Ok(Ok(()))));
    });
    site.daemon
        .wait_until("the hook builds", || !site.file("process").is_empty());
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    let process = site.file("process");
    let process = std::path::Path::new("/proc").join(process.trim());
    site.daemon
        .wait_until("the hook ends", || !process.exists());
    building.join().unwrap();
}
