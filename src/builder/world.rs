// SPDX-License-Identifier: GPL-3.0-or-later
//! The world of a build: what its sandbox holds and what its builder gets.
//!
//! Builds and the shells that show what a build saw use the same world.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use bstr::ByteSlice;

use super::environment::{build_directory, environment};
use super::graph::BuildJob;
use super::settings::BuildSettings;
use super::variation::Variation;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::StorePath;
use crate::sandbox::{BuildDirectory, GuestRoot, Mount, World};
use crate::store::directories::Directories;

/// What the world of one build is made from.
#[derive(Debug, Clone, Copy)]
pub struct BuildWorld<'w> {
    /// The build.
    pub job: BuildJob<'w>,
    /// The closure of its inputs, all valid.
    pub inputs: &'w BTreeSet<StorePath>,
    /// Where the store is on this machine.
    pub directories: &'w Directories,
    /// The user's choices.
    pub settings: &'w BuildSettings,
    /// What differs from an ordinary build.
    pub variation: &'w Variation,
    /// The host directory that is the build's store. It belongs to the build user.
    pub store: &'w Path,
    /// The host directory that is its build directory. It belongs to the build user.
    pub directory: &'w Path,
}

/// Whether builds for `system` can be tried on a machine that is `machine`: both have the same kernel. As in
/// guix-daemon, the processor may be another one, since the kernel may run its programs by itself or by an emulator.
pub(super) fn may_run(system: &str, machine: &str) -> bool {
    let kernel = |system: &str| system.split_once('-').map(|(_, kernel)| kernel.to_owned());
    system == machine || kernel(system).is_some_and(|own| kernel(machine) == Some(own))
}

/// Whether builds for `system` are those of the 32-bit sibling of `machine`.
fn is_thirty_two_bit(system: &str, machine: &str) -> bool {
    matches!(
        (system, machine),
        ("i686-linux", "x86_64-linux") | ("armhf-linux", "aarch64-linux")
    )
}

/// Whether guix-daemon takes it that programs of `system` run on `machine` without an emulator.
pub(super) fn runs_directly(system: &str, machine: &str) -> bool {
    system == machine || is_thirty_two_bit(system, machine)
}

/// Whether `derivation` names `procfs` among the features that its machine must have.
fn needs_processes(derivation: &Derivation) -> bool {
    let features = derivation.environment.get("requiredSystemFeatures");
    features.is_some_and(|features| features.fields().any(|feature| feature == b"procfs"))
}

impl BuildWorld<'_> {
    /// The world, in which the derivation's builder runs with `make_flags` as `MAKEFLAGS`, where it shares jobs, and
    /// prints to `output`.
    pub fn make(&self, make_flags: Option<String>, output: OwnedFd) -> World {
        let Self { job, settings, .. } = *self;
        let store_dir = &self.directories.store_dir;
        // An output could refer to the root if it were visible in the store, too.
        let visible = self.inputs.iter().filter(|path| Some(*path) != job.root);
        let mounts = visible.map(|path| Mount {
            source: self.directories.physical(path),
            target: store_dir.display(path).into(),
            writable: false,
        });
        // A root has places of its own.
        let shown = settings.host_directories.iter().map(|directory| Mount {
            source: directory.clone(),
            target: directory.clone(),
            writable: false,
        });
        let shown = shown.filter(|_| job.root.is_none());
        World {
            root: match job.root {
                Some(root) => GuestRoot::Tree(self.directories.physical(root)),
                None => GuestRoot::Empty,
            },
            mounts: mounts.chain(shown).collect(),
            store_dir: store_dir.as_str().to_owned(),
            store_writable: self.store.to_owned(),
            build_directory: BuildDirectory {
                host: self.directory.to_owned(),
                guest: build_directory(job.path).into(),
            },
            host_name: self.variation.host_name().to_owned(),
            user: settings.user.clone(),
            limits: settings.limits.clone(),
            program: job.derivation.builder.clone(),
            arguments: job.derivation.arguments.clone(),
            environment: environment(
                store_dir,
                job.path,
                job.derivation,
                settings.told_cores(),
                make_flags,
                self.variation,
            ),
            descriptors: Vec::new(),
            output,
            // The bytes of a fixed output are known: the network cannot change them.
            network: job.derivation.fixed_output().is_some(),
            processes: needs_processes(job.derivation),
            thirty_two_bit: is_thirty_two_bit(&job.derivation.system, &settings.system),
            interactive: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_for_the_same_kernel_are_tried() {
        for (system, machine, tried) in [
            ("x86_64-linux", "x86_64-linux", true),
            ("i686-linux", "x86_64-linux", true),
            ("aarch64-linux", "x86_64-linux", true),
            ("x86_64-freebsd", "x86_64-linux", false),
            ("x86_64-linux", "x86_64-freebsd", false),
            ("i586-gnu", "x86_64-linux", false),
            ("nonsense", "x86_64-linux", false),
            ("", "x86_64-linux", false),
        ] {
            assert_eq!(may_run(system, machine), tried, "{system} on {machine}");
        }
        let asks = |features: &str| {
            let environment = std::iter::once(("requiredSystemFeatures", features)).collect();
            needs_processes(&Derivation {
                environment,
                ..Derivation::default()
            })
        };
        assert!(asks("kvm procfs") && !asks("linprocfs kvm") && !asks(""));
        assert!(!needs_processes(&Derivation::default()));
        assert!(is_thirty_two_bit("i686-linux", "x86_64-linux"));
        assert!(!is_thirty_two_bit("x86_64-linux", "x86_64-linux"));
        assert!(!is_thirty_two_bit("aarch64-linux", "x86_64-linux"));
    }
}
