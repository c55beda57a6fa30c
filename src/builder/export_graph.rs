// SPDX-License-Identifier: GPL-3.0-or-later
//! `exportReferencesGraph`: files in the build directory that list the closures of store items.
//!
//! The variable holds pairs of a file name and a store item. The format is guix-daemon's: for each item of the closure,
//! in order, its path, its deriver (always empty), the number of its references, and these, each on a line of its own.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::context::BuildContext;
use super::error::BuildError;
use super::graph::BuildJob;
use crate::formats::store_path::StorePath;

impl BuildContext<'_, '_> {
    /// Writes the files that the derivation of `job` asks for into its build directory.
    ///
    /// # Errors
    /// A list that is wrong, an item that is not valid, or a file that cannot be written.
    pub(super) fn export_graphs(
        &self,
        job: BuildJob<'_>,
        directory: &Path,
    ) -> Result<(), BuildError> {
        let Some(pairs) = job.derivation.environment.text("exportReferencesGraph") else {
            return Ok(());
        };
        let wrong = |problem: String| BuildError::Derivation {
            label: job.label.to_owned(),
            problem: format!("exportReferencesGraph: {problem}"),
        };
        let store = self.tools.store;
        let store_dir = &store.directories().store_dir;
        let words: Vec<&str> = pairs.split_ascii_whitespace().collect();
        if !words.len().is_multiple_of(2) {
            return Err(wrong(
                "expected pairs of a file name and a store item".to_owned(),
            ));
        }
        for pair in words.chunks(2) {
            let (name, text) = (pair[0], pair[1]);
            // As a part of a store path it holds no slash, and is not `.` or `..`.
            let is_name = StorePath::from_base_name(&format!("{}-{name}", "0".repeat(32)));
            if is_name.is_err() || name.starts_with('.') {
                return Err(wrong(format!("`{name}` is not a file name")));
            }
            // Anything in an item stands for the item.
            let rest = text.strip_prefix(store_dir.as_str());
            let base = rest.and_then(|rest| rest.strip_prefix('/'));
            let base = base.and_then(|base| base.split('/').next()).unwrap_or("");
            let path = StorePath::from_base_name(base)
                .map_err(|_| wrong(format!("`{text}` is not in the store")))?;
            let fail = BuildError::store(job.label);
            if !store.is_valid(&path).map_err(&fail)? {
                return Err(wrong(format!("`{text}` is not valid")));
            }
            let mut closure = store.closure([&path]).map_err(&fail)?;
            // As in guix-daemon: of derivations, what they make is listed as well, and must be valid.
            let mut made = BTreeSet::new();
            for derivation in closure.iter().filter(|path| path.is_derivation()) {
                made.extend(
                    store
                        .derivation_outputs(derivation)
                        .map_err(&fail)?
                        .into_values(),
                );
            }
            let valid = store.valid_among(&made).map_err(&fail)?;
            if let Some(missing) = made.iter().find(|path| !valid.contains(*path)) {
                let missing = store_dir.display(missing);
                return Err(wrong(format!(
                    "`{missing}`, which a derivation in it makes, is not valid"
                )));
            }
            closure.extend(store.closure(&made).map_err(&fail)?);
            let mut content = String::new();
            for path in closure {
                let Some(info) = store.path_info(&path).map_err(&fail)? else {
                    continue;
                };
                content.push_str(&format!(
                    "{}\n\n{}\n",
                    store_dir.display(&path),
                    info.references.len()
                ));
                for reference in &info.references {
                    content.push_str(&format!("{}\n", store_dir.display(reference)));
                }
            }
            let file = directory.join(name);
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&file)
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .map_err(BuildError::io("write", &file))?;
        }
        Ok(())
    }
}
