// SPDX-License-Identifier: GPL-3.0-or-later
//! What substitute servers have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::ClientSession;
use super::fault::Fault;
use crate::engine;
use crate::exchange::substitute::{Server, Substituter};
use crate::formats::keys::PublicKey;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::formats::worker::{AskedPath, Fields};

/// What came of asking servers for paths.
pub(super) struct Substituted {
    /// The paths that are not valid now.
    pub(super) missing: BTreeSet<StorePath>,
    /// Whether a server failed to give what it has.
    pub(super) failed: bool,
}

impl ClientSession {
    /// The servers that are asked: the client's own, else the daemon's; none where substitutes are off. Folders alone
    /// where the daemon is offline.
    pub(super) fn substitute_urls(&self) -> Vec<String> {
        let mut urls = match (self.options.use_substitutes, &self.options.substitute_urls) {
            (false, _) => Vec::new(),
            (true, Some(urls)) => urls.clone(),
            (true, None) => self.configuration.substitute_urls.clone(),
        };
        urls.retain(|url| !self.configuration.offline || !Server::needs_network(url));
        urls
    }

    /// The servers to ask, and the keys whose signatures are trusted. No server where no key is authorized: their items
    /// would be refused anyway. The client gets one warning.
    pub(super) fn substitute_sources(&self) -> Result<(Vec<String>, Vec<PublicKey>), Fault> {
        let mut urls = self.substitute_urls();
        let keys = self.authorized_keys()?;
        if keys.is_empty() && !urls.is_empty() {
            urls.clear();
            self.no_keys.get_or_init(|| {
                self.client.log(format!(
                    "warning: no substitute is taken: {} has no key\n\
                     hint: add a server's key with `guix archive --authorize <KEY-FILE'\n",
                    self.configuration.acl.display()
                ));
            });
        }
        Ok((urls, keys))
    }

    /// Makes `paths` valid by substitutes, and reports progress to the client.
    pub(super) fn substitute(&self, paths: &BTreeSet<StorePath>) -> Result<Substituted, Fault> {
        self.store.add_temporary_roots(paths)?;
        let missing = |paths: &BTreeSet<StorePath>| -> Result<BTreeSet<StorePath>, Fault> {
            let valid = self.store.valid_among(paths)?;
            Ok(paths.difference(&valid).cloned().collect())
        };
        let open = missing(paths)?;
        let without = |missing: BTreeSet<StorePath>| Substituted {
            missing,
            failed: false,
        };
        if open.is_empty() {
            return Ok(without(open));
        }
        let (urls, keys) = self.substitute_sources()?;
        if urls.is_empty() {
            return Ok(without(open));
        }
        let mut servers = Vec::new();
        for url in urls {
            match Server::new(&url) {
                Ok(server) => servers.push(server),
                Err(error) => self.client.log(format!("warning: {error}\n")),
            }
        }
        let substituter = Substituter::new(servers, keys).skip_untrusted(true);
        let installed = self.follow(|events| {
            let (store, stop) = (&self.store, &self.cancellation);
            Ok(engine::install_substitutes(
                &substituter,
                store,
                &open,
                events,
                stop,
            ))
        })?;
        if let Err(error) = &installed {
            self.client.log(format!("warning: {error}\n"));
        }
        Ok(Substituted {
            missing: missing(&open)?,
            failed: installed.is_err(),
        })
    }

    /// Warns the client of a problem with the server at `url`, unless it has been warned of that server.
    fn warn_of_server(&self, url: &str, problem: impl std::fmt::Display) {
        let warned = self.warned_servers.lock();
        let is_new = warned
            .unwrap_or_else(PoisonError::into_inner)
            .insert(url.to_owned());
        if is_new && !self.cancellation.is_cancelled() {
            self.client.log(format!("warning: {problem}\n"));
        }
    }

    /// What the servers have of `paths`, signed by a key of the access control list. A server that cannot be reached
    /// has nothing, and one bad answer hides no other; the client gets a warning for each such server.
    pub(super) fn offered(
        &self,
        paths: &[AskedPath],
    ) -> Result<BTreeMap<StorePath, NarInfo>, Fault> {
        let mut found = BTreeMap::new();
        let (urls, keys) = self.substitute_sources()?;
        for url in urls {
            let open: Vec<StorePath> = paths
                .iter()
                .filter_map(AskedPath::path)
                .filter(|path| !found.contains_key(*path))
                .cloned()
                .collect();
            if open.is_empty() {
                break;
            }
            let problem = match Server::new(&url) {
                Ok(server) => {
                    let said = server.describe(&self.store, &open, &keys, &self.cancellation);
                    let infos = said.infos.into_iter();
                    found.extend(infos.map(|info| (info.path.clone(), info)));
                    said.problem
                }
                Err(error) => Some(error),
            };
            if let Some(problem) = problem {
                self.warn_of_server(&url, problem);
            }
        }
        Ok(found)
    }

    pub(super) fn substitutable_paths(&self, paths: &[AskedPath]) -> Result<Fields, Fault> {
        let offered = self.offered(paths)?;
        Ok(self.list(offered.keys()))
    }

    pub(super) fn substitutable_path_info(&self, path: AskedPath) -> Result<Fields, Fault> {
        match self.offered(&[path])?.values().next() {
            None => Ok(Fields::of_long(0)),
            Some(info) => {
                let mut fields = Fields::of_long(1);
                self.describe_offer(info, &mut fields);
                Ok(fields)
            }
        }
    }

    pub(super) fn substitutable_path_infos(&self, paths: &[AskedPath]) -> Result<Fields, Fault> {
        let offered = self.offered(paths)?;
        let mut fields = Fields::of_long(offered.len() as u64);
        for (path, info) in &offered {
            fields.string(self.shown(path));
            self.describe_offer(info, &mut fields);
        }
        Ok(fields)
    }

    fn describe_offer(&self, info: &NarInfo, fields: &mut Fields) {
        let deriver = info.deriver.as_ref();
        fields.string(deriver.map_or_else(String::new, |deriver| self.shown(deriver)));
        fields.append(&self.list(&info.references));
        let sizes = info.files.iter().filter_map(|file| file.size);
        fields.long(sizes.min().unwrap_or(0));
        fields.long(info.nar_size);
    }
}
