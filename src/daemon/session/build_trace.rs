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
use crate::store::directories::Directories;

/// Reports one run to one client.
pub(super) struct Traces<'t> {
    client: &'t ClientWriter,
    options: &'t ClientSettings,
    directories: &'t Directories,
    system: &'t str,
    /// The number that stands for each build where outputs are mixed: clients take it for its process.
    numbers: BTreeMap<String, u64>,
    /// The downloads that the client knows of.
    downloads: BTreeMap<String, String>,
}

impl<'t> Traces<'t> {
    pub(super) fn new(
        client: &'t ClientWriter,
        options: &'t ClientSettings,
        directories: &'t Directories,
        system: &'t str,
    ) -> Self {
        Self {
            client,
            options,
            directories,
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
                if let Some(url) = self.downloads.remove(item) {
                    let size: u64 = made.outputs.iter().map(|output| output.nar_size).sum();
                    self.extended(&format!(
                        "@ download-succeeded {} {url} {size}",
                        self.path(item)
                    ));
                }
                match kind {
                    Kind::Substitute => {
                        self.trace(&format!("@ substituter-succeeded {}", self.path(item)));
                    }
                    _ => self.trace(&format!("@ build-succeeded {} -", self.path(item))),
                }
            }
            Event::Failed { item, message, .. } => {
                let first = message.lines().next().unwrap_or_default();
                self.trace(&format!("@ build-failed {} - 1 {first}", self.path(item)));
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
                self.path(item)
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
        let path = self.path(item);
        let size = total.map_or_else(|| "-".to_owned(), |total| total.to_string());
        // A field of the line ends at a space.
        let url: String = location.split_whitespace().collect();
        if !self.downloads.contains_key(item) {
            self.downloads.insert(item.to_owned(), url.clone());
            self.extended(&format!("@ download-started {path} {url} {size}"));
        }
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

    /// The path of the item that events call `label`, which is a base name where the item came from the store.
    fn path(&self, label: &str) -> String {
        match StorePath::from_base_name(label) {
            Ok(path) => self.directories.store_dir.display(&path),
            Err(_) => label.to_owned(),
        }
    }
}
