// SPDX-License-Identifier: GPL-3.0-or-later
//! What the spawning process sends to the helper, and what the helper and the program's process work with.

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
pub(super) struct JailSpecification {
    /// The jail's name.
    pub name: String,
    /// What its root is mounted on.
    pub root: PathBuf,
    /// The record's file, to be removed in the end.
    pub record: PathBuf,
    /// What the world holds.
    pub items: Vec<Item>,
    pub host_name: String,
    pub user: BuildUser,
    pub limits: ResourceLimits,
    pub network: bool,
    pub interactive: bool,
    /// Where the program starts.
    pub directory: PathBuf,
    pub program: BString,
    pub arguments: Vec<BString>,
    /// `NAME=VALUE`.
    pub environment: Vec<BString>,
    /// The numbers that the descriptors sent along get, in their order. In front of those is the record's lock and,
    /// when `interactive`, standard input.
    pub descriptors: Vec<i32>,
    /// Stop before the program and say [`HelperMessage::Fit`](crate::sandbox::protocol::HelperMessage::Fit).
    pub rehearse: bool,
}

/// What the helper and the program's process work with.
pub(super) struct JailHelper {
    pub specification: JailSpecification,
    /// For the program, in the order of the specification's numbers.
    pub descriptors: Vec<OwnedFd>,
    /// What is left for the process's own limits.
    pub limits: ResourceLimits,
    /// The caller's limits of open files, which those of the program do not exceed.
    pub open_files: Option<Rlimit>,
    /// The program's terminal, when it is interactive and has one.
    pub terminal: Option<ProgramEnd>,
    /// The spawning process's end says when to stop.
    pub socket: UnixStream,
    /// `/dev/null` of the machine.
    pub null: OwnedFd,
}
