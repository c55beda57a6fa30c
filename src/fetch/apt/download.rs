// SPDX-License-Identifier: GPL-3.0-or-later
//! Gets several files of the archive in as few calls of `apt-get` as it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Apt, AptError, AptLock, command, index};
use crate::fetch::cache::digest_file;
use crate::fetch::location::Location;
use crate::formats::hash::Sha256Digest;
use crate::limited_file;

/// How often the sizes of the growing files are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A file of the archive that is wanted.
#[derive(Debug, Clone)]
pub struct ArchiveFile {
    /// Where it is; no URL.
    pub location: Location,
    /// The digest it must have.
    pub sha256: Sha256Digest,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
}

/// Fetches the files of `wanted` into `directory` and returns, for each, its path or why it is not there. `tick` is now
/// and then told the bytes that each has.
pub(super) fn fetch(
    apt: &Apt,
    wanted: &[ArchiveFile],
    directory: &Path,
    tick: &mut dyn FnMut(&[u64]),
) -> Result<Vec<Result<PathBuf, String>>, AptError> {
    let mut lock = apt.lock()?;
    let locations: Vec<Location> = wanted.iter().map(|file| file.location.clone()).collect();
    let mut batch = DownloadBatch {
        apt,
        directory,
        wanted,
        files: locations
            .iter()
            .map(|location| location.apt_file_name().unwrap_or_default())
            .collect(),
        reasons: BTreeMap::new(),
        tick,
    };
    let all: BTreeSet<usize> = (0..locations.len()).collect();
    let mut missing = batch.round(&lock, &locations, &all)?;
    if !missing.is_empty() && !lock.is_fresh {
        // The index may be older than the archive. An update that fails leaves the reasons as they are.
        match apt.update(&mut lock) {
            Ok(()) => missing = batch.round(&lock, &locations, &missing)?,
            Err(error) => tracing::debug!(%error, "cannot update the package index"),
        }
    }
    let replaced = batch.replace_versions(&locations, &missing);
    if let Some((locations, wanted)) = replaced {
        let still_missing = batch.round(&lock, &locations, &wanted)?;
        missing.retain(|index| !wanted.contains(index) || still_missing.contains(index));
    }
    Ok(locations
        .iter()
        .enumerate()
        .map(|(index, _)| {
            if missing.contains(&index) {
                let reason = batch.reasons.remove(&index);
                Err(reason.unwrap_or_else(|| "apt-get did not fetch it".to_owned()))
            } else {
                Ok(directory.join(&batch.files[index]))
            }
        })
        .collect())
}

struct DownloadBatch<'a> {
    apt: &'a Apt,
    directory: &'a Path,
    wanted: &'a [ArchiveFile],
    files: Vec<String>,
    reasons: BTreeMap<usize, String>,
    tick: &'a mut dyn FnMut(&[u64]),
}

