// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use std::sync::Mutex;
use std::time::Instant;

/// A hook that is the shell script `script`, whose first arguments are those of the protocol.
fn hook(script: &str) -> BuildHook {
    let settings = HookSettings {
        program: "/bin/sh".into(),
        arguments: ["-c", script, "hook"].map(OsString::from).to_vec(),
        traces: true,
        answer_within: Some(Duration::from_millis(300)),
    };
    let timeout = Some(Duration::from_secs(7));
    BuildHook::new(settings, "x86_64-linux", timeout, None)
}

fn offer<'o>() -> HookOffer<'o> {
    HookOffer {
        room_here: true,
        system: "x86_64-linux",
        derivation: "/gnu/store/x.drv",
        features: vec!["kvm", "big"],
    }
}

/// What `hook` answers, and what it says before.
fn ask(hook: &BuildHook) -> (Result<Reply, HookFailure>, Vec<String>) {
    let said = Mutex::new(Vec::new());
    let say = |line: &str| said.lock().unwrap().push(line.to_owned());
    let reply = hook.ask(&offer(), &Cancellation::new(), &say);
    (reply, said.into_inner().unwrap())
}

#[test]
fn an_offer_is_a_line_and_the_answer_another() {
    let hook =
        hook("while read -r line; do echo \"$* $line\"; echo more >&2; echo '# decline'; done");
    for _ in 0..2 {
        let (reply, said) = ask(&hook);
        assert!(matches!(reply, Ok(Reply::Decline)));
        let expected = "x86_64-linux 0 1 7 1 x86_64-linux /gnu/store/x.drv kvm,big";
        assert_eq!(said, [expected, "more"]);
    }
}

#[test]
fn a_hook_that_declines_or_postpones_is_asked_again_and_one_that_accepts_is_not() {
    let hook = hook(
        "for answer in postpone decline accept; do read -r line; echo $$; echo \"# $answer\"; done",
    );
    let (first, number) = ask(&hook);
    assert!(matches!(first, Ok(Reply::Postpone)));
    let (second, same) = ask(&hook);
    assert!(matches!(second, Ok(Reply::Decline)));
    let (third, again) = ask(&hook);
    assert!(matches!(third, Ok(Reply::Accept(_))));
    assert!(number == same && same == again);
    let (fourth, other) = ask(&hook);
    assert!(matches!(fourth, Ok(Reply::Postpone)));
    assert_ne!(number, other);
}

#[test]
fn a_hook_that_does_not_answer_is_an_error() {
    type IsExpected = fn(&HookFailure) -> bool;
    let cases: [(&str, IsExpected); 6] = [
        (
            "exit 3",
            |failure| matches!(failure, HookFailure::Ended(status) if status.code() == Some(3)),
        ),
        (
            "read -r line; exit 0",
            |failure| matches!(failure, HookFailure::Ended(status) if status.success()),
        ),
        (
            "read -r line; echo '# maybe'",
            |failure| matches!(failure, HookFailure::Rubbish(text) if text == "maybe"),
        ),
        ("read -r line; tr '\\0' x < /dev/zero", |failure| {
            matches!(failure, HookFailure::LongLine(_))
        }),
        ("exec 3>&1; sleep 60 & sleep 60", |failure| {
            matches!(failure, HookFailure::Silent(_))
        }),
        // It closes its output and goes on.
        ("exec >&- 2>&- 4>&-; sleep 60", |failure| {
            matches!(failure, HookFailure::Ended(_))
        }),
    ];
    for (script, expected) in cases {
        let began = Instant::now();
        let (reply, _) = ask(&hook(script));
        match reply {
            Err(failure) => assert!(expected(&failure), "{script}: {failure}"),
            Ok(_) => panic!("{script} has answered"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
    }
    let missing = HookSettings {
        program: "/no/such/program".into(),
        arguments: Vec::new(),
        traces: false,
        answer_within: None,
    };
    let (reply, said) = ask(&BuildHook::new(missing, "x86_64-linux", None, None));
    assert!(matches!(reply, Err(HookFailure::Ended(_))));
    assert!(
        said.iter().any(|line| line.contains("/no/such/program")),
        "{said:?}"
    );
}

#[test]
fn asking_ends_when_the_run_is_stopped() {
    let hook = BuildHook::new(
        HookSettings {
            answer_within: None,
            ..hook("sleep 60").settings
        },
        "x86_64-linux",
        None,
        None,
    );
    let cancellation = Cancellation::new();
    let stopping = cancellation.clone();
    let stop = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        stopping.cancel();
    });
    let began = Instant::now();
    let reply = hook.ask(&offer(), &cancellation, &|_| {});
    assert!(matches!(reply, Err(HookFailure::Ended(_))));
    assert!(began.elapsed() < Duration::from_secs(20));
    stop.join().unwrap();
}

#[test]
fn a_hook_that_keeps_failing_is_given_up() {
    let hook = hook("exit 1");
    for _ in 1..FAILURES {
        hook.has_failed();
    }
    hook.has_worked();
    for _ in 0..FAILURES {
        assert!(hook.is_usable());
        hook.has_failed();
    }
    assert!(!hook.is_usable());
    hook.has_worked();
    assert!(!hook.is_usable());
}
