// SPDX-License-Identifier: GPL-3.0-or-later
//! Hints for failed steps, from the known causes and the machine's settings.

use rustix::io::Errno;

use crate::sandbox::SandboxStep;
use crate::sandbox::protocol::StepFailure;

const MAX_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";
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
            let now = setting(MAX_NAMESPACES).unwrap_or_default();
            return Some(format!(
                "user.max_user_namespaces is {}; as root: sysctl -w user.max_user_namespaces=15000, and likewise each \
                 other user.max_*_namespaces that is 0",
                now.trim()
            ));
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
        (SandboxStep::MapUser, Errno::PERM) if cannot_map_root(setting) => {
            "this is root without CAP_SETFCAP, which may not make a user namespace: run this as another user, or add the \
             capability (for Docker and podman: --cap-add SETFCAP)"
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
        (_, Errno::AGAIN) => {
            "no more processes are allowed: end some, or raise the limit (ulimit -u; pids.max of the control group)"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Whether this process is root without the capability that the kernel asks of who maps root into a user namespace.
fn cannot_map_root(setting: &dyn Fn(&str) -> Option<String>) -> bool {
    const SETFCAP: u64 = 1 << 31;
    let status = setting("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace()
            .nth(if name == "Uid:" { 1 } else { 0 })
    };
    let effective = field("CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok());
    field("Uid:") == Some("0") && effective.is_some_and(|effective| effective & SETFCAP == 0)
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
        let limit = [(MAX_NAMESPACES, "0")];
        assert!(
            advice(SandboxStep::CreateNamespaces, Errno::NOSPC, &limit)
                .contains("user.max_user_namespaces is 0")
        );
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
