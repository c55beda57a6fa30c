// SPDX-License-Identifier: GPL-3.0-or-later
//! What the sandbox uses of FreeBSD: jails, and three kinds of file systems.

use super::parameters::VIMAGE;
use crate::sandbox::features::{Feature, version};

/// The file systems: what of a sandbox they are, and the name of the kernel's module.
pub const FILE_SYSTEMS: [(&str, &str); 3] = [
    ("inputs (nullfs)", "nullfs"),
    ("file systems in memory (tmpfs)", "tmpfs"),
    ("devices (devfs)", "devfs"),
];

/// The first FreeBSD with all parameters of a build's jail.
const OLDEST: u32 = 13;

/// What is looked at.
pub struct FreebsdHost<'s> {
    /// The kernel's release, such as `14.3-RELEASE`.
    pub release: &'s str,
    /// Whether this process is root.
    pub root: bool,
    /// Whether this process is in a jail.
    pub jailed: bool,
    /// Whether the kernel has a module.
    pub module: &'s dyn Fn(&str) -> bool,
    /// Whether the file of a module is there, to be loaded.
    pub loadable: &'s dyn Fn(&str) -> bool,
    /// A number among the kernel's settings, by its name for sysctl(8).
    pub setting: &'s dyn Fn(&str) -> Option<i32>,
    /// Whether any user can make sockets that a network of its own does not keep from a jail.
    pub reaches_beyond: bool,
}

/// The features of the kernel that runs.
#[cfg(target_os = "freebsd")]
pub(in crate::sandbox) fn probe() -> Vec<Feature> {
    use super::kernel;

    let name = rustix::system::uname();
    judge(&FreebsdHost {
        release: &name.release().to_string_lossy(),
        root: rustix::process::geteuid().is_root(),
        jailed: kernel::is_jailed(),
        module: &kernel::has_module,
        loadable: &|name| {
            let file = format!("{name}.ko");
            let directories = kernel::module_directories();
            directories
                .iter()
                .any(|directory| directory.join(&file).exists())
        },
        setting: &kernel::setting,
        reaches_beyond: kernel::has_sockets_beyond_networks(),
    })
}

/// The features of the kernel that was looked at.
pub fn judge(seen: &FreebsdHost<'_>) -> Vec<Feature> {
    let mut features = vec![kernel(seen.release), jails(seen)];
    features.extend(FILE_SYSTEMS.map(|names| file_system(names, seen)));
    features.push(network(seen));
    features.push(limits(seen));
    features
}

fn kernel(release: &str) -> Feature {
    let name = "kernel";
    match version(release) {
        Some((major, _)) if major >= OLDEST => Feature::there(name, format!("FreeBSD {release}")),
        Some(_) => Feature::missing(
            name,
            format!("FreeBSD {release}, whose jails lack some parameters"),
            "use FreeBSD 13 or newer",
        ),
        None => Feature::doubtful(
            name,
            format!("FreeBSD `{release}`, which may be any"),
            "FreeBSD 13 or newer is needed",
        ),
    }
}

fn jails(seen: &FreebsdHost<'_>) -> Feature {
    let name = "jails";
    match (seen.root, seen.jailed) {
        (false, _) => Feature::missing(
            name,
            "only root can make them, and this is another user",
            "run this as root: su -m root -c 'bootstrap …'",
        ),
        // Whatever a jail is allowed: the kernel never lets it make rules for devfs.
        (true, true) => Feature::missing(
            name,
            "this runs in a jail, where devfs rules cannot be made",
            "run this on the host",
        ),
        (true, false) => Feature::there(name, "there, and allowed"),
    }
}

