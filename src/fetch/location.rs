// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a file can be fetched, and the text form of that in derivations.

use std::fmt;
use std::str::FromStr;

/// One place to get a file from.
///
/// The text form (`Display`, `FromStr`) is what the variable `url` of a `builtin:download` derivation holds, separated
/// by spaces: a plain URL, `apt-source:PACKAGE=VERSION/FILE`, or `apt-binary:PACKAGE=VERSION:ARCHITECTURE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// An `http:` or `https:` URL, or `mirror://NAME/PATH` (see [`super::mirrors`]).
    Url(String),
    /// A file of a Debian source package.
    DebianSource {
        /// The source package.
        package: String,
        /// Its version, with epoch and revision.
        version: String,
        /// The file's name in the archive, such as `sed_4.9.orig.tar.xz`.
        file: String,
    },
    /// A Debian binary package.
    DebianBinary {
        /// The package.
        package: String,
        /// Its version, with epoch and revision.
        version: String,
        /// Its architecture; `all` where it fits every one.
        architecture: String,
    },
}

/// A text that is not a [`Location`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error(
    "`{text}` is not a place to fetch from: {expected} (known are http:, https:, mirror:, \
     apt-source:PACKAGE=VERSION/FILE and apt-binary:PACKAGE=VERSION:ARCHITECTURE)"
)]
pub struct InvalidLocation {
    /// The text as it was given.
    pub text: String,
    /// What was expected.
    pub expected: &'static str,
}

impl InvalidLocation {
    /// What was expected, for a message that quotes the text itself.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl Location {
    /// The name of the file that `apt-get` leaves; `None` for URLs.
    pub fn apt_file_name(&self) -> Option<String> {
        match self {
            Self::Url(_) => None,
            Self::DebianSource { file, .. } => Some(file.clone()),
            Self::DebianBinary {
                package,
                version,
                architecture,
            } => Some(binary_file_name(package, version, architecture)),
        }
    }

    /// For a file of a Debian source package: where mirrors have it, and the snapshot archive where a time is given.
    /// Empty for other locations.
    ///
    /// Debian's archive has the files of a source in a directory that follows from the package's name (dak's
    /// `poolify`).
    pub fn pool_urls(&self, snapshot: Option<&str>) -> Vec<String> {
        let Self::DebianSource { package, file, .. } = self else {
            return Vec::new();
        };
        let length = if package.starts_with("lib") { 4 } else { 1 };
        let prefix = package.get(..length).unwrap_or(package);
        let paths = [
            ("debian", format!("pool/main/{prefix}/{package}/{file}")),
            (
                "debian-security",
                format!("pool/updates/main/{prefix}/{package}/{file}"),
            ),
        ];
        let mut urls: Vec<String> = paths
            .iter()
            .map(|(archive, path)| format!("mirror://{archive}/{path}"))
            .collect();
        if let Some(time) = snapshot {
            let kept = paths.iter();
            urls.extend(kept.map(|(archive, path)| {
                format!("mirror://debian-snapshot/{archive}/{time}/{path}")
            }));
        }
        urls
    }
}

/// The name that APT gives a binary package's file: the epoch's colon is quoted as in a URL.
pub fn binary_file_name(package: &str, version: &str, architecture: &str) -> String {
    let version = version.replace(':', "%3a");
    format!("{package}_{version}_{architecture}.deb")
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(url),
            Self::DebianSource {
                package,
                version,
                file,
            } => write!(formatter, "apt-source:{package}={version}/{file}"),
            Self::DebianBinary {
                package,
                version,
                architecture,
            } => write!(formatter, "apt-binary:{package}={version}:{architecture}"),
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |expected| InvalidLocation {
            text: text.to_owned(),
            expected,
        };
        if text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control())
        {
            return Err(invalid("expected a text without spaces"));
        }
        if let Some(rest) = text.strip_prefix("apt-source:") {
            let expected = "expected apt-source:PACKAGE=VERSION/FILE";
            let (package, rest) = rest.split_once('=').ok_or_else(|| invalid(expected))?;
            let (version, file) = rest.split_once('/').ok_or_else(|| invalid(expected))?;
            if !is_package(package) || !is_version(version) || !is_file_name(file) {
                return Err(invalid(expected));
            }
            return Ok(Self::DebianSource {
                package: package.to_owned(),
                version: version.to_owned(),
                file: file.to_owned(),
            });
        }
        if let Some(rest) = text.strip_prefix("apt-binary:") {
            let expected = "expected apt-binary:PACKAGE=VERSION:ARCHITECTURE";
            let (package, rest) = rest.split_once('=').ok_or_else(|| invalid(expected))?;
            // An epoch has a colon too: the last one counts.
            let (version, architecture) = rest.rsplit_once(':').ok_or_else(|| invalid(expected))?;
            if !is_package(package) || !is_version(version) || !is_package(architecture) {
                return Err(invalid(expected));
            }
            return Ok(Self::DebianBinary {
                package: package.to_owned(),
                version: version.to_owned(),
                architecture: architecture.to_owned(),
            });
        }
        if let Some(rest) = text.strip_prefix("mirror://") {
            if !super::mirrors::is_known(rest) {
                return Err(invalid("no such mirror is known"));
            }
        } else if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(invalid("expected an address with http:, https: or mirror:"));
        }
        Ok(Self::Url(text.to_owned()))
    }
}

