// SPDX-License-Identifier: GPL-3.0-or-later
//! What each request comes to. Short answers are here, the others in modules of their own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fault::Fault;
use super::{ClientSession, profiles};
use crate::engine::builtins;
use crate::formats::store_path::{HASH_PART_LEN, StorePath};
use crate::formats::visible::visible;
use crate::formats::worker::{AskedPath, Fields, WorkerRequest};
use crate::store::PathInfo;

/// The request's name, for the log.
pub(super) fn name(request: &WorkerRequest) -> String {
    let shown = format!("{request:?}");
    let end = shown.find([' ', '(', '{']).unwrap_or(shown.len());
    shown[..end].to_owned()
}

impl ClientSession {
    /// Does what `request` asks for, and gives the fields of the reply.
    pub(super) fn perform(&mut self, request: WorkerRequest) -> Result<Fields, Fault> {
        match request {
            WorkerRequest::IsValidPath { path } => {
                let path = AskedPath::parse(&self.directories.store_dir, path);
                let path = path.map_err(Fault::refused)?;
                Ok(Fields::of_long(self.is_valid(&path)?.into()))
            }
            WorkerRequest::QueryPathHash(path) => {
                Ok(Fields::of_string(self.info(&path)?.nar_sha256.to_base16()))
            }
            WorkerRequest::QueryReferences(path) => Ok(self.list(&self.info(&path)?.references)),
            WorkerRequest::QueryReferrers(path) => match path.path() {
                Some(path) => Ok(self.list(&self.store.referrers(path)?)),
                None => Ok(self.list(&[])),
            },
            WorkerRequest::QueryValidDerivers(path) => match path.path() {
                Some(path) => Ok(self.list(&self.store.derivers(path)?)),
                None => Ok(self.list(&[])),
            },
            WorkerRequest::QueryDerivationOutputs(path) => {
                let outputs = self.store.derivation_outputs(&self.info(&path)?.path)?;
                let outputs: BTreeSet<StorePath> = outputs.into_values().collect();
                Ok(self.list(&outputs))
            }
            WorkerRequest::QueryDerivationOutputNames(path) => {
                let outputs = self.store.derivation_outputs(&self.info(&path)?.path)?;
                Ok(Fields::of_strings(outputs.into_keys()))
            }
            WorkerRequest::QueryDeriver(path) => {
                let deriver = self.info(&path)?.deriver;
                Ok(Fields::of_string(
                    deriver.map_or_else(String::new, |deriver| self.shown(&deriver)),
                ))
            }
            WorkerRequest::QueryPathInfo(path) => Ok(self.describe(&self.info(&path)?)),
            WorkerRequest::QueryAllValidPaths => Ok(self.list(&self.store.valid_paths()?)),
            WorkerRequest::QueryValidPaths(paths) => {
                let paths = paths.iter().filter_map(AskedPath::path);
                Ok(self.list(&self.store.valid_among(paths)?))
            }
            WorkerRequest::QueryPathFromHashPart { hash_part } => {
                if hash_part.len() != HASH_PART_LEN {
                    return Err(Fault::refused("invalid hash part"));
                }
                let path = self.store.path_from_hash_part(&hash_part)?;
                Ok(Fields::of_string(
                    path.map_or_else(String::new, |path| self.shown(&path)),
                ))
            }
            WorkerRequest::AddToStore {
                name,
                recursive,
                algorithm,
            } => self.add_to_store(&name, recursive, &algorithm),
            WorkerRequest::AddTextToStore {
                name,
                content,
                references,
            } => self.add_text(&name, &content, &references),
            WorkerRequest::AddTemporaryRoot(path) => {
                match path.path() {
                    Some(path) => self.store.add_temporary_roots([path])?,
                    None => self.store.add_other_temporary_root(path.name())?,
                }
                Ok(Fields::of_long(1))
            }
            WorkerRequest::AddIndirectRoot { link } => {
                let link = Path::new(OsStr::from_bytes(&link));
                if !link.is_absolute() {
                    return Err(Fault::refused(format!(
                        "expected an absolute file name for a root, saw `{}'",
                        link.display()
                    )));
                }
                self.store.register_indirect_root(link)?;
                Ok(Fields::of_long(1))
            }
            WorkerRequest::SyncWithCollector => {
                self.store.wait_for_collectors()?;
                Ok(Fields::of_long(1))
            }
            WorkerRequest::FindRoots => self.find_roots(),
            WorkerRequest::CollectGarbage {
                action,
                paths,
                ignore_liveness,
                most_freed,
            } => self.collect_garbage(action, &paths, ignore_liveness, most_freed),
            WorkerRequest::QueryFailedPaths => Ok(self.list(&self.store.failed_paths()?)),
            WorkerRequest::ClearFailedPaths { paths } => self.clear_failed_paths(paths),
            WorkerRequest::VerifyStore {
                check_contents,
                repair,
            } => self.verify_store(check_contents, repair),
            WorkerRequest::OptimiseStore => self.optimise_store(),
            WorkerRequest::ExportPath { path, sign } => self.export_path(&path, sign),
            WorkerRequest::ImportPaths => self.import_paths(),
            WorkerRequest::SetOptions(sent) => {
                let outcome = self.options.set(&sent, &self.peer, &self.configuration)?;
                for url in outcome.refused_urls {
                    self.client.log(format!(
                        "warning: {} is not asked for substitutes: only trusted users may name directories\n\
                         hint: have it added to the daemon's --substitute-urls, or served by HTTP\n",
                        visible(url)
                    ));
                }
                if let Some(user) = outcome.user {
                    profiles::create(&self.directories.state, &user);
                }
                Ok(Fields::new())
            }
            WorkerRequest::BuiltinBuilders => Ok(Fields::of_strings(builtins::names_for_clients())),
            WorkerRequest::SubstituteUrls => Ok(Fields::of_strings(self.substitute_urls())),
            WorkerRequest::HasSubstitutes(path) => {
                let offered = !self.offered(&[path])?.is_empty();
                Ok(Fields::of_long(offered.into()))
            }
            WorkerRequest::QuerySubstitutablePaths(paths) => self.substitutable_paths(&paths),
            WorkerRequest::QuerySubstitutablePathInfo(path) => self.substitutable_path_info(path),
            WorkerRequest::QuerySubstitutablePathInfos(paths) => {
                self.substitutable_path_infos(&paths)
            }
            WorkerRequest::EnsurePath(path) => self.ensure_path(&path),
            WorkerRequest::BuildPaths { wanted, mode } => self.build_paths(&wanted, mode),
        }
    }

