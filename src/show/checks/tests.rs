// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

const NOW: u64 = 1_795_407_124;
const YEAR: u64 = 365 * 86_400;

/// That `finding` is so, and says what to do unless it is good.
fn assert_state(finding: &CheckFinding, state: CheckState) {
    assert_eq!(finding.state, state, "{finding:?}");
    assert_eq!(
        finding.remedy.is_some(),
        state != CheckState::Good,
        "{finding:?}"
    );
}

#[test]
fn another_systems_builds_are_not_for_this_machine() {
    for system in System::ALL {
        assert_state(&host(system.name(), system), CheckState::Good);
        assert_state(&host("x86_64-hurd", system), CheckState::Bad);
    }
}

#[test]
fn a_file_system_without_programs_is_bad() {
    let of = |forbids| programs("store's disk", Path::new("/gnu"), forbids);
    assert_state(&of(Ok(false)), CheckState::Good);
    let bad = of(Ok(true));
    assert_state(&bad, CheckState::Bad);
    assert!(
        bad.seen.contains("/gnu") && bad.seen.contains("noexec"),
        "{}",
        bad.seen
    );
    assert_state(
        &of(Err(io::ErrorKind::NotFound.into())),
        CheckState::Doubtful,
    );
}

#[test]
fn a_sandbox_that_cannot_be_had_says_what_to_do() {
    assert_state(&sandbox(Ok(())), CheckState::Good);
    let unfit = sandbox(Err(SandboxError::Unfit {
        problem: "cannot create namespaces".into(),
        remedy: "As root: sysctl -w user.max_user_namespaces=15000".into(),
    }));
    assert_state(&unfit, CheckState::Bad);
    assert_eq!(unfit.seen, "cannot create namespaces");
    assert!(unfit.remedy.unwrap().starts_with("As root: sysctl"));
    let other = sandbox(Err(SandboxError::HelperDied {
        how: "signal 9".into(),
    }));
    assert_state(&other, CheckState::Bad);
}

#[test]
fn features_are_findings_of_their_own() {
    let of = |remedy: Option<&str>, missing| {
        feature(&Feature {
            name: "user namespaces",
            seen: "seen".into(),
            remedy: remedy.map(ToOwned::to_owned),
            missing,
        })
    };
    assert_eq!(of(None, false).what, "kernel: user namespaces");
    assert_state(&of(None, false), CheckState::Good);
    assert_state(&of(Some("do"), false), CheckState::Doubtful);
    assert_state(&of(Some("do"), true), CheckState::Bad);
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    assert_state(&privileges(None), CheckState::Good);
    let refused = io::Error::from(io::ErrorKind::PermissionDenied);
    let finding = privileges(Some((Path::new("/gnu"), &refused)));
    assert_state(&finding, CheckState::Bad);
    assert!(finding.seen.starts_with("/gnu cannot be written to: "));
    assert!(finding.remedy.unwrap().contains("--root DIR"));
}

#[test]
fn too_little_room_is_bad_and_an_unknown_amount_doubtful() {
    let free = |free| space("disk", Path::new("/gnu"), free, 1 << 30);
    assert_state(&free(Ok(1 << 30)), CheckState::Good);
    let little = free(Ok((1 << 30) - 1));
    assert_state(&little, CheckState::Bad);
    assert!(describe(&[little]).starts_with("BAD       disk: "));
    let unneeded = space("disk", Path::new("/gnu"), Ok(0), 0);
    assert_state(&unneeded, CheckState::Good);
    assert_eq!(unneeded.seen, "0 B are free at /gnu, and all is built");
    assert_state(
        &free(Err(io::ErrorKind::NotFound.into())),
        CheckState::Doubtful,
    );
}

#[test]
fn little_memory_for_many_cores_is_doubtful() {
    assert_state(&memory(4, Some(4 << 30)), CheckState::Good);
    assert_state(&memory(4, Some((4 << 30) - 1)), CheckState::Doubtful);
    assert_state(&memory(4, None), CheckState::Good);
    assert_eq!(memory(1, Some(1 << 30)).seen, "1.0 GiB for 1 core");
}

