// SPDX-License-Identifier: GPL-3.0-or-later
//! Garbage-collector roots: what keeps store items, and all that they refer to, from being collected.
//!
//! As in Guix, roots are symbolic links below `STATE/gcroots` (and `STATE/profiles`, which Guix's users have): a link
//! into the store is a root; a link to a link into the store elsewhere is an *indirect* root, which goes when its user
//! removes that other link; and a plain file named like a store item is a root too. Links hold logical paths
//! (`/gnu/store/…`) wherever the files are.
//!
//! Ours are in `STATE/gcroots/bootstrap`: `NAME` for a single root, and `NAME/NUMBER/LABEL` for *generations*, sets of
//! roots that belong together, such as the results of one `bootstrap all`. Names with a leading dot are unfinished.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{RootError, StoreError};
use super::file_lock::{FileLock, LockMode};
use super::open::Store;
use super::remove;
use super::running;
use super::temporary_roots::gc_lock_path;
use crate::diagnostics::FileError;
use crate::formats::base32;
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::StorePath;

/// What sort of root it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// One of ours, with its name below `gcroots/bootstrap`.
    Named(String),
    /// Another direct one, Guix's for instance.
    Direct,
    /// One whose link is elsewhere.
    Indirect,
    /// A running process that uses the item, by its number.
    Running(u32),
}

/// A garbage-collector root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GcRoot {
    /// The link, or the process' entry in `/proc`, whether or not that is mounted.
    pub link: PathBuf,
    /// What sort of root it is.
    pub kind: RootKind,
    /// The store item it keeps; not necessarily valid.
    pub path: StorePath,
}

/// A set of roots made together: labels and what they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// The roots by label.
    pub roots: BTreeMap<String, StorePath>,
}

impl Store {
    /// Makes `path` a root called `name`, in place of what had that name. Returns the link.
    pub fn add_root(&self, name: &str, path: &StorePath) -> Result<PathBuf, StoreError> {
        self.writable()?;
        let link = self.root_link(name)?;
        let _shared = self.hold_off_collectors()?;
        make_link(&link, self.directories().store_dir.display(path))?;
        Ok(link)
    }

    /// Makes `roots` the newest generation of `name` and returns its number. Where the newest one has the same roots
    /// already, that stays it.
    pub fn add_generation(
        &self,
        name: &str,
        roots: &BTreeMap<String, StorePath>,
    ) -> Result<u64, StoreError> {
        self.writable()?;
        let directory = self.root_link(name)?;
        for label in roots.keys() {
            check_name(label)?;
        }
        let _shared = self.hold_off_collectors()?;
        let make_directory =
            |path: &Path| fs::create_dir_all(path).map_err(FileError::in_store("create", path));
        make_directory(&directory)?;
        loop {
            let number = match self.generations(name)?.pop() {
                Some(newest) if newest.roots == *roots => return Ok(newest.number),
                Some(newest) => newest.number + 1,
                None => 1,
            };
            // Whole or not there: links are made in an unfinished directory, which gets its name last.
            let unfinished = directory.join(unfinished_name());
            for (label, path) in roots {
                let link = unfinished.join(label);
                make_directory(link.parent().unwrap_or(&unfinished))?;
                symlink(self.directories().store_dir.display(path), &link)
                    .map_err(FileError::in_store("create", &link))?;
            }
            make_directory(&unfinished)?;
            let finished = directory.join(number.to_string());
            match fs::rename(&unfinished, &finished) {
                Ok(()) => return Ok(number),
                // Another process was faster.
                Err(_) if finished.symlink_metadata().is_ok() => {
                    remove::remove_tree(&unfinished)?;
                }
                Err(source) => return Err(FileError::in_store("create", &finished)(source).into()),
            }
        }
    }

    /// The generations of `name`, oldest first.
    pub fn generations(&self, name: &str) -> Result<Vec<Generation>, StoreError> {
        let directory = self.root_link(name)?;
        let mut generations = Vec::new();
        for entry in list(&directory)? {
            let number = entry
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let Some(number) = number else { continue };
            let mut found = Vec::new();
            self.find_roots(&entry, Unreadable::Fails, &mut found)?;
            let roots = found
                .into_iter()
                .filter_map(|root| {
                    let label = root.link.strip_prefix(&entry).ok()?.to_str()?.to_owned();
                    Some((label, root.path))
                })
                .collect();
            generations.push(Generation { number, roots });
        }
        generations.sort_by_key(|generation| generation.number);
        Ok(generations)
    }

    /// Removes generation `number` of `name`. Says whether there was one.
    pub fn remove_generation(&self, name: &str, number: u64) -> Result<bool, StoreError> {
        self.writable()?;
        let directory = self.root_link(name)?.join(number.to_string());
        if directory.symlink_metadata().is_err() {
            return Ok(false);
        }
        remove::remove_tree(&directory)?;
        Ok(true)
    }

