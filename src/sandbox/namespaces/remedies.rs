// SPDX-License-Identifier: GPL-3.0-or-later
//! What to do about a failed step: the causes that are known, looked up in the machine's settings.

use rustix::io::Errno;

use crate::sandbox::Step;
use crate::sandbox::protocol::Failure;

const MAX_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";
pub(super) const DEBIAN_SWITCH: &str = "/proc/sys/kernel/unprivileged_userns_clone";
pub(super) const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// What a person can do about `failure`; `setting` reads a file of the machine's settings.
pub(super) fn remedy(
    failure: &Failure,
    setting: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let error = Errno::from_raw_os_error(failure.errno);
    let is = |path: &str, value: &str| setting(path).is_some_and(|text| text.trim() == value);
    let text = match (failure.step, error) {
        (Step::Execute, Errno::NOENT) => {
            "The file, or the interpreter or loader that it names, is not in the sandbox: \
             is the item that holds it among the inputs?"
                .to_owned()
        }
        (Step::Execute, Errno::ACCESS) => {
            "The file is not executable, or lies in a directory that the build user may not enter."
                .to_owned()
        }
        (_, Errno::NOSYS) => {
            "This needs Linux 5.2 or newer, and a container that does not forbid the new mount calls."
                .to_owned()
        }
        (Step::CreateNamespaces, Errno::NOSPC) => {
            let now = setting(MAX_NAMESPACES).unwrap_or_default();
            format!(
                "The system allows no further namespaces (user.max_user_namespaces is {}). As root: \
                 sysctl -w user.max_user_namespaces=15000, and the other user.max_*_namespaces \
                 likewise when they are 0.",
                now.trim()
            )
        }
        (Step::CreateNamespaces, Errno::INVAL) => {
            "The kernel was built without some kind of namespace (CONFIG_USER_NS, CONFIG_PID_NS, \
             CONFIG_NET_NS, CONFIG_CGROUPS): use a kernel that has them."
                .to_owned()
        }
        (Step::CreateNamespaces, Errno::PERM) if is(DEBIAN_SWITCH, "0") => {
            "The system lets only root make user namespaces. As root: \
             sysctl -w kernel.unprivileged_userns_clone=1; or run this as root."
                .to_owned()
        }
        (Step::CreateNamespaces, Errno::PERM) => {
            "The system forbids user namespaces. In a chroot they cannot be made at all; in a container, \
             allow them (for Docker: --security-opt seccomp=unconfined), or run this outside of it."
                .to_owned()
        }
        (Step::Execute, _) => return None,
        (_, Errno::PERM | Errno::ACCESS) if is(APPARMOR_SWITCH, "1") => {
            "AppArmor lets programs make user namespaces and takes their privileges away. As root: \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or give this program a profile \
             that allows `userns`; or run it as root."
                .to_owned()
        }
        (Step::MountProcesses, Errno::PERM) => {
            "Parts of /proc are hidden, as in a container, and the kernel then allows no other /proc. \
             Run this outside of the container, or unhide them (for Docker: \
             --security-opt systempaths=unconfined)."
                .to_owned()
        }
        (Step::MapUser | Step::BecomeUser, Errno::PERM | Errno::INVAL) => {
            "The build user has no number outside. In a container, give it more user numbers."
                .to_owned()
        }
        (Step::OpenSource, Errno::ACCESS) => {
            "The user that runs the build must be able to reach it: check the directories above it."
                .to_owned()
        }
        (Step::MakeEntry, Errno::ACCESS) => {
            "The directory on the machine does not belong to the user that the build has outside."
                .to_owned()
        }
        (_, Errno::NOSPC) => "No space is left there.".to_owned(),
        (_, Errno::NFILE | Errno::MFILE) => {
            "Too many files are open: allow more (ulimit -n).".to_owned()
        }
        (_, Errno::AGAIN) => {
            "The system allows no more processes for this user: end some, or allow more (ulimit -u)."
                .to_owned()
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(step: Step, errno: Errno, settings: &[(&str, &str)]) -> String {
        let failure = Failure {
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
            advice(Step::CreateNamespaces, Errno::NOSPC, &limit)
                .contains("user.max_user_namespaces is 0")
        );
        let debian = [(DEBIAN_SWITCH, "0")];
        assert!(
            advice(Step::CreateNamespaces, Errno::PERM, &debian)
                .contains("kernel.unprivileged_userns_clone=1")
        );
        assert!(advice(Step::CreateNamespaces, Errno::PERM, &[]).contains("container"));
        let ubuntu = [(APPARMOR_SWITCH, "1")];
        for (step, errno) in [
            (Step::SeparateMounts, Errno::ACCESS),
            (Step::MountProcesses, Errno::PERM),
        ] {
            assert!(
                advice(step, errno, &ubuntu)
                    .contains("kernel.apparmor_restrict_unprivileged_userns=0")
            );
        }
        assert!(advice(Step::MountProcesses, Errno::PERM, &[]).contains("/proc"));
    }

    #[test]
    fn a_program_that_may_not_run_is_not_blamed_on_the_machine() {
        let ubuntu = [(APPARMOR_SWITCH, "1")];
        let text = advice(Step::Execute, Errno::ACCESS, &ubuntu);
        assert!(text.contains("not executable"), "{text}");
        assert_eq!(advice(Step::Execute, Errno::NOEXEC, &ubuntu), "");
    }
}