/// Whether `text` may stand for a package or architecture in APT's arguments: nothing that APT reads as an option, a
/// pattern or a path (Debian policy, 5.6.1).
pub fn is_package(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

/// Whether `text` is a Debian version (policy, 5.6.12).
pub fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte))
}

/// Whether `text` is a plain file name.
pub fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_goes_both_ways() {
        for text in [
            "https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz",
            "mirror://gnu/sed/sed-4.9.tar.xz",
            "apt-source:gcc-12=12.2.0-14+deb12u1/gcc-12_12.2.0.orig.tar.gz",
            "apt-source:make-dfsg=4.3-4.1/make-dfsg_4.3.orig.tar.gz",
            "apt-binary:clang-16=1:16.0.6-15~deb12u1:amd64",
            "apt-binary:libc++1-16=1:16.0.6-15~deb12u1:all",
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        let location: Location = "apt-binary:clang-16=1:16.0.6-15~deb12u1:amd64"
            .parse()
            .unwrap();
        assert_eq!(
            location,
            Location::DebianBinary {
                package: "clang-16".to_owned(),
                version: "1:16.0.6-15~deb12u1".to_owned(),
                architecture: "amd64".to_owned(),
            }
        );
        assert_eq!(
            location.apt_file_name().unwrap(),
            "clang-16_1%3a16.0.6-15~deb12u1_amd64.deb"
        );
    }

    #[test]
    fn a_source_is_in_the_pool_under_its_packages_name() {
        let urls = |text: &str, snapshot| text.parse::<Location>().unwrap().pool_urls(snapshot);
        assert_eq!(
            urls(
                "apt-source:sed=4.9-1/sed_4.9.orig.tar.xz",
                Some("20261123T180000Z")
            ),
            [
                "mirror://debian/pool/main/s/sed/sed_4.9.orig.tar.xz",
                "mirror://debian-security/pool/updates/main/s/sed/sed_4.9.orig.tar.xz",
                "mirror://debian-snapshot/debian/20261123T180000Z/pool/main/s/sed/sed_4.9.orig.tar.xz",
                "mirror://debian-snapshot/debian-security/20261123T180000Z/pool/updates/main/s/sed/sed_4.9.orig.tar.xz",
            ]
        );
        assert_eq!(
            urls("apt-source:libzstd=1.5.4-1/z.tar.gz", None)[0],
            "mirror://debian/pool/main/libz/libzstd/z.tar.gz"
        );
        assert!(urls("apt-binary:sed=4.9-1:amd64", None).is_empty());
        assert!(urls("https://example.org/sed.tar.xz", None).is_empty());
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in [
            "",
            "sed-4.9.tar.xz",
            "file:///etc/passwd",
            "ftp://ftp.gnu.org/gnu",
            "https://two urls",
            "mirror://nowhere/x",
            "apt-source:sed/sed.tar",
            "apt-source:sed=4.9",
            "apt-source:sed=4.9/../../x",
            "apt-source:--option=4.9/x",
            "apt-binary:sed=4.9",
            "apt-binary:sed=:amd64",
            "apt-binary:../sed=4.9:amd64",
            "apt-binary:sed=4.9/stable:amd64",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }
}
