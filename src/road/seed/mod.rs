// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds: the base systems that a bootstrap starts from.
//!
//! `seeds/NAME.toml` describes a seed ([`description`]). For one that is made of Debian packages, `seeds/NAME.lock`
//! pins every package by version, size and SHA-256 ([`pins`]). Both together are a [`Seed`]: the archives to fetch, and
//! what to add to them once they are unpacked ([`unpack`]).
//!
//! [`resolve`] loads a seed; [`update`] computes a lock from Debian's signed index.
//! Instead of a described seed, a build can start from an archive or base directory that the user names ([`own_base`]).

pub mod description;
mod error;
pub mod own_base;
pub mod pins;
pub mod release;
pub mod resolve;
mod source;
pub mod unpack;
pub mod update;

use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

pub use error::{SeedError, SeedFailure};
pub use source::SeedSource;

use crate::archive::Format;
use crate::fetch::apt::AptSettings;
use crate::fetch::{FetchRequest, Location};
use crate::formats::derivation::Environment;
use crate::formats::hash::Sha256Digest;

/// A seed with everything that is needed to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its name, such as `debian-13-amd64`.
    pub name: String,
    /// The system whose programs it holds, such as `x86_64-linux`.
    pub system: String,
    /// The variant of a source that is taken where a recipe has several.
    pub preferred_variant: String,
    /// The absolute path of its POSIX shell.
    pub shell: String,
    /// The absolute paths of its directories of programs, in search order.
    pub search_path: Vec<String>,
    /// The format of all its archives.
    pub format: Format,
    /// What it is unpacked from, in this order.
    pub archives: Vec<SeedArchive>,
    /// Symbolic links made after that: absolute path to target.
    pub links: BTreeMap<String, String>,
    /// Files made after that: absolute path to contents.
    pub files: BTreeMap<String, String>,
    /// The distribution whose archive has the packages, and sources; `None` where there is none.
    pub distribution: Option<Distribution>,
    /// The FreeBSD release it is, such as `14.3`; `None` where it is not one, or that is not known. The kernel must not
    /// be older.
    pub release: Option<String>,
    /// Why what is built from it cannot be built again by others; `None` for a seed that every user can get.
    pub impure: Option<String>,
}

/// A release of Debian for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The code name, such as `bookworm`.
    pub release: String,
    /// Debian's name of the architecture, such as `amd64`.
    pub architecture: String,
    /// A time at which Debian's snapshot archive has all packages of the seed, where the lock names one.
    pub snapshot: Option<String>,
}

impl Distribution {
    /// The settings of a private APT for it.
    pub fn apt_settings(&self) -> AptSettings {
        AptSettings {
            snapshot: self.snapshot.clone(),
            ..AptSettings::new(&self.release, &self.architecture)
        }
    }
}

/// A file that a seed is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedArchive {
    /// A name for its store item.
    pub name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// Its size in bytes, where the description or lock says.
    pub size: Option<u64>,
    /// Where it can be fetched.
    pub locations: Vec<Location>,
}

impl SeedArchive {
    /// The request that fetches it.
    pub fn request(&self) -> FetchRequest {
        FetchRequest::new(&self.name, self.sha256, self.size, self.locations.clone())
    }
}

impl Seed {
    /// What the seed is made of, in one hash: that of its archive where it is one archive and nothing else, which its
    /// distributor publishes; otherwise the SHA-256 of a list of archives, links and files.
    pub fn digest(&self) -> Sha256Digest {
        if let ([archive], true, true) = (
            self.archives.as_slice(),
            self.links.is_empty(),
            self.files.is_empty(),
        ) {
            return archive.sha256;
        }
        let archives = self
            .archives
            .iter()
            .map(|archive| format!("archive {}\n", archive.sha256));
        let links = self
            .links
            .iter()
            .map(|(path, target)| format!("link {path} {target}\n"));
        let files = self
            .files
            .iter()
            .map(|(path, contents)| format!("file {path} {}\n", Sha256Digest::of(contents)));
        Sha256Digest::of(archives.chain(links).chain(files).collect::<String>())
    }

    /// What has to be said of whatever is made from this seed when others cannot make the same; `None` where they can.
    pub fn impurity(&self) -> Option<String> {
        let reason = self.impure.as_ref()?;
        Some(format!("made from the seed `{}`, and {reason}", self.name))
    }

    /// The variables of the seed's `builtin:unpack-seed` derivation, with `archives` as the store paths of its archives
    /// in order. [`unpack::Contents::from_environment`] reads them again.
    pub fn environment(&self, archives: &[String]) -> Environment {
        unpack::environment(self.format, archives, &self.links, &self.files)
    }
}

/// `name` with what a store item's name cannot hold replaced: Debian's versions have `:` (written `%3a` in file names)
/// and `~`.
pub fn store_name(name: &str) -> String {
    name.replace("%3a", "-")
        .trim_start_matches('.')
        .chars()
        .map(|character| match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '-' | '.' | '_' | '?' | '=' => character,
            _ => '-',
        })
        .collect()
}
