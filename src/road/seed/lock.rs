//! Reads and writes `seeds/NAME.lock`.
//!
//! One package a line, sorted by name, so that a change of one package is a change of one line:
//! `PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE`, separated by spaces, size in bytes, digest in base 16, file as APT names it.
//! Lines that start with `#` are for people.

use std::fmt::Write;

use super::{Archive, SeedError, store_name};
use crate::fetch::Location;
use crate::fetch::apt::BinaryPackage;
use crate::fetch::location::{binary_file_name, is_package, is_version};
use crate::formats::hash::Sha256Digest;

/// A pinned package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// The package.
    pub package: String,
    /// The version, with epoch and revision.
    pub version: String,
    /// The architecture; `all` where it fits every one.
    pub architecture: String,
    /// The size of the `.deb` in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: Sha256Digest,
}

/// All packages of a seed, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    packages: Vec<Pinned>,
}

impl Pinned {
    /// Whether `other` is this package in this version, whatever its bytes are.
    pub fn is_same_version(&self, other: &Self) -> bool {
        (&self.package, &self.version, &self.architecture)
            == (&other.package, &other.version, &other.architecture)
    }

    /// The file's name in the archive, as APT writes it.
    pub fn file(&self) -> String {
        binary_file_name(&self.package, &self.version, &self.architecture)
    }
}

impl From<&BinaryPackage> for Pinned {
    fn from(package: &BinaryPackage) -> Self {
        Self {
            package: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            size: package.size,
            sha256: package.sha256,
        }
    }
}

impl Lock {
    /// A lock of `packages`, each of another name.
    pub fn new(mut packages: Vec<Pinned>) -> Self {
        packages.sort();
        Self { packages }
    }

    /// The packages, sorted by name.
    pub fn packages(&self) -> &[Pinned] {
        &self.packages
    }

    /// The pinned package of that name.
    pub fn get(&self, package: &str) -> Option<&Pinned> {
        let index = self
            .packages
            .binary_search_by(|pinned| pinned.package.as_str().cmp(package))
            .ok()?;
        self.packages.get(index)
    }

    /// The archives that the lock pins.
    pub fn archives(&self) -> Vec<Archive> {
        self.packages
            .iter()
            .map(|pinned| Archive {
                name: store_name(&pinned.file()),
                sha256: pinned.sha256,
                size: Some(pinned.size),
                locations: vec![Location::DebianBinary {
                    package: pinned.package.clone(),
                    version: pinned.version.clone(),
                    architecture: pinned.architecture.clone(),
                }],
            })
            .collect()
    }

    /// Reads a lock. `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, SeedError> {
        let mut packages: Vec<Pinned> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| SeedError::Lock {
                file: file.to_owned(),
                line: index + 1,
                reason,
            };
            let pinned = parse_line(line).map_err(wrong)?;
            if let Some(last) = packages.last()
                && last.package >= pinned.package
            {
                return Err(wrong(format!(
                    "`{}` comes after `{}`: expected each package once, sorted by name",
                    pinned.package, last.package
                )));
            }
            packages.push(pinned);
        }
        if packages.is_empty() {
            return Err(SeedError::Lock {
                file: file.to_owned(),
                line: 1,
                reason: "it pins no package".to_owned(),
            });
        }
        Ok(Self { packages })
    }

    /// The lock as text, with `comment` lines at its top.
    pub fn to_text(&self, comment: &[&str]) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for line in comment {
            let _ = writeln!(text, "# {line}");
        }
        for pinned in &self.packages {
            let Pinned {
                package,
                version,
                architecture,
                size,
                sha256,
            } = pinned;
            let file = pinned.file();
            let _ = writeln!(
                text,
                "{package} {version} {architecture} {size} {sha256} {file}"
            );
        }
        text
    }
}

fn parse_line(line: &str) -> Result<Pinned, String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [package, version, architecture, size, sha256, file] = fields[..] else {
        return Err(format!(
            "expected PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE, saw {} fields",
            fields.len()
        ));
    };
    if !is_package(package) {
        return Err(format!("`{package}` cannot be a package's name"));
    }
    if !is_version(version) {
        return Err(format!("`{version}` cannot be a version of {package}"));
    }
    if !is_package(architecture) {
        return Err(format!("`{architecture}` cannot be an architecture"));
    }
    let pinned = Pinned {
        package: package.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        size: size
            .parse()
            .map_err(|_| format!("`{size}` is not a size in bytes"))?,
        sha256: Sha256Digest::from_base16(sha256).map_err(|error| error.to_string())?,
    };
    if pinned.file() != file {
        return Err(format!(
            "the file is `{file}`, expected `{}`",
            pinned.file()
        ));
    }
    Ok(pinned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> String {
        Sha256Digest::of(b"x").to_base16()
    }

    fn text() -> String {
        let digest = digest();
        format!(
            "# for people\n\
             clang-16 1:16.0.6-15~deb12u1 amd64 109884 {digest} clang-16_1%3a16.0.6-15~deb12u1_amd64.deb\n\
             sed 4.9-1 amd64 329092 {digest} sed_4.9-1_amd64.deb\n"
        )
    }

    #[test]
    fn a_lock_goes_both_ways() {
        let lock = Lock::parse("x.lock", &text()).unwrap();
        assert_eq!(lock.to_text(&["for people"]), text());
        assert_eq!(lock.get("sed").unwrap().size, 329_092);
        assert_eq!(lock.get("dash"), None);
        let archive = &lock.archives()[0];
        assert_eq!(archive.name, "clang-16_1-16.0.6-15-deb12u1_amd64.deb");
        assert_eq!(
            archive.locations[0].to_string(),
            "apt-binary:clang-16=1:16.0.6-15~deb12u1:amd64"
        );
    }

    #[test]
    fn wrong_locks_are_errors_with_their_lines() {
        let digest = digest();
        for (text, line, words) in [
            (String::new(), 1, "no package"),
            ("# a\nsed 4.9\n".to_owned(), 2, "saw 2 fields"),
            (
                format!("sed 4.9 amd64 x {digest} sed_4.9_amd64.deb\n"),
                1,
                "`x` is not a size",
            ),
            (
                "sed 4.9 amd64 1 beef sed_4.9_amd64.deb\n".to_owned(),
                1,
                "`beef`",
            ),
            (format!("-o 4.9 amd64 1 {digest} x\n"), 1, "`-o`"),
            (format!("sed a amd64 1 {digest} x\n"), 1, "`a`"),
            (
                format!("sed 4.9 amd64 1 {digest} ../sed.deb\n"),
                1,
                "expected `sed_4.9_amd64.deb`",
            ),
            (
                format!("{}{}", text(), text()),
                5,
                "`clang-16` comes after `sed`",
            ),
        ] {
            let error = Lock::parse("x.lock", &text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("x.lock:{line}: ")), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }
}
