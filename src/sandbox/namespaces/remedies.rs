// SPDX-License-Identifier: GPL-3.0-or-later
//! Hints for failed steps, from the known causes and the machine's settings.

use rustix::io::Errno;

use crate::sandbox::SandboxStep;
use crate::sandbox::protocol::StepFailure;

/// The kinds of namespaces that a build needs, as in `user.max_KIND_namespaces`.
const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
pub(super) const DEBIAN_SWITCH: &str = "/proc/sys/kernel/unprivileged_userns_clone";
pub(super) const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// The hint for `failure`, without a full stop; `setting` reads a file of the machine's settings.
pub(super) fn remedy(
    failure: &StepFailure,
    setting: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let error = Errno::from_raw_os_error(failure.errno);
    let is = |path: &str, value: &str| setting(path).is_some_and(|text| text.trim() == value);
    let text = match (failure.step, error) {
        (SandboxStep::Execute, Errno::NOENT) => {
            "the file, or the interpreter or loader that it names, is not in the sandbox: add the item that holds it to \
             the inputs"
        }
        (SandboxStep::Execute, Errno::ACCESS) => {
            "the file is not executable, or is in a directory that the build user may not enter"
        }
        (SandboxStep::FilterCalls, Errno::INVAL) => {
            "use a kernel that was built with CONFIG_SECCOMP_FILTER"
        }
        (_, Errno::NOSYS) => {
            "use Linux 5.2 or newer; in a container, allow the newer mount calls (for Docker and podman: --security-opt \
             seccomp=unconfined)"
        }
        (SandboxStep::CreateNamespaces, Errno::NOSPC) => {
            let used_up: Vec<String> = KINDS
                .iter()
                .filter(|kind| is(&format!("/proc/sys/user/max_{kind}_namespaces"), "0"))
                .map(|kind| format!("user.max_{kind}_namespaces"))
                .collect();
            return Some(match used_up.as_slice() {
                [] => "no more namespaces are allowed: end some builds, or raise user.max_*_namespaces with sysctl"
                    .to_owned(),
                names => format!(
                    "{} is 0; as root: sysctl -w {}=15000",
                    names.join(" and "),
                    names.join("=15000 ")
                ),
            });
        }
        (SandboxStep::CreateNamespaces, Errno::INVAL) => {
            "use a kernel that was built with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS and CONFIG_CGROUPS"
        }
        (SandboxStep::CreateNamespaces, Errno::PERM) if is(DEBIAN_SWITCH, "0") => {
            "only root may make user namespaces here; as root: sysctl -w kernel.unprivileged_userns_clone=1; or run this \
             as root"
        }
        (SandboxStep::CreateNamespaces, Errno::PERM) => {
            "the system forbids user namespaces; in a container, allow them (for Docker and podman: --security-opt \
             seccomp=unconfined), or run this outside; in a chroot they cannot be made"
        }
        (SandboxStep::Execute, _) => return None,
        (SandboxStep::MapUser, Errno::PERM) if lacks(setting, SETFCAP) => {
            "this is root without CAP_SETFCAP, which may not make a user namespace: run this as another user, or add the \
             capability (for Docker and podman: --cap-add SETFCAP)"
        }
        (SandboxStep::MapUser | SandboxStep::BecomeUser, Errno::PERM)
            if lacks(setting, SETGID | SETUID) =>
        {
            "this is root without CAP_SETUID or CAP_SETGID: run this as another user, or add them (for Docker and podman: \
             --cap-add SETUID --cap-add SETGID)"
        }
        (_, Errno::PERM | Errno::ACCESS) if is(APPARMOR_SWITCH, "1") => {
            "AppArmor takes the privileges in user namespaces from programs without a profile; as root: sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0; or give this program a profile that allows `userns`; or run \
             it as root"
        }
        (SandboxStep::MountProcesses, Errno::PERM) => {
            "parts of /proc are hidden, as in a container, and the kernel then allows no other /proc: run this outside, \
             or unhide them (for Docker: --security-opt systempaths=unconfined; for podman: --security-opt unmask=ALL)"
        }
        (SandboxStep::MapUser | SandboxStep::BecomeUser, Errno::PERM | Errno::INVAL) => {
            "the build user has no number outside; in a container, map more user numbers (/etc/subuid)"
        }
        (
            SandboxStep::SeparateMounts
            | SandboxStep::MountRoot
            | SandboxStep::EnterRoot
            | SandboxStep::MountSource
            | SandboxStep::MountTemporary
            | SandboxStep::RestrictMount
            | SandboxStep::MakeDevices
            | SandboxStep::OpenSource,
            Errno::PERM,
        ) => {
            "the system forbids mounts in user namespaces; in a container, allow them (for Docker and podman: \
             --security-opt seccomp=unconfined --security-opt apparmor=unconfined), or run this outside"
        }
        (SandboxStep::OpenSource, Errno::ACCESS) => {
            "the user that runs the build must be able to enter every directory above it"
        }
        (SandboxStep::MakeEntry, Errno::ACCESS) => {
            "the directory on the machine does not belong to the user that the build has outside"
        }
        (_, Errno::NOSPC) => "make room there",
        (_, Errno::NFILE | Errno::MFILE) => "too many files are open: raise the limit (ulimit -n)",
        (
            SandboxStep::NameHost | SandboxStep::FilterCalls | SandboxStep::DropPrivileges,
            Errno::PERM,
        ) => {
            "the system refuses the call; in a container, allow it (for Docker and podman: --security-opt \
             seccomp=unconfined)"
        }
        (_, Errno::AGAIN) => {
            "no more processes are allowed: end some, or raise the limit (ulimit -u; pids.max of the control group)"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Capabilities as in `CapEff` of /proc/PID/status (capabilities(7)). The kernel asks SETFCAP of who maps root into a
/// user namespace.
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const SETFCAP: u64 = 1 << 31;

/// Whether this process is root without one of `capabilities`.
fn lacks(setting: &dyn Fn(&str) -> Option<String>, capabilities: u64) -> bool {
    let status = setting("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace()
            .nth(if name == "Uid:" { 1 } else { 0 })
    };
    let effective = field("CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok());
    field("Uid:") == Some("0")
        && effective.is_some_and(|effective| effective & capabilities != capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(step: SandboxStep, errno: Errno, settings: &[(&str, &str)]) -> String {
        let failure = StepFailure {
            step,
            path: None,
            errno: errno.raw_os_error(),
            detail: None,
        };
        let setting = |path: &str| {
            let found = settings.iter().find(|(name, _)| *name == path);
            found.map(|(_, value)| format!("{value}\n"))
        };
        remedy(&failure, &setting).unwrap_or_default()
    }

    #[test]
    fn each_way_to_forbid_user_namespaces_has_its_own_remedy() {
        for (kind, expected) in [
            ("user", "sysctl -w user.max_user_namespaces=15000"),
            ("net", "sysctl -w user.max_net_namespaces=15000"),
            ("time", "raise user.max_*_namespaces"),
        ] {
            let file = format!("/proc/sys/user/max_{kind}_namespaces");
            let limit = [(file.as_str(), "0")];
            let text = advice(SandboxStep::CreateNamespaces, Errno::NOSPC, &limit);
            assert!(text.contains(expected), "{text}");
        }
        let debian = [(DEBIAN_SWITCH, "0")];
        assert!(
            advice(SandboxStep::CreateNamespaces, Errno::PERM, &debian)
                .contains("kernel.unprivileged_userns_clone=1")
        );
        assert!(advice(SandboxStep::CreateNamespaces, Errno::PERM, &[]).contains("container"));
        let ubuntu = [(APPARMOR_SWITCH, "1")];
        for (step, errno) in [
            (SandboxStep::SeparateMounts, Errno::ACCESS),
            (SandboxStep::MountProcesses, Errno::PERM),
        ] {
            assert!(
                advice(step, errno, &ubuntu)
                    .contains("kernel.apparmor_restrict_unprivileged_userns=0")
            );
        }
        assert!(advice(SandboxStep::MountProcesses, Errno::PERM, &[]).contains("/proc"));
        for (user, capabilities, expected) in [
            ("0", "0000000028040000", "CAP_SETFCAP"),
            ("0", "00000000a8040000", "CAP_SETUID"),
            ("0", "00000000ffffffff", "user numbers"),
            ("1000", "0", "user numbers"),
        ] {
            let status = format!("Uid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{capabilities}");
            let settings = [("/proc/self/status", status.as_str())];
            let text = advice(SandboxStep::MapUser, Errno::PERM, &settings);
            assert!(text.contains(expected), "{text}");
        }
        for step in [
            SandboxStep::MountRoot,
            SandboxStep::EnterRoot,
            SandboxStep::SeparateMounts,
        ] {
            assert!(advice(step, Errno::PERM, &[]).contains("forbids mounts"));
        }
    }

    #[test]
    fn a_program_that_may_not_run_is_not_blamed_on_the_machine() {
        let ubuntu = [(APPARMOR_SWITCH, "1")];
        let text = advice(SandboxStep::Execute, Errno::ACCESS, &ubuntu);
        assert!(text.contains("not executable"), "{text}");
        assert_eq!(advice(SandboxStep::Execute, Errno::NOEXEC, &ubuntu), "");
    }
}