#[test]
fn a_clock_is_right_where_a_server_says_so_whatever_is_recorded() {
    assert_state(
        &clock(NOW, Some(NOW + YEAR), Some(("host", NOW + 299))),
        CheckState::Good,
    );
    assert_state(
        &clock(NOW + 30 * YEAR, None, Some(("host", NOW + 30 * YEAR))),
        CheckState::Good,
    );
    let behind = clock(NOW, None, Some(("host", NOW + 3600)));
    assert_state(&behind, CheckState::Doubtful);
    assert_eq!(behind.seen, "1 h 00 min 00 s behind that of host");
    let ahead = clock(NOW + 2 * INTOLERABLE, None, Some(("host", NOW)));
    assert_state(&ahead, CheckState::Bad);
    assert_eq!(ahead.seen, "48 h 00 min 00 s ahead of that of host");
    assert_state(&clock(0, None, Some(("host", NOW))), CheckState::Bad);
}

#[test]
fn without_a_server_the_newest_record_decides() {
    assert_state(&clock(NOW, None, None), CheckState::Good);
    assert_state(&clock(NOW, Some(NOW - 60), None), CheckState::Good);
    assert_state(&clock(EARLIEST - 1, None, None), CheckState::Bad);
    assert_state(&clock(0, Some(NOW), None), CheckState::Bad);
    let behind = clock(NOW - 2 * YEAR / 3, Some(NOW), None);
    assert_state(&behind, CheckState::Bad);
    assert!(behind.seen.contains("newest recorded build"), "{behind:?}");
    let absurd = clock(EARLIEST + 10 * YEAR + 1, None, None);
    assert_state(&absurd, CheckState::Bad);
    assert!(
        absurd.seen.contains("ten years ahead of this program"),
        "{absurd:?}"
    );
    assert_state(
        &clock(NOW + 10 * YEAR + 1, Some(NOW), None),
        CheckState::Bad,
    );
    assert_state(&clock(NOW + 9 * YEAR, Some(NOW), None), CheckState::Good);
    assert_state(&clock(u64::MAX, Some(u64::MAX), None), CheckState::Good);
}

#[test]
fn servers_that_do_not_answer_are_named_with_what_to_do_instead() {
    type Check = fn(&Reached) -> CheckFinding;
    let checks: [(Check, &str); 2] = [(network, "https_proxy"), (archive, "Acquire::http::Proxy")];
    for (check, remedy) in checks {
        for good in [
            Reached::Offline,
            Reached::NotNeeded,
            Reached::Asked("host".into(), Ok(())),
        ] {
            assert_state(&check(&good), CheckState::Good);
        }
        let refused = Reached::Asked("host".into(), Err("connection refused".into()));
        let unusable = Reached::Unusable("apt-get is not on this machine".into());
        for (doubtful, seen) in [
            (refused, "host: connection refused"),
            (unusable, "apt-get is"),
        ] {
            let finding = check(&doubtful);
            assert_state(&finding, CheckState::Doubtful);
            assert!(finding.seen.starts_with(seen), "{finding:?}");
            assert!(finding.remedy.unwrap().contains(remedy));
        }
    }
}

#[test]
fn a_kernel_older_than_the_seed_is_told_of_with_what_to_choose() {
    assert_state(&seed("freebsd-14.3-amd64", Ok(())), CheckState::Good);
    let too_old = SeedError::HostTooOld {
        name: "freebsd-14.3-amd64".into(),
        release: "14.3".into(),
        host: "14.0".into(),
    };
    let finding = seed("freebsd-14.3-amd64", Err(too_old));
    assert_state(&finding, CheckState::Bad);
    for shown in ["freebsd-14.3-amd64", "14.0"] {
        assert!(finding.seen.contains(shown), "{finding:?}");
    }
    assert!(finding.remedy.unwrap().contains("--seed host"));
}

#[test]
fn recipes_and_a_store_that_cannot_be_read_are_bad() {
    assert_state(&recipes(Ok(90)), CheckState::Good);
    assert_state(
        &recipes(Err("recipes/sed/recipe.toml:3".into())),
        CheckState::Bad,
    );
    assert_state(&store(Ok(0)), CheckState::Good);
    assert_eq!(store(Ok(1)).seen, "1 valid item");
    let lost = store(Err("the database is damaged".into()));
    assert_state(&lost, CheckState::Bad);
    assert!(lost.remedy.unwrap().contains("verify --recover"));
}

#[test]
fn a_remedy_of_several_lines_stays_below_what_it_is_for() {
    let finding = CheckFinding::bad("sandbox", "no", "one\ntwo");
    assert_eq!(
        describe(&[finding]),
        "BAD       sandbox: no\n          hint: one\n          two\n"
    );
}
