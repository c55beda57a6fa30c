// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds files of Debian's source packages by their SHA-256 alone.
//!
//! Each suite has a private APT of its own, which fetches the signed `Sources` index from the host's mirror. So a suite
//! that cannot be fetched, or whose key the host lacks, does not keep the others from being searched. An index is one
//! file of some 50 MB. It is searched as bytes for the digest; only the paragraph around the digest is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bstr::ByteSlice;

use super::{Apt, AptError, AptSettings, command};
use crate::fetch::error::NO_KEY;
use crate::fetch::location::{Location, is_file_name, is_package, is_version};
use crate::formats::hash::Sha256Digest;
use crate::formats::visible::visible_path;
use crate::limited_file;

/// The suites that are searched, in this order, by the names that move from release to release. `testing` is left out:
/// nearly all of it is in `unstable`.
pub const SUITES: &[&str] = &["stable", "oldstable", "unstable", "oldoldstable"];

/// The age from which an index is fetched again.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file of a source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name for APT.
    pub location: Location,
    /// Its path below a mirror, `pool/…`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What a search of one suite came to.
#[derive(Debug)]
pub enum Searched<'a> {
    /// The suite has the file; its APT can fetch it.
    Found(SourceFile, &'a Apt),
    /// It has no file with the digest.
    Missing,
    /// The index cannot be fetched, and why. `None` where the host has no APT.
    Unusable(Option<String>),
}

/// The source packages of several suites.
#[derive(Debug)]
pub struct SourceIndex(Vec<Suite>);

#[derive(Debug)]
struct Suite {
    name: &'static str,
    apt: Apt,
    /// The files of the index, or why there are none. Asked for once.
    files: OnceLock<Result<Vec<PathBuf>, Option<String>>>,
}

impl SourceIndex {
    /// The suites of the archive that `settings` name, with private APTs under the directory `cache`. Does nothing yet.
    pub fn new(cache: &Path, settings: &AptSettings) -> Self {
        let suites = SUITES.iter().map(|name| Suite {
            name,
            apt: Apt::new(
                cache,
                AptSettings {
                    release: (*name).to_owned(),
                    only_sources: true,
                    ..settings.clone()
                },
            ),
            files: OnceLock::new(),
        });
        Self(suites.collect())
    }

    /// Searches suite after suite for the file with the digest `sha256`. An index that is not there yet is fetched when
    /// its turn comes.
    pub fn search<'a>(
        &'a self,
        sha256: &Sha256Digest,
    ) -> impl Iterator<Item = (&'static str, Searched<'a>)> {
        let digest = sha256.to_base16();
        let suites = self.0.iter();
        suites.map(move |suite| (suite.name, suite.search(&digest)))
    }
}

