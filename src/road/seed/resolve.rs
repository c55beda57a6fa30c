// SPDX-License-Identifier: GPL-3.0-or-later
//! Loads seeds.
//!
//! A seed of packages is what its lock pins, byte for byte, whatever Debian's archive has now. The one way to another
//! set of packages is `bootstrap seed update`. For a seed that travels inside the program it writes a lock into the
//! state directory, which replaces the pinned one on this machine until `bootstrap seed reset` removes it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::description::{Description, SeedKind};
use super::pins::{PinChange, Pins, changes};
use super::{Seed, SeedError, SeedSource};
use crate::formats::visible::visible_path;
use crate::limited_file;

/// The line that says which lock a machine's own lock replaces.
const REPLACES: &str = "# replaces the lock with SHA-256 ";

/// A seed as this machine uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The seed.
    pub seed: Seed,
    /// How it differs from the pinned one; empty where it does not.
    pub changes: Vec<PinChange>,
    /// The machine's own lock, where there is one that replaces another lock than the pinned one. It is not used.
    pub outdated: Option<PathBuf>,
}

impl Resolved {
    /// A line about a lock that is not used; `None` where there is none.
    pub fn notice(&self) -> Option<String> {
        let file = self.outdated.as_ref()?;
        Some(format!(
            "seed {0}: {1} replaces an earlier lock and is not used; `bootstrap seed update {0}` makes it again, `bootstrap seed \
             reset {0}` removes it",
            self.seed.name,
            visible_path(file)
        ))
    }
}

/// Which lock of a seed counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// The machine's own, where there is one.
    #[default]
    Replace,
    /// The pinned one.
    Locked,
}

/// The seed `name` as it is pinned.
///
/// # Errors
/// A seed that is not known, or whose description or lock is wrong or missing.
pub fn load(source: &SeedSource, name: &str) -> Result<Seed, SeedError> {
    let description = Description::load(source, name)?;
    match &description.kind {
        SeedKind::Archive { .. } => Ok(description.with_pins(None)),
        SeedKind::Debian { .. } => {
            let pins = pinned(source, name)?.ok_or_else(|| no_lock(source, name))?;
            Ok(description.with_pins(Some(&pins)))
        }
    }
}

/// The lock of the seed `name`; `None` where there is none.
pub(super) fn pinned(source: &SeedSource, name: &str) -> Result<Option<Pins>, SeedError> {
    let file = format!("{name}.lock");
    match source.read(&file)? {
        Some(text) => Pins::parse(&source.display(&file), &text).map(Some),
        None => Ok(None),
    }
}

/// The machine's own lock of the seed `name`, which is there after `seed update`; `state` is the state directory.
pub fn own_lock(state: &Path, name: &str) -> PathBuf {
    state
        .join("bootstrap")
        .join("seeds")
        .join(format!("{name}.lock"))
}

/// The seed `name` as this machine uses it. Reads files and asks no server.
///
/// # Errors
/// As [`load`], and where the machine's own lock is wrong.
pub fn resolve(
    source: &SeedSource,
    name: &str,
    state: &Path,
    strictness: Strictness,
) -> Result<Resolved, SeedError> {
    let description = Description::load(source, name)?;
    let resolved = |seed| Resolved {
        seed,
        changes: Vec::new(),
        outdated: None,
    };
    if matches!(description.kind, SeedKind::Archive { .. }) {
        return Ok(resolved(description.with_pins(None)));
    }
    let pinned = pinned(source, name)?.ok_or_else(|| no_lock(source, name))?;
    let with_pinned = || resolved(description.with_pins(Some(&pinned)));
    if strictness == Strictness::Locked {
        return Ok(with_pinned());
    }
    let file = own_lock(state, name);
    Ok(match read_own(&file, &pinned)? {
        OwnLock::Missing => with_pinned(),
        OwnLock::Outdated => Resolved {
            outdated: Some(file),
            ..with_pinned()
        },
        OwnLock::Replaces(own) => Resolved {
            changes: changes(&pinned, &own),
            ..resolved(description.with_pins(Some(&own)))
        },
    })
}

fn no_lock(source: &SeedSource, name: &str) -> SeedError {
    SeedError::NoLock {
        name: name.to_owned(),
        file: source.display(&format!("{name}.lock")),
    }
}

/// What the file of a machine's own lock holds.
enum OwnLock {
    Missing,
    /// A lock in place of another than the pinned one.
    Outdated,
    Replaces(Pins),
}

fn read_own(file: &Path, pinned: &Pins) -> Result<OwnLock, SeedError> {
    let text = match limited_file::read_regular_text(file, limited_file::DOCUMENT) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OwnLock::Missing),
        Err(error) => return Err(SeedError::read(file)(error)),
    };
    let replaced = text.lines().find_map(|line| line.strip_prefix(REPLACES));
    if replaced != Some(pinned.digest().to_base16().as_str()) {
        return Ok(OwnLock::Outdated);
    }
    Pins::parse(&visible_path(file), &text).map(OwnLock::Replaces)
}

/// Makes `pins` the machine's own lock of the seed `name`, in place of the pinned one. Writes all of it or nothing.
///
/// # Errors
/// A seed without a pinned lock, or a file that cannot be written.
pub fn replace(
    source: &SeedSource,
    name: &str,
    state: &Path,
    pins: &Pins,
) -> Result<PathBuf, SeedError> {
    let pinned = pinned(source, name)?.ok_or_else(|| no_lock(source, name))?;
    let replaces = format!("{REPLACES}{}", pinned.digest());
    let text = pins.to_text(&[
        &format!(
            "What this machine uses in place of the pinned lock of the seed {name}; `bootstrap seed reset {name}` removes it."
        ),
        replaces.trim_start_matches("# "),
    ]);
    let file = own_lock(state, name);
    write(&file, &text)?;
    Ok(file)
}

/// Removes the machine's own lock of the seed `name`. Says whether there was one.
///
/// # Errors
/// A file that cannot be removed.
pub fn reset(state: &Path, name: &str) -> Result<bool, SeedError> {
    let file = own_lock(state, name);
    match fs::remove_file(&file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(SeedError::remove(&file)(error)),
    }
}

/// Writes `text` to `file` by way of a new file beside it.
///
/// # Errors
/// A file that cannot be written.
pub fn write(file: &Path, text: &str) -> Result<(), SeedError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(SeedError::write(directory))?;
    let mut new = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(SeedError::write(directory))?;
    new.write_all(text.as_bytes())
        .map_err(SeedError::write(file))?;
    new.persist(file)
        .map_err(|error| SeedError::write(file)(error.error))?;
    Ok(())
}
