// SPDX-License-Identifier: GPL-3.0-or-later
//! What an output must not refer to, and where it does.
//!
//! A derivation's `disallowedReferences` lists store paths (or names of its own outputs) that none of its outputs may
//! refer to; `allowedReferences`, where it is set, lists all that they may refer to. `disallowedRequisites` and
//! `allowedRequisites` do the same for the closures of the references. All are as in guix-daemon.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use super::error::{BuildError, ForbiddenReference};
use super::graph::BuildJob;
use crate::formats::store_path::{StoreDir, StorePath};

/// This many files are named in a message.
const FILES_MAX: usize = 5;
/// Files are searched in pieces of this size.
const PIECE: usize = 1 << 18;

/// The rules of one derivation.
#[derive(Debug)]
pub struct ReferenceRules {
    disallowed: BTreeSet<StorePath>,
    allowed: Option<BTreeSet<StorePath>>,
    disallowed_requisites: BTreeSet<StorePath>,
    allowed_requisites: Option<BTreeSet<StorePath>>,
}

impl ReferenceRules {
    /// Reads the rules out of a derivation's environment.
    ///
    /// # Errors
    /// A word that is neither a store path nor an output of the derivation.
    pub fn of(job: BuildJob<'_>, store_dir: &StoreDir) -> Result<Self, BuildError> {
        let read = |variable: &'static str| {
            let Some(value) = job.derivation.environment.get(variable) else {
                return Ok(None);
            };
            let value = value.to_str_lossy();
            let words = value.split_ascii_whitespace();
            let paths = words.map(|word| match job.derivation.output_path(word) {
                Some(path) => Ok(path.clone()),
                None => store_dir
                    .parse(word)
                    .map_err(|error| BuildError::Derivation {
                        label: job.label.to_owned(),
                        problem: format!("{variable}: {error}"),
                    }),
            });
            paths.collect::<Result<BTreeSet<_>, _>>().map(Some)
        };
        Ok(Self {
            disallowed: read("disallowedReferences")?.unwrap_or_default(),
            allowed: read("allowedReferences")?,
            disallowed_requisites: read("disallowedRequisites")?.unwrap_or_default(),
            allowed_requisites: read("allowedRequisites")?,
        })
    }

    /// The store paths that must be looked for in the outputs for the rules to mean anything.
    pub fn candidates(&self) -> impl Iterator<Item = &StorePath> {
        self.disallowed.iter().chain(&self.disallowed_requisites)
    }

    /// Whether there are rules about the closures of references.
    pub fn are_about_requisites(&self) -> bool {
        self.allowed_requisites.is_some() || !self.disallowed_requisites.is_empty()
    }

    /// The first of `requisites` that is forbidden, and the variable that forbids it.
    pub fn forbidden_requisite<'p>(
        &self,
        requisites: &'p BTreeSet<StorePath>,
    ) -> Option<(&'p StorePath, &'static str)> {
        requisites.iter().find_map(|path| {
            if self.disallowed_requisites.contains(path) {
                return Some((path, "disallowedRequisites"));
            }
            match &self.allowed_requisites {
                Some(allowed) if !allowed.contains(path) => Some((path, "allowedRequisites")),
                _ => None,
            }
        })
    }

    /// The first of `references` that is forbidden, and the variable that forbids it.
    pub fn forbidden<'p>(
        &self,
        references: &'p BTreeSet<StorePath>,
    ) -> Option<(&'p StorePath, &'static str)> {
        references.iter().find_map(|reference| {
            if self.disallowed.contains(reference) {
                return Some((reference, "disallowedReferences"));
            }
            match &self.allowed {
                Some(allowed) if !allowed.contains(reference) => {
                    Some((reference, "allowedReferences"))
                }
                _ => None,
            }
        })
    }
}

/// Finds out where in the tree `staged` the forbidden `reference` is, for the message.
pub fn locate(
    staged: &Path,
    output: &str,
    reference: &StorePath,
    rule: &'static str,
    store_dir: &StoreDir,
) -> ForbiddenReference {
    let mut files = Vec::new();
    // A file that cannot be read now was read a moment ago; the message is worth more than the error.
    let _ = search(
        staged,
        Path::new(""),
        reference.hash_part().as_bytes(),
        &mut files,
    );
    let more = files.len() > FILES_MAX;
    files.truncate(FILES_MAX);
    ForbiddenReference {
        output: output.to_owned(),
        reference: store_dir.display(reference),
        files,
        more,
        rule,
    }
}

