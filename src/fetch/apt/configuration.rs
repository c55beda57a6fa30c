// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes the private configuration: where APT keeps its state, which archives it knows, and what it may not do.
//!
//! APT reads the file named by `APT_CONFIG` first and the host's `apt.conf` and `apt.conf.d` after it (apt.conf(5)).
//! The host's are switched off, because they may hold hooks that clean the host's caches or wake other programs after
//! every update; its settings for proxies and transports are copied.

use crate::limited_file;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::sources::Entry;
use super::{Apt, AptError, AptSettings, command, sources};

/// What of the host's settings is copied: how to reach servers.
const COPIED: &[&str] = &[
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::ftp::",
    "Acquire::tor::",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::Check-Valid-Until",
    "Acquire::Max-FutureTime",
];

/// Writes all files of the configuration, where they are not as they should be.
pub(super) fn write(apt: &Apt) -> Result<(), AptError> {
    let directory = &apt.directory;
    if directory.to_string_lossy().contains(['"', '\n', '\\', '%']) {
        return Err(AptError::Index(format!(
            "the cache directory `{}` has a character in its name that APT's configuration cannot hold",
            directory.display()
        )));
    }
    for name in [
        "lists/partial",
        "cache/archives/partial",
        "log",
        "none",
        "sources",
    ] {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(AptError::io(&path))?;
    }
    let entries = entries(&apt.settings)?;
    let (kinds, architecture) = match apt.settings.only_sources {
        true => ("deb-src", None),
        false => ("deb deb-src", Some(apt.settings.architecture.as_str())),
    };
    let rendered = sources::render(&entries, kinds, architecture);
    let list = directory.join("sources/debian.sources");
    if write_changed(&list, &rendered)? {
        // The index is another one now.
        let _ = fs::remove_file(apt.stamp());
    }
    write_changed(&directory.join("preferences"), PREFERENCES)?;
    write_changed(&directory.join("status"), "")?;
    let copied = copied(&host_settings(apt)?);
    write_changed(
        &apt.configuration_file(),
        &render(directory, &apt.settings.architecture, &copied),
    )
    .map(drop)
}

/// The host's entries for the archive of the release, of which there is at least one.
pub(super) fn entries(settings: &AptSettings) -> Result<Vec<Entry>, AptError> {
    let host = &settings.host;
    let release = settings.release.as_str();
    let entries = sources::read(&host.join("etc/apt"))?;
    let host_release = debian_release(&host.join("etc/os-release"));
    let mut entries = sources::for_release(&entries, release, host_release.as_deref());
    if settings.only_sources {
        for entry in &mut entries {
            entry.suites.retain(|suite| suite == release);
        }
        entries.retain(|entry| !entry.suites.is_empty());
    }
    if !settings.mirrors.is_empty() {
        entries = vec![own_entry(settings, entries.first())];
    }
    if entries.is_empty() {
        return Err(AptError::NoEntries {
            directory: host.join("etc/apt"),
            release: release.to_owned(),
        });
    }
    Ok(entries)
}

/// Where Debian's packages put its keys.
const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";

/// An entry for the user's mirrors, with the options of one of the `host`'s; else with Debian's keyring.
fn own_entry(settings: &AptSettings, host: Option<&Entry>) -> Entry {
    let keyring = settings.host.join(KEYRING);
    let options = match host {
        Some(entry) => entry.options.clone(),
        None if keyring.is_file() => {
            vec![("Signed-By".to_owned(), keyring.display().to_string())]
        }
        None => Vec::new(),
    };
    Entry {
        uris: settings.mirrors.clone(),
        suites: vec![settings.release.clone()],
        components: vec![sources::COMPONENT.to_owned()],
        options,
        usable: true,
    }
}

/// Versions are chosen from Debian itself only, should an entry of another vendor have slipped in.
const PREFERENCES: &str = "\
Package: *
Pin: release o=Debian
Pin-Priority: 500

Package: *
Pin: release a=*
Pin-Priority: -1
";

