// SPDX-License-Identifier: GPL-3.0-or-later
//! The manual pages, made from what `--help` is made from.

use std::fs;
use std::path::Path;

use clap::Command;

use crate::atomic_file::{create_directory, replace};
use crate::diagnostics::FileError;

/// Writes `NAME.1` of `command`, and `NAME-COMMAND.1` for each of its commands, to `directory`, which is made where it
/// is missing. A page replaces what has its name there; a link is not followed.
///
/// # Errors
/// Where a page cannot be written.
pub fn write(command: Command, directory: &Path) -> Result<(), FileError> {
    let temporary = std::env::temp_dir();
    // clap_mangen opens files by their names. No other user can make a link in here.
    let pages = tempfile::tempdir().map_err(FileError::temporary("use", &temporary))?;
    clap_mangen::generate_to(command, pages.path())
        .map_err(FileError::temporary("write", pages.path()))?;
    create_directory(directory)?;
    let entries = fs::read_dir(pages.path());
    for entry in entries.map_err(FileError::temporary("list", pages.path()))? {
        let entry = entry.map_err(FileError::temporary("list", pages.path()))?;
        let page = fs::read(entry.path()).map_err(FileError::temporary("read", entry.path()))?;
        replace(&directory.join(entry.file_name()), &page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_page_takes_the_place_of_a_link_and_does_not_follow_it() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, "precious").unwrap();
        let pages = directory.path().join("man");
        fs::create_dir(&pages).unwrap();
        symlink(&other, pages.join("tool.1")).unwrap();
        let command = Command::new("tool").subcommand(Command::new("build"));
        write(command, &pages).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        for page in ["tool.1", "tool-build.1"] {
            let file = pages.join(page);
            assert!(file.symlink_metadata().unwrap().is_file(), "{page}");
            assert!(fs::read_to_string(file).unwrap().contains(".TH"), "{page}");
        }
    }
}
