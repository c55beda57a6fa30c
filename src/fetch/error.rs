// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a file is not there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::file_hash::FileHash;
use super::size_limit::NO_ROOM;
use crate::diagnostics::in_store;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::{visible, visible_path};

/// Part of the text about a suite whose key is missing; the hint of a failed download looks for it.
pub const NO_KEY: &str = "the host's Debian keyring lacks its key";

/// One place that was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchAttempt {
    /// The URL, or the text form of another location.
    pub location: String,
    /// What was expected and seen.
    pub reason: String,
}

/// The reason of an attempt at a mirror without servers.
pub(super) const NO_SERVER: &str = "no server of this mirror is known";

/// The attempts, one a line, for the end of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<FetchAttempt>);

impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FetchAttempt { location, reason } in &self.0 {
            // Servers and derivations chose them.
            let location = visible(without_secrets(location).as_ref());
            write!(formatter, "\n  {location}: {}", visible(reason))?;
        }
        Ok(())
    }
}

/// What kind of failure an error is; the command's exit status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Bytes came, and they are not the expected ones (exit status 3).
    HashDiffers,
    /// No place had the file (exit status 4).
    NotFetched,
    /// This machine is at fault: no space, no permission (exit status 5).
    Environment,
}

/// A file with other bytes than the expected ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongBytes {
    /// The file's name.
    pub name: String,
    /// Where it came from.
    pub origin: String,
    /// The expected hash.
    pub expected: FileHash,
    /// The hash of what came.
    pub actual: FileHash,
    /// Where the wrong file is now.
    pub kept: PathBuf,
    /// All places that were tried.
    pub attempts: Attempts,
}

impl fmt::Display for WrongBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            origin,
            expected,
            actual,
            kept,
            attempts,
        } = self;
        write!(
            formatter,
            "{name} from {origin} has the wrong bytes: expected {expected}, saw {actual}; kept as {}",
            visible_path(kept),
            name = visible(name),
            origin = visible(without_secrets(origin).as_ref()),
        )?;
        // One attempt says nothing new.
        if attempts.0.len() > 1 {
            write!(formatter, "; tried:{attempts}")?;
        }
        Ok(())
    }
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FetchError {
    /// No place had the file.
    #[error("cannot fetch {} ({hash}); tried:{attempts}", visible(name))]
    #[diagnostic(help("{}", after_attempts(attempts, hash, cache)))]
    NotFetched {
        /// The file's name.
        name: String,
        /// Its expected hash.
        hash: FileHash,
        /// The places that were tried.
        attempts: Attempts,
        /// The cache's directory of files.
        cache: PathBuf,
    },
    /// A place had a file with other bytes, and no other place had the right ones.
    #[error("{0}")]
    HashDiffers(Box<WrongBytes>),
    /// Not in the cache, and the network is not to be used.
    #[error(
        "{} ({hash}) is not in the cache, and --offline forbids fetching it",
        visible(name)
    )]
    #[diagnostic(help("run `bootstrap fetch` with a network first"))]
    Offline {
        /// The file's name.
        name: String,
        /// Its expected hash.
        hash: FileHash,
    },
    /// The cache cannot be read or written.
    #[error("cannot use the cache: {}: {error}", visible_path(path))]
    #[diagnostic(help("{}", in_store(error)))]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What to do where no place had a file.
fn after_attempts(attempts: &Attempts, hash: &FileHash, cache: &Path) -> String {
    let place = format!(
        "put the file into {} under the name {}, or try again later where a server did not answer",
        visible_path(cache),
        hash.file_name()
    );
    if attempts
        .0
        .iter()
        .any(|attempt| attempt.reason.starts_with("the proxy "))
    {
        return format!(
            "check `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` in the environment; or {place}"
        );
    }
    if attempts
        .0
        .iter()
        .any(|attempt| attempt.reason.contains("asks for a login"))
    {
        return format!("log in to the network with a browser, and try again; or {place}");
    }
    if attempts
        .0
        .iter()
        .any(|attempt| attempt.reason.contains(NO_ROOM))
    {
        return format!(
            "make room in the file system of {}, or choose another cache with --cache-dir DIR",
            visible_path(cache)
        );
    }
    let unset = attempts.0.iter().find_map(|attempt| {
        let rest = attempt.location.strip_prefix("mirror://")?;
        let (name, _) = rest.split_once('/')?;
        (attempt.reason == NO_SERVER).then_some(name)
    });
    let place = match unset {
        Some(name) => format!(
            "name a server with `--mirrors {name}=URL`, in `BOOTSTRAP_MIRRORS` or as `mirrors` in /etc/bootstrap.toml \
             (docs/seeds.md, \"Servers\"); or {place}"
        ),
        None => place,
    };
    let lacks_key = |attempt: &FetchAttempt| attempt.reason.starts_with(NO_KEY);
    let place = match attempts.0.iter().any(lacks_key) {
        true => {
            format!("install a newer `debian-archive-keyring` to search all suites; or {place}")
        }
        false => place,
    };
    let is_pinned = |attempt: &FetchAttempt| attempt.location.starts_with("apt-binary:");
    match attempts.0.iter().any(is_pinned) {
        true => format!(
            "{place}; or pin what Debian's archive has now with `bootstrap seed update`, which changes all store paths (`bootstrap \
             seed reset` goes back)"
        ),
        false => place,
    }
}

impl FetchError {
    /// What kind of failure this is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::HashDiffers(_) => FailureClass::HashDiffers,
            Self::NotFetched { .. } | Self::Offline { .. } => FailureClass::NotFetched,
            Self::Cache { .. } => FailureClass::Environment,
        }
    }

    /// Makes an I/O error into one of these; for `map_err`.
    pub(super) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Cache { path, error }
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;

    use super::*;
    use crate::formats::hash::Sha256Digest;

    /// The hint where the attempt at `location` failed for `reason`.
    fn hint(location: &str, reason: &str) -> String {
        let error = FetchError::NotFetched {
            name: "base.deb".to_owned(),
            hash: Sha256Digest::of("base").into(),
            attempts: Attempts(vec![FetchAttempt {
                location: location.to_owned(),
                reason: reason.to_owned(),
            }]),
            cache: PathBuf::from("/cache/files"),
        };
        error.help().unwrap().to_string()
    }

    #[test]
    fn the_hint_about_a_pinned_package_names_the_way_on_and_the_way_back() {
        let pinned = hint("apt-binary:base=1:amd64", "it answers 404 Not Found");
        for words in [
            "/cache/files",
            "bootstrap seed update",
            "bootstrap seed reset",
        ] {
            assert!(pinned.contains(words), "{pinned}");
        }
        let other = hint("https://example.org/base.tar", "it answers 404 Not Found");
        assert!(
            other.contains("/cache/files") && !other.contains("seed"),
            "{other}"
        );
    }

    #[test]
    fn the_hint_about_a_mirror_without_servers_says_how_to_name_one() {
        for name in ["debian", "debian-security", "debian-snapshot"] {
            let unset = hint(&format!("mirror://{name}/pool/x.deb"), NO_SERVER);
            assert!(unset.contains(&format!("--mirrors {name}=URL")), "{unset}");
        }
        let dead = hint("http://mirror.example/pool/x.deb", "it does not answer");
        assert!(!dead.contains("--mirrors"), "{dead}");
    }
}