fn render(directory: &Path, architecture: &str, copied: &str) -> String {
    let directory = directory.display();
    let mut text = String::from("// Made by bootstrap; changes are lost.\n");
    for (name, value) in [
        ("Dir::Etc::main", "none/main"),
        ("Dir::Etc::parts", "none"),
        ("Dir::Etc::preferences", "preferences"),
        ("Dir::Etc::preferencesparts", "none"),
        ("Dir::Etc::sourcelist", "none/sources.list"),
        ("Dir::Etc::sourceparts", "sources"),
        ("Dir::State::lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::State::extended_states", "extended_states"),
        ("Dir::State::cdroms", "cdroms.list"),
        ("Dir::Cache", "cache"),
        ("Dir::Log", "log"),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} \"{directory}/{value}\";");
    }
    let _ = writeln!(text, "APT::Architecture \"{architecture}\";");
    let _ = writeln!(text, "APT::Architectures {{ \"{architecture}\"; }};");
    text.push_str(
        "Dir::Cache::pkgcache \"pkgcache.bin\";\n\
         Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
         APT::Install-Recommends \"false\";\n\
         APT::Install-Suggests \"false\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::AllowReleaseInfoChange \"true\";\n\
         Acquire::AllowInsecureRepositories \"false\";\n\
         Acquire::AllowWeakRepositories \"false\";\n\
         Acquire::AllowDowngradeToInsecureRepositories \"false\";\n\
         APT::Get::AllowUnauthenticated \"false\";\n",
    );
    text.push_str(copied);
    text
}

/// The host's settings as `apt-config dump` prints them: `NAME "VALUE";`, one a line.
fn host_settings(apt: &Apt) -> Result<String, AptError> {
    command::run(command::clean(apt, "apt-config"), "apt-config", &["dump"])
}

fn copied(dump: &str) -> String {
    dump.lines()
        .filter(|line| COPIED.iter().any(|prefix| line.starts_with(prefix)))
        .filter(|line| line.ends_with(';'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The host's Debian release, by os-release(5).
pub(super) fn debian_release(os_release: &Path) -> Option<String> {
    let text = limited_file::read_regular_text(os_release, limited_file::SMALL).ok()?;
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME"))?
}

/// Writes `contents` to `path` unless they are there already; says whether it wrote.
fn write_changed(path: &Path, contents: &str) -> Result<bool, AptError> {
    let old = limited_file::read_regular(path, contents.len() as u64);
    if old.is_ok_and(|bytes| bytes == contents.as_bytes()) {
        return Ok(false);
    }
    fs::write(path, contents).map_err(AptError::io(path))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ways_to_servers_are_copied_from_the_host() {
        let dump = "\
Dir::Cache \"var/cache/apt\";
Acquire::http::Proxy \"http://proxy.example.org:3128\";
Acquire::AllowInsecureRepositories \"1\";
APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/archives/*.deb\";
Acquire::Check-Valid-Until \"false\";
";
        assert_eq!(
            copied(dump),
            "Acquire::http::Proxy \"http://proxy.example.org:3128\";\nAcquire::Check-Valid-Until \"false\";\n"
        );
    }

    #[test]
    fn everything_that_apt_writes_is_in_the_private_directory() {
        let text = render(Path::new("/cache/apt/x"), "amd64", "");
        for line in text
            .lines()
            .filter(|line| line.starts_with("Dir::") && !line.contains(".bin"))
        {
            assert!(line.contains("\"/cache/apt/x/"), "{line}");
        }
        assert!(text.contains("APT::Architectures { \"amd64\"; };"));
    }

    #[test]
    fn the_hosts_release_counts_only_where_it_is_debian() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os-release");
        fs::write(&path, "ID=debian\nVERSION_CODENAME=trixie\n").unwrap();
        assert_eq!(debian_release(&path).as_deref(), Some("trixie"));
        fs::write(&path, "ID=ubuntu\nVERSION_CODENAME=noble\n").unwrap();
        assert_eq!(debian_release(&path), None);
        assert_eq!(debian_release(&directory.path().join("missing")), None);
    }

    #[test]
    fn a_file_is_written_only_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(write_changed(&path, "a").unwrap());
        assert!(!write_changed(&path, "a").unwrap());
        assert!(write_changed(&path, "b").unwrap());
    }
}
