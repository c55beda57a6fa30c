// SPDX-License-Identifier: GPL-3.0-or-later
//! What is made of what `doctor` saw: each check is a function of that alone.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::diagnostics::help_of;
use crate::engine::{BOUNDARIES, Boundary, Reached};
use crate::formats::count::counted;
use crate::formats::system::System;
use crate::road::seed::SeedError;
use crate::sandbox::features::Feature;
use crate::sandbox::{EXECUTABLE, SandboxError};
use crate::show::progress::size;

/// The largest compilations of gcc take about this for each core, in bytes.
const MEMORY: u64 = 1 << 30;
/// No clock that is right shows a time before this: 2026-01-01.
pub const EARLIEST: u64 = 1_767_225_600;
/// Two clocks may differ by this much, in seconds.
const SLACK: u64 = 300;
/// With a clock that is wrong by more, certificates count as expired or not yet valid, in seconds.
const INTOLERABLE: u64 = 86_400;
/// A clock this far past the newest known time is wrong, in seconds: ten years.
const ABSURD: u64 = 10 * 365 * 86_400;

/// What a line begins with that goes on with the one before it.
const INDENT: &str = "\n          ";

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// As it should be.
    Good,
    /// Builds are possible, but something may be missed.
    Doubtful,
    /// Builds are not possible.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckFinding {
    /// What it is.
    pub what: String,
    /// How it is.
    pub state: CheckState,
    /// What was seen.
    pub seen: String,
    /// What to do about it; there is something unless it is good.
    pub remedy: Option<String>,
}

impl CheckFinding {
    fn good(what: &str, seen: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            state: CheckState::Good,
            seen: seen.into(),
            remedy: None,
        }
    }

    fn doubtful(what: &str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            state: CheckState::Doubtful,
            seen: seen.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn bad(what: &str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: CheckState::Bad,
            ..Self::doubtful(what, seen, remedy)
        }
    }
}

/// `findings` as text: a line for each, and a hint on what to do.
pub fn describe(findings: &[CheckFinding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            CheckState::Good => "good",
            CheckState::Doubtful => "doubtful",
            CheckState::Bad => "BAD",
        };
        let seen = finding.seen.replace('\n', INDENT);
        text.push_str(&format!("{state:<9} {}: {seen}\n", finding.what));
        if let Some(remedy) = &finding.remedy {
            let remedy = remedy.trim_end().replace('\n', INDENT);
            text.push_str(&format!("          hint: {remedy}\n"));
        }
    }
    text
}

/// Whether `here`, as in `x86_64-linux`, runs what is built for `system`.
pub fn host(here: &str, system: System) -> CheckFinding {
    if here == system.name() {
        return CheckFinding::good("system", here);
    }
    CheckFinding::bad(
        "system",
        format!("this machine is {here}, and builds for {system} run on {system} only"),
        "Leave --system and --seed out, or run this on such a machine.",
    )
}

/// Whether a sandbox could be set up.
pub fn sandbox(checked: Result<(), SandboxError>) -> CheckFinding {
    match checked {
        Ok(()) => CheckFinding::good("sandbox", "builds can be isolated"),
        Err(SandboxError::Unfit { problem, remedy }) => {
            CheckFinding::bad("sandbox", problem, remedy)
        }
        Err(error) => {
            let mut hint = help_of(&error);
            if hint.is_empty() {
                hint = "Builds need what the message names: the kernel's features, and privileges (root, or on Linux \
                        user namespaces)."
                    .to_owned();
            }
            CheckFinding::bad("sandbox", error.to_string(), hint)
        }
    }
}

/// Whether something that sandboxes use is there.
pub fn feature(feature: &Feature) -> CheckFinding {
    let what = format!("kernel: {}", feature.name);
    let seen = feature.seen.as_str();
    match (&feature.remedy, feature.missing) {
        (None, _) => CheckFinding::good(&what, seen),
        (Some(remedy), false) => CheckFinding::doubtful(&what, seen, remedy),
        (Some(remedy), true) => CheckFinding::bad(&what, seen, remedy),
    }
}

/// Whether the parent's limits let builds run: `low` are those that may not, in words.
pub fn limits(low: &[String]) -> CheckFinding {
    match low {
        [] => CheckFinding::good("limits", "the parent's limits are high enough for builds"),
        low => CheckFinding::doubtful(
            "limits",
            low.join("; "),
            "Raise them with `ulimit` in the shell that starts bootstrap, or in the service that does.",
        ),
    }
}

