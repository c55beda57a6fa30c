// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel features that sandboxes use, one by one, for `bootstrap doctor`.
//!
//! [`Sandbox::check`](super::Sandbox::check) decides whether builds can be isolated, by setting up a sandbox. A feature
//! says why it cannot.

/// Something that sandboxes use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// What it is, such as `user namespaces`.
    pub name: &'static str,
    /// What was seen of it, in a few words.
    pub seen: String,
    /// What to do about it; `None` where there is nothing to do.
    pub remedy: Option<String>,
    /// Whether builds are impossible as it is; otherwise it may do.
    pub missing: bool,
}

impl Feature {
    /// One that is there.
    pub(super) fn there(name: &'static str, seen: impl Into<String>) -> Self {
        Self {
            name,
            seen: seen.into(),
            remedy: None,
            missing: false,
        }
    }

    /// One that is not there, and what to do about it.
    pub(super) fn missing(name: &'static str, seen: impl Into<String>, remedy: &str) -> Self {
        Self {
            missing: true,
            ..Self::doubtful(name, seen, remedy)
        }
    }

    /// One that may not be as it should.
    pub(super) fn doubtful(name: &'static str, seen: impl Into<String>, remedy: &str) -> Self {
        Self {
            name,
            seen: seen.into(),
            remedy: Some(remedy.to_owned()),
            missing: false,
        }
    }
}

/// The first two numbers of a kernel's release, such as `6.1.0-13-amd64` or `14.3-RELEASE-p2`.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("14.3-RELEASE-p2"), Some((14, 3)));
        assert_eq!(version("5.2"), Some((5, 2)));
        assert_eq!(version("unknown"), None);
        assert_eq!(version("6"), None);
    }
}
