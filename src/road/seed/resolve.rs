//! Loads seeds, and finds replacements for pinned packages that the archive no longer has.
//!
//! A replacement is a whole lock, computed from the signed index as [`super::update`] does it, because packages of one
//! release are only known to work together as the archive has them together. It is kept in the state directory, so
//! that later runs use the same and need not ask; it counts as long as the pinned lock is the one that it replaces.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::description::{Description, Kind};
use super::lock::{Lock, Pinned};
use super::update::{Change, changes, compute};
use super::{Archive, Seed, SeedError, SeedSource};
use crate::fetch::apt::PackageIndex;
use crate::formats::hash::Sha256Digest;

/// The line that says which lock a replacement replaces.
const REPLACES: &str = "# replaces the lock with SHA-256 ";

/// A seed as this machine can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The seed.
    pub seed: Seed,
    /// How it differs from the pinned one; empty when it does not.
    pub changes: Vec<Change>,
    /// Whether that was found out just now, and not by an earlier run.
    pub is_new: bool,
}

impl Resolved {
    /// One line about the difference; `None` where there is none.
    pub fn notice(&self) -> Option<String> {
        if self.changes.is_empty() {
            return None;
        }
        let changes: Vec<String> = self.changes.iter().map(Change::to_string).collect();
        Some(format!(
            "seed {}: the archive no longer has all that the lock pins; using instead {}",
            self.seed.name,
            changes.join(", ")
        ))
    }
}

/// How strictly the lock is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Versions that are gone are replaced.
    #[default]
    Replace,
    /// What is gone is an error, and what an earlier run put in its place is ignored.
    Locked,
}

/// The seed `name` exactly as it is pinned.
pub fn load(source: &SeedSource, name: &str) -> Result<Seed, SeedError> {
    let description = Description::load(source, name)?;
    match &description.kind {
        Kind::Archive { .. } => Ok(description.with_lock(None)),
        Kind::Debian { .. } => {
            let lock = pinned_lock(source, name)?.ok_or_else(|| no_lock(source, name))?;
            Ok(description.with_lock(Some(&lock)))
        }
    }
}

/// The lock of the seed `name`; `None` where there is none.
pub fn pinned_lock(source: &SeedSource, name: &str) -> Result<Option<Lock>, SeedError> {
    let file = format!("{name}.lock");
    match source.read(&file)? {
        Some(text) => Lock::parse(&source.display(&file), &text).map(Some),
        None => Ok(None),
    }
}

/// Where the replacement for the lock of the seed `name` is kept; `state` is the state directory.
pub fn replacement_file(state: &Path, name: &str) -> PathBuf {
    state
        .join("bootstrap")
        .join("seeds")
        .join(format!("{name}.lock"))
}

/// The seed `name` as this machine can have it.
///
/// `has` tells whether an archive need not be fetched any more (it is in the cache or the store). When all are there, or the
/// replacement of an earlier run says what to use, the index is not asked at all. Without an `index` (offline, or no APT)
/// the seed is returned as it is known, and fetching will tell what is missing.
pub fn resolve(
    source: &SeedSource,
    name: &str,
    state: &Path,
    strictness: Strictness,
    has: &dyn Fn(&Archive) -> bool,
    index: Option<&dyn PackageIndex>,
) -> Result<Resolved, SeedError> {
    let description = Description::load(source, name)?;
    if matches!(description.kind, Kind::Archive { .. }) {
        return Ok(Resolved {
            seed: description.with_lock(None),
            changes: Vec::new(),
            is_new: false,
        });
    }
    let pinned = pinned_lock(source, name)?.ok_or_else(|| no_lock(source, name))?;
    let file = replacement_file(state, name);
    let known = match strictness {
        Strictness::Locked => None,
        Strictness::Replace => read_replacement(&file, &pinned)?,
    };
    let current = known.as_ref().unwrap_or(&pinned);
    let resolved = |lock: &Lock, is_new| Resolved {
        seed: description.with_lock(Some(lock)),
        changes: changes(&pinned, lock),
        is_new,
    };
    let missing: Vec<String> = current
        .packages()
        .iter()
        .zip(current.archives())
        .filter(|(_, archive)| !has(archive))
        .map(|(package, _)| package.package.clone())
        .collect();
    let (false, Some(index)) = (missing.is_empty(), index) else {
        return Ok(resolved(current, false));
    };
    let mut offer = Offer::of(current, &missing, index)?;
    if !offer.is_complete() {
        // The index may be older than the lock.
        index.refresh()?;
        offer = Offer::of(current, &missing, index)?;
    }
    let lock_file = || match known {
        Some(_) => file.display().to_string(),
        None => source.display(&format!("{name}.lock")),
    };
    offer.check_bytes(lock_file)?;
    let gone = offer.gone;
    if gone.is_empty() {
        return Ok(resolved(current, false));
    }
    if strictness == Strictness::Locked {
        return Err(SeedError::Locked {
            name: name.to_owned(),
            gone,
        });
    }
    let replacement = compute(&description, index)?;
    // Also of what need not be fetched: a lock that is wrong about one package is not to be trusted about the others.
    Offer::compare(current, replacement.packages()).check_bytes(lock_file)?;
    write_replacement(&file, &pinned, &replacement)?;
    Ok(resolved(&replacement, true))
}

