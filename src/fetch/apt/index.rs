// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks the signed package index what the archive offers.

use super::{Apt, AptError, command};
use crate::fetch::location::{is_package, is_version};
use crate::formats::hash::Sha256Digest;

/// A version of a binary package that the archive offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryPackage {
    /// The package.
    pub name: String,
    /// The version, with epoch and revision.
    pub version: String,
    /// The architecture; `all` where it fits every one.
    pub architecture: String,
    /// The size of the `.deb` in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: Sha256Digest,
    /// The path of the `.deb` below the archive's directory, `pool/…`; empty where the index does not name it.
    pub file: String,
    /// What it needs: for each relation of `Pre-Depends` and `Depends` the alternatives, as names without versions.
    pub depends: Vec<Vec<String>>,
    /// Further names that it answers to.
    pub provides: Vec<String>,
}

/// A package index; the seed's rules are tested against one that is made up.
pub trait PackageIndex {
    /// The version of each package that would be installed now. Packages that are not offered are left out.
    fn candidates(&self, names: &[String]) -> Result<Vec<BinaryPackage>, AptError>;

    /// The names of all packages that installing `names` on an empty system would bring, recommendations left out.
    fn installed_with(&self, names: &[String]) -> Result<Vec<String>, AptError>;

    /// Fetches the index again.
    fn refresh(&self) -> Result<(), AptError>;
}

impl PackageIndex for Apt {
    fn candidates(&self, names: &[String]) -> Result<Vec<BinaryPackage>, AptError> {
        show(self, &["show", "--no-all-versions", "--"], names)
    }

    fn installed_with(&self, names: &[String]) -> Result<Vec<String>, AptError> {
        check_names(names)?;
        let lock = self.lock()?;
        let mut arguments = vec![
            "-qq",
            "--simulate",
            "--no-install-recommends",
            "install",
            "--",
        ];
        arguments.extend(names.iter().map(String::as_str));
        Ok(simulated(&command::apt_get(self, &lock, &arguments)?))
    }

    fn refresh(&self) -> Result<(), AptError> {
        let mut lock = self.lock()?;
        self.update(&mut lock)
    }
}

