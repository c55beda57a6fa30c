// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads and writes `seeds/NAME.lock`, which pins the packages of a seed.
//!
//! One package a line, sorted by name, so that a change of one package changes one line:
//! `PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE`, separated by spaces. The size is in bytes, the digest in base 16.
//! FILE is the file's path below a mirror of Debian, `debian/pool/` or `debian-security/pool/`; a lock of an earlier
//! version has only the name that APT gives the file. The line `snapshot STAMP` names a time at which Debian's snapshot
//! archive has all of the files. Lines that start with `#` are comments.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::{SeedArchive, SeedError, store_name};
use crate::fetch::Location;
use crate::fetch::apt::BinaryPackage;
use crate::fetch::location::{binary_file_name, is_package, is_version};
use crate::formats::calendar::DateTime;
use crate::formats::count::counted;
use crate::formats::hash::Sha256Digest;

/// The archives of Debian that a file can be in: the names of their mirrors, and their directories in the snapshot
/// archive.
const ARCHIVES: &[&str] = &["debian", "debian-security"];

/// A time as Debian's snapshot archive writes it: `20261123T180000Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(String);

impl Snapshot {
    /// How long after the index was fetched the snapshot archive surely has every file of it. It copies Debian's
    /// archive four times a day; Debian keeps a file for a day and a half after a newer version replaced it.
    const DELAY: u64 = 12 * 3600;

    /// The time to ask the snapshot archive for, where the index was fetched `epoch` seconds after the start of 1970.
    pub fn after_index(epoch: u64) -> Self {
        let DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = DateTime::from_epoch(epoch + Self::DELAY);
        Self(format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"
        ))
    }

    fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let digits = |part: &str, count| {
            part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        (digits(date, 8) && digits(time, 6)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A pinned package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// The package.
    pub package: String,
    /// The version, with epoch and revision.
    pub version: String,
    /// The architecture; `all` where it fits every one.
    pub architecture: String,
    /// The size of the `.deb` in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: Sha256Digest,
    /// The path of the `.deb` below a mirror, `debian/pool/…`; `None` in a lock of an earlier version.
    pub path: Option<String>,
}

/// All packages of a seed, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    packages: Vec<Pinned>,
    snapshot: Option<Snapshot>,
}

impl Pinned {
    /// The file's name as APT writes it.
    fn apt_file(&self) -> String {
        binary_file_name(&self.package, &self.version, &self.architecture)
    }

    /// The file's name in the archive, which has no epoch.
    fn pool_file(&self) -> String {
        let version = self.version.split_once(':');
        let version = version.map_or(self.version.as_str(), |(_, version)| version);
        binary_file_name(&self.package, version, &self.architecture)
    }

    /// Where the file can be fetched, in the order to try: a mirror, the snapshot archive, APT.
    fn locations(&self, snapshot: Option<&Snapshot>) -> Vec<Location> {
        let mut locations = Vec::new();
        if let Some(path) = &self.path {
            locations.push(Location::Url(format!("mirror://{path}")));
            if let Some(stamp) = snapshot
                && let Some((archive, file)) = path.split_once('/')
            {
                locations.push(Location::Url(format!(
                    "mirror://debian-snapshot/{archive}/{stamp}/{file}"
                )));
            }
        }
        locations.push(Location::DebianBinary {
            package: self.package.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
        });
        locations
    }

    /// Checks that FILE of a line is this package's file.
    fn check_file(&self, file: &str) -> Result<Option<String>, String> {
        let Some((archive, path)) = file.split_once('/') else {
            return match file == self.apt_file() {
                true => Ok(None),
                false => Err(format!(
                    "the file is `{file}`, expected `{}`",
                    self.apt_file()
                )),
            };
        };
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.~_".contains(&byte))
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        if !ARCHIVES.contains(&archive)
            || !path.starts_with("pool/")
            || !path.split('/').all(plain)
            || name != self.pool_file()
        {
            return Err(format!(
                "the file is `{file}`, expected debian/pool/…/{0} or debian-security/pool/…/{0}",
                self.pool_file()
            ));
        }
        Ok(Some(file.to_owned()))
    }
}

impl From<&BinaryPackage> for Pinned {
    fn from(package: &BinaryPackage) -> Self {
        let mut pinned = Self {
            package: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            size: package.size,
            sha256: package.sha256,
            path: None,
        };
        // Debian's security archive has its pool in `pool/updates`.
        let archive = match package.file.starts_with("pool/updates/") {
            true => "debian-security",
            false => "debian",
        };
        pinned.path = pinned
            .check_file(&format!("{archive}/{}", package.file))
            .unwrap_or_default();
        pinned
    }
}

impl Pins {
    /// Pins `packages`, each of another name.
    pub fn new(mut packages: Vec<Pinned>) -> Self {
        packages.sort();
        Self {
            packages,
            snapshot: None,
        }
    }

    /// The same with a time at which the snapshot archive has all files.
    pub fn with_snapshot(mut self, snapshot: Option<Snapshot>) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// The packages, sorted by name.
    pub fn packages(&self) -> &[Pinned] {
        &self.packages
    }

    /// The time at which the snapshot archive has all files.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The pinned package of that name.
    pub fn get(&self, package: &str) -> Option<&Pinned> {
        let index = self
            .packages
            .binary_search_by(|pinned| pinned.package.as_str().cmp(package))
            .ok()?;
        self.packages.get(index)
    }