/// Whether all places can be written to: `refused` is the first that cannot, and why.
pub fn privileges(refused: Option<(&Path, &io::Error)>) -> CheckFinding {
    match refused {
        None => CheckFinding::good(
            "privileges",
            "store, state, logs and cache can be written to",
        ),
        Some((place, error)) => CheckFinding::bad(
            "privileges",
            format!("{} cannot be written to: {error}", place.display()),
            "Run this as root, or with --root DIR, which puts everything under DIR.",
        ),
    }
}

/// Whether `free` bytes at `place` do where `needed` are, by all that is written to its file system.
pub fn space(what: &str, place: &Path, free: io::Result<u64>, needed: u64) -> CheckFinding {
    let place = place.display();
    match free {
        Ok(free) if needed == 0 => CheckFinding::good(
            what,
            format!(
                "{} are free at {place}, and all is built",
                size::bytes(free)
            ),
        ),
        Ok(free) if free >= needed => {
            CheckFinding::good(what, format!("{} are free at {place}", size::bytes(free)))
        }
        Ok(free) => CheckFinding::bad(
            what,
            format!(
                "{} are free at {place}, and a whole bootstrap takes {} on that file system",
                size::bytes(free),
                size::bytes(needed)
            ),
            "Make room: `bootstrap gc`; or put the store elsewhere with --root, build directories with TMPDIR.",
        ),
        Err(error) => CheckFinding::doubtful(
            what,
            format!("{place}: {error}"),
            "Look with df(1) whether there is room.",
        ),
    }
}

/// Whether programs can run on the disk `what`, where `place` is; `forbids` is what its file system says.
pub fn programs(what: &str, place: &Path, forbids: io::Result<bool>) -> CheckFinding {
    let what = &format!("programs on the {what}");
    let shown = place.display();
    match forbids {
        Ok(false) => CheckFinding::good(what, format!("programs can run in {shown}")),
        Ok(true) => CheckFinding::bad(
            what,
            format!("no program can run in {shown}: its file system is mounted noexec"),
            EXECUTABLE,
        ),
        Err(error) => CheckFinding::doubtful(
            what,
            format!("{shown}: {error}"),
            "look with mount(8) whether it is mounted noexec",
        ),
    }
}

/// Whether `memory` bytes do for `cores`; `None` where the system does not tell.
pub fn memory(cores: u64, memory: Option<u64>) -> CheckFinding {
    let Some(memory) = memory else {
        return CheckFinding::good("memory", "unknown: the system does not report it");
    };
    let seen = format!("{} for {}", size::bytes(memory), counted(cores, "core"));
    match memory >= MEMORY.saturating_mul(cores) {
        true => CheckFinding::good("memory", seen),
        false => CheckFinding::doubtful(
            "memory",
            seen,
            "Compiling gcc takes up to a gigabyte for each core: use fewer with --cores, or add swap.",
        ),
    }
}

/// Whether a clock that shows `now` is right, in seconds since the Epoch. `server` is a server and the time that it
/// has, which decides; without one, `newest` does, the newest recorded time.
pub fn clock(now: u64, newest: Option<u64>, server: Option<(&str, u64)>) -> CheckFinding {
    let remedy =
        "Set it, for example with an NTP client: certificates and make need the right time.";
    let off = |than: u64| size::seconds(now.abs_diff(than) as f64);
    let side = |than: u64| if now < than { "behind" } else { "ahead of" };
    if let Some((host, then)) = server {
        let difference = now.abs_diff(then);
        if difference <= SLACK {
            return CheckFinding::good("clock", format!("shows the same time as that of {host}"));
        }
        let seen = format!("{} {} that of {host}", off(then), side(then));
        return match difference <= INTOLERABLE {
            true => CheckFinding::doubtful("clock", seen, remedy),
            false => CheckFinding::bad("clock", seen, remedy),
        };
    }
    let known = newest.unwrap_or(0).max(EARLIEST);
    if now < EARLIEST {
        CheckFinding::bad(
            "clock",
            "shows a time before this program was written",
            remedy,
        )
    } else if now.saturating_add(SLACK) < known {
        let seen = format!("{} behind the newest recorded build", off(known));
        CheckFinding::bad("clock", seen, remedy)
    } else if now.saturating_sub(known) > ABSURD {
        let what = match known == EARLIEST {
            true => "this program",
            false => "the newest recorded build",
        };
        CheckFinding::bad(
            "clock",
            format!("is at least ten years ahead of {what}"),
            remedy,
        )
    } else {
        CheckFinding::good("clock", "shows a time that is possible")
    }
}

