// SPDX-License-Identifier: GPL-3.0-or-later
//! The messages that a client gets about its builds: guix-daemon's lines, made of events.
//!
//! Lines that begin with `@` are for the client's program, which makes its display of them; the rest is for the user.

use std::collections::BTreeMap;
use std::path::Path;

use super::connection::ClientWriter;
use super::options::ClientSettings;
use crate::events::{Event, Kind};
use crate::formats::secrets::without_secrets;
use crate::formats::store_path::StorePath;
use crate::formats::visible::visible;
use crate::store::Store;

/// Reports one run to one client.
pub(super) struct Traces<'t> {
    client: &'t ClientWriter,
    options: &'t ClientSettings,
    store: &'t Store,
    system: &'t str,
    /// The number that stands for each build where outputs are mixed: clients take it for its process.
    numbers: BTreeMap<String, u64>,
    /// The downloads that the client knows of: what arrives, and from where.
    downloads: BTreeMap<String, (String, String)>,
}

impl<'t> Traces<'t> {
    pub(super) fn new(
        client: &'t ClientWriter,
        options: &'t ClientSettings,
        store: &'t Store,
        system: &'t str,
    ) -> Self {
        Self {
            client,
            options,
            store,
            system,
            numbers: BTreeMap::new(),
            downloads: BTreeMap::new(),
        }
    }

    /// Sends the lines for `event`.
    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Started {
                item,
                kind,
                derivation,
                log,
            } => self.started(item, *kind, derivation, log.as_deref()),
            Event::Line { item, text } => self.printed(item, text),
            Event::DownloadProgress {
                item,
                received,
                total,
                location,
            } => self.downloaded(item, *received, *total, location),
            Event::Finished { item, kind, made } => {
                if let Some((path, url)) = self.downloads.remove(item) {
                    let size: u64 = made.outputs.iter().map(|output| output.nar_size).sum();
                    self.extended(&format!("@ download-succeeded {path} {url} {size}"));
                }
                match kind {
                    Kind::Substitute => {
                        self.trace(&format!("@ substituter-succeeded {}", self.output(item)));
                    }
                    _ => self.trace(&format!("@ build-succeeded {} -", self.path(item))),
                }
            }
            Event::Failed { item, message, .. } => {
                let first = message.lines().next().unwrap_or_default();
                self.trace(&format!("@ build-failed {} - 1 {first}", self.path(item)));
            }
            Event::SubstituteFailed {
                item,
                location,
                problem,
            } => {
                self.downloads.remove(item);
                let text = without_secrets(problem);
                let problem = visible(text.as_bytes());
                let path = self.output(item);
                self.trace(&format!("@ substituter-failed {path} 1 {problem}"));
                let text = format!("warning: substituting `{path}' from {location}: {problem}\n");
                self.client.log(without_secrets(&text).into_owned());
            }
            Event::HookFailed { item, problem } => {
                let path = self.path(item);
                self.trace(&format!("@ hook-failed {path} - 1 {problem}"));
                self.client.log(format!(
                    "warning: `{path}' was not built on another machine: {problem}\n"
                ));
            }
            Event::SubstitutesEnded {
                location,
                problem: Some(problem),
                ..
            } => {
                let text = format!("{location}: {problem}");
                let text = without_secrets(&text);
                self.client.log(format!(
                    "warning: substitutes: {}\n",
                    visible(text.as_bytes())
                ));
            }
            Event::WaitingForLock { path, .. } => {
                self.client.log(format!(
                    "waiting for locks or build slots: {}\n",
                    path.display()
                ));
            }
            _ => {}
        }
    }

    fn started(&mut self, item: &str, kind: Kind, derivation: &str, log: Option<&Path>) {
        if kind == Kind::Substitute {
            self.trace(&format!(
                "@ substituter-started {} substitute",
                self.output(item)
            ));
            return;
        }
        let next = u64::from(std::process::id()) + self.numbers.len() as u64;
        let number = *self.numbers.entry(item.to_owned()).or_insert(next);
        let path = self.path(derivation);
        let log = log.map(|log| log.display().to_string()).unwrap_or_default();
        match self.options.traces {
            true => self.trace(&format!(
                "@ build-started {path} - {} {log} {number}",
                self.system
            )),
            false => self.client.log(format!("building path(s) of `{path}'\n")),
        }
    }

    fn printed(&self, item: &str, text: &str) {
        let line = format!("{text}\n");
        match self.numbers.get(item) {
            Some(number) if self.options.traces && self.options.multiplexed => {
                let header = format!("@ build-log {number} {}\n", line.len());
                self.client.log(header + &line);
            }
            _ => self.client.log(line),
        }
    }

    fn downloaded(&mut self, item: &str, received: u64, total: Option<u64>, location: &str) {
        let size = total.map_or_else(|| "-".to_owned(), |total| total.to_string());
        // A field of the line ends at a space.
        let url: String = location.split_whitespace().collect();
        let known = self.downloads.get(item).map(|(path, _)| path.clone());
        let path = known.unwrap_or_else(|| {
            let path = self.output(item);
            self.downloads
                .insert(item.to_owned(), (path.clone(), url.clone()));
            self.extended(&format!("@ download-started {path} {url} {size}"));
            path
        });
        self.extended(&format!(
            "@ download-progress {path} {url} {size} {received}"
        ));
    }

    /// Sends a line that clients ask for with `print-build-trace`.
    fn trace(&self, line: &str) {
        if self.options.traces {
            self.client.log(format!("{line}\n"));
        }
    }

    /// Sends a line that clients ask for with `print-extended-build-trace`.
    fn extended(&self, line: &str) {
        if self.options.traces && self.options.extended_traces {
            self.client.log(format!("{line}\n"));
        }
    }

    fn shown(&self, path: &StorePath) -> String {
        self.store.directories().store_dir.display(path)
    }

    /// The path of what arrives for the item that events call `label`: the output of the derivation that has this base
    /// name, `out` or the one that is named after a colon; or the item itself. Clients know downloads and substitutes
    /// by that.
    fn output(&self, label: &str) -> String {
        let (derivation, name) = label.split_once(':').unwrap_or((label, "out"));
        let path = StorePath::from_base_name(derivation).ok();
        let path = path.filter(StorePath::is_derivation);
        let outputs = path.and_then(|path| self.store.derivation_outputs(&path).ok());
        match outputs.as_ref().and_then(|outputs| outputs.get(name)) {
            Some(output) => self.shown(output),
            None => self.path(label),
        }
    }

    /// The path of the item that events call `label`, which is a base name where the item came from the store.
    fn path(&self, label: &str) -> String {
        match StorePath::from_base_name(label) {
            Ok(path) => self.shown(&path),
            Err(_) => label.to_owned(),
        }
    }
}