/// What an archive has not got of what a lock pins.
#[derive(Debug, Default)]
struct Offer {
    /// Packages, with their versions, that it has only other versions of.
    gone: Vec<String>,
    /// Packages whose pinned version it has with other bytes: versions come and go, but the bytes of one never change.
    other_bytes: Vec<String>,
}

impl Offer {
    /// What `index` says of the packages `names` of `lock`.
    fn of(lock: &Lock, names: &[String], index: &dyn PackageIndex) -> Result<Self, SeedError> {
        let offered: Vec<Pinned> = index.offered(names)?.iter().map(Pinned::from).collect();
        let mut offer = Self::compare(lock, &offered);
        for pinned in names.iter().filter_map(|name| lock.get(name)) {
            if !offered
                .iter()
                .any(|package| pinned.is_same_version(package))
            {
                let Pinned {
                    package, version, ..
                } = pinned;
                offer.gone.push(format!("{package} {version}"));
            }
        }
        Ok(offer)
    }

    /// Which of the packages that `lock` pins are among `offered` with the same version and only other bytes.
    fn compare(lock: &Lock, offered: &[Pinned]) -> Self {
        let mut versions: BTreeMap<&str, Vec<&Pinned>> = BTreeMap::new();
        for package in offered {
            versions.entry(&package.package).or_default().push(package);
        }
        let other = |pinned: &Pinned| {
            let versions = versions.get(pinned.package.as_str())?;
            let mut same = versions
                .iter()
                .filter(|package| pinned.is_same_version(package));
            let first = same.clone().next()?;
            (!same.any(|package| **package == *pinned)).then(|| {
                let Pinned {
                    package,
                    version,
                    sha256,
                    size,
                    ..
                } = pinned;
                format!(
                    "{package} {version} (pinned: SHA-256 {sha256}, {size} bytes; offered: SHA-256 {}, {} bytes)",
                    first.sha256, first.size
                )
            })
        };
        Self {
            gone: Vec::new(),
            other_bytes: lock.packages().iter().filter_map(other).collect(),
        }
    }

    fn is_complete(&self) -> bool {
        self.gone.is_empty() && self.other_bytes.is_empty()
    }

    /// Fails where the lock and the index disagree about the bytes of a version.
    fn check_bytes(&self, lock_file: impl FnOnce() -> String) -> Result<(), SeedError> {
        match self.other_bytes.as_slice() {
            [] => Ok(()),
            packages => Err(SeedError::OtherBytes {
                lock: lock_file(),
                packages: packages.to_vec(),
            }),
        }
    }
}

fn no_lock(source: &SeedSource, name: &str) -> SeedError {
    SeedError::NoLock {
        name: name.to_owned(),
        file: source.display(&format!("{name}.lock")),
    }
}

fn identity(lock: &Lock) -> Sha256Digest {
    Sha256Digest::of(lock.to_text(&[]))
}

/// The replacement for `pinned` of an earlier run; `None` where there is none, or one for another lock.
fn read_replacement(file: &Path, pinned: &Lock) -> Result<Option<Lock>, SeedError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SeedError::io(file)(error)),
    };
    let replaced = text.lines().find_map(|line| line.strip_prefix(REPLACES));
    if replaced != Some(identity(pinned).to_base16().as_str()) {
        return Ok(None);
    }
    Lock::parse(&file.display().to_string(), &text).map(Some)
}

/// Writes the replacement whole or not at all.
fn write_replacement(file: &Path, pinned: &Lock, replacement: &Lock) -> Result<(), SeedError> {
    let Some(directory) = file.parent() else {
        return Ok(());
    };
    fs::create_dir_all(directory).map_err(SeedError::io(directory))?;
    let digest = identity(pinned).to_base16();
    let replaces = format!("{REPLACES}{digest}");
    let comment = replaces.trim_start_matches("# ");
    let text = replacement.to_text(&["What this machine uses in its place.", comment]);
    let new = file.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, text).map_err(SeedError::io(&new))?;
    fs::rename(&new, file).map_err(SeedError::io(file))
}