fn show(apt: &Apt, options: &[&str], names: &[String]) -> Result<Vec<BinaryPackage>, AptError> {
    check_names(names)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = apt.lock()?;
    let mut arguments = options.to_vec();
    arguments.extend(names.iter().map(String::as_str));
    match command::apt_cache(apt, &arguments) {
        Ok(text) => parse(&text),
        // Where none of the names is known, apt-cache fails; where some are not, it does not.
        Err(AptError::Failed { message, .. }) if message.contains("No packages found") => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// A version of the source package `package` that has a file called `file`; `None` where none has.
///
/// Debian's fixes change the revision and not upstream's tarball, so the version that a recipe names may be gone and
/// its file still there.
pub(super) fn source_version_with(
    apt: &Apt,
    package: &str,
    file: &str,
) -> Result<Option<String>, AptError> {
    check_names(&[package.to_owned()])?;
    let text = command::apt_cache(apt, &["showsrc", "--only-source", "--", package])?;
    // Where several have it, any will do: the digest decides.
    Ok(text
        .split("\n\n")
        .find_map(|paragraph| version_with(paragraph, package, file)))
}

fn version_with(paragraph: &str, package: &str, file: &str) -> Option<String> {
    let field = |name: &str| {
        paragraph
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    // Files are listed as ` DIGEST SIZE NAME`.
    let has_file = || {
        paragraph
            .lines()
            .filter(|line| line.starts_with(' '))
            .any(|line| line.split_whitespace().nth(2) == Some(file))
    };
    let version = field("Version")?.trim();
    (field("Package")?.trim() == package && is_version(version) && has_file())
        .then(|| version.to_owned())
}

fn check_names(names: &[String]) -> Result<(), AptError> {
    match names.iter().find(|name| !is_package(name)) {
        Some(name) => Err(AptError::Index(format!(
            "`{name}` cannot be a package's name"
        ))),
        None => Ok(()),
    }
}

/// The packages of the lines `Inst NAME (VERSION …)`.
fn simulated(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

/// Reads the paragraphs of `apt-cache show`.
fn parse(text: &str) -> Result<Vec<BinaryPackage>, AptError> {
    text.split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
        .map(parse_paragraph)
        .collect()
}

fn parse_paragraph(text: &str) -> Result<BinaryPackage, AptError> {
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let name = field("Package").unwrap_or("(nameless)");
    let odd = |what: &str| AptError::Index(format!("package {name}: {what}"));
    let version = field("Version").unwrap_or_default();
    let architecture = field("Architecture").unwrap_or_default();
    if !is_package(name) || !is_version(version) || !is_package(architecture) {
        return Err(odd("expected a name, a version and an architecture"));
    }
    let size = field("Size").and_then(|size| size.parse().ok());
    let sha256 = field("SHA256").and_then(|digest| Sha256Digest::from_base16(digest).ok());
    let relations = |name: &str| field(name).map(parse_relations).unwrap_or_default();
    Ok(BinaryPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        size: size.ok_or_else(|| odd("expected a size"))?,
        sha256: sha256.ok_or_else(|| odd("expected a SHA-256"))?,
        file: field("Filename").unwrap_or_default().to_owned(),
        depends: [relations("Pre-Depends"), relations("Depends")].concat(),
        provides: relations("Provides").concat(),
    })
}

/// `a (>= 1) | b:any, c [arch]` as names: `[[a, b], [c]]`.
fn parse_relations(text: &str) -> Vec<Vec<String>> {
    text.split(',')
        .map(|relation| {
            relation
                .split('|')
                .filter_map(|alternative| {
                    alternative
                        .split([' ', ':', '(', '['])
                        .find(|word| !word.is_empty())
                })
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_read() {
        let digest = Sha256Digest::of(b"x");
        let text = format!(
            "Package: clang-16\nSource: llvm-toolchain-16\nVersion: 1:16.0.6-15~deb12u1\nArchitecture: amd64\n\
             Provides: c++-compiler, c-compiler (= 1)\nPre-Depends: libc6 (>= 2.34)\n\
             Depends: libgcc-s1 (>= 3.0), binutils | other:any\nDescription: C compiler\n more: text\n\
             Filename: pool/main/c.deb\nSize: 109884\nSHA256: {digest}\n\n\
             Package: dash\nVersion: 0.5.12-2\nArchitecture: amd64\nSize: 1\nSHA256: {digest}\n\n"
        );
        let packages = parse(&text).unwrap();
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].version, "1:16.0.6-15~deb12u1");
        assert_eq!(packages[0].size, 109_884);
        assert_eq!(
            (packages[0].file.as_str(), packages[1].file.as_str()),
            ("pool/main/c.deb", "")
        );
        assert_eq!(
            packages[0].depends,
            [vec!["libc6"], vec!["libgcc-s1"], vec!["binutils", "other"]]
        );
        assert_eq!(packages[0].provides, ["c++-compiler", "c-compiler"]);
        assert_eq!(packages[1].depends, Vec::<Vec<String>>::new());
    }

    #[test]
    fn odd_paragraphs_are_errors_that_name_the_package() {
        for text in [
            "Package: dash\nVersion: 1\nArchitecture: amd64\nSHA256: 00\nSize: 1\n",
            "Package: dash\nVersion: 1\nArchitecture: amd64\n",
            "Package: dash\nVersion: a b\nArchitecture: amd64\n",
        ] {
            assert!(parse(text).unwrap_err().to_string().contains("dash"));
        }
        assert!(check_names(&["--option".to_owned()]).is_err());
    }

    #[test]
    fn a_source_version_is_found_by_its_file() {
        let paragraph = "Package: sed\nBinary: sed\nVersion: 4.9-1+deb12u2\nFiles:\n \
                         0a 1397092 sed_4.9.orig.tar.xz\n 0b 100 sed_4.9-1.dsc\nDirectory: pool\n";
        let found = |package, file| version_with(paragraph, package, file);
        assert_eq!(
            found("sed", "sed_4.9.orig.tar.xz").as_deref(),
            Some("4.9-1+deb12u2")
        );
        assert_eq!(found("sed", "sed_4.8.orig.tar.xz"), None);
        assert_eq!(found("dash", "sed_4.9.orig.tar.xz"), None);
    }

    #[test]
    fn a_simulation_names_what_it_would_install() {
        let text = "Inst gcc-12-base (12.2.0-14 Debian:12 [amd64])\nInst libc6:amd64 (2.36 Debian:12 [amd64])\nConf libc6 (2.36 x)\n";
        assert_eq!(simulated(text), ["gcc-12-base", "libc6"]);
    }
}