impl DownloadBatch<'_> {
    /// For source packages of `missing` whose version is gone: the locations with a version that has the same file, and
    /// which those are. `None` where there is none.
    fn replace_versions(
        &self,
        locations: &[Location],
        missing: &BTreeSet<usize>,
    ) -> Option<(Vec<Location>, BTreeSet<usize>)> {
        let mut replaced = locations.to_vec();
        let mut wanted = BTreeSet::new();
        for index in missing {
            if let Some(Location::DebianSource {
                package,
                version,
                file,
            }) = replaced.get_mut(*index)
                && let Ok(Some(other)) = index::source_version_with(self.apt, package, file)
                && other != *version
            {
                tracing::debug!(
                    package,
                    version,
                    other,
                    "the version is gone, another has the same file"
                );
                *version = other;
                wanted.insert(*index);
            }
        }
        (!wanted.is_empty()).then_some((replaced, wanted))
    }

    /// Calls `apt-get` until each of `wanted` is there or has a reason not to be. Returns those that are not there.
    fn round(
        &mut self,
        lock: &AptLock,
        locations: &[Location],
        wanted: &BTreeSet<usize>,
    ) -> Result<BTreeSet<usize>, AptError> {
        let mut failed = BTreeSet::new();
        for call in [Call::Binaries, Call::Tarballs, Call::WholeSources] {
            let mut left: BTreeSet<usize> = wanted
                .iter()
                .copied()
                .filter(|index| Call::for_location(&locations[*index]) == Some(call))
                .collect();
            while !left.is_empty() {
                let failure = self.run(lock, call, locations, &left)?;
                let arrived = self.arrived(&left, failure.is_some())?;
                left.retain(|index| !arrived.contains(index));
                if left.is_empty() {
                    break;
                }
                let message = failure
                    .unwrap_or_else(|| "apt-get succeeded, but did not fetch this file".to_owned());
                // One version that is gone makes the whole call fail: leave out those that it complains about. Where it
                // names none, all have the same trouble.
                let mut blamed: BTreeSet<usize> = left
                    .iter()
                    .copied()
                    .filter(|index| names_package(&message, &locations[*index]))
                    .collect();
                if blamed.is_empty() {
                    blamed = left.clone();
                }
                for index in blamed {
                    left.remove(&index);
                    failed.insert(index);
                    self.reasons.insert(index, message.clone());
                }
            }
        }
        Ok(failed)
    }

    /// Those of `wanted` whose files are there. After a call that `failed`, only files with the right bytes are: APT
    /// writes under the final name, and leaves what has come when a connection breaks. What it left is removed. After
    /// one that did not, a file with other bytes is what the archive has.
    fn arrived(&self, wanted: &BTreeSet<usize>, failed: bool) -> Result<BTreeSet<usize>, AptError> {
        let place = |index: usize| self.directory.join(&self.files[index]);
        let there = wanted.iter().copied();
        let there: BTreeSet<usize> = there.filter(|index| place(*index).is_file()).collect();
        if !failed {
            return Ok(there);
        }
        let mut whole = BTreeSet::new();
        for index in &there {
            if is_whole(&place(*index), &self.wanted[*index])? {
                whole.insert(*index);
            }
        }
        // Another task may want the same file with another digest.
        let kept: BTreeSet<&String> = whole.iter().map(|index| &self.files[*index]).collect();
        let mut left: BTreeSet<&String> = there.iter().map(|index| &self.files[*index]).collect();
        left.retain(|file| !kept.contains(file));
        for file in left {
            let path = self.directory.join(file);
            fs::remove_file(&path).map_err(AptError::io(&path))?;
        }
        Ok(whole)
    }

    /// One call of `apt-get`. Returns what it complained about where it failed.
    fn run(
        &mut self,
        lock: &AptLock,
        call: Call,
        locations: &[Location],
        wanted: &BTreeSet<usize>,
    ) -> Result<Option<String>, AptError> {
        let mut arguments: Vec<String> = call
            .options()
            .iter()
            .map(|&option| option.to_owned())
            .collect();
        let packages: BTreeSet<String> = wanted
            .iter()
            .filter_map(|index| argument(&locations[*index]))
            .collect();
        arguments.extend(packages);
        let messages = self.directory.join("messages");
        let mut child =
            command::start_apt_get(self.apt, lock, &arguments, self.directory, &messages)?;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => std::thread::sleep(TICK),
                Err(error) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(AptError::io("apt-get")(error));
                }
            }
            let sizes: Vec<u64> = self
                .files
                .iter()
                .map(|file| {
                    fs::metadata(self.directory.join(file)).map_or(0, |status| status.len())
                })
                .collect();
            (self.tick)(&sizes);
        };
        if status.success() {
            return Ok(None);
        }
        let bytes = limited_file::read_regular(&messages, limited_file::DOCUMENT)
            .map_err(AptError::io(&messages))?;
        let message = command::last_lines(&bytes);
        match command::no_space(self.apt, &message) {
            Some(error) => Err(error),
            None => Ok(Some(message)),
        }
    }
}

