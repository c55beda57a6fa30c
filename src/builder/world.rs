// SPDX-License-Identifier: GPL-3.0-or-later
//! The world of a build: what its sandbox holds and what its builder gets.
//!
//! Builds and the shells that show what a build saw use the same world.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::environment::{build_directory, environment};
use super::graph::Job;
use super::settings::BuildSettings;
use super::variation::Variation;
use crate::formats::store_path::StorePath;
use crate::sandbox::{BuildDirectory, Mount, Root, World};
use crate::store::directories::Directories;

/// What the world of one build is made from.
#[derive(Debug, Clone, Copy)]
pub struct BuildWorld<'w> {
    /// The build.
    pub job: Job<'w>,
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

impl BuildWorld<'_> {
    /// The world, in which the derivation's builder runs with `make_flags` as `MAKEFLAGS` and prints to `output`.
    pub fn make(&self, make_flags: String, output: OwnedFd) -> World {
        let Self { job, settings, .. } = *self;
        let store_dir = &self.directories.store_dir;
        // An output could refer to the root if it were visible in the store, too.
        let visible = self.inputs.iter().filter(|path| Some(*path) != job.root);
        let mounts = visible.map(|path| Mount {
            source: self.directories.physical(path),
            target: store_dir.display(path).into(),
            writable: false,
        });
        World {
            root: match job.root {
                Some(root) => Root::Tree(self.directories.physical(root)),
                None => Root::Empty,
            },
            mounts: mounts.collect(),
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
                settings.cores,
                make_flags,
                self.variation,
            ),
            descriptors: Vec::new(),
            output,
            // The bytes of a fixed output are known: the network cannot change them.
            network: job.derivation.fixed_output().is_some(),
            interactive: false,
        }
    }
}