impl Suite {
    fn search(&self, digest: &str) -> Searched<'_> {
        let files = match self.files.get_or_init(|| self.fetch_index()) {
            Ok(files) => files,
            Err(reason) => return Searched::Unusable(reason.clone()),
        };
        for file in files {
            match limited_file::read_regular(file, limited_file::INDEX) {
                Ok(index) => {
                    if let Some(found) = find(&index, digest) {
                        return Searched::Found(found, &self.apt);
                    }
                }
                Err(error) => {
                    return Searched::Unusable(Some(AptError::io(file)(error).to_string()));
                }
            }
        }
        Searched::Missing
    }

    /// Sees to it that the index is there and not old.
    fn fetch_index(&self) -> Result<Vec<PathBuf>, Option<String>> {
        let updated = || -> Result<(), AptError> {
            command::find(&self.apt.settings, "apt-get")?;
            let mut lock = self.apt.lock()?;
            if self.is_old()
                && let Err(error) = self.apt.update(&mut lock)
            {
                tracing::debug!(suite = self.name, %error, "an old index of sources is used");
            }
            Ok(())
        };
        match updated() {
            Ok(()) => self.index_files().map_err(|error| Some(error.to_string())),
            Err(error @ AptError::Missing { .. }) => {
                tracing::debug!(suite = self.name, %error, "sources are not searched");
                Err(None)
            }
            Err(AptError::NoEntries { directory, .. }) => Err(Some(format!(
                "not searched: {} has no entry for Debian's archive",
                visible_path(&directory)
            ))),
            Err(AptError::Failed { message, .. }) if lacks_key(&message) => {
                Err(Some(format!("{NO_KEY}: {message}")))
            }
            Err(error) => Err(Some(error.to_string())),
        }
    }

    fn is_old(&self) -> bool {
        let fetched = fs::metadata(self.apt.stamp()).and_then(|status| status.modified());
        let age = fetched.map(|time| SystemTime::now().duration_since(time));
        matches!(age, Ok(Ok(age)) if age > MAX_AGE)
    }

    fn index_files(&self) -> Result<Vec<PathBuf>, AptError> {
        let lists = self.apt.directory.join("lists");
        let mut files = Vec::new();
        for entry in fs::read_dir(&lists).map_err(AptError::io(&lists))? {
            let path = entry.map_err(AptError::io(&lists))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.ends_with("_Sources")) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Whether APT's message is about a signature that no key of the host is for.
fn lacks_key(message: &str) -> bool {
    // Without a place for its temporary files APT looks at no signature, and takes it for missing.
    !command::lacks_temporary(message)
        && ["NO_PUBKEY", "EXPKEYSIG", "is not signed", "Missing key"]
            .iter()
            .any(|words| message.contains(words))
}

/// The file with the digest `digest` in `index`, paragraphs of fields that are separated by empty lines.
fn find(index: &[u8], digest: &str) -> Option<SourceFile> {
    let mut from = 0;
    while let Some(at) = index.get(from..)?.find(digest.as_bytes()) {
        let at = from + at;
        let start = index[..at].rfind(b"\n\n").map_or(0, |blank| blank + 2);
        let end = index[at..].find(b"\n\n");
        let end = end.map_or(index.len(), |blank| at + blank);
        if let Some(found) = read_paragraph(&index[start..end], digest) {
            return Some(found);
        }
        from = at + digest.len();
    }
    None
}

/// The file with the digest in the paragraph of a source package (deb-src-control(5)).
fn read_paragraph(paragraph: &[u8], digest: &str) -> Option<SourceFile> {
    let text = std::str::from_utf8(paragraph).ok()?;
    let field = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim)
    };
    // ` DIGEST SIZE NAME`.
    let (size, file) = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix(digest)?;
        let [size, file] = *rest.split_whitespace().collect::<Vec<_>>() else {
            return None;
        };
        Some((size.parse().ok()?, file))
    })?;
    let (package, version) = (field("Package")?, field("Version")?);
    let directory = field("Directory")?.trim_end_matches('/');
    let is_below = directory.starts_with("pool/") && directory.split('/').all(is_file_name);
    if !is_package(package) || !is_version(version) || !is_file_name(file) || !is_below {
        return None;
    }
    Some(SourceFile {
        path: format!("{directory}/{file}"),
        size,
        location: Location::DebianSource {
            package: package.to_owned(),
            version: version.to_owned(),
            file: file.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A paragraph as Debian's index has it.
    fn paragraph(package: &str, directory: &str, file: &str) -> String {
        format!(
            "Package: {package}\nBinary: a,\n b\nVersion: 1:1.3-2\nMaintainer: Ü <u@example.org>\n\
             Files:\n 0123 7 {file}\nChecksums-Sha256:\n {} 99 other.dsc\n {} 7 {file}\nDirectory: {directory}\n\n",
            Sha256Digest::of("other"),
            Sha256Digest::of(file),
        )
    }

    #[test]
    fn a_file_is_found_by_its_digest_alone() {
        let index = ["first", "second", "third"].map(|package| {
            paragraph(
                package,
                &format!("pool/main/p/{package}"),
                &format!("{package}_1.3.orig.tar.xz"),
            )
        });
        let index = index.concat();
        for package in ["first", "second", "third"] {
            let file = format!("{package}_1.3.orig.tar.xz");
            let digest = Sha256Digest::of(&file).to_base16();
            let found = find(index.as_bytes(), &digest).unwrap();
            assert_eq!(
                found.location.to_string(),
                format!("apt-source:{package}=1:1.3-2/{file}")
            );
            assert_eq!(found.path, format!("pool/main/p/{package}/{file}"));
            assert_eq!(found.size, 7);
        }
        let absent = Sha256Digest::of("absent").to_base16();
        assert_eq!(find(index.as_bytes(), &absent), None);
        assert_eq!(find(b"", &absent), None);
    }

    #[test]
    fn an_index_cannot_lead_out_of_the_pool() {
        for (package, directory, file) in [
            ("a", "pool/../../etc", "x"),
            ("a", "/etc", "x"),
            ("a", "dists", "x"),
            ("-o", "pool/main/a", "x"),
            ("a", "pool/main/a", "../x"),
            ("a", "pool//a", "x"),
        ] {
            let digest = Sha256Digest::of(file).to_base16();
            let text = paragraph(package, directory, file);
            assert_eq!(find(text.as_bytes(), &digest), None, "{text}");
            // Another package with the file is found all the same.
            let text = text + &paragraph("b", "pool/main/b", file);
            let found = find(text.as_bytes(), &digest);
            assert_eq!(found.is_some(), is_file_name(file), "{text}");
        }
    }
}
