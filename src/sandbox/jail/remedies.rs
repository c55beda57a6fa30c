// SPDX-License-Identifier: GPL-3.0-or-later
//! What to do about a step that failed on FreeBSD.

use rustix::io::Errno;

use crate::sandbox::SandboxStep;

/// What a user can do about `step`, failed with `errno`; `jailed` tells whether this program itself is in a jail.
pub fn remedy(step: SandboxStep, errno: i32, jailed: bool) -> Option<String> {
    let error = Errno::from_raw_os_error(errno);
    let text = match (step, error) {
        (SandboxStep::Execute, Errno::NOENT) => {
            "The file, or the interpreter or loader that it names, is not in the sandbox: \
             is the item that holds it among the inputs?"
        }
        (SandboxStep::Execute, Errno::ACCESS) => {
            "The file is not executable, or lies in a directory that the build user may not enter."
        }
        (SandboxStep::Execute, _) => return None,
        (SandboxStep::MountSource, Errno::NODEV) => {
            "The kernel has no nullfs. As root: kldload nullfs; for every boot: nullfs_load=\"YES\" in \
             /boot/loader.conf."
        }
        (SandboxStep::MountRoot | SandboxStep::MountTemporary, Errno::NODEV) => {
            "The kernel has no tmpfs. As root: kldload tmpfs; for every boot: tmpfs_load=\"YES\" in \
             /boot/loader.conf."
        }
        (SandboxStep::MountProcesses, Errno::NODEV) => {
            "The build asks for /proc, and the kernel has no procfs. As root: kldload procfs; for every boot: \
             procfs_load=\"YES\" in /boot/loader.conf."
        }
        (SandboxStep::MountSource, Errno::DEADLK) => {
            "A directory cannot be mounted in itself: choose a state directory outside of the store."
        }
        (_, Errno::PERM) if jailed => {
            "This runs in a jail already, where builds cannot have what they need: mounts, jails of their own, and rules \
             for devfs, which no jail may make. Run it on the host."
        }
        (
            SandboxStep::MountRoot | SandboxStep::MountSource | SandboxStep::MountTemporary,
            Errno::PERM,
        ) => {
            "Only root may mount, and not on a system with a raised kern.securelevel whose modules are not loaded."
        }
        (SandboxStep::MakeJail, Errno::INVAL) => {
            "The kernel does not know one of the jail's parameters: FreeBSD 13 or newer is needed."
        }
        (SandboxStep::MakeJail, Errno::EXIST) => {
            "A jail of that name is there already: see jls(8), and jail -R NAME removes it."
        }
        (SandboxStep::MakeDevices, Errno::EXIST) => {
            "The devfs rulesets 30001 to 30016 hold rules of other programs: remove one of them, \
             devfs rule -s 30001 delset."
        }
        (SandboxStep::Unmount, Errno::BUSY) => {
            "Something on the machine uses what was mounted for the build: see fstat(1). The next run tries again."
        }
        (_, Errno::NOSPC) => "No space is left there.",
        (_, Errno::NFILE | Errno::MFILE) => "Too many files are open: allow more (ulimit -n).",
        (_, Errno::AGAIN) => {
            "The system allows no more processes for this user: end some, or allow more (ulimit -u)."
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(step: SandboxStep, error: Errno, jailed: bool) -> String {
        remedy(step, error.raw_os_error(), jailed).unwrap_or_default()
    }

    #[test]
    fn a_missing_module_is_named_with_the_command_that_loads_it() {
        assert!(advice(SandboxStep::MountSource, Errno::NODEV, false).contains("kldload nullfs"));
        assert!(advice(SandboxStep::MountRoot, Errno::NODEV, false).contains("kldload tmpfs"));
        assert!(advice(SandboxStep::MountTemporary, Errno::NODEV, false).contains("kldload tmpfs"));
        assert!(
            advice(SandboxStep::MountProcesses, Errno::NODEV, false).contains("kldload procfs")
        );
    }

    #[test]
    fn in_a_jail_the_jail_is_to_blame_and_outside_it_is_not() {
        for step in [
            SandboxStep::MountRoot,
            SandboxStep::MakeDevices,
            SandboxStep::MakeJail,
        ] {
            assert!(advice(step, Errno::PERM, true).contains("on the host"));
        }
        assert!(!advice(SandboxStep::MountSource, Errno::PERM, false).contains("in a jail"));
    }

    #[test]
    fn rulesets_that_are_taken_are_named() {
        use super::super::devfs::RULESETS;

        let text = advice(SandboxStep::MakeDevices, Errno::EXIST, false);
        for ruleset in [RULESETS.start(), RULESETS.end()] {
            assert!(text.contains(&ruleset.to_string()), "{text}");
        }
    }

    #[test]
    fn a_program_that_may_not_run_is_not_blamed_on_the_machine() {
        assert!(advice(SandboxStep::Execute, Errno::ACCESS, true).contains("not executable"));
        assert_eq!(advice(SandboxStep::Execute, Errno::NOEXEC, true), "");
    }
}