fn file_system((name, module): (&'static str, &str), seen: &FreebsdHost<'_>) -> Feature {
    if (seen.module)(module) {
        return Feature::there(name, "there");
    }
    let load = format!(
        "as root, outside of jails: kldload {module}; for every boot: {module}_load=\"YES\" in /boot/loader.conf"
    );
    if !(seen.loadable)(module) {
        return Feature::missing(
            name,
            "neither in the kernel nor where it looks for modules (kern.module_path)",
            &format!("install the kernel's modules, or build the kernel with it; {load}"),
        );
    }
    // The kernel loads what a mount needs, but not for every user, nor at any time.
    let level = (seen.setting)("kern.securelevel").unwrap_or(-1);
    if level > 0 {
        return Feature::missing(
            name,
            format!("not loaded, and nothing can be: kern.securelevel is {level}"),
            &load,
        );
    }
    if seen.jailed {
        return Feature::missing(name, "not loaded, and a jail cannot load it", &load);
    }
    Feature::there(name, "loaded with the first mount")
}

fn network(seen: &FreebsdHost<'_>) -> Feature {
    let name = "a network of its own (vnet)";
    match (seen.setting)(VIMAGE) {
        Some(1) if seen.reaches_beyond => Feature::doubtful(
            name,
            "not used, since it would give builds sockets of Hyper-V or Bluetooth: they have no loopback interface, which some test \
             suites need",
            "use a kernel without hyperv and ng_btsocket",
        ),
        Some(1) => Feature::there(name, "there: builds have a loopback interface"),
        _ => Feature::doubtful(
            name,
            "the kernel cannot give it: builds have no loopback interface, which some test suites need",
            "use a kernel with `options VIMAGE`, such as GENERIC",
        ),
    }
}

fn limits(seen: &FreebsdHost<'_>) -> Feature {
    let name = "resource limits (rctl)";
    match (seen.setting)("kern.racct.enable") {
        Some(1) => Feature::there(name, "there"),
        _ => Feature::doubtful(
            name,
            "the kernel keeps no accounts: --max-processes cannot be enforced",
            "for every boot: kern.racct.enable=1 in /boot/loader.conf",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a usual machine is.
    fn usual() -> FreebsdHost<'static> {
        FreebsdHost {
            release: "14.3-RELEASE-p2",
            root: true,
            jailed: false,
            module: &|name| name != "nullfs",
            loadable: &|_| true,
            setting: &|name| ["kern.racct.enable", VIMAGE].contains(&name).then_some(1),
            reaches_beyond: false,
        }
    }

    fn missing(seen: &FreebsdHost<'_>) -> Vec<(&'static str, String)> {
        let features = judge(seen).into_iter().filter(|one| one.missing);
        features
            .map(|one| (one.name, one.remedy.unwrap()))
            .collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_usual_machine() {
        let features = judge(&usual());
        assert_eq!(features.len(), 7);
        assert!(
            features.iter().all(|one| one.remedy.is_none()),
            "{features:?}"
        );
        assert_eq!(features[2].seen, "loaded with the first mount");
    }

    #[test]
    fn each_module_that_is_missing_is_named_with_what_loads_it() {
        for (name, module) in FILE_SYSTEMS {
            let is_other = |other: &str| other != module;
            let nowhere = FreebsdHost {
                module: &is_other,
                loadable: &|_| false,
                ..usual()
            };
            let secured = FreebsdHost {
                module: &is_other,
                setting: &|name| (name == "kern.securelevel").then_some(2),
                ..usual()
            };
            let jailed = FreebsdHost {
                module: &is_other,
                jailed: true,
                setting: &|_| Some(0),
                ..usual()
            };
            for seen in [nowhere, secured, jailed] {
                let missing = missing(&seen);
                let found = missing.iter().find(|(other, _)| *other == name).unwrap();
                assert!(found.1.contains(&format!("kldload {module};")), "{found:?}");
            }
        }
    }

    #[test]
    fn jails_are_roots_and_never_a_jails() {
        let user = FreebsdHost {
            root: false,
            ..usual()
        };
        assert!(missing(&user)[0].1.contains("as root"));
        let jailed = FreebsdHost {
            jailed: true,
            module: &|_| true,
            setting: &|_| Some(1),
            ..usual()
        };
        let missing = missing(&jailed);
        assert_eq!(missing, [("jails", "run this on the host".to_owned())]);
    }

    #[test]
    fn an_old_kernel_will_not_do_and_one_without_accounts_will() {
        let old = FreebsdHost {
            release: "12.4-RELEASE",
            ..usual()
        };
        assert_eq!(missing(&old)[0].0, "kernel");
        let odd = FreebsdHost {
            release: "odd",
            setting: &|_| None,
            ..usual()
        };
        assert_eq!(missing(&odd), []);
        let doubtful = judge(&odd);
        let doubtful = doubtful.iter().filter(|one| one.remedy.is_some());
        let names: Vec<_> = doubtful.map(|one| one.name).collect();
        assert_eq!(
            names,
            [
                "kernel",
                "a network of its own (vnet)",
                "resource limits (rctl)"
            ]
        );
    }
}
