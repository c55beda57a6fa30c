// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds the files in a Debian binary package.
//!
//! A `.deb` (format 2.x, deb(5)) is an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`. The control
//! part holds the package's description and its scripts; nothing of it is read, because nothing of it is run.

use std::io::{BufRead, BufReader, Read};

use super::READ_BUFFER;
use super::ar::{ArError, ArReader};
use super::error::ArchiveError;
use super::tree::ArchiveTree;
use super::unpack::unpack_tar;

/// The longest version line that is read.
const VERSION_BYTES: u64 = 64;

/// Unpacks the data part of the package in `input` into `tree`.
pub(super) fn unpack(
    label: &str,
    input: impl BufRead,
    tree: &mut ArchiveTree,
) -> Result<(), ArchiveError> {
    let malformed = |reason: String| ArchiveError::Malformed {
        archive: label.to_owned(),
        reason,
    };
    let from_ar = |error: ArError| match error {
        ArError::Read(error) => ArchiveError::Read {
            archive: label.to_owned(),
            error,
        },
        other => malformed(other.to_string()),
    };
    let mut members = ArReader::new(input).map_err(from_ar)?;
    let first = members.next_member().map_err(from_ar)?;
    let mut version = String::new();
    if first.is_some_and(|member| member.name == "debian-binary") {
        (&mut members)
            .take(VERSION_BYTES)
            .read_to_string(&mut version)
            .map_err(|error| from_ar(error.into()))?;
    }
    if !version.starts_with("2.") {
        return Err(malformed(
            "expected a Debian package of format 2, which starts with the member `debian-binary`"
                .to_owned(),
        ));
    }
    while let Some(member) = members.next_member().map_err(from_ar)? {
        if member.name == "data.tar" || member.name.starts_with("data.tar.") {
            let data = BufReader::with_capacity(READ_BUFFER, &mut members);
            return unpack_tar(label, data, tree);
        }
    }
    Err(malformed(
        "expected a member `data.tar`, saw none".to_owned(),
    ))
}
