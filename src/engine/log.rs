// SPDX-License-Identifier: GPL-3.0-or-later
//! The logs of builds.

use std::io::{self, Read};
use std::path::PathBuf;

use super::error::EngineError;
use super::planned::Planned;
use super::session::Session;
use crate::builder::log::{find_log, open_log};
use crate::formats::store_path::StorePath;

/// The log of a build.
pub struct BuildLog {
    /// The label of what was built.
    pub label: String,
    /// The file, compressed.
    pub path: PathBuf,
    /// The text; `None` where there is no log. The log of a build that was killed, or still runs, ends with an
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub text: io::Result<Option<Box<dyn Read>>>,
}

impl Session {
    /// The log of the last build of what is called `name`: a package, or a source that was made again in a larger root.
    ///
    /// # Errors
    /// Where the plan has nothing of that name.
    pub fn log(&self, planned: &Planned, name: &str) -> Result<BuildLog, EngineError> {
        let node = match planned.package(name) {
            Ok((node, _)) => node,
            Err(error) => planned.plan.get(name).ok_or(error)?,
        };
        Ok(self.log_of(&node.label, &node.derivation_path))
    }

    /// The log of the last build of a derivation, which need not be valid any more.
    pub fn derivation_log(&self, derivation: &StorePath) -> BuildLog {
        self.log_of(derivation.base_name(), derivation)
    }

    fn log_of(&self, label: &str, derivation: &StorePath) -> BuildLog {
        let logs = &self.directories().log;
        let opened = open_log(logs, derivation);
        BuildLog {
            label: label.to_owned(),
            path: find_log(logs, derivation),
            text: opened,
        }
    }
}
