// SPDX-License-Identifier: GPL-3.0-or-later
//! The name of an archive's entry, taken apart and checked before anything is done with it.

use super::error::Limit;

/// The deepest name accepted. Real trees stay below 40; each level costs an open directory handle.
pub(super) const MAXIMUM_DEPTH: usize = 200;

/// A name relative to the tree's top: no `.`, no `..`, no empty components. Without components it is the top itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath {
    components: Vec<Vec<u8>>,
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadPath {
    /// It starts with a slash.
    Absolute,
    /// It has a `..` component.
    Parent,
    /// It holds a NUL byte.
    Nul,
    /// It is nested too deeply.
    Limit(Limit, u64),
}

impl BadPath {
    /// The rest of a sentence that starts with the entry's name.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Absolute => "has an absolute path: expected a relative one".to_owned(),
            Self::Parent => "has a `..` in its path, which could lead out of the tree".to_owned(),
            Self::Nul => "has a NUL byte in its path".to_owned(),
            Self::Limit(limit, allowed) => format!("has more than {allowed} {limit}"),
        }
    }
}

impl EntryPath {
    /// Takes `name` apart. A leading `./` and doubled or trailing slashes mean nothing.
    pub(super) fn parse(name: &[u8]) -> Result<Self, BadPath> {
        if name.starts_with(b"/") {
            return Err(BadPath::Absolute);
        }
        if name.contains(&0) {
            return Err(BadPath::Nul);
        }
        let mut components = Vec::new();
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(BadPath::Parent),
                _ => components.push(component.to_owned()),
            }
        }
        if components.len() > MAXIMUM_DEPTH {
            return Err(BadPath::Limit(Limit::Depth, MAXIMUM_DEPTH as u64));
        }
        Ok(Self { components })
    }

    /// The same path with its first component replaced by `replacement`.
    pub(super) fn with_first(&self, replacement: &[&[u8]]) -> Self {
        let rest = self.components.iter().skip(1).cloned();
        Self {
            components: replacement
                .iter()
                .map(|component| component.to_vec())
                .chain(rest)
                .collect(),
        }
    }

    /// The components, from the top down.
    pub(super) fn components(&self) -> &[Vec<u8>] {
        &self.components
    }

    /// The directory's components and the last one; `None` for the top itself.
    pub(super) fn split_last(&self) -> Option<(&[Vec<u8>], &[u8])> {
        let (last, parents) = self.components.split_last()?;
        Some((parents, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &str) -> String {
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        String::from_utf8(path.components().join(&b'/')).unwrap()
    }

    #[test]
    fn harmless_spellings_mean_the_same_path() {
        for name in ["usr/bin/sh", "./usr/bin/sh", "usr//bin/./sh", "usr/bin/sh/"] {
            assert_eq!(joined(name), "usr/bin/sh", "{name}");
        }
        assert_eq!(joined("./"), "");
        assert_eq!(joined("..."), "...");
    }

    #[test]
    fn paths_that_could_lead_out_are_refused() {
        for (name, expected) in [
            ("/etc/passwd", BadPath::Absolute),
            ("../x", BadPath::Parent),
            ("a/../../x", BadPath::Parent),
            ("a/..", BadPath::Parent),
            ("a\0b", BadPath::Nul),
        ] {
            assert_eq!(EntryPath::parse(name.as_bytes()), Err(expected), "{name}");
        }
        let deep = "a/".repeat(MAXIMUM_DEPTH + 1);
        assert!(matches!(
            EntryPath::parse(deep.as_bytes()),
            Err(BadPath::Limit(..))
        ));
    }
}
