// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes of outputs that a builder has made: they are checked, hashed and registered.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::builtin::is_builtin;
use super::context::BuildContext;
use super::deadline::{Deadline, Until};
use super::error::{BuildError, BuildFailureCause};
use super::graph::BuildJob;
use super::references::{ReferenceRules, locate};
use crate::diagnostics::FileError;
use crate::formats::content_hash::{ContentHash, HashAlgorithm};
use crate::formats::derivation::FixedOutput;
use crate::formats::nar::NarError;
use crate::formats::store_path::{FixedOutputMethod, StorePath};
use crate::store::remove::remove_tree;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, StagedOutput, StoreError, nar};

/// Outputs in a staging directory. No process can write to them any more.
#[derive(Debug)]
pub(super) struct NewOutputs<'n> {
    /// The derivation they are from.
    pub job: BuildJob<'n>,
    /// The outputs, `out` first.
    pub outputs: &'n [(&'n str, &'n StorePath)],
    /// The directory that holds them under their names in the store.
    pub store: &'n Path,
    /// The store items they may refer to, themselves included.
    pub candidates: BTreeSet<StorePath>,
    /// What they must not refer to.
    pub rules: &'n ReferenceRules,
    /// How long they may be worked on.
    pub deadline: &'n Deadline<'n>,
}

impl NewOutputs<'_> {
    /// The outputs as the store takes them.
    pub(super) fn staged(&self) -> Vec<StagedOutput> {
        let mut candidates = self.candidates.clone();
        candidates.extend(self.rules.candidates().cloned());
        let staged = self.outputs.iter().map(|(_, path)| StagedOutput {
            staged: self.store.join(path.base_name()),
            path: (*path).clone(),
            candidates: candidates.clone(),
            deriver: Some(self.job.path.clone()),
        });
        staged.collect()
    }
}

/// The directory in a staging directory that has what the round before has made, where that is kept.
pub(super) const ROUND_BEFORE: &str = "before";

/// One of the rounds of a build, which must all give the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round<'r> {
    /// What the round before has made; nothing in the first.
    pub before: &'r [PathInfo],
    /// Whether what is made now is registered.
    pub is_last: bool,
}

impl Round<'_> {
    /// That of a build without others.
    pub(super) const ONLY: Self = Self {
        before: &[],
        is_last: true,
    };

    /// Whether the round before made something else of the same path.
    fn differs(&self, info: &PathInfo) -> bool {
        let mut before = self.before.iter();
        before.any(|other| other.path == info.path && other.nar_sha256 != info.nar_sha256)
    }
}

