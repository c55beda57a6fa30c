// SPDX-License-Identifier: GPL-3.0-or-later
//! What is different about a build that is made again, so that accidents do not pass for reproducibility.
//!
//! Everything here is something that a build is not supposed to depend on. Host name and user are the sandbox's own
//! invention, so that changing them shows what got into an output; the caller's umask must not get into a build at all.
//! The time of a second build is another by itself.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::settings::BuildSettings;
use crate::sandbox::BuildUser;

/// The host name that builds see as a rule.
const HOST_NAME: &str = "localhost";

/// What is different; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variation {
    /// Cores that builds may use.
    pub cores: Option<NonZeroUsize>,
    /// Processors that builds can run on.
    pub processors: Option<usize>,
    /// The umask of this process.
    pub umask: Option<u32>,
    /// The host name that builds see.
    pub host_name: Option<String>,
    /// Who builds are.
    pub user: Option<BuildUser>,
    /// `TZ` in the environment of builds that do not set it.
    pub time_zone: Option<String>,
    /// `LANG` and `LC_ALL` in the environment of builds that do not set them.
    pub locale: Option<String>,
    /// Where build directories are made: on another file system, directories list their entries in another order.
    pub directory: Option<PathBuf>,
}

impl Variation {
    /// The variables that a build has unless its derivation sets them.
    pub fn environment(&self) -> impl Iterator<Item = (String, String)> {
        let locale = &self.locale;
        let variables = [
            ("TZ", &self.time_zone),
            ("LANG", locale),
            ("LC_ALL", locale),
        ];
        variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
    }

    /// The host name that builds see.
    pub fn host_name(&self) -> &str {
        self.host_name.as_deref().unwrap_or(HOST_NAME)
    }

    /// `settings`, varied.
    pub fn settings(&self, settings: &BuildSettings) -> BuildSettings {
        let mut varied = settings.clone();
        if let Some(cores) = self.cores {
            let more = cores.get().saturating_sub(settings.cores.get());
            varied.cores = cores;
            varied.tokens = settings.tokens.saturating_add(more);
        }
        if let Some(user) = &self.user {
            varied.user = user.clone();
        }
        if let Some(directory) = &self.directory {
            varied.temporary = directory.clone();
        }
        varied.limits.processors = self.processors.or(varied.limits.processors);
        varied
    }

    /// What is different, by name, for messages and documents.
    pub fn describe(&self) -> BTreeMap<String, String> {
        let all = [
            ("cores", self.cores.map(|cores| cores.to_string())),
            ("processors", self.processors.map(|count| count.to_string())),
            ("umask", self.umask.map(|umask| format!("{umask:03o}"))),
            ("host-name", self.host_name.clone()),
            (
                "user",
                self.user
                    .as_ref()
                    .map(|user| format!("{} {}", user.name, user.uid)),
            ),
            ("time-zone", self.time_zone.clone()),
            ("locale", self.locale.clone()),
            (
                "directory-order",
                self.directory
                    .as_ref()
                    .map(|directory| format!("that of the file system of {}", directory.display())),
            ),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    /// Gives this process the umask, until the result is dropped.
    pub(super) fn enter(&self) -> Umask {
        let umask = self.umask.map(|umask| {
            // A mode is 16 bits wide on some systems.
            let mode = rustix::fs::Mode::from_bits_truncate((umask & 0o777) as _);
            rustix::process::umask(mode)
        });
        Umask(umask)
    }
}

/// Puts the umask back.
pub(super) struct Umask(Option<rustix::fs::Mode>);

impl Drop for Umask {
    fn drop(&mut self) {
        if let Some(mode) = self.0 {
            rustix::process::umask(mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_varies_by_itself() {
        let variation = Variation::default();
        assert_eq!(variation.environment().count(), 0);
        assert_eq!(variation.host_name(), "localhost");
        assert!(variation.describe().is_empty());
    }

    #[test]
    fn what_varies_is_told() {
        let variation = Variation {
            umask: Some(0o27),
            time_zone: Some("UTC-9".into()),
            locale: Some("de_DE.UTF-8".into()),
            ..Variation::default()
        };
        let names: Vec<String> = variation.environment().map(|(name, _)| name).collect();
        assert_eq!(names, ["TZ", "LANG", "LC_ALL"]);
        assert_eq!(variation.describe()["umask"], "027");
    }
}
