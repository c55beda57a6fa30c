//! `doctor`: whether this machine can build, and what to do where it cannot.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::{Failure, Status};
use crate::progress::size;
use crate::sandbox;
use crate::system::System;

/// What the store of a whole road takes, and what its largest build does while it runs (gcc's), in bytes.
const STORE_SPACE: u64 = 4 << 30;
const BUILD_SPACE: u64 = 4 << 30;
/// The largest compilations of gcc take about this for each core, in bytes.
const MEMORY: u64 = 1 << 30;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No clock that is right shows a time before this: 2026-01-01.
const EARLIEST: u64 = 1_767_225_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    /// Builds are possible, but something may be missed.
    Doubtful,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    /// What was seen.
    seen: String,
    /// What to do about it.
    remedy: Option<String>,
}

fn good(what: &'static str, seen: impl Into<String>) -> Finding {
    Finding {
        what,
        state: State::Good,
        seen: seen.into(),
        remedy: None,
    }
}

fn wrong(what: &'static str, state: State, seen: impl Into<String>, remedy: &str) -> Finding {
    Finding {
        what,
        state,
        seen: seen.into(),
        remedy: Some(remedy.to_owned()),
    }
}

/// `bootstrap doctor`. Where anything is bad the exit status is that of an unfit environment.
pub fn doctor(context: &Context) -> Result<(), Failure> {
    let mut findings = vec![
        host(context.system),
        sandboxes(context),
        writable(context),
        space("store's disk", &context.directories.store, STORE_SPACE),
        space("build directory's disk", &std::env::temp_dir(), BUILD_SPACE),
        memory(),
        clock(),
    ];
    findings.push(network(context));
    findings.push(store(context));
    if context.options.json {
        print_json(&findings)?;
    } else {
        print(&describe(&findings))?;
    }
    match findings
        .iter()
        .filter(|one| one.state == State::Bad)
        .count()
    {
        0 => Ok(()),
        count => Err(Failure::Told {
            message: format!(
                "{count} of {} checks failed: this machine cannot build yet",
                findings.len()
            ),
            status: Status::Environment,
        }),
    }
}

fn describe(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Good => "good",
            State::Doubtful => "doubtful",
            State::Bad => "BAD",
        };
        text.push_str(&format!("{state:<9} {}: {}\n", finding.what, finding.seen));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("          {remedy}\n"));
        }
    }
    text
}

fn host(system: System) -> Finding {
    let here = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    if here == system.name() {
        return good("system", here);
    }
    wrong(
        "system",
        State::Bad,
        format!("this machine is {here}, and builds for {system} run on {system} only"),
        "Leave --system out, or run this on such a machine.",
    )
}

fn sandboxes(context: &Context) -> Finding {
    let checked = sandbox::platform(&context.directories.state).and_then(|sandbox| sandbox.check());
    match checked {
        Ok(()) => good("sandbox", "builds can be isolated"),
        Err(error) => wrong(
            "sandbox",
            State::Bad,
            error.to_string(),
            "Builds need what the message names: the kernel's features, and privileges (root, or on Linux user namespaces).",
        ),
    }
}

/// The first directory above `path`, or itself, that exists.
fn existing(path: &Path) -> PathBuf {
    let mut existing = path;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) => existing = parent,
            None => break,
        }
    }
    existing.to_owned()
}

fn writable(context: &Context) -> Finding {
    let directories = &context.directories;
    for path in [
        &directories.store,
        &directories.state,
        &directories.log,
        &directories.cache,
    ] {
        let place = existing(path);
        if let Err(error) = rustix::fs::access(&place, rustix::fs::Access::WRITE_OK) {
            return wrong(
                "privileges",
                State::Bad,
                format!(
                    "{} cannot be written to: {}",
                    place.display(),
                    std::io::Error::from(error)
                ),
                "Run this as root, or with --root DIR, which puts everything under DIR.",
            );
        }
    }
    good(
        "privileges",
        "store, state, logs and cache can be written to",
    )
}