impl BuildContext<'_, '_> {
    /// Makes `new` valid under `locks` if `round` is the last, or returns what is wrong with it.
    ///
    /// # Errors
    /// Where the machine is at fault.
    pub(super) fn register(
        &self,
        new: &NewOutputs<'_>,
        locks: &PathLocks,
        round: Round<'_>,
    ) -> Result<Result<Vec<PathInfo>, BuildFailureCause>, BuildError> {
        if let Some(cause) = self.check_fixed_output(new)? {
            return Ok(Err(cause));
        }
        let label = new.job.label;
        let goes_on = || new.deadline.goes_on();
        let prepared = self
            .tools
            .store
            .prepare_outputs(locks, new.staged(), &goes_on);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(StoreError::Nar(NarError::Stopped)) => return Ok(Err(new.deadline.cause()?)),
            Err(source) if source.is_environment() => {
                return Err(BuildError::store(label)(source));
            }
            Err(source) => return Ok(Err(BuildFailureCause::UnusableOutput(Box::new(source)))),
        };
        if let Some(cause) = self.check_prepared(new, &prepared)? {
            return Ok(Err(cause));
        }
        if let Some(info) = prepared.infos().find(|info| round.differs(info)) {
            return Ok(Err(BuildFailureCause::RoundDiffers {
                path: self.tools.store.directories().store_dir.display(&info.path),
                kept: self.keep_rounds(new, locks, &info.path)?,
            }));
        }
        if !round.is_last {
            return Ok(Ok(prepared.infos().cloned().collect()));
        }
        let infos = prepared.commit().map_err(BuildError::store(label))?;
        Ok(Ok(infos))
    }

    /// Keeps what the round before and this one have made of `path` beside it, where failed builds are kept.
    fn keep_rounds(
        &self,
        new: &NewOutputs<'_>,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<Vec<PathBuf>, BuildError> {
        if !self.settings.keep_failed {
            return Ok(Vec::new());
        }
        let staged = [new.store.with_file_name(ROUND_BEFORE), new.store.to_owned()];
        let kept = staged.iter().map(|store| {
            let staged = store.join(path.base_name());
            self.tools.store.keep_beside(locks, &staged, path)
        });
        let kept: Result<_, _> = kept.collect();
        kept.map_err(BuildError::store(new.job.label))
    }

    /// Takes a fixed output that a program has made, which had a network, out of reach of other processes. Then checks
    /// its hash where it is one file, before its metadata becomes canonical.
    pub(super) fn check_fixed_output(
        &self,
        new: &NewOutputs<'_>,
    ) -> Result<Option<BuildFailureCause>, BuildError> {
        let derivation = new.job.derivation;
        if derivation.fixed_output().is_none() {
            return Ok(None);
        }
        if !is_builtin(&derivation.builder)
            && let Some((_, path)) = new.outputs.first()
        {
            match copy_to_new_inodes(new.store, path.base_name(), new.deadline) {
                Ok(()) => {}
                Err(_) if !new.deadline.goes_on() => return Ok(Some(new.deadline.cause()?)),
                Err(source) if source.is_environment() => {
                    return Err(BuildError::store(new.job.label)(source));
                }
                Err(source) => {
                    return Ok(Some(BuildFailureCause::UnusableOutput(Box::new(source))));
                }
            }
        }
        self.check_fixed_file(new)
    }

    /// Checks the hash of a fixed output that is one file.
    fn check_fixed_file(
        &self,
        new: &NewOutputs<'_>,
    ) -> Result<Option<BuildFailureCause>, BuildError> {
        let fixed = new.job.derivation.fixed_output();
        let (Some(fixed), Some((_, path))) = (fixed, new.outputs.first()) else {
            return Ok(None);
        };
        if fixed.method != FixedOutputMethod::Flat {
            return Ok(None);
        }
        let file = new.store.join(path.base_name());
        let shown = || self.tools.store.directories().store_dir.display(path);
        let status = file
            .symlink_metadata()
            .map_err(BuildError::io("examine", &file))?;
        // Opening a link would follow it. As in guix-daemon, a file that its owner may execute is refused, too: the
        // hash does not cover that, and two different items would have one path.
        if !status.is_file() || status.mode() & 0o100 != 0 {
            return Ok(Some(BuildFailureCause::NotAFile {
                path: shown(),
                kind: kind(status.file_type()),
                expected: fixed.hash,
            }));
        }
        let found = std::fs::File::open(&file).and_then(|inner| {
            let mut file = Until {
                inner,
                deadline: new.deadline,
            };
            ContentHash::of_reader(fixed.hash.algorithm(), &mut file)
        });
        let found = match found {
            Err(_) if !new.deadline.goes_on() => return Ok(Some(new.deadline.cause()?)),
            found => found.map_err(BuildError::io("read", &file))?,
        };
        Ok(
            (found != fixed.hash).then(|| BuildFailureCause::HashDiffers {
                path: shown(),
                method: fixed.method,
                expected: fixed.hash,
                found,
            }),
        )
    }

    /// Checks the hash of a fixed output that is a tree, and the references of all outputs.
    fn check_prepared(
        &self,
        new: &NewOutputs<'_>,
        prepared: &PreparedOutputs<'_>,
    ) -> Result<Option<BuildFailureCause>, BuildError> {
        let store_dir = &self.tools.store.directories().store_dir;
        for info in prepared.infos() {
            let staged = new.store.join(info.path.base_name());
            let fixed = new.job.derivation.fixed_output();
            let is_tree = |fixed: &FixedOutput| fixed.method == FixedOutputMethod::Recursive;
            if let Some(fixed) = fixed.filter(is_tree) {
                let found = match fixed.hash.algorithm() {
                    HashAlgorithm::Sha256 => info.nar_sha256.into(),
                    algorithm => {
                        let mut hasher = Until {
                            inner: algorithm.hasher(),
                            deadline: new.deadline,
                        };
                        match nar::dump(&staged, &mut hasher) {
                            Err(_) if !new.deadline.goes_on() => {
                                return Ok(Some(new.deadline.cause()?));
                            }
                            dumped => dumped
                                .map_err(|error| BuildError::store(new.job.label)(error.into()))?,
                        }
                        hasher.inner.finish()
                    }
                };
                if found != fixed.hash {
                    return Ok(Some(BuildFailureCause::HashDiffers {
                        path: store_dir.display(&info.path),
                        method: fixed.method,
                        expected: fixed.hash,
                        found,
                    }));
                }
            }
            let requisites = match new.rules.are_about_requisites() {
                true => self.requisites(new, info, prepared)?,
                false => BTreeSet::new(),
            };
            let forbidden = new.rules.forbidden(&info.references);
            let forbidden = forbidden.or_else(|| new.rules.forbidden_requisite(&requisites));
            if let Some((reference, rule)) = forbidden {
                let name = new.outputs.iter().find(|(_, path)| **path == info.path);
                let name = name.map_or("out", |(name, _)| name);
                let found = locate(&staged, name, reference, rule, store_dir);
                return Ok(Some(BuildFailureCause::Reference(Box::new(found))));
            }
        }
        Ok(None)
    }
}

