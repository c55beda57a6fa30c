// SPDX-License-Identifier: GPL-3.0-or-later
//! The servers of Debian's archives that this host's APT uses, as plain URLs for hosts and moments where APT does
//! not help: the pool of a mirror keeps files that the index no longer lists.
//!
//! `apt-get indextargets` (apt-get(8)) lists them, whatever the format and place of the host's entries. Where it cannot
//! be run, the entries are read here.

use std::path::Path;

use super::{AptSettings, command, configuration, sources};
use crate::fetch::mirrors::Mirrors;
use crate::limited_file;

/// What `apt-get indextargets` prints for each index. A field that it does not know stays as it is.
const FORMAT: &str = "$(ORIGIN) $(RELEASE) $(COMPONENT) $(REPO_URI)";

/// One archive that an entry names.
#[derive(Debug, PartialEq, Eq)]
struct AptArchive {
    /// Who made the archive, where its index was fetched.
    origin: Option<String>,
    suite: String,
    component: String,
    uri: String,
}

/// The mirrors `debian` and `debian-security` of the host. Empty where it has none.
pub fn mirrors(settings: &AptSettings) -> Mirrors {
    let release = configuration::debian_release(&settings.host.join("etc/os-release"));
    let mut mirrors = Mirrors::default();
    for target in targets(settings) {
        let Some(name) = sources::mirror_of(&target.suite, &target.component, release.as_deref())
        else {
            continue;
        };
        // Others use Debian's names of releases for packages of their own.
        if target.origin.is_some_and(|origin| origin != "Debian") {
            continue;
        }
        for url in web_urls(&target.uri, &settings.host) {
            mirrors.add(name, &url);
        }
    }
    add_neighbours(&mut mirrors);
    mirrors
}

/// A root that debootstrap made has no entry for the security archive, where the pinned version of a package may be.
/// Servers that call the one `debian` call the other `debian-security`. A server without it costs an answer of 404.
fn add_neighbours(mirrors: &mut Mirrors) {
    if mirrors.set("debian-security").is_some() {
        return;
    }
    let main = mirrors.set("debian").unwrap_or_default().to_vec();
    for server in main.iter().filter_map(|url| url.strip_suffix("/debian/")) {
        mirrors.add("debian-security", &format!("{server}/debian-security"));
    }
}

fn targets(settings: &AptSettings) -> Vec<AptArchive> {
    let listed = |options: &[&str]| {
        let mut command = command::bare(settings, "apt-get");
        if settings.host != Path::new("/") {
            command.arg("-o").arg(format!(
                "Dir::Etc={}",
                settings.host.join("etc/apt").display()
            ));
        }
        let arguments = [&["indextargets", "--format", FORMAT], options].concat();
        let text = command::run(command, "apt-get", &arguments).ok()?;
        let targets: Vec<AptArchive> = text.lines().filter_map(target).collect();
        (!targets.is_empty()).then_some(targets)
    };
    // Without the option, only indexes that were fetched are listed.
    let by_apt = listed(&[]).or_else(|| listed(&["--no-release-info"]));
    by_apt.unwrap_or_else(|| read(&settings.host.join("etc/apt")))
}

/// Reads a line of `apt-get indextargets`.
fn target(line: &str) -> Option<AptArchive> {
    let (origin, rest) = line.split_once(' ')?;
    let [suite, component, uri] = *rest.split(' ').collect::<Vec<_>>() else {
        return None;
    };
    Some(AptArchive {
        origin: (!origin.starts_with("$(")).then(|| origin.to_owned()),
        suite: suite.to_owned(),
        component: component.to_owned(),
        uri: uri.to_owned(),
    })
}

/// The archives that the entries in `directory` name.
fn read(directory: &Path) -> Vec<AptArchive> {
    let entries = sources::read(directory).unwrap_or_else(|error| {
        tracing::debug!(%error, "the entries for package archives cannot be read");
        Vec::new()
    });
    let mut targets = Vec::new();
    for entry in entries.iter().filter(|entry| entry.usable) {
        for uri in &entry.uris {
            for suite in &entry.suites {
                targets.extend(entry.components.iter().map(|component| AptArchive {
                    origin: None,
                    suite: suite.clone(),
                    component: component.clone(),
                    uri: uri.clone(),
                }));
            }
        }
    }
    targets
}

