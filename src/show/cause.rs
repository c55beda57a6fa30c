// SPDX-License-Identifier: GPL-3.0-or-later
//! Which failures have one cause: those whose messages differ in names, file names, places and hashes alone.

use std::collections::BTreeSet;

/// What stands for that which differs.
const OMITTED: &str = "…";

/// What says that a host was asked for earlier, and not again for this item.
const FOUND_OUT: &str = "(as found earlier in this run)";

/// How places of Debian's archive start; a package follows.
const PLACES: [&str; 2] = ["apt-binary:", "apt-source:"];

/// What the C libraries, APT and the kernel say where this machine has no network, whichever server it asks.
const NO_NETWORK: [&str; 4] = [
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Name could not be resolved at this time",
    "Network is unreachable",
];

/// The fewest characters of a hash.
const SHORTEST_HASH: usize = 32;

/// `reason`, why `item` failed, without what differs between items that fail alike.
///
/// The lines after the first are the places that were tried. Their order does not matter, and without a network it does
/// not matter which servers were asked, either.
pub(super) fn cause(item: &str, reason: &str) -> String {
    let mut lines = reason.lines().map(|line| alike(item, line));
    let first = lines.next().unwrap_or_default();
    let has_network = |line: &String| !NO_NETWORK.iter().any(|sign| line.contains(sign));
    let (mut tried, without): (BTreeSet<String>, BTreeSet<String>) = lines.partition(has_network);
    if !without.is_empty() {
        // A mirror whose servers are not known was never asked.
        tried.retain(|line| !line.starts_with("mirror://"));
        tried.insert("no network".to_owned());
    }
    [first]
        .into_iter()
        .chain(tried)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One line of the reason why `item` failed, without what differs.
fn alike(item: &str, line: &str) -> String {
    let name = item.rsplit('/').next().unwrap_or(item);
    let line = line.replace(FOUND_OUT, "");
    let words = line.split_whitespace().map(|word| {
        if let Some((scheme, rest)) = word.split_once("://") {
            return format!("{scheme}://{}", host(rest));
        }
        let place = PLACES.iter().find(|place| word.contains(**place));
        match place {
            Some(place) => (*place).to_owned(),
            None if word.contains(item) || word.contains(name) => OMITTED.to_owned(),
            None => without_hashes(word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The host, with its port, that a URL has after its scheme.
fn host(rest: &str) -> &str {
    let is_inside = |character: char| character.is_alphanumeric() || ".-_:[]@*".contains(character);
    let end = rest.find(|character| !is_inside(character));
    rest[..end.unwrap_or(rest.len())].trim_end_matches(':')
}

/// `word` with each hash left out.
fn without_hashes(word: &str) -> String {
    let is_separator = |character: char| !character.is_ascii_alphanumeric();
    let parts = word.split_inclusive(is_separator).map(|part| {
        let digits = part.trim_end_matches(is_separator);
        match is_hash(digits) {
            true => format!("{OMITTED}{}", &part[digits.len()..]),
            false => part.to_owned(),
        }
    });
    parts.collect()
}

/// Whether `digits` are a hash in base 16 or in Nix's base 32, which lacks e, o, t and u.
fn is_hash(digits: &str) -> bool {
    let is_base32 =
        |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_lowercase() && !b"eotu".contains(&byte));
    digits.len() >= SHORTEST_HASH
        && (digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || digits.bytes().all(is_base32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hashes_do_not_make_another_cause() {
        let reason = |name: &str, hash: &str| {
            format!(
                "{name} (SHA-256 {hash}) is not in the cache, and --offline forbids fetching it"
            )
        };
        let of = |item: &str, name: &str, hash: &str| cause(item, &reason(name, hash));
        let one = of("source/a.tar", "a.tar", &"a".repeat(64));
        assert_eq!(one, of("seed/b.deb", "b.deb", &"b".repeat(64)));
        assert_ne!(one, cause("source/a.tar", "a.tar: no such file"));
    }

    /// What is left of `line`.
    fn left(line: &str) -> String {
        cause("source/sed.tar", line)
    }

    #[test]
    fn of_urls_the_scheme_and_the_host_count() {
        for (line, expected) in [
            ("http://a.example/pool/x.deb: gone", "http://a.example gone"),
            ("mirror://gnu/sed/sed.tar: gone", "mirror://gnu gone"),
            (
                "'http://a.example:81/sed.tar' gone",
                "'http://a.example:81 gone",
            ),
            ("http://a.example?sed", "http://a.example"),
            ("file:///srv/sed.tar is gone", "file:// is gone"),
        ] {
            assert_eq!(left(line), expected);
        }
        assert_ne!(left("http://a.example/x"), left("https://a.example/x"));
        assert_ne!(left("http://a.example/x"), left("http://b.example/x"));
    }

    #[test]
    fn hashes_are_left_out_wherever_they_are_in_a_word() {
        let base16 = "0123456789abcdef".repeat(4);
        let base32 = "0123456789abcdfghijklmnpqrsvwxyz";
        for (line, expected) in [
            (format!("kept as /cache/{base16}"), "kept as /cache/…"),
            (format!("({base16})"), "(…)"),
            (
                format!("/gnu/store/{base32}-grep is gone"),
                "/gnu/store/…-grep is gone",
            ),
            (format!("sha256:{base32}: gone"), "sha256:…: gone"),
        ] {
            assert_eq!(left(&line), expected);
        }
        // A hash is at least so long, and letters that it cannot have make a word.
        for word in [&base32[1..], "pneumonoultramicroscopicsilicovolcano"] {
            assert_eq!(left(word), word);
        }
    }

    #[test]
    fn of_places_of_debian_the_kind_counts() {
        let gone = left("apt-binary:dash=0.5.12-12:amd64: it is gone");
        assert_eq!(gone, "apt-binary: it is gone");
        assert_eq!(
            gone,
            left("apt-binary:libcap2=1:2.75-10+b3:amd64: it is gone")
        );
        assert_ne!(gone, left("apt-source:dash=0.5.12-12: it is gone"));
    }

    #[test]
    fn what_was_found_out_earlier_is_the_same_cause() {
        let first = "http://a.example/x: it does not answer";
        assert_eq!(
            left(first),
            left(&format!("{first} (as found earlier in this run)"))
        );
    }

    #[test]
    fn without_a_network_it_does_not_matter_which_servers_were_asked() {
        let unknown = "failed to lookup address information: Temporary failure in name resolution";
        let update = "`apt-get update` failed: E: Failed to fetch http://a.example/x  Temporary failure resolving 'a.example'";
        let seed = format!(
            "cannot fetch dash.deb (SHA-256 {}); tried:\n  http://a.example/dash.deb: {unknown}\n  \
             mirror://debian-snapshot/dash.deb: no server of this mirror is known\n  \
             apt-binary:dash=1:amd64: {update}\n  https://b.example/dash.deb: {unknown} (as found earlier in this run)",
            "a".repeat(64)
        );
        let source = format!(
            "cannot fetch sed.tar (SHA-256 {}); tried:\n  https://c.example/sed.tar: {unknown}",
            "b".repeat(64)
        );
        let seed = cause("seed/dash.deb", &seed);
        assert_eq!(seed, cause("source/sed.tar", &source));
        // A server that answers makes another cause.
        let answered = format!("{source}\n  https://d.example/sed.tar: it answers 404 Not Found");
        assert_ne!(seed, cause("source/sed.tar", &answered));
    }

    #[test]
    fn the_order_of_the_places_does_not_matter() {
        let [one, other] = ["http://a.example/x: gone", "http://b.example/x: it is full"];
        let of = |one: &str, other: &str| left(&format!("tried:\n  {one}\n  {other}"));
        assert_eq!(of(one, other), of(other, one));
        assert_ne!(of(one, other), of(one, one));
    }
}