    /// The archives to fetch.
    pub fn archives(&self) -> Vec<SeedArchive> {
        self.packages
            .iter()
            .map(|pinned| SeedArchive {
                name: store_name(&pinned.apt_file()),
                sha256: pinned.sha256,
                size: Some(pinned.size),
                locations: pinned.locations(self.snapshot()),
            })
            .collect()
    }

    /// Identifies the bytes that are pinned, wherever they come from.
    pub fn digest(&self) -> Sha256Digest {
        let lines = self
            .packages
            .iter()
            .map(|pinned| format!("{} {} {}\n", pinned.package, pinned.version, pinned.sha256));
        Sha256Digest::of(lines.collect::<String>())
    }

    /// Reads a lock. `file` is its name in errors.
    ///
    /// # Errors
    /// The first wrong line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SeedError> {
        let mut pins = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| SeedError::Lock {
                file: file.to_owned(),
                line: index + 1,
                reason,
            };
            if let Some(stamp) = line.strip_prefix("snapshot ")
                && !stamp.contains(' ')
            {
                let snapshot = Snapshot::parse(stamp);
                pins.snapshot = Some(snapshot.ok_or_else(|| {
                    wrong(format!(
                        "`{stamp}` is not a time: expected one such as 20261123T180000Z"
                    ))
                })?);
                continue;
            }
            let pinned = parse_line(line).map_err(wrong)?;
            if let Some(last) = pins.packages.last()
                && last.package >= pinned.package
            {
                return Err(wrong(format!(
                    "`{}` comes after `{}`: expected each package once, sorted by name",
                    pinned.package, last.package
                )));
            }
            pins.packages.push(pinned);
        }
        if pins.packages.is_empty() {
            return Err(SeedError::Lock {
                file: file.to_owned(),
                line: 1,
                reason: "it pins no package".to_owned(),
            });
        }
        Ok(pins)
    }

    /// The lock as text, with `comment` lines at its top.
    pub fn to_text(&self, comment: &[&str]) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for line in comment {
            let _ = writeln!(text, "# {line}");
        }
        if let Some(stamp) = &self.snapshot {
            let _ = writeln!(text, "snapshot {stamp}");
        }
        for pinned in &self.packages {
            let Pinned {
                package,
                version,
                architecture,
                size,
                sha256,
                path,
            } = pinned;
            let file = path.clone().unwrap_or_else(|| pinned.apt_file());
            let _ = writeln!(
                text,
                "{package} {version} {architecture} {size} {sha256} {file}"
            );
        }
        text
    }
}

fn parse_line(line: &str) -> Result<Pinned, String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [package, version, architecture, size, sha256, file] = fields[..] else {
        return Err(format!(
            "expected PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE, saw {}",
            counted(fields.len(), "field")
        ));
    };
    if !is_package(package) {
        return Err(format!("`{package}` cannot be a package's name"));
    }
    if !is_version(version) {
        return Err(format!("`{version}` cannot be a version of {package}"));
    }
    if !is_package(architecture) {
        return Err(format!("`{architecture}` cannot be an architecture"));
    }
    let mut pinned = Pinned {
        package: package.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        size: size
            .parse()
            .map_err(|_| format!("`{size}` is not a size in bytes"))?,
        sha256: Sha256Digest::from_base16(sha256).map_err(|error| error.to_string())?,
        path: None,
    };
    pinned.path = pinned.check_file(file)?;
    Ok(pinned)
}

/// A difference between two locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinChange {
    /// The package.
    pub package: String,
    /// Its version before; `None` where it was not there.
    pub before: Option<String>,
    /// Its version after; `None` where it is missing now. The same as before where only the bytes differ.
    pub after: Option<String>,
}

impl fmt::Display for PinChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            package,
            before,
            after,
        } = self;
        match (before, after) {
            (Some(before), Some(after)) if before == after => {
                write!(formatter, "{package} {after} (other bytes)")
            }
            (Some(before), Some(after)) => write!(formatter, "{package} {before} -> {after}"),
            (Some(before), None) => write!(formatter, "{package} {before} (dropped)"),
            (None, after) => {
                write!(
                    formatter,
                    "{package} {} (added)",
                    after.as_deref().unwrap_or_default()
                )
            }
        }
    }
}

/// How the pinned bytes differ between `before` and `after`, by package.
pub fn changes(before: &Pins, after: &Pins) -> Vec<PinChange> {
    let names: BTreeSet<&str> = before
        .packages()
        .iter()
        .chain(after.packages())
        .map(|pinned| pinned.package.as_str())
        .collect();
    let bytes = |pinned: Option<&Pinned>| {
        pinned.map(|pinned| {
            (
                pinned.version.clone(),
                pinned.architecture.clone(),
                pinned.size,
                pinned.sha256,
            )
        })
    };
    names
        .into_iter()
        .filter_map(|package| {
            let (old, new) = (before.get(package), after.get(package));
            (bytes(old) != bytes(new)).then(|| PinChange {
                package: package.to_owned(),
                before: old.map(|pinned| pinned.version.clone()),
                after: new.map(|pinned| pinned.version.clone()),
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "pins/tests.rs"]
mod tests;