/// The web servers that `uri` stands for: itself, or those in the file that it names (apt-transport-mirror(1)). Empty
/// where it is neither: APT has more ways to an archive than there are here.
fn web_urls(uri: &str, host: &Path) -> Vec<String> {
    let is_web = |uri: &str| uri.starts_with("http://") || uri.starts_with("https://");
    if is_web(uri) {
        return vec![uri.to_owned()];
    }
    let Some(file) = uri.strip_prefix("mirror+file:") else {
        return Vec::new();
    };
    let file = host.join(file.trim_matches('/'));
    let read = limited_file::read_regular_text(&file, limited_file::SMALL);
    let text = read.unwrap_or_else(|error| {
        tracing::debug!(%error, "{} cannot be read", file.display());
        String::new()
    });
    let uris = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    uris.filter(|uri| is_web(uri))
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// Settings with `directory` as the host, where the programs are, too.
    fn settings(directory: &Path) -> AptSettings {
        fs::create_dir_all(directory.join("etc/apt/sources.list.d")).unwrap();
        AptSettings {
            host: directory.to_owned(),
            programs: Some(directory.to_owned()),
            ..AptSettings::new("bookworm", "amd64")
        }
    }

    fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn without_apt_get_both_formats_of_entries_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let urls = |name: &str| mirrors(&settings).urls(&format!("mirror://{name}/x"));
        assert!(urls("debian").is_empty());
        write(
            directory.path(),
            "etc/apt/sources.list",
            "deb [signed-by=/k.gpg] http://a.example/debian trixie main contrib\n\
             deb http://a.example/security trixie-security main\n\
             deb http://old.example/security buster/updates main\n\
             deb https://vendor.example/apt trixie-vendor main\n\
             deb https://vendor.example/docker trixie stable\n\
             deb tor+http://onion.example/debian trixie main\n",
        );
        write(
            directory.path(),
            "etc/apt/sources.list.d/debian.sources",
            "Types: deb\nURIs: https://b.example/debian/ http://a.example/debian/\nSuites: sid\n\
             Components: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: sid\n\
             Components: main\n\nTypes: deb-src\nURIs: mirror+file:/etc/apt/mirrors/list\n\
             Suites: stable\nComponents: main\n",
        );
        write(
            directory.path(),
            "etc/apt/mirrors/list",
            "# ours\nhttp://c.example/debian\tpriority:1\nfile:/srv/debian\n\nhttps://d.example/debian\n",
        );
        assert_eq!(
            urls("debian"),
            [
                "http://a.example/debian/x",
                "https://b.example/debian/x",
                "http://c.example/debian/x",
                "https://d.example/debian/x"
            ]
        );
        assert_eq!(
            urls("debian-security"),
            [
                "http://a.example/security/x",
                "http://old.example/security/x"
            ]
        );
        assert!(urls("debian-snapshot").is_empty());
    }

    #[test]
    fn a_host_without_the_security_archive_has_it_beside_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        write(
            directory.path(),
            "etc/apt/sources.list",
            "deb http://a.example/debian trixie main\ndeb http://b.example/mirror trixie main\n",
        );
        assert_eq!(
            mirrors(&settings).urls("mirror://debian-security/x"),
            ["http://a.example/debian-security/x"]
        );
        assert!(
            mirrors(&settings)
                .urls("mirror://debian-snapshot/x")
                .is_empty()
        );
    }

    #[test]
    fn apt_get_is_asked_first_and_says_whose_an_archive_is() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        write(
            directory.path(),
            "etc/apt/sources.list",
            "deb http://not-asked.example/debian trixie main\n",
        );
        let program = |text: &str| {
            let path = write(directory.path(), "apt-get", text);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let urls = || mirrors(&settings).urls("mirror://debian/x");
        program(
            "#!/bin/sh\ncase \"$*\" in *--no-release-info*) exit 1;; esac\n\
             echo 'Debian trixie main http://a.example/debian/'\n\
             echo 'Debian trixie main http://a.example/debian/'\n\
             echo 'microsoft trixie main https://vendor.example/debian/'\n",
        );
        assert_eq!(urls(), ["http://a.example/debian/x"]);
        // No index was fetched yet.
        program(
            "#!/bin/sh\ncase \"$*\" in *--no-release-info*) \
             echo '$(ORIGIN) trixie main http://b.example/debian/';; esac\n",
        );
        assert_eq!(urls(), ["http://b.example/debian/x"]);
        program("#!/bin/sh\nexit 100\n");
        assert_eq!(urls(), ["http://not-asked.example/debian/x"]);
    }
}