    /// Makes a link to `path` at `link`, which is anywhere outside the store, and registers that as a root for as long
    /// as it exists. A link into the store that is there already is replaced, anything else is left and an error.
    pub fn add_indirect_root(&self, link: &Path, path: &StorePath) -> Result<(), StoreError> {
        self.writable()?;
        let link = std::path::absolute(link).map_err(FileError::in_store("resolve", link))?;
        let directories = self.directories();
        if link.starts_with(&directories.store) || link.starts_with(directories.store_dir.as_str())
        {
            return Err(RootError::InsideStore(link).into());
        }
        if link.symlink_metadata().is_ok() {
            let target = fs::read_link(&link).ok();
            if target.and_then(|target| self.in_store(&target)).is_none() {
                return Err(RootError::Occupied(link).into());
            }
        }
        let _shared = self.hold_off_collectors()?;
        make_link(&link, directories.store_dir.display(path))?;
        Ok(make_link(&self.automatic(&link), &link)?)
    }

    /// Registers `link`, which is a symbolic link into the store or will be one, as an indirect root: while it exists
    /// and leads to a store item, it keeps that. This is what guix-daemon's `add-indirect-root` does.
    pub fn register_indirect_root(&self, link: &Path) -> Result<(), StoreError> {
        self.writable()?;
        let link = std::path::absolute(link).map_err(FileError::in_store("resolve", link))?;
        let _shared = self.hold_off_collectors()?;
        Ok(make_link(&self.automatic(&link), &link)?)
    }

    /// Waits for a collector that is at work. What is made a root after that is seen by the next.
    pub fn wait_for_collectors(&self) -> Result<(), StoreError> {
        self.hold_off_collectors().map(drop)
    }

    /// The link in `gcroots/auto` that registers the indirect root `link`.
    fn automatic(&self, link: &Path) -> PathBuf {
        // Guix takes the SHA-1 of the link's name; any unique name does.
        let digest = Sha256Digest::of(link.as_os_str().as_bytes());
        let name = base32::encode(&digest.0[..20]);
        self.gcroots().join("auto").join(name)
    }

    /// All permanent roots, sorted by where their links are.
    pub fn roots(&self) -> Result<Vec<GcRoot>, StoreError> {
        let mut roots = Vec::new();
        // Guix's daemon looks into these three.
        for (name, unreadable) in [
            ("gcroots", Unreadable::Fails),
            ("manifests", Unreadable::Fails),
            ("profiles", Unreadable::IsSkipped),
        ] {
            let directory = self.directories().state.join(name);
            self.find_roots(&directory, unreadable, &mut roots)?;
        }
        roots.sort();
        roots.dedup();
        Ok(roots)
    }

    /// The store items that running processes use, as far as the system reports them: programs, working directories,
    /// open and mapped files, environments. Linux reports them in `/proc`, FreeBSD through procstat(1).
    pub fn running_roots(&self) -> Vec<GcRoot> {
        let used = running::used_items(self.directories()).into_iter();
        used.map(|(process, path)| GcRoot {
            link: PathBuf::from(format!("/proc/{process}")),
            kind: RootKind::Running(process),
            path,
        })
        .collect()
    }