/// Collects the files and links below `root` that hold `needle`, sorted, until there are more than enough. A match
/// in a file's own name counts.
fn search(root: &Path, relative: &Path, needle: &[u8], found: &mut Vec<PathBuf>) -> io::Result<()> {
    if found.len() > FILES_MAX {
        return Ok(());
    }
    let path = match relative.as_os_str().is_empty() {
        true => root.to_owned(),
        false => root.join(relative),
    };
    let metadata = fs::symlink_metadata(&path)?;
    let name = relative
        .file_name()
        .map(OsStrExt::as_bytes)
        .unwrap_or_default();
    let mut holds = contains(name, needle);
    if metadata.is_symlink() {
        holds |= contains(fs::read_link(&path)?.as_os_str().as_bytes(), needle);
    } else if metadata.is_file() {
        holds |= file_contains(&path, needle)?;
    }
    if holds {
        found.push(relative.to_owned());
    }
    if metadata.is_dir() {
        let mut names = fs::read_dir(&path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()?;
        names.sort();
        for name in names {
            search(root, &relative.join(name), needle, found)?;
        }
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn file_contains(path: &Path, needle: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut buffer = Vec::with_capacity(PIECE + needle.len());
    loop {
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut buffer)?;
        if contains(&buffer, needle) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        // What may be the beginning of a match that the next piece completes.
        let keep = buffer.len().min(needle.len() - 1);
        buffer.drain(..buffer.len() - keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::testing::Items;

    fn store_dir() -> StoreDir {
        StoreDir::new("/gnu/store").unwrap()
    }

    fn rules(items: &Items, label: &str) -> Result<ReferenceRules, BuildError> {
        let job = items.graph().get(items.path(label)).unwrap();
        ReferenceRules::of(job, &store_dir())
    }

    #[test]
    fn a_disallowed_reference_is_found_and_others_are_not() {
        let mut items = Items::new(&[("seed", &[]), ("libc", &[]), ("sed", &["libc"])]);
        let seed = items.output("seed");
        let value = format!(" {}  ", store_dir().display(&seed));
        items.set("sed", "disallowedReferences", &value);
        let rules = rules(&items, "sed").unwrap();
        let fine = BTreeSet::from([items.output("libc"), items.output("sed")]);
        assert_eq!(rules.forbidden(&fine), None);
        let bad = BTreeSet::from([items.output("libc"), seed.clone()]);
        assert_eq!(rules.forbidden(&bad), Some((&seed, "disallowedReferences")));
        assert_eq!(rules.candidates().collect::<Vec<_>>(), [&seed]);
    }

    #[test]
    fn with_allowed_references_everything_else_is_forbidden() {
        let mut items = Items::new(&[("libc", &[]), ("gcc", &[]), ("sed", &["libc", "gcc"])]);
        let libc = items.output("libc");
        items.set(
            "sed",
            "allowedReferences",
            &format!("out {}", store_dir().display(&libc)),
        );
        let rules = rules(&items, "sed").unwrap();
        assert_eq!(
            rules.forbidden(&BTreeSet::from([libc, items.output("sed")])),
            None
        );
        let gcc = items.output("gcc");
        let bad = BTreeSet::from([gcc.clone()]);
        assert_eq!(rules.forbidden(&bad), Some((&gcc, "allowedReferences")));
    }

    #[test]
    fn a_rule_that_is_no_path_is_an_error_that_quotes_it() {
        let mut items = Items::new(&[("sed", &[])]);
        items.set("sed", "disallowedReferences", "/usr/lib");
        let error = rules(&items, "sed").unwrap_err().to_string();
        assert!(
            error.contains("disallowedReferences") && error.contains("/usr/lib"),
            "{error}"
        );
    }

    #[test]
    fn the_files_that_hold_a_reference_are_named() {
        let items = Items::new(&[("seed", &[])]);
        let seed = items.output("seed");
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().join("out");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/clean"), [b'x'; PIECE * 2]).unwrap();
        // Across the border between two pieces.
        let mut bytes = vec![b'x'; PIECE - 10];
        bytes.extend_from_slice(store_dir().display(&seed).as_bytes());
        fs::write(root.join("bin/sed"), bytes).unwrap();
        std::os::unix::fs::symlink(store_dir().display(&seed), root.join("link")).unwrap();
        let located = locate(&root, "out", &seed, "disallowedReferences", &store_dir());
        assert_eq!(located.files, [Path::new("bin/sed"), Path::new("link")]);
        assert!(!located.more);
        let message = located.to_string();
        assert!(
            message.ends_with("which disallowedReferences forbids; it is in bin/sed, link"),
            "{message}"
        );
    }
}