    /// `path` with the store directory.
    pub(super) fn shown(&self, path: &StorePath) -> String {
        self.directories.store_dir.display(path)
    }

    /// A reply that lists `paths`.
    pub(super) fn list<'p>(&self, paths: impl IntoIterator<Item = &'p StorePath>) -> Fields {
        Fields::of_strings(paths.into_iter().map(|path| self.shown(path)))
    }

    /// The store path that was asked for.
    ///
    /// # Errors
    /// Where its name is not that of a store item.
    pub(super) fn required<'a>(&self, asked: &'a AskedPath) -> Result<&'a StorePath, Fault> {
        asked.path().ok_or_else(|| {
            Fault::refused(format!(
                "path `{}' is not the name of a store item",
                asked.text().escape_default()
            ))
        })
    }

    pub(super) fn is_valid(&self, asked: &AskedPath) -> Result<bool, Fault> {
        match asked.path() {
            Some(path) => Ok(self.store.is_valid(path)?),
            None => Ok(false),
        }
    }

    /// What the database records about the path.
    ///
    /// # Errors
    /// Where it is not valid.
    pub(super) fn info(&self, asked: &AskedPath) -> Result<PathInfo, Fault> {
        let info = match asked.path() {
            Some(path) => self.store.path_info(path)?,
            None => None,
        };
        info.ok_or_else(|| Fault::not_valid(asked.text()))
    }

    fn describe(&self, info: &PathInfo) -> Fields {
        let deriver = info.deriver.as_ref();
        let mut fields =
            Fields::of_string(deriver.map_or_else(String::new, |deriver| self.shown(deriver)));
        fields.string(info.nar_sha256.to_base16());
        fields.append(&self.list(&info.references));
        fields.long(info.registration_time);
        fields.long(info.nar_size);
        fields
    }

    fn find_roots(&self) -> Result<Fields, Fault> {
        let roots = self.store.roots()?;
        let mut fields = Fields::of_long(roots.len() as u64);
        for root in roots {
            fields.bytes(root.link.as_os_str().as_bytes());
            fields.string(self.shown(&root.path));
        }
        Ok(fields)
    }

    fn clear_failed_paths(&self, paths: Vec<String>) -> Result<Fields, Fault> {
        if paths.iter().any(|path| path == "*") {
            self.store.clear_failures(None)?;
            return Ok(Fields::of_long(1));
        }
        let mut failed = BTreeSet::new();
        for path in paths {
            let path = AskedPath::parse(&self.directories.store_dir, path);
            failed.extend(path.map_err(Fault::refused)?.path().cloned());
        }
        // Outputs are what is recorded; users name the derivation that failed.
        let derivations: Vec<StorePath> = failed.iter().cloned().collect();
        for path in derivations.iter().filter(|path| path.is_derivation()) {
            failed.extend(self.store.derivation_outputs(path)?.into_values());
        }
        self.store.clear_failures(Some(&failed))?;
        Ok(Fields::of_long(1))
    }
}
