// SPDX-License-Identifier: GPL-3.0-or-later
//! `mirror://NAME/PATH`: one short name for several servers that hold the same files.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::formats::scheme::Datum;

/// The mirrors by name, each a list of prefixes in the order in which they are tried.
///
/// The first for GNU redirects to a mirror nearby, which spares the main server.
const MIRRORS: &[(&str, &[&str])] = &[
    (
        "gnu",
        &[
            "https://ftpmirror.gnu.org/gnu/",
            "https://ftp.gnu.org/gnu/",
            "https://mirrors.kernel.org/gnu/",
        ],
    ),
    (
        "sourceware",
        &[
            "https://sourceware.org/pub/",
            "https://mirrors.kernel.org/sourceware/",
        ],
    ),
    ("savannah", &["https://download.savannah.gnu.org/releases/"]),
    // Plain HTTP, as Debian's own configuration has it: caches on the way can help, and the digest decides.
    ("debian", &["http://deb.debian.org/debian/"]),
    (
        "debian-security",
        &[
            "http://deb.debian.org/debian-security/",
            "http://security.debian.org/debian-security/",
        ],
    ),
    // All that Debian's archives ever held: ARCHIVE/TIME/PATH.
    ("debian-snapshot", &["https://snapshot.debian.org/archive/"]),
];

/// Prefixes of the user's own in place of the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(BTreeMap<String, Vec<String>>);

/// A text that does not name mirrors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mirror: expected NAME=URL with an http: or https: URL, NAME being one of {names}", names = names())]
pub struct InvalidMirror(String);

impl FromStr for Mirrors {
    type Err = InvalidMirror;

    /// Reads `NAME=URL` pairs that are separated by spaces. Of several with one name, the first is tried first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mirrors = Self::default();
        for pair in text.split_whitespace() {
            let invalid = || InvalidMirror(pair.to_owned());
            let (name, url) = pair.split_once('=').ok_or_else(invalid)?;
            let is_url = url.starts_with("http://") || url.starts_with("https://");
            if !is_url || builtin(name).is_none() {
                return Err(invalid());
            }
            let prefix = format!("{}/", url.trim_end_matches('/'));
            mirrors.0.entry(name.to_owned()).or_default().push(prefix);
        }
        Ok(mirrors)
    }
}

impl Mirrors {
    /// The URLs that `url` stands for, in the order to try: several for a mirror, otherwise itself.
    pub fn urls(&self, url: &str) -> Vec<String> {
        let expanded = url.strip_prefix("mirror://").and_then(|rest| {
            let (name, path) = rest.split_once('/')?;
            match self.0.get(name) {
                Some(prefixes) => Some(join(prefixes, path)),
                None => expand(rest),
            }
        });
        expanded.unwrap_or_else(|| vec![url.to_owned()])
    }
}

fn builtin(name: &str) -> Option<&'static [&'static str]> {
    let (_, prefixes) = MIRRORS.iter().find(|(known, _)| *known == name)?;
    Some(prefixes)
}

fn names() -> String {
    let names: Vec<&str> = MIRRORS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn join<P: AsRef<str>>(prefixes: &[P], path: &str) -> Vec<String> {
    let urls = prefixes.iter();
    urls.map(|prefix| format!("{}{path}", prefix.as_ref()))
        .collect()
}

/// The URLs that `NAME/PATH` stands for; `None` where no such mirror is known or the path is empty.
pub fn expand(name_and_path: &str) -> Option<Vec<String>> {
    let (name, path) = name_and_path.split_once('/')?;
    let prefixes = builtin(name)?;
    (!path.is_empty()).then(|| join(prefixes, path))
}

/// The built-in mirrors as the contents of a `mirrors` file of Guix's.
pub fn scheme_list() -> String {
    let lists = MIRRORS.iter().map(|(name, prefixes)| {
        let prefixes = prefixes.iter();
        let strings = prefixes.map(|prefix| Datum::String((*prefix).to_owned()));
        let name = Datum::Symbol((*name).to_owned());
        Datum::List([name].into_iter().chain(strings).collect())
    });
    Datum::List(lists.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_stands_for_several_servers_in_order() {
        let urls = Mirrors::default().urls("mirror://gnu/sed/sed-4.9.tar.xz");
        assert!(urls.len() > 1);
        assert_eq!(urls[1], "https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz");
        assert!(
            urls.iter()
                .all(|url| url.ends_with("/gnu/sed/sed-4.9.tar.xz"))
        );
    }

    #[test]
    fn other_urls_stand_for_themselves() {
        let mirrors = Mirrors::default();
        assert_eq!(
            mirrors.urls("https://example.org/x"),
            ["https://example.org/x"]
        );
        assert_eq!(expand("gnu"), None);
        assert_eq!(expand("gnu/"), None);
        assert_eq!(expand("unknown/x"), None);
    }

    #[test]
    fn a_mirror_of_the_users_replaces_the_built_in_ones() {
        let mirrors: Mirrors =
            "debian=http://a.example/debian debian=http://b.example/d/ gnu=https://c.example"
                .parse()
                .unwrap();
        assert_eq!(
            mirrors.urls("mirror://debian/pool/x"),
            [
                "http://a.example/debian/pool/x",
                "http://b.example/d/pool/x"
            ]
        );
        assert_eq!(mirrors.urls("mirror://gnu/sed"), ["https://c.example/sed"]);
        assert_eq!(
            mirrors.urls("mirror://debian-security/x"),
            Mirrors::default().urls("mirror://debian-security/x")
        );
        for wrong in [
            "debian",
            "debian=/srv/debian",
            "debian=file:///x",
            "nowhere=http://a.example",
        ] {
            let error = wrong.parse::<Mirrors>().unwrap_err().to_string();
            assert!(
                error.contains(wrong) && error.contains("debian-snapshot"),
                "{error}"
            );
        }
    }
}
