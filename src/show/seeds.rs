// SPDX-License-Identifier: GPL-3.0-or-later
//! A seed, in words and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::archive::Format;
use crate::road::seed::Seed;
use crate::show::progress::size;

/// A seed, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct ShownSeed {
    name: String,
    system: String,
    format: &'static str,
    source_variant: String,
    shell: String,
    search_path: Vec<String>,
    archives: Vec<ShownArchive>,
    links: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impure: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownArchive {
    name: String,
    sha256: String,
    size: Option<u64>,
    locations: Vec<String>,
}

impl ShownSeed {
    /// What is shown of `seed`.
    pub fn new(seed: Seed) -> Self {
        Self {
            format: match seed.format {
                Format::Deb => "deb",
                Format::Tar => "tar",
            },
            archives: seed
                .archives
                .iter()
                .map(|archive| ShownArchive {
                    name: archive.name.clone(),
                    sha256: archive.sha256.to_base16(),
                    size: archive.size,
                    locations: archive.locations.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            name: seed.name,
            system: seed.system,
            source_variant: seed.preferred_variant,
            shell: seed.shell,
            search_path: seed.search_path,
            links: seed.links,
            files: seed.files,
            impure: seed.impure,
        }
    }

    /// The same in words.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "name: {}\nsystem: {}\nformat: {}\nsource-variant: {}\nshell: {}\nsearch-path: {}\n",
            self.name,
            self.system,
            self.format,
            self.source_variant,
            self.shell,
            self.search_path.join(":")
        );
        if let Some(reason) = &self.impure {
            text.push_str(&format!("impure: {reason}\n"));
        }
        for archive in &self.archives {
            let size = archive
                .size
                .map_or_else(|| "of unknown size".to_owned(), size::bytes);
            text.push_str(&format!(
                "archive: {} {} {size}\n",
                archive.sha256, archive.name
            ));
            for location in &archive.locations {
                text.push_str(&format!("  from: {location}\n"));
            }
        }
        for (link, target) in &self.links {
            text.push_str(&format!("link: {link} -> {target}\n"));
        }
        for path in self.files.keys() {
            text.push_str(&format!("file: {path}\n"));
        }
        text
    }
}