impl BuildContext<'_, '_> {
    /// The closures of the references of the output `info`, as in guix-daemon: without the output itself.
    fn requisites(
        &self,
        new: &NewOutputs<'_>,
        info: &PathInfo,
        prepared: &PreparedOutputs<'_>,
    ) -> Result<BTreeSet<StorePath>, BuildError> {
        let known: BTreeMap<&StorePath, &PathInfo> =
            prepared.infos().map(|info| (&info.path, info)).collect();
        let mut seen: BTreeSet<&StorePath> = BTreeSet::new();
        let mut open: Vec<&StorePath> = info.references.iter().collect();
        let mut old: Vec<&StorePath> = Vec::new();
        while let Some(path) = open.pop() {
            if *path == info.path || !seen.insert(path) {
                continue;
            }
            match known.get(path) {
                Some(other) => open.extend(&other.references),
                None => old.push(path),
            }
        }
        let closure = self.tools.store.closure(old);
        let mut requisites = closure.map_err(BuildError::store(new.job.label))?;
        requisites.extend(seen.into_iter().cloned());
        Ok(requisites)
    }
}

/// Replaces the output `name` in a build's `store` by a copy in new inodes: a process outside of the sandbox may hold a
/// descriptor of the old ones, and could change them after they were hashed. The copy is made beside `store`, where
/// builds cannot put a link in its way. Links are copied, not followed.
fn copy_to_new_inodes(store: &Path, name: &str, deadline: &Deadline<'_>) -> Result<(), StoreError> {
    let output = store.join(name);
    let copy = store.with_file_name("copy");
    nar::copy_while(&output, &copy, &|| deadline.goes_on())?;
    remove_tree(&output)?;
    std::fs::rename(&copy, &output).map_err(FileError::in_store("replace", &output))?;
    Ok(())
}

/// The kind of a file that is not a plain one, in words.
fn kind(file_type: std::fs::FileType) -> &'static str {
    if file_type.is_file() {
        "program"
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_symlink() {
        "symbolic link"
    } else {
        "device, socket or pipe"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::cancellation::Cancellation;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_descriptor_that_a_build_gave_away_does_not_reach_the_copy() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        let output = store.join("output");
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("file"), "good").unwrap();
        symlink("/etc/passwd", output.join("link")).unwrap();
        let mut accomplice = fs::OpenOptions::new()
            .append(true)
            .open(output.join("file"))
            .unwrap();
        let cancellation = Cancellation::new();
        let deadline = Deadline::new(&cancellation, None);
        copy_to_new_inodes(&store, "output", &deadline).unwrap();
        accomplice.write_all(b" and evil").unwrap();
        assert_eq!(fs::read(output.join("file")).unwrap(), b"good");
        assert_eq!(
            fs::read_link(output.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_copy_is_made_out_of_reach_of_the_build_and_through_no_link() {
        let place = tempfile::tempdir().unwrap();
        let (store, outside) = (place.path().join("store"), place.path().join("outside"));
        fs::create_dir(&store).unwrap();
        fs::write(&outside, "precious").unwrap();
        fs::write(store.join("output"), "evil").unwrap();
        let cancellation = Cancellation::new();
        let deadline = Deadline::new(&cancellation, None);
        // An accomplice with a descriptor of the build's store may put links there at any time.
        symlink(&outside, store.join("copy")).unwrap();
        copy_to_new_inodes(&store, "output", &deadline).unwrap();
        assert_eq!(fs::read_link(store.join("copy")).unwrap(), outside);
        // Even a link in the place of the copy is not followed.
        symlink(&outside, place.path().join("copy")).unwrap();
        copy_to_new_inodes(&store, "output", &deadline).unwrap_err();
        assert_eq!(fs::read(&outside).unwrap(), b"precious");
        assert_eq!(fs::read(store.join("output")).unwrap(), b"evil");
    }
}