/// Whether the servers of sources can be reached.
pub fn network(reached: &Reached) -> CheckFinding {
    reachable(
        "network",
        reached,
        "no source needs a server",
        "Sources have to be in the cache then: run `bootstrap fetch` where there is a network, or set https_proxy.",
    )
}

/// Whether the archive of the seed's distribution can be asked.
pub fn archive(reached: &Reached) -> CheckFinding {
    reachable(
        "distribution's archive",
        reached,
        "the seed needs none",
        "Packages of the seed have to be in the cache then: run `bootstrap fetch` where the archive can be reached, or tell APT of \
         a proxy (Acquire::http::Proxy in /etc/apt/apt.conf).",
    )
}

fn reachable(what: &str, reached: &Reached, unneeded: &str, remedy: &str) -> CheckFinding {
    match reached {
        Reached::Offline => CheckFinding::good(what, "not used (--offline)"),
        Reached::NotNeeded => CheckFinding::good(what, unneeded),
        Reached::Unusable(reason) => CheckFinding::doubtful(what, reason, remedy),
        Reached::Asked(server, Ok(())) => CheckFinding::good(what, format!("{server} answers")),
        Reached::Asked(server, Err(reason)) => {
            CheckFinding::doubtful(what, format!("{server}: {reason}"), remedy)
        }
    }
}

/// Whether there is something to build: `nodes` of a plan, or why there is none.
pub fn recipes(nodes: Result<usize, String>) -> CheckFinding {
    match nodes {
        Ok(count) => CheckFinding::good(
            "recipes and seed",
            format!("{} planned", counted(count, "derivation")),
        ),
        Err(problem) => CheckFinding::bad(
            "recipes and seed",
            problem,
            "Fix what the message names, or leave --recipes, --seeds and --seed out.",
        ),
    }
}

/// Whether this machine's kernel runs the programs of the seed `name`, as was `checked`.
pub fn seed(name: &str, checked: Result<(), SeedError>) -> CheckFinding {
    const WHAT: &str = "seed's programs";
    match checked {
        Ok(()) => CheckFinding::good(WHAT, format!("those of {name} run on this kernel")),
        Err(SeedError::HostTooOld { release, host, .. }) => CheckFinding::bad(
            WHAT,
            format!("{name} is FreeBSD {release}, and this machine's kernel is {host}"),
            "Choose an older seed with --seed (`bootstrap seed list`), give --seed-file a base of the kernel's release, or --seed host.",
        ),
        Err(error) => CheckFinding::bad(
            WHAT,
            error.to_string(),
            "Choose another seed with --seed (`bootstrap seed list`).",
        ),
    }
}

/// Whether the store could be read: how many `items` are valid, or what is wrong.
pub fn store(items: Result<usize, String>) -> CheckFinding {
    match items {
        Ok(count) => CheckFinding::good("store", counted(count, "valid item")),
        Err(problem) => CheckFinding::bad(
            "store",
            problem,
            "`bootstrap verify` looks more closely; `bootstrap verify --recover` rebuilds a lost database.",
        ),
    }
}

/// What `findings` come to where something is bad. `of_client` says that they are boundaries of a Guix client.
pub fn verdict(findings: &[CheckFinding], of_client: bool) -> Option<String> {
    let mut bad = findings.iter().filter(|one| one.state == CheckState::Bad);
    let first = bad.next()?;
    let (what, all) = (&first.what, BOUNDARIES.len());
    let number = BOUNDARIES.iter().position(|name| name == what);
    Some(match (of_client, number) {
        (true, Some(number)) => format!(
            "the Guix client does not pass `{what}`, boundary {} of {all}",
            number + 1
        ),
        _ => format!(
            "{} of {} failed: this machine cannot build yet",
            bad.count() + 1,
            counted(findings.len(), "check")
        ),
    })
}

/// The boundaries of a Guix client, each with what is doubtful about it.
pub fn boundaries(boundaries: &[Boundary]) -> Vec<CheckFinding> {
    let mut findings = Vec::new();
    for Boundary { name, outcome } in boundaries {
        match outcome {
            Ok(passage) => {
                findings.push(CheckFinding::good(name, passage.seen.as_str()));
                let doubts = passage.doubts.iter();
                findings.extend(
                    doubts.map(|fault| {
                        CheckFinding::doubtful(name, fault.to_string(), help_of(fault))
                    }),
                );
            }
            Err(fault) => findings.push(CheckFinding::bad(
                name,
                fault.to_string(),
                help_of(&**fault),
            )),
        }
    }
    findings
}

#[cfg(test)]
#[path = "checks/tests.rs"]
mod tests;
