// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the host's entries for package archives, in both of APT's formats, and picks Debian's own.
//!
//! The formats are those of sources.list(5): one line per entry (`deb [options] URI SUITE COMPONENT…`, in files
//! `*.list`), and paragraphs of fields (`*.sources`).

use crate::limited_file;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::AptError;

/// The component that the seeds and sources are in.
pub(super) const COMPONENT: &str = "main";

/// The parts of a release that carry packages for it, as suffixes of its name.
const POCKETS: &[&str] = &["", "-updates", "-security", "/updates"];

/// Names that move from release to release.
const MOVING: &[&str] = &["stable", "oldstable", "oldoldstable", "testing"];

/// Names of Debian's releases, so that an entry of another vendor with a suite of its own is not taken for Debian's.
const RELEASES: &[&str] = &[
    "buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "unstable",
];

/// Options that are set here, or that would switch off the signature check.
const DROPPED: &[&str] = &[
    "types",
    "uris",
    "suites",
    "components",
    "enabled",
    "architectures",
    "arch",
    "trusted",
    "languages",
    "lang",
    "targets",
    "target",
    "pdiffs",
    "allow-insecure",
    "allow-weak",
    "allow-downgrade-to-insecure",
];

/// Entries for one or several archives with the same options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where the archives are.
    pub uris: Vec<String>,
    /// The suites, each a directory under `dists/` of each archive.
    pub suites: Vec<String>,
    /// The components of each suite.
    pub components: Vec<String>,
    /// Further fields by name, `Signed-By` above all. A value may have several lines.
    pub options: Vec<(String, String)>,
    /// Whether it is for packages or sources at all, and enabled.
    pub usable: bool,
}

/// Reads all entries of the host, from its `etc/apt` directory. An entry that is not understood is skipped: APT itself
/// complains about it.
pub fn read(directory: &Path) -> Result<Vec<Entry>, AptError> {
    let mut files = vec![directory.join("sources.list")];
    let parts = directory.join("sources.list.d");
    match fs::read_dir(&parts) {
        Ok(listing) => {
            let mut names = Vec::new();
            for entry in listing {
                names.push(entry.map_err(AptError::io(&parts))?.path());
            }
            names.sort();
            files.extend(names);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(AptError::io(parts)(error)),
    }
    let mut entries = Vec::new();
    for file in files {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_lines,
            Some("sources") => parse_paragraphs,
            _ => continue,
        };
        match limited_file::read_regular(&file, limited_file::SMALL) {
            Ok(bytes) => entries.extend(parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(AptError::io(file)(error)),
        }
    }
    Ok(entries)
}

/// Reads one-line entries.
pub fn parse_lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let (kind, mut rest) = line.split_once(char::is_whitespace)?;
    if kind != "deb" && kind != "deb-src" {
        return None;
    }
    let mut options = Vec::new();
    rest = rest.trim_start();
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        for option in inside.split_whitespace() {
            let (name, value) = option.split_once('=')?;
            // Lists are separated by commas here and by spaces in fields.
            options.push((field_name(name), value.replace(',', " ")));
        }
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        options,
        usable: true,
    })
}

/// `signed-by` as `Signed-By`.
fn field_name(option: &str) -> String {
    option
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect::<Vec<_>>()
        .join("-")
}

