// SPDX-License-Identifier: GPL-3.0-or-later
//! Watching and stopping an installation.

use crate::events::cancellation::Cancellation;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::store::PathInfo;

/// What watches an installation, and may stop it.
#[derive(Clone)]
pub struct InstallationWatch<'w> {
    /// Stops it.
    pub cancellation: Cancellation,
    /// Is called, on any thread, with what happens.
    pub news: &'w (dyn Fn(InstallationNews<'_>) + Sync),
}

/// What happens while items are installed.
#[derive(Debug, Clone, Copy)]
pub enum InstallationNews<'n> {
    /// These will be installed. Comes before all else, and again where other items are needed after a failure.
    Found(&'n [SubstituteOffer]),
    /// Work on an item begins.
    Begun {
        /// The item.
        path: &'n StorePath,
        /// The server's URL.
        location: &'n str,
    },
    /// So many bytes of an item's compressed archive have arrived.
    Received {
        /// The item.
        path: &'n StorePath,
        /// The server's URL.
        location: &'n str,
        /// The bytes so far.
        bytes: u64,
        /// The size of the compressed archive, where the server says.
        total: Option<u64>,
    },
    /// An item is valid.
    Installed {
        /// The item.
        info: &'n PathInfo,
        /// The server's URL.
        location: &'n str,
    },
    /// An item was not installed from a server.
    Failed {
        /// The item.
        path: &'n StorePath,
        /// The server's URL.
        location: &'n str,
        /// What went wrong.
        problem: &'n str,
    },
    /// Another process has made an item valid meanwhile.
    Reused(&'n StorePath),
}

/// An item that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubstituteOffer {
    /// The item.
    pub path: StorePath,
    /// The server's URL.
    pub location: String,
    /// The size of its archive, in bytes.
    pub nar_size: u64,
    /// The size of the compressed archive that would be downloaded, in bytes, where the server says.
    pub download_size: Option<u64>,
}

impl SubstituteOffer {
    /// What the server at `location` offers with `info`.
    pub(super) fn of(info: &NarInfo, location: &str) -> Self {
        Self {
            path: info.path.clone(),
            location: location.to_owned(),
            nar_size: info.nar_size,
            download_size: super::decompress::best_file(info).and_then(|file| file.size),
        }
    }
}
