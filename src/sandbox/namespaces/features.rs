// SPDX-License-Identifier: GPL-3.0-or-later
//! What the sandbox uses of Linux: namespaces, file systems in memory, and the newer mount calls.

use std::fs;
use std::path::Path;

use super::remedies::{APPARMOR_SWITCH, DEBIAN_SWITCH};
use super::system;
use crate::sandbox::features::{Feature, version};

/// The namespaces: their usual names, the kernel's names, and the kernel's build options.
const NAMESPACES: [(&str, &str, &str); 7] = [
    ("user namespaces", "user", "CONFIG_USER_NS"),
    ("mount namespaces", "mnt", "CONFIG_NAMESPACES"),
    ("process namespaces", "pid", "CONFIG_PID_NS"),
    ("network namespaces", "net", "CONFIG_NET_NS"),
    ("IPC namespaces", "ipc", "CONFIG_IPC_NS"),
    ("host-name namespaces", "uts", "CONFIG_UTS_NS"),
    ("control-group namespaces", "cgroup", "CONFIG_CGROUPS"),
];

/// The file systems, with the kernel's own settings that give them.
const FILE_SYSTEMS: [(&str, &str, &str); 3] = [
    ("/proc", "proc", "CONFIG_PROC_FS"),
    ("file systems in memory", "tmpfs", "CONFIG_TMPFS"),
    ("pseudo-terminals", "devpts", "CONFIG_UNIX98_PTYS"),
];

/// Where the kernel lists its file systems.
const FILE_SYSTEMS_KNOWN: &str = "/proc/filesystems";

/// What to do where there is no /proc: namespaces cannot be seen or entered then.
const MOUNT_PROC: &str = "mount it: mount -t proc proc /proc";

/// The first Linux with the calls that mounts are made with.
const OLDEST: (u32, u32) = (5, 2);

/// The first Linux that can restrict a mount with all that is mounted in it.
pub(super) const CURRENT: (u32, u32) = (5, 12);

/// What is looked at.
struct LinuxHost<'s> {
    /// The kernel's release.
    release: &'s str,
    /// Whether this process is root.
    root: bool,
    /// Whether the kernel has a kind of namespace, by its own name.
    namespace: &'s dyn Fn(&str) -> bool,
    /// Whether this process may switch off address-space randomisation.
    fixed_addresses: bool,
    /// A file of the machine's settings.
    setting: &'s dyn Fn(&str) -> Option<String>,
}

/// The features of the kernel that runs.
pub(in crate::sandbox) fn features() -> Vec<Feature> {
    judge(&LinuxHost {
        release: &release(),
        root: rustix::process::geteuid().is_root(),
        namespace: &|name| Path::new("/proc/self/ns").join(name).exists(),
        fixed_addresses: system::can_fix_addresses(),
        setting: &|path| fs::read_to_string(path).ok(),
    })
}

/// The release of the kernel that runs.
pub(super) fn release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

fn judge(seen: &LinuxHost<'_>) -> Vec<Feature> {
    let mut features = vec![kernel(seen.release)];
    features.extend(NAMESPACES.map(|names| namespace(names, seen)));
    let known = (seen.setting)(FILE_SYSTEMS_KNOWN).unwrap_or_default();
    features.extend(FILE_SYSTEMS.map(|names| file_system(names, &known)));
    features.push(filter(seen));
    features.push(addresses(seen.fixed_addresses));
    features
}