/// Reads paragraphs of fields.
pub fn parse_paragraphs(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    // An empty line at the end closes the last paragraph.
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !fields.is_empty() {
                entries.push(from_fields(std::mem::take(&mut fields)));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    entries
}

fn from_fields(fields: Vec<(String, String)>) -> Entry {
    let mut entry = Entry {
        usable: true,
        ..Entry::default()
    };
    for (name, value) in fields {
        let words = || {
            value
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match name.to_ascii_lowercase().as_str() {
            "uris" => entry.uris = words(),
            "suites" => entry.suites = words(),
            "components" => entry.components = words(),
            "types" => {
                entry.usable &= words()
                    .iter()
                    .any(|kind| kind == "deb" || kind == "deb-src");
            }
            "enabled" => {
                let no = ["no", "false", "0", "off", "without", "disable"];
                entry.usable &= !no.contains(&value.to_ascii_lowercase().as_str());
            }
            _ => entry.options.push((name, value)),
        }
    }
    entry
}

/// The entries for Debian's own archive, turned to `release`.
///
/// An entry counts as Debian's when a suite of it is one of a Debian release (the wanted one, the host's, which is
/// `host_release`, or one whose name is known here) and it has the component `main`: other vendors' suites and
/// components have names of their own. Entries of one release serve any other, as the archive holds all of them.
pub fn for_release(entries: &[Entry], release: &str, host_release: Option<&str>) -> Vec<Entry> {
    let mut picked: Vec<Entry> = Vec::new();
    for entry in entries {
        let suites: Vec<String> = entry
            .suites
            .iter()
            .filter_map(|suite| suite_for(suite, release, host_release))
            .collect();
        let reachable: Vec<String> = entry
            .uris
            .iter()
            .filter(|uri| !uri.starts_with("cdrom:"))
            .cloned()
            .collect();
        let has_component = entry
            .components
            .iter()
            .any(|component| component == COMPONENT);
        if !entry.usable || suites.is_empty() || reachable.is_empty() || !has_component {
            continue;
        }
        let options = entry
            .options
            .iter()
            .filter(|(name, _)| !DROPPED.contains(&name.to_ascii_lowercase().as_str()))
            .cloned()
            .collect();
        let turned = Entry {
            uris: reachable,
            suites,
            components: vec![COMPONENT.to_owned()],
            options,
            usable: true,
        };
        // A `deb` line and its `deb-src` line become the same.
        if !picked.contains(&turned) {
            picked.push(turned);
        }
    }
    picked
}

/// The suite of `release` that corresponds to `suite`; `None` where it is not a suite of a known release.
fn suite_for(suite: &str, release: &str, host_release: Option<&str>) -> Option<String> {
    let pocket = pocket_of(suite, [release].into_iter().chain(host_release))?;
    // Until Debian 10 the security suite had a slash.
    let pocket = if pocket == "/updates" {
        "-security"
    } else {
        pocket
    };
    Some(format!("{release}{pocket}"))
}

/// The mirror that an entry with this suite and component belongs to, `debian` or `debian-security`; `None` where they
/// are not those of a Debian release.
pub fn mirror_of(suite: &str, component: &str, host_release: Option<&str>) -> Option<&'static str> {
    if component != COMPONENT {
        return None;
    }
    Some(match pocket_of(suite, host_release)? {
        "-security" | "/updates" => "debian-security",
        _ => "debian",
    })
}

/// What follows the release's name in `suite`: nothing, or such as `-security`. `None` where it is a suite of neither a
/// release of Debian that is known here nor one of `others`.
fn pocket_of<'s, 'o>(suite: &'s str, others: impl IntoIterator<Item = &'o str>) -> Option<&'s str> {
    let suite = suite.trim_end_matches('/');
    let mut releases = RELEASES.iter().chain(MOVING).copied().chain(others);
    releases.find_map(|release| {
        let pocket = suite.strip_prefix(release)?;
        POCKETS.contains(&pocket).then_some(pocket)
    })
}

/// The entries as a `*.sources` file for `kinds` (`deb`, `deb-src`), and for packages of `architecture` where given.
pub fn render(entries: &[Entry], kinds: &str, architecture: Option<&str>) -> String {
    let mut text = String::new();
    for entry in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Types: {kinds}");
        let _ = writeln!(text, "URIs: {}", entry.uris.join(" "));
        let _ = writeln!(text, "Suites: {}", entry.suites.join(" "));
        let _ = writeln!(text, "Components: {}", entry.components.join(" "));
        if let Some(architecture) = architecture {
            let _ = writeln!(text, "Architectures: {architecture}");
        }
        for (name, value) in &entry.options {
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_devices_or_never_end_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let parts = directory.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        let list = parts.join("x.list");
        let fifo = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let sparse = directory.path().join("sparse");
        fs::File::create(&sparse)
            .unwrap()
            .set_len(10 << 30)
            .unwrap();
        let cases = [
            (fifo.as_path(), "a regular file"),
            (Path::new("/dev/zero"), "a regular file"),
            (&sparse, "too large"),
        ];
        for (target, expected) in cases {
            std::os::unix::fs::symlink(target, &list).unwrap();
            let error = read(directory.path()).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("x.list"),
                "{error}"
            );
            fs::remove_file(&list).unwrap();
        }
    }

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.example.org/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGR
 -----END PGP PUBLIC KEY BLOCK-----
