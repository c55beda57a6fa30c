// SPDX-License-Identifier: GPL-3.0-or-later
//! What a `builtin:download` derivation says about where its file is, in Guix's form.
//!
//! | attribute | value |
//! |---|---|
//! | `url` | a URL or a list of URLs, as Scheme data: what Guix's `write` writes |
//! | `mirrors` | a store file with a list of `(NAME PREFIX …)`, for `mirror://NAME/PATH` |
//! | `content-addressed-mirrors` | a store file, see [`by_hash`](super::by_hash) |
//! | `executable` | `1` where the file becomes a program; its hash is then that of its NAR |
//! | `download-methods` | a list of the ways to use: `upstream`, `content-addressed-mirrors`, … |
//!
//! Guix skips a URL whose scheme it does not know. So our own [`Location`]s stand in the same list as `apt-source:…`,
//! and Guix realises our derivations, too.

use std::collections::BTreeMap;

use super::error::FetchAttempt;
use super::location::Location;
use super::mirrors;
use crate::formats::scheme::Datum;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::visible;

/// An attribute that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum AttributeError {
    /// `url` is not a string or a list of strings.
    #[error("`url` is not a URL or a list of URLs, written as Scheme data: `{}`", visible(.0))]
    Urls(String),
    /// A place on this machine.
    #[error("`url` names a file of this machine, which a download must not read: `{}`", visible(.0))]
    Local(String),
}

/// The places that an attribute `url` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlPlaces {
    /// Those to try, in their order.
    pub locations: Vec<Location>,
    /// Those that this program cannot use, and why.
    pub unusable: Vec<FetchAttempt>,
}

/// The prefixes of mirrors by name, from the contents of a `mirrors` file.
pub type MirrorList = BTreeMap<String, Vec<String>>;

/// The attribute `url` for `locations`: one string, or a list of them.
pub fn write_urls(locations: &[Location]) -> String {
    let strings = locations
        .iter()
        .map(|location| Datum::String(location.to_string()));
    match strings.collect::<Vec<_>>() {
        one if one.len() == 1 => one[0].to_string(),
        several => Datum::List(several).to_string(),
    }
}

/// The strings in an attribute `url`. Also read is the form of derivations that this program wrote until 2026: URLs
/// separated by spaces.
///
/// # Errors
/// [`AttributeError::Urls`].
pub fn urls(attribute: &str) -> Result<Vec<String>, AttributeError> {
    let invalid = || AttributeError::Urls(attribute.to_owned());
    if attribute.starts_with(|first: char| first.is_ascii_alphabetic()) {
        let urls = attribute.split_ascii_whitespace();
        return Ok(urls.map(ToOwned::to_owned).collect());
    }
    let (datum, _) = Datum::parse_first(attribute).map_err(|_| invalid())?;
    let strings = match &datum {
        Datum::String(_) => std::slice::from_ref(&datum),
        datum => datum.list().ok_or_else(invalid)?,
    };
    let strings = strings
        .iter()
        .map(|datum| datum.string().map(ToOwned::to_owned));
    strings.collect::<Option<_>>().ok_or_else(invalid)
}

/// The places that the attribute `url` names, with `mirrors` for those that this program does not know by name.
///
/// # Errors
/// A malformed attribute, and a place on this machine: Guix refuses those, too.
pub fn places(attribute: &str, mirrors: &MirrorList) -> Result<UrlPlaces, AttributeError> {
    let mut places = UrlPlaces::default();
    for url in urls(attribute)? {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme);
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            None | Some("file") => return Err(AttributeError::Local(url)),
            Some(scheme) if !is_scheme(scheme) => return Err(AttributeError::Local(url)),
            Some(_) => {}
        }
        if let Some(expanded) = expand(&url, mirrors) {
            places
                .locations
                .extend(expanded.into_iter().map(Location::Url));
            continue;
        }
        match url.parse() {
            Ok(location) => places.locations.push(location),
            Err(error) => places.unusable.push(FetchAttempt {
                location: visible(without_secrets(&url).as_ref()),
                reason: super::InvalidLocation::expected(&error).to_owned(),
            }),
        }
    }
    Ok(places)
}

/// Whether `text` is the scheme of a URL (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The URLs that `mirrors` has for a `mirror:` URL without built-in servers. A name of ours comes first: the user or
/// the host may have set its servers.
fn expand(url: &str, mirrors: &MirrorList) -> Option<Vec<String>> {
    let rest = url.strip_prefix("mirror://")?;
    if mirrors::is_built_in(rest) {
        return None;
    }
    let (name, path) = rest.split_once('/')?;
    let prefixes = mirrors.get(name)?.iter();
    let urls = prefixes.map(|prefix| format!("{}/{path}", prefix.trim_end_matches('/')));
    let is_web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    let own = mirrors::is_known(rest).then(|| url.to_owned());
    Some(own.into_iter().chain(urls.filter(is_web)).collect())
}