fn filter(seen: &LinuxHost<'_>) -> Feature {
    let name = "system-call filter (seccomp)";
    match (seen.setting)("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Feature::there(name, "there")
        }
        _ => Feature::doubtful(
            name,
            "/proc/sys/kernel/seccomp/actions_avail does not list it",
            "use a kernel that was built with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn addresses(fixed: bool) -> Feature {
    let name = "fixed addresses (personality)";
    if fixed {
        return Feature::there(name, "allowed");
    }
    Feature::doubtful(
        name,
        "the system refuses them: a build whose result depends on addresses may not be reproducible",
        "allow the call in the container's seccomp profile (for Docker and podman: --security-opt seccomp=unconfined)",
    )
}

fn kernel(release: &str) -> Feature {
    let name = "mount calls";
    match version(release) {
        Some(version) if version >= OLDEST => Feature::there(name, format!("Linux {release}")),
        Some(_) => Feature::missing(
            name,
            format!("Linux {release} does not have them"),
            "use Linux 5.2 or newer",
        ),
        None => Feature::doubtful(
            name,
            format!("Linux `{release}`, which may be any"),
            "Linux 5.2 or newer has them",
        ),
    }
}

fn namespace((name, short, option): (&'static str, &str, &str), seen: &LinuxHost<'_>) -> Feature {
    let setting = |path: &str| (seen.setting)(path).map(|text| text.trim().to_owned());
    if !(seen.namespace)(short) && setting(FILE_SYSTEMS_KNOWN).is_none() {
        return Feature::missing(name, "/proc cannot be read", MOUNT_PROC);
    }
    if !(seen.namespace)(short) {
        return Feature::missing(
            name,
            "the kernel does not have them",
            &format!("use a kernel that was built with {option}"),
        );
    }
    let limit = format!("max_{short}_namespaces");
    if setting(&format!("/proc/sys/user/{limit}")).as_deref() == Some("0") {
        return Feature::missing(
            name,
            format!("none are allowed: user.{limit} is 0"),
            &format!(
                "as root: sysctl -w user.{limit}=15000; in a sandbox or container, run this outside"
            ),
        );
    }
    // Both switches are about users other than root.
    if short == "user" && !seen.root {
        if setting(DEBIAN_SWITCH).as_deref() == Some("0") {
            return Feature::missing(
                name,
                "only root may make them: kernel.unprivileged_userns_clone is 0",
                "as root: sysctl -w kernel.unprivileged_userns_clone=1; or run this as root",
            );
        }
        if setting(APPARMOR_SWITCH).as_deref() == Some("1") {
            return Feature::doubtful(
                name,
                "AppArmor takes the privileges in them from programs without a profile",
                "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or give this program a profile that \
                 allows `userns`; or run it as root",
            );
        }
    }
    Feature::there(name, "there, and allowed")
}

/// `known` is `/proc/filesystems`: lines of, perhaps, `nodev`, and a name.
fn file_system((name, short, option): (&'static str, &str, &str), known: &str) -> Feature {
    let mut names = known
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    if names.any(|name| name == short) {
        return Feature::there(name, format!("{short} is there"));
    }
    if known.is_empty() {
        return Feature::doubtful(name, "/proc/filesystems cannot be read", MOUNT_PROC);
    }
    Feature::missing(
        name,
        format!("the kernel does not have {short}"),
        &format!("use a kernel that was built with {option}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "nodev\tproc\nnodev\ttmpfs\nnodev\tdevpts\n\text4\n";

    fn seen(release: &str, root: bool, lacking: &str, settings: &[(&str, &str)]) -> Vec<Feature> {
        judge(&LinuxHost {
            release,
            root,
            namespace: &|name| name != lacking,
            setting: &|path| {
                let found = settings.iter().find(|(name, _)| *name == path);
                let found = found.map(|(_, value)| format!("{value}\n"));
                found.or_else(|| match path {
                    "/proc/filesystems" => Some(KNOWN.to_owned()),
                    "/proc/sys/kernel/seccomp/actions_avail" => {
                        Some("kill_process errno allow\n".to_owned())
                    }
                    _ => None,
                })
            },
            fixed_addresses: true,
        })
    }

    fn of<'f>(features: &'f [Feature], name: &str) -> &'f Feature {
        features.iter().find(|one| one.name == name).unwrap()
    }

    #[test]
    fn nothing_is_wrong_with_a_usual_kernel() {
        let features = seen("6.1.0-13-amd64", false, "", &[]);
        assert_eq!(features.len(), 13);
        let wrong: Vec<_> = features.iter().filter(|one| one.remedy.is_some()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(features.iter().all(|one| !one.missing));
    }

    #[test]
    fn each_namespace_that_is_missing_or_forbidden_is_named() {
        for (name, short, option) in NAMESPACES {
            let features = seen("6.1", true, short, &[]);
            let missing: Vec<_> = features.iter().filter(|one| one.missing).collect();
            assert_eq!(missing.len(), 1);
            assert_eq!(missing[0].name, name);
            assert!(missing[0].remedy.as_ref().unwrap().contains(option));
            let limit = format!("/proc/sys/user/max_{short}_namespaces");
            let features = seen("6.1", true, "", &[(&limit, "0")]);
            let forbidden = of(&features, name);
            assert!(forbidden.missing);
            let remedy = forbidden.remedy.as_ref().unwrap();
            assert!(
                remedy.contains(&format!("user.max_{short}_namespaces=")),
                "{remedy}"
            );
            assert!(!of(&seen("6.1", true, "", &[(&limit, "15000")]), name).missing);
        }
    }

    #[test]
    fn switches_for_other_users_are_nothing_to_root() {
        let debian = [(DEBIAN_SWITCH, "0")];
        let features = seen("6.1", false, "", &debian);
        let user = of(&features, "user namespaces");
        assert!(user.missing && user.remedy.as_ref().unwrap().contains("_userns_clone=1"));
        assert!(!of(&seen("6.1", true, "", &debian), "user namespaces").missing);
        let apparmor = [(APPARMOR_SWITCH, "1")];
        let features = seen("6.1", false, "", &apparmor);
        let user = of(&features, "user namespaces");
        assert!(!user.missing && user.remedy.as_ref().unwrap().contains("profile"));
        let features = seen("6.1", true, "", &apparmor);
        assert_eq!(of(&features, "user namespaces").remedy, None);
    }

    #[test]
    fn old_kernels_and_kernels_without_a_file_system_will_not_do() {
        for (release, missing) in [("5.1.9", true), ("4.19.0", true), ("5.2", false)] {
            assert_eq!(
                of(&seen(release, true, "", &[]), "mount calls").missing,
                missing
            );
        }
        let odd = seen("odd", true, "", &[]);
        let odd = of(&odd, "mount calls");
        assert!(!odd.missing && odd.remedy.is_some());
        for (name, short, option) in FILE_SYSTEMS {
            let known = KNOWN.replace(short, "other");
            let feature = file_system((name, short, option), &known);
            assert!(feature.missing);
            assert!(feature.remedy.unwrap().contains(option));
            let unread = file_system((name, short, option), "");
            assert!(!unread.missing && unread.remedy.is_some());
        }
    }

    #[test]
    fn the_machine_that_runs_the_tests_has_a_kernel() {
        assert!(version(&release()).is_some());
        assert_eq!(features().len(), 13);
    }
}