Trusted: yes

Types: deb
URIs: https://deb.example.com/node_20.x
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://old.example.org/debian
Suites: bookworm
Components: main
";

    #[test]
    fn paragraphs_give_debians_entries_with_their_keys() {
        let entries = for_release(&parse_paragraphs(DEB822), "bookworm", None);
        let expected = "\
Types: deb deb-src
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Architectures: amd64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://deb.example.org/debian-security
Suites: bookworm-security
Components: main
Architectures: amd64
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGR
 -----END PGP PUBLIC KEY BLOCK-----

";
        assert_eq!(render(&entries, "deb deb-src", Some("amd64")), expected);
    }

    #[test]
    fn lines_give_debians_entries_with_their_keys() {
        let text = "\
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg,/usr/share/keyrings/b.gpg] http://mirror.example.org/debian bookworm main non-free # mine
deb-src [signed-by=/usr/share/keyrings/a.gpg,/usr/share/keyrings/b.gpg] http://mirror.example.org/debian bookworm main
# deb http://commented.example.org/debian bookworm main
deb [trusted=yes check-valid-until=no] http://snapshot.example.org/debian bookworm-updates main
deb https://packages.example.com/apt cloud-sdk-bookworm main
deb https://download.example.com/linux/debian bookworm stable
deb https://apt.example.com/pg bookworm-pgdg main
deb cdrom:[Debian]/ bookworm main
deb broken
rpm http://example.org bookworm main
";
        let entries = for_release(&parse_lines(text), "bookworm", None);
        let brief: Vec<_> = entries
            .iter()
            .map(|entry| {
                (
                    entry.uris[0].as_str(),
                    entry.suites[0].as_str(),
                    entry.options.clone(),
                )
            })
            .collect();
        let option = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(
            brief,
            [
                (
                    "http://mirror.example.org/debian",
                    "bookworm",
                    option(
                        "Signed-By",
                        "/usr/share/keyrings/a.gpg /usr/share/keyrings/b.gpg"
                    )
                ),
                (
                    "http://snapshot.example.org/debian",
                    "bookworm-updates",
                    option("Check-Valid-Until", "no")
                ),
            ]
        );
    }

    #[test]
    fn another_releases_entries_are_turned_to_the_wanted_one() {
        let text = "\
deb http://deb.example.org/debian trixie main
deb http://deb.example.org/debian stable-updates main
deb http://deb.example.org/debian-security trixie-security main
deb http://deb.example.org/debian sid main
";
        let suites = |host| {
            for_release(&parse_lines(text), "bookworm", host)
                .into_iter()
                .flat_map(|entry| entry.suites)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            suites(Some("trixie")),
            ["bookworm", "bookworm-updates", "bookworm-security"]
        );
        // Names of Debian's releases are known, whatever the host says of itself.
        assert_eq!(suites(None), suites(Some("trixie")));
        let unstable = parse_lines("deb http://deb.example.org/debian sid main\n");
        assert_eq!(
            for_release(&unstable, "trixie", Some("forky"))[0].suites,
            ["trixie"]
        );
        let foreign = parse_lines("deb http://deb.example.org/ubuntu noble main\n");
        assert_eq!(for_release(&foreign, "trixie", None), []);
    }

    #[test]
    fn all_files_of_the_host_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let parts = directory.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join("debian.sources"), DEB822).unwrap();
        fs::write(
            parts.join("more.list"),
            "deb http://more.example.org bookworm main\n",
        )
        .unwrap();
        fs::write(
            parts.join("more.list.save"),
            "deb http://saved.example.org bookworm main\n",
        )
        .unwrap();
        let count = |entries: Vec<Entry>| for_release(&entries, "bookworm", None).len();
        assert_eq!(count(read(directory.path()).unwrap()), 3);
        fs::write(
            directory.path().join("sources.list"),
            "deb http://first.example.org bookworm main\n",
        )
        .unwrap();
        assert_eq!(count(read(directory.path()).unwrap()), 4);
        assert_eq!(read(&directory.path().join("missing")).unwrap(), []);
    }
}