/// Reads a `mirrors` file: `((NAME PREFIX …) …)`. What has another shape is left out.
pub fn mirror_list(text: &str) -> MirrorList {
    let datum = Datum::parse_first(text).map(|(datum, _)| datum);
    let entries = datum.iter().filter_map(Datum::list).flatten();
    let entries = entries.filter_map(|entry| {
        let (name, prefixes) = entry.list()?.split_first()?;
        let prefixes = prefixes.iter().filter_map(Datum::string);
        let prefixes = prefixes.map(ToOwned::to_owned).collect();
        Some((name.symbol()?.to_owned(), prefixes))
    });
    entries.collect()
}

/// Whether the attribute `download-methods`, where it is set, has `method` in its list.
pub fn has_method(attribute: Option<&str>, method: &str) -> bool {
    let Some(datum) = attribute.and_then(|text| Datum::parse_first(text).ok()) else {
        return true;
    };
    let methods = datum.0.list().unwrap_or_default();
    methods.iter().any(|one| one.symbol() == Some(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(texts: &[&str]) -> Vec<Location> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_guixs_form_and_is_read_back() {
        let one = locations(&["https://example.org/x.tar"]);
        assert_eq!(write_urls(&one), "\"https://example.org/x.tar\"");
        let two = locations(&["mirror://gnu/sed/sed.tar", "apt-source:sed=4.9-1/sed.tar"]);
        let written = write_urls(&two);
        assert_eq!(
            written,
            "(\"mirror://gnu/sed/sed.tar\" \"apt-source:sed=4.9-1/sed.tar\")"
        );
        for expected in [one, two] {
            let read = places(&write_urls(&expected), &MirrorList::new()).unwrap();
            assert_eq!(read.locations, expected);
            assert_eq!(read.unusable, []);
        }
        // The form of earlier versions.
        let read = places("https://a/x apt-source:sed=4.9-1/s.tar", &MirrorList::new()).unwrap();
        assert_eq!(read.locations.len(), 2);
    }

    #[test]
    fn mirrors_of_the_derivation_serve_names_that_we_do_not_know() {
        let list = mirror_list(
            "((apache \"https://a.example/dist\" \"ftp://b.example/\" \"file:///etc\" \"/etc\" \"http://c.example/\") \
              (gnu \"http://evil/\"))",
        );
        let read = places("(\"mirror://apache/x.tar\" \"mirror://gnu/y.tar\")", &list).unwrap();
        let expected = ["https://a.example/dist/x.tar", "http://c.example/x.tar"];
        let mut expected: Vec<_> = expected.map(|url| Location::Url(url.to_owned())).into();
        expected.push(Location::Url("mirror://gnu/y.tar".to_owned()));
        assert_eq!(read.locations, expected);
        let read = places("\"mirror://nowhere/x\"", &list).unwrap();
        assert_eq!(read.locations, []);
        assert_eq!(read.unusable[0].reason, "no such mirror is known");
        for wrong in [
            "",
            "(",
            "x",
            "(a b)",
            "((\"gnu\" \"x\"))",
            "#.(system \"x\")",
        ] {
            assert_eq!(mirror_list(wrong), MirrorList::new(), "{wrong}");
        }
    }

    #[test]
    fn places_on_this_machine_are_refused_and_unknown_schemes_skipped() {
        for local in [
            "\"file:///etc/passwd\"",
            "\"FILE:/etc/passwd\"",
            "\"/etc/guix/signing-key.sec\"",
            "\"../x\"",
            "(\"https://a/x\" \"file:///etc/passwd\")",
            "\"/a:b\"",
            "file:///etc/passwd",
        ] {
            let error = places(local, &MirrorList::new()).unwrap_err();
            assert!(matches!(error, AttributeError::Local(_)), "{local}");
        }
        for wrong in [
            "",
            "()x(",
            "(1 2)",
            "(\"a:b\" . \"c\")",
            "#.(system \"x\")",
            "'(x)",
        ] {
            let read = places(wrong, &MirrorList::new());
            assert!(
                read.is_err() || read.unwrap() == UrlPlaces::default(),
                "{wrong}"
            );
        }
        let read = places("(\"ftp://u:p@a/x\" \"https://a/x\")", &MirrorList::new()).unwrap();
        assert_eq!(read.locations.len(), 1);
        assert_eq!(read.unusable[0].location, "ftp://***@a/x");
    }

    #[test]
    fn methods_are_all_unless_some_are_listed() {
        assert!(has_method(None, "upstream"));
        assert!(has_method(Some("(upstream disarchive)"), "upstream"));
        assert!(!has_method(Some("(disarchive)"), "upstream"));
    }
}
