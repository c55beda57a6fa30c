// SPDX-License-Identifier: GPL-3.0-or-later
//! The systems that packages are built for: what differs between them beside the seed and the sandbox.

use crate::formats::visible::visible;
use std::fmt;
use std::str::FromStr;

/// A system in Guix's spelling, with the two facts about it that a build needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// `x86_64-freebsd`: what the project exists for.
    X86_64Freebsd,
    /// `x86_64-linux`: the same road on a Linux host.
    X86_64Linux,
}

/// A name that is none of [`System::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("unknown system `{}`: expected one of {list}", visible(.0), list = System::names().join(", "))]
pub struct UnknownSystem(pub String);

impl System {
    /// Every system, in the order of their names.
    pub const ALL: [Self; 2] = [Self::X86_64Freebsd, Self::X86_64Linux];

    /// The names of all systems.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|system| system.name()).collect()
    }

    /// The name, such as `x86_64-linux`; also what a derivation's `system` field holds.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64Freebsd => "x86_64-freebsd",
            Self::X86_64Linux => "x86_64-linux",
        }
    }

    /// GNU's triplet, as `configure --build` takes it. On FreeBSD it has the major number of the seed's `release`,
    /// where that is known.
    pub fn triplet(self, release: Option<&str>) -> String {
        match self {
            Self::X86_64Freebsd => {
                let major = release.and_then(|release| release.split('.').next());
                format!("x86_64-unknown-freebsd{}", major.unwrap_or("14"))
            }
            Self::X86_64Linux => "x86_64-unknown-linux-gnu".to_owned(),
        }
    }

    /// The seed that is used where none is named.
    pub fn default_seed(self) -> &'static str {
        match self {
            Self::X86_64Freebsd => "freebsd-14.3-amd64",
            Self::X86_64Linux => "debian-13-amd64",
        }
    }

    /// The file name of the dynamic loader.
    pub fn loader(self) -> &'static str {
        match self {
            Self::X86_64Freebsd => "ld-elf.so.1",
            Self::X86_64Linux => "ld-linux-x86-64.so.2",
        }
    }
}

/// Whether `word` can name a feature that a build asks of its machine, such as `kvm`: the bytes of a store path's name,
/// so that build hooks, which read features separated by commas, take it for one.
pub fn is_feature(word: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    !word.is_empty() && word.bytes().all(is_allowed)
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for System {
    type Err = UnknownSystem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|system| system.name() == text)
            .ok_or_else(|| UnknownSystem(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freebsds_triplet_has_the_releases_major_number() {
        let triplet = |release| System::X86_64Freebsd.triplet(release);
        assert_eq!(triplet(Some("15.0")), "x86_64-unknown-freebsd15");
        assert_eq!(triplet(Some("13.5")), "x86_64-unknown-freebsd13");
        assert_eq!(triplet(None), "x86_64-unknown-freebsd14");
        assert_eq!(
            System::X86_64Linux.triplet(None),
            "x86_64-unknown-linux-gnu"
        );
    }
}