    /// Removes links in `gcroots/auto` that lead nowhere, and unfinished roots of killed processes. The collector does
    /// this, while it keeps all other processes from making roots.
    pub(super) fn tidy_roots(&self) -> Result<(), StoreError> {
        for link in list(&self.gcroots().join("auto"))? {
            // `exists` follows the link; what it leads to may itself be a link into a store that is elsewhere.
            let stale = fs::read_link(&link).is_ok_and(|target| {
                link.parent()
                    .unwrap_or(&link)
                    .join(target)
                    .symlink_metadata()
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            });
            if stale {
                fs::remove_file(&link).map_err(FileError::in_store("remove", &link))?;
            }
        }
        let mut pending = vec![self.gcroots().join("bootstrap")];
        while let Some(directory) = pending.pop() {
            for entry in list(&directory)? {
                if is_unfinished(&entry) {
                    remove::remove_tree(&entry)?;
                } else if entry.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                    pending.push(entry);
                }
            }
        }
        Ok(())
    }

    fn gcroots(&self) -> PathBuf {
        self.directories().state.join("gcroots")
    }

    fn root_link(&self, name: &str) -> Result<PathBuf, RootError> {
        check_name(name)?;
        Ok(self.gcroots().join("bootstrap").join(name))
    }

    /// While the result lives no collector starts, and when it has been obtained none is at work.
    fn hold_off_collectors(&self) -> Result<FileLock, StoreError> {
        Ok(FileLock::acquire(
            gc_lock_path(&self.directories().state),
            LockMode::Shared,
            false,
            &self.options.lock_policy,
        )?)
    }

    /// The store item that `target` is, or is in, by the logical or the physical store directory.
    fn in_store(&self, target: &Path) -> Option<StorePath> {
        let directories = self.directories();
        let rest = target
            .strip_prefix(directories.store_dir.as_str())
            .or_else(|_| target.strip_prefix(&directories.store))
            .ok()?;
        match rest.components().next()? {
            Component::Normal(name) => StorePath::from_base_name(name.to_str()?).ok(),
            _ => None,
        }
    }

    /// Adds to `roots` those at or below `path`.
    fn find_roots(
        &self,
        path: &Path,
        unreadable: Unreadable,
        roots: &mut Vec<GcRoot>,
    ) -> Result<(), RootError> {
        let mut pending = vec![path.to_owned()];
        while let Some(path) = pending.pop() {
            let examined = self.examine_root(&path, roots);
            pending.extend(examined.or_else(|error| unreadable.judge(error))?);
        }
        Ok(())
    }

    /// Adds to `roots` the one at `path`, or returns the entries of the directory `path`. What vanishes meanwhile keeps
    /// nothing.
    fn examine_root(
        &self,
        path: &Path,
        roots: &mut Vec<GcRoot>,
    ) -> Result<Vec<PathBuf>, RootError> {
        let found = match path.symlink_metadata() {
            Ok(found) => found,
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            Err(source) => return Err(FileError::in_store("examine", path)(source).into()),
        };
        if found.is_dir() {
            return list(path);
        }
        if found.is_symlink() {
            self.follow(path.to_owned(), roots)?;
        } else if let Some(kept) = path
            .file_name()
            .and_then(|name| StorePath::from_base_name(name.to_str()?).ok())
        {
            roots.push(GcRoot {
                kind: self.kind(path),
                link: path.to_owned(),
                path: kept,
            });
        }
        Ok(Vec::new())
    }

    fn follow(&self, link: PathBuf, roots: &mut Vec<GcRoot>) -> Result<(), RootError> {
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(source) => return Err(FileError::in_store("read", &link)(source).into()),
        };
        if let Some(path) = self.in_store(&target) {
            roots.push(GcRoot {
                kind: self.kind(&link),
                link,
                path,
            });
            return Ok(());
        }
        // One step further, as Guix goes. A link that cannot be read, on an unmounted disk for instance,
        // keeps nothing.
        let target = link.parent().unwrap_or(&link).join(target);
        if let Some(path) = fs::read_link(&target)
            .ok()
            .and_then(|further| self.in_store(&further))
        {
            roots.push(GcRoot {
                kind: RootKind::Indirect,
                link: target,
                path,
            });
        }
        Ok(())
    }

    fn kind(&self, link: &Path) -> RootKind {
        let name = link.strip_prefix(self.gcroots().join("bootstrap"));
        match name.ok().and_then(Path::to_str) {
            Some(name) => RootKind::Named(name.to_owned()),
            None => RootKind::Direct,
        }
    }
}

/// The entries of a directory, which may be missing, in no order.
fn list(directory: &Path) -> Result<Vec<PathBuf>, RootError> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    match listed {
        // Missing, or a single root where generations could be.
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        listed => Ok(listed.map_err(FileError::in_store("list", directory))?),
    }
}

/// Whether `error` says that a directory is not there, or not a directory.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// What becomes of a directory of roots that may not be read.
#[derive(Clone, Copy)]
enum Unreadable {
    /// Its roots cannot be known, so nothing can be collected.
    Fails,
    /// It keeps nothing. Users have directories below the profiles that not even root can read: on FUSE, on NFS. As
    /// with guix-daemon, these keep no one else from listing roots and from collecting.
    IsSkipped,
}

impl Unreadable {
    /// The entries of a directory that cannot be read because of `error`.
    fn judge(self, error: RootError) -> Result<Vec<PathBuf>, RootError> {
        match (self, &error) {
            (Self::IsSkipped, RootError::File(file))
                if file.io_error().kind() == io::ErrorKind::PermissionDenied =>
            {
                tracing::warn!("{error}: what roots in it keep counts as garbage");
                Ok(Vec::new())
            }
            _ => Err(error),
        }
    }
}

fn check_name(name: &str) -> Result<(), RootError> {
    let fits = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
    if name.split('/').all(fits) {
        Ok(())
    } else {
        Err(RootError::Name(name.to_owned()))
    }
}

/// Makes a symbolic link, at once in place of any other link or file.
fn make_link(link: &Path, target: impl AsRef<Path>) -> Result<(), RootError> {
    let directory = link.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(FileError::in_store("create", directory))?;
    let unfinished = directory.join(unfinished_name());
    symlink(target, &unfinished).map_err(FileError::in_store("create", link))?;
    fs::rename(&unfinished, link).map_err(|source| {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&unfinished);
        FileError::in_store("create", link)(source)
    })?;
    Ok(())
}

fn unfinished_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(".new-{}-{number}", std::process::id())
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"."))
}