/// Whether the file at `path` is all of what is wanted.
fn is_whole(path: &Path, wanted: &ArchiveFile) -> Result<bool, AptError> {
    let has_size = |size: u64| fs::metadata(path).is_ok_and(|status| status.len() == size);
    if !wanted.size.is_none_or(has_size) {
        return Ok(false);
    }
    let found = digest_file(path).map_err(AptError::io(path))?;
    Ok(found == wanted.sha256)
}

/// What to ask `apt-get` for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Binaries,
    /// Upstream's tarballs of source packages, without Debian's part.
    Tarballs,
    /// All files of source packages.
    WholeSources,
}

impl Call {
    fn for_location(location: &Location) -> Option<Self> {
        match location {
            Location::Url(_) => None,
            Location::DebianBinary { .. } => Some(Self::Binaries),
            Location::DebianSource { file, .. } => {
                let is_tarball = file.contains(".orig") && !file.ends_with(".asc");
                Some(if is_tarball {
                    Self::Tarballs
                } else {
                    Self::WholeSources
                })
            }
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Binaries => &["-q", "download", "--"],
            Self::Tarballs => &[
                "-q",
                "source",
                "--only-source",
                "--download-only",
                "--tar-only",
                "--",
            ],
            Self::WholeSources => &["-q", "source", "--only-source", "--download-only", "--"],
        }
    }
}

fn argument(location: &Location) -> Option<String> {
    match location {
        Location::Url(_) => None,
        Location::DebianBinary {
            package, version, ..
        }
        | Location::DebianSource {
            package, version, ..
        } => Some(format!("{package}={version}")),
    }
}

/// Whether APT's message speaks of the location's package: it puts names in quotes, and file names in URLs.
fn names_package(message: &str, location: &Location) -> bool {
    let Some((package, _)) = argument(location).as_deref().and_then(|text| {
        text.split_once('=')
            .map(|(package, version)| (package.to_owned(), version.to_owned()))
    }) else {
        return false;
    };
    let file = location.apt_file_name().unwrap_or_default();
    message.contains(&format!("'{package}'"))
        || message.contains(&format!(" {package} "))
        || message.contains(&format!(" {package}\n"))
        || message.ends_with(&format!(" {package}"))
        || message.contains(&file.replace("%3a", ":"))
        || message.contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_of_file_has_its_call() {
        for (text, call) in [
            ("apt-binary:sed=4.9-1:amd64", Call::Binaries),
            ("apt-source:sed=4.9-1/sed_4.9.orig.tar.xz", Call::Tarballs),
            (
                "apt-source:sed=4.9-1/sed_4.9.orig-gnulib.tar.xz",
                Call::Tarballs,
            ),
            (
                "apt-source:sed=4.9-1/sed_4.9.orig.tar.xz.asc",
                Call::WholeSources,
            ),
            (
                "apt-source:sed=4.9-1/sed_4.9-1.debian.tar.xz",
                Call::WholeSources,
            ),
        ] {
            assert_eq!(Call::for_location(&location(text)), Some(call), "{text}");
        }
        assert_eq!(Call::for_location(&location("https://example.org/x")), None);
    }

    #[test]
    fn complaints_are_laid_to_the_right_package() {
        let sed = location("apt-binary:sed=9:amd64");
        let dash = location("apt-binary:dash=0.5:amd64");
        let message = "E: Version '9' for 'sed' was not found";
        assert!(names_package(message, &sed));
        assert!(!names_package(message, &dash));
        assert!(names_package("E: Unable to locate package dash", &dash));
        assert!(names_package(
            "E: Unable to find a source package for dash",
            &dash
        ));
        let message = "E: Failed to fetch http://x/pool/main/s/sed/sed_9_amd64.deb  404  Not Found";
        assert!(names_package(message, &sed));
        assert!(!names_package(message, &dash));
    }
}
