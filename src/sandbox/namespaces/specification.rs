// SPDX-License-Identifier: GPL-3.0-or-later
//! What the spawning process sends to the helper, and what the helper and its children work with.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use bstr::BString;
use rustix::process::Rlimit;
use serde::{Deserialize, Serialize};

use crate::sandbox::layout::Item;
use crate::sandbox::terminal::ProgramEnd;
use crate::sandbox::{BuildUser, ResourceLimits};

/// What the helper is to make.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NamespaceSpecification {
    /// What the world holds.
    pub items: Vec<Item>,
    pub host_name: String,
    /// Numbers inside.
    pub user: BuildUser,
    /// User and group numbers outside.
    pub outside: (u32, u32),
    pub limits: ResourceLimits,
    pub network: bool,
    pub thirty_two_bit: bool,
    pub interactive: bool,
    /// Where the program starts.
    pub directory: PathBuf,
    pub program: BString,
    pub arguments: Vec<BString>,
    /// `NAME=VALUE`.
    pub environment: Vec<BString>,
    /// The numbers that the descriptors sent along get, in their order. When `interactive`, one more
    /// descriptor is in front: standard input.
    pub descriptors: Vec<i32>,
    /// Stop before the program and say [`HelperMessage::Fit`](crate::sandbox::protocol::HelperMessage::Fit).
    pub rehearse: bool,
    /// Do without `mount_setattr`, as on Linux before 5.12.
    pub old_kernel: bool,
}

/// What the helper and its children work with.
pub(super) struct NamespaceHelper {
    pub specification: NamespaceSpecification,
    /// For [`HelperMessage`](crate::sandbox::protocol::HelperMessage)s.
    pub socket: UnixStream,
    /// For the program, in the order of the specification's numbers.
    pub descriptors: Vec<OwnedFd>,
    /// `/dev/null` of the machine.
    pub null: OwnedFd,
    /// The caller's limits of open files, which those of the program do not exceed.
    pub open_files: Option<Rlimit>,
    /// The program's terminal, when it is interactive and has one.
    pub terminal: Option<ProgramEnd>,
}
