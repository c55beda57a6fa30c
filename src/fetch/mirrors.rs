// SPDX-License-Identifier: GPL-3.0-or-later
//! `mirror://NAME/PATH`: a short name for several servers that hold the same files.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
];

/// The mirrors without built-in servers: those of Debian's archives. `debian-snapshot` has all that these archives ever
/// held, under ARCHIVE/TIME/PATH.
///
/// The user names their servers, or the host's configuration of APT does (see [`super::apt::host`]).
const WITHOUT_SERVERS: &[&str] = &["debian", "debian-security", "debian-snapshot"];

/// The name that stands for servers which have files by hash, under ALGORITHM/HEX (see [`super::by_hash`]).
pub const BY_HASH: &str = "by-hash";

/// What a user writes for a mirror that has no server.
const NONE: &str = "none";

/// Servers by the name of their mirror, in place of the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrors(BTreeMap<String, Vec<String>>);

/// A text that does not name mirrors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a mirror: expected NAME=URL with an http: or https: URL, or NAME=none, NAME being one of {names}",
    names = names()
)]
pub struct InvalidMirror(String);

impl FromStr for Mirrors {
    type Err = InvalidMirror;

    /// Reads `NAME=URL` pairs that are separated by spaces. Of several with one name, the first is tried first.
    /// `NAME=none` stands for no server.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mirrors = Self::default();
        for pair in text.split_whitespace() {
            let invalid = || InvalidMirror(pair.to_owned());
            let (name, url) = pair.split_once('=').ok_or_else(invalid)?;
            let is_url = url.starts_with("http://") || url.starts_with("https://");
            if !(is_name(name) || name == BY_HASH) {
                return Err(invalid());
            }
            match url {
                NONE => drop(mirrors.0.entry(name.to_owned()).or_default()),
                url if is_url => mirrors.add(name, url),
                _ => return Err(invalid()),
            }
        }
        Ok(mirrors)
    }
}

impl Mirrors {
    /// Adds a server, which is tried after those that are there.
    pub fn add(&mut self, name: &str, url: &str) {
        let prefix = format!("{}/", url.trim_end_matches('/'));
        let prefixes = self.0.entry(name.to_owned()).or_default();
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }

    /// The servers of the mirror `name` that were set; `None` where none was, not even `none`.
    pub fn set(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Whether the servers of the mirror that `url` names were set.
    pub fn sets(&self, url: &str) -> bool {
        let mirror = url.strip_prefix("mirror://").and_then(split);
        mirror.is_some_and(|(name, _)| self.0.contains_key(name))
    }

    /// The URLs that `url` stands for, in the order to try: several for a mirror, otherwise itself. Empty for a mirror
    /// that has no server, neither here nor built in.
    pub fn urls(&self, url: &str) -> Vec<String> {
        let Some((name, path)) = url.strip_prefix("mirror://").and_then(split) else {
            return vec![url.to_owned()];
        };
        match self.0.get(name) {
            Some(prefixes) => join(prefixes, path),
            None => join(builtin(name), path),
        }
    }
}

/// The built-in servers of the mirror `name`.
fn builtin(name: &str) -> &'static [&'static str] {
    let found = MIRRORS.iter().find(|(known, _)| *known == name);
    found.map_or(&[], |(_, prefixes)| prefixes)
}

/// The names of all mirrors.
fn all() -> impl Iterator<Item = &'static str> {
    let built_in = MIRRORS.iter().map(|(name, _)| *name);
    built_in.chain(WITHOUT_SERVERS.iter().copied())
}

fn is_name(name: &str) -> bool {
    all().any(|known| known == name)
}

fn names() -> String {
    all().chain([BY_HASH]).collect::<Vec<_>>().join(", ")
}

/// `NAME/PATH` in two parts, where NAME is the name of a mirror and PATH is not empty.
fn split(name_and_path: &str) -> Option<(&str, &str)> {
    let (name, path) = name_and_path.split_once('/')?;
    (is_name(name) && !path.is_empty()).then_some((name, path))
}

/// Whether `NAME/PATH` names a mirror and a file there.
pub fn is_known(name_and_path: &str) -> bool {
    split(name_and_path).is_some()
}

fn join<P: AsRef<str>>(prefixes: &[P], path: &str) -> Vec<String> {
    let urls = prefixes.iter();
    urls.map(|prefix| format!("{}{path}", prefix.as_ref()))
        .collect()
}

/// Whether `NAME/PATH` names a mirror with built-in servers and a file there.
pub fn is_built_in(name_and_path: &str) -> bool {
    split(name_and_path).is_some_and(|(name, _)| !builtin(name).is_empty())
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
        for unknown in ["gnu", "gnu/", "unknown/x"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn no_server_of_debians_is_built_in() {
        for name in WITHOUT_SERVERS {
            assert!(is_known(&format!("{name}/x")));
            assert!(
                Mirrors::default()
                    .urls(&format!("mirror://{name}/x"))
                    .is_empty()
            );
        }
        assert!(!scheme_list().contains("debian"));
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
            mirrors.urls("mirror://savannah/x"),
            Mirrors::default().urls("mirror://savannah/x")
        );
        let none: Mirrors = "gnu=none by-hash=none debian=http://a.example"
            .parse()
            .unwrap();
        assert!(none.urls("mirror://gnu/x").is_empty() && none.sets("mirror://gnu/x"));
        assert_eq!(none.set(BY_HASH), Some(&[][..]));
        assert_eq!(none.set("debian-security"), None);
        for wrong in [
            "none",
            "by-hash",
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
