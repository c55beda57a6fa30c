// SPDX-License-Identifier: GPL-3.0-or-later
//! Which FreeBSD release a seed is, and which this machine's kernel can run.
//!
//! FreeBSD's kernel runs programs of its own release and of older ones. A newer program may use system calls that the
//! kernel lacks, and then fails in the middle of a build.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{Seed, SeedError};
use crate::archive::file_in;
use crate::formats::system::System;
use crate::limited_file;
use crate::limited_output;

/// A release as the kernel counts: major × 100 + minor.
fn number(release: &str) -> Option<u32> {
    let (major, minor) = release.split_once('.')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (minor < 100).then_some(major.checked_mul(100)?.checked_add(minor)?)
}

/// Refuses a seed that is newer than the kernel it is to run on. A seed of no known release, and another system's,
/// pass.
///
/// # Errors
/// [`SeedError::HostTooOld`].
pub fn check_host(seed: &Seed) -> Result<(), SeedError> {
    if cfg!(target_os = "freebsd") && seed.system.ends_with("-freebsd") {
        compare(seed, kernel())
    } else {
        Ok(())
    }
}

/// The newest release that is a default seed, as the kernel counts, and the seed.
const NEWEST: (u32, &str) = (1501, "freebsd-15.1-amd64");

/// The seed that is used for `system` where none is named: on a host of FreeBSD 15.1 or newer that release, else the
/// system's default.
pub fn default_seed(system: System) -> &'static str {
    static KERNEL: OnceLock<Option<u32>> = OnceLock::new();
    if cfg!(target_os = "freebsd") && system == System::X86_64Freebsd {
        default_on(system, *KERNEL.get_or_init(kernel))
    } else {
        system.default_seed()
    }
}

fn default_on(system: System, kernel: Option<u32>) -> &'static str {
    match kernel {
        Some(kernel) if kernel / 1000 >= NEWEST.0 => NEWEST.1,
        _ => system.default_seed(),
    }
}

/// The script in a base that says which release it is.
const SCRIPT: &str = "bin/freebsd-version";

/// The release of the base that lies unpacked in `directory`, as its freebsd-version(1) says; `None` where it does not.
pub(super) fn of_directory(directory: &Path) -> Option<String> {
    // A directory that a user names may hold whatever it likes at this place.
    let script =
        limited_file::read_regular_text(&directory.join(SCRIPT), limited_file::SMALL).ok()?;
    of_script(&script)
}

/// The release of the base that is packed in `archive`, as its freebsd-version(1) says; `None` where it does not, or is
/// too far from the start. Unpacking reports what is wrong with an archive.
pub(super) fn of_archive(archive: &Path) -> Option<String> {
    let script = file_in(archive, SCRIPT).ok()??;
    of_script(std::str::from_utf8(&script).ok()?)
}

/// The release in freebsd-version(1), which is a script: `USERLAND_VERSION="14.3-RELEASE-p1"`.
fn of_script(script: &str) -> Option<String> {
    let version = script
        .lines()
        .find_map(|line| line.strip_prefix("USERLAND_VERSION="))?;
    let release = version.trim_matches(['"', '\'']).split('-').next()?;
    number(release).map(|_| release.to_owned())
}

/// The release date of this machine's kernel, as `kern.osreldate` counts it: release × 1000 and more, such as 1400097.
fn kernel() -> Option<u32> {
    let mut sysctl = Command::new("/sbin/sysctl");
    sysctl.args(["-n", "kern.osreldate"]).stdin(Stdio::null());
    let answer = limited_output::output(&mut sysctl, limited_output::LINES).ok()?;
    String::from_utf8(answer.stdout).ok()?.trim().parse().ok()
}

fn compare(seed: &Seed, kernel: Option<u32>) -> Result<(), SeedError> {
    let (Some(release), Some(kernel)) = (&seed.release, kernel) else {
        return Ok(());
    };
    match number(release) {
        Some(needed) if kernel / 1000 < needed => Err(SeedError::HostTooOld {
            name: seed.name.clone(),
            release: release.clone(),
            host: format!("{}.{}", kernel / 100_000, kernel / 1000 % 100),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::seed::{SeedFailure, SeedSource, resolve::load};

    fn seed() -> Seed {
        load(&SeedSource::Embedded, "freebsd-14.3-amd64").unwrap()
    }

    #[test]
    fn a_kernel_runs_its_own_release_and_older_ones() {
        for kernel in [1403000, 1403507, 1404000, 1500000] {
            compare(&seed(), Some(kernel)).unwrap();
        }
        for (kernel, shown) in [(1400510, "14.0"), (1402000, "14.2"), (1305000, "13.5")] {
            let error = compare(&seed(), Some(kernel)).unwrap_err();
            assert_eq!(error.failure(), SeedFailure::Environment);
            let text = error.to_string();
            assert!(text.contains("14.3") && text.contains(shown), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn the_newest_release_is_the_default_on_a_host_that_runs_it() {
        let system = System::X86_64Freebsd;
        for (kernel, name) in [
            (Some(1501000), "freebsd-15.1-amd64"),
            (Some(1600005), "freebsd-15.1-amd64"),
            (Some(1500068), "freebsd-14.3-amd64"),
            (Some(1403000), "freebsd-14.3-amd64"),
            (None, "freebsd-14.3-amd64"),
        ] {
            assert_eq!(default_on(system, kernel), name);
            let seed = load(&SeedSource::Embedded, name).unwrap();
            assert_eq!(seed.system, system.name());
        }
        assert_eq!(default_seed(System::X86_64Linux), "debian-13-amd64");
    }

    #[test]
    fn what_is_not_known_is_not_refused() {
        compare(&seed(), None).unwrap();
        let unknown = Seed {
            release: None,
            ..seed()
        };
        compare(&unknown, Some(1)).unwrap();
    }

    #[test]
    fn a_base_says_its_release() {
        let script = "#!/bin/sh\nset -e\nUSERLAND_VERSION=\"14.0-STABLE\"\necho\n";
        assert_eq!(of_script(script).as_deref(), Some("14.0"));
        assert_eq!(
            of_script("USERLAND_VERSION='15.0-RELEASE-p2'").as_deref(),
            Some("15.0")
        );
        assert_eq!(of_script("USERLAND_VERSION=@@REVISION@@"), None);
        assert_eq!(of_script("echo 14.3"), None);
    }

    #[test]
    fn releases_are_numbers() {
        assert_eq!(number("14.3"), Some(1403));
        assert_eq!(number("15.0"), Some(1500));
        for wrong in ["14", "bookworm", "14.x", "14.300"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
