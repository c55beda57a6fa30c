// SPDX-License-Identifier: GPL-3.0-or-later
//! Replacing damaged items by those of substitute servers.
//!
//! What a trusted key has signed is taken, also where it is not what was recorded: the record follows it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{InstallationNews, InstallationWatch, Substituter};
use crate::exchange::ExchangeError;
use crate::formats::store_path::StorePath;
use crate::store::{PathInfo, Store};

impl Substituter {
    /// Replaces the valid item at `path` by that of a server, after making valid what that refers to. Returns what is
    /// recorded of it now, and where the damaged item is kept; `None` where no server has it, or delivers it.
    ///
    /// # Errors
    /// Where the store cannot be written or the watch stops it: the item stays as it was.
    pub fn replace(
        &self,
        store: &Store,
        path: &StorePath,
        watch: &InstallationWatch<'_>,
    ) -> Result<Option<(PathInfo, Option<PathBuf>)>, ExchangeError> {
        let asked = BTreeSet::from([path.clone()]);
        loop {
            // A server that failed is not chosen again, and the next one is asked.
            self.ask(store, &asked, &watch.cancellation)?;
            let Some(choice) = self.choice(path) else {
                return Ok(None);
            };
            let others = choice.info.references.iter();
            let others: BTreeSet<StorePath> =
                others.filter(|other| *other != path).cloned().collect();
            let installed = match self.install(store, &[others], watch) {
                Ok(installed) => installed.iter().all(Option::is_some),
                Err(error) if error.is_of_server() => false,
                Err(error) => return Err(error),
            };
            let server = &self.servers[choice.server];
            let location = server.url();
            if installed {
                let locks = store.lock([path])?;
                let replaced =
                    server
                        .prepare(store, &locks, &choice.info, watch)
                        .and_then(|prepared| {
                            let mut replaced = None;
                            for (staged, info) in prepared.staged() {
                                let kept = store.replace_item(&locks, staged, info)?;
                                replaced = Some((info.clone(), kept));
                            }
                            Ok(replaced)
                        });
                let removed = store.remove_staging_directory(&locks, path);
                match replaced {
                    Ok(replaced) => {
                        removed?;
                        if let Some((info, _)) = &replaced {
                            (watch.news)(InstallationNews::Installed { info, location });
                        }
                        return Ok(replaced);
                    }
                    Err(error) if error.is_of_server() => (watch.news)(InstallationNews::Failed {
                        path,
                        location,
                        problem: &error.to_string(),
                    }),
                    Err(error) => return Err(error),
                }
            }
            let mut answers = self.answers();
            let of_path = answers.entry(path.clone()).or_default();
            of_path.failed.insert(choice.server);
        }
    }
}