fn space(what: &'static str, path: &Path, needed: u64) -> Finding {
    let place = existing(path);
    match rustix::fs::statvfs(&place) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let seen = format!("{} are free at {}", size::bytes(free), place.display());
            match free >= needed {
                true => good(what, seen),
                false => wrong(
                    what,
                    State::Bad,
                    format!("{seen}, and a whole road takes {}", size::bytes(needed)),
                    "Make room: `bootstrap gc`; or put the store elsewhere with --root, build directories with TMPDIR.",
                ),
            }
        }
        Err(error) => wrong(
            what,
            State::Doubtful,
            format!("{}: {}", place.display(), std::io::Error::from(error)),
            "Look with df(1) whether there is room.",
        ),
    }
}

fn memory() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let Some(memory) = crate::progress::processor::memory() else {
        return good("memory", "the system does not tell how much there is");
    };
    let seen = format!("{} for {cores} cores", size::bytes(memory));
    match memory >= MEMORY.saturating_mul(cores) {
        true => good("memory", seen),
        false => wrong(
            "memory",
            State::Doubtful,
            seen,
            "Compiling gcc takes up to a gigabyte for each core: use fewer with --cores, or add swap.",
        ),
    }
}

fn clock() -> Finding {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if now.as_secs() >= EARLIEST {
        return good("clock", "shows a time that is possible");
    }
    wrong(
        "clock",
        State::Bad,
        "shows a time before this program was written",
        "Set it, for example with an NTP client: certificates and make need the right time.",
    )
}

/// The host of a source, which is as good as any.
fn server(context: &Context) -> Option<String> {
    let planned = context.plan().ok()?;
    let urls = planned
        .plan
        .nodes()
        .iter()
        .filter_map(|node| node.derivation.environment.get("url"));
    let url = urls
        .flat_map(|urls| urls.split_whitespace())
        .find(|url| url.starts_with("https://"))?;
    let host = url.strip_prefix("https://")?.split('/').next()?;
    Some(host.split(':').next().unwrap_or(host).to_owned())
}

fn network(context: &Context) -> Finding {
    if context.options.offline {
        return good("network", "not used (--offline)");
    }
    let proxy = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    if proxy.iter().any(|name| std::env::var_os(name).is_some()) {
        return good(
            "network",
            "a proxy is set; what it lets through was not tried",
        );
    }
    let remedy = "Sources have to be in the cache then: run `bootstrap fetch` where there is a network, or set https_proxy.";
    let Some(host) = server(context) else {
        return good("network", "no source needs a server by name; not tried");
    };
    let address = (host.as_str(), 443)
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    let reached = address.map(|address| TcpStream::connect_timeout(&address, PATIENCE));
    match reached {
        Some(Ok(_)) => good("network", format!("{host} answers")),
        Some(Err(error)) => wrong(
            "network",
            State::Doubtful,
            format!("{host}: {error}"),
            remedy,
        ),
        None => wrong(
            "network",
            State::Doubtful,
            format!("{host} has no address here"),
            remedy,
        ),
    }
}

fn store(context: &Context) -> Finding {
    let counted = context
        .store_to_read()
        .and_then(|store| Ok(store.valid_paths()?.len()));
    match counted {
        Ok(count) => good("store", format!("{count} valid items")),
        Err(error) => wrong(
            "store",
            State::Bad,
            error.to_string(),
            "`bootstrap verify` looks more closely.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_bad_and_says_what_to_do() {
        let finding = space("disk", Path::new("/nowhere/at/all"), u64::MAX);
        assert_eq!(finding.state, State::Bad);
        assert!(describe(&[finding]).starts_with("BAD       disk: "));
        assert_eq!(space("disk", &std::env::temp_dir(), 0).state, State::Good);
    }

    #[test]
    fn another_systems_builds_are_not_for_this_machine() {
        let here = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        for system in System::ALL {
            let expected = if system.name() == here {
                State::Good
            } else {
                State::Bad
            };
            assert_eq!(host(system).state, expected);
        }
    }
}
