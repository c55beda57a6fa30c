// SPDX-License-Identifier: GPL-3.0-or-later
//! The databases of accounts in a build's root: `pwd.db` and `spwd.db`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::formats::visible::visible_line;
use crate::limited_output;

/// Makes the databases. Every FreeBSD base has it.
#[cfg(target_os = "freebsd")]
const PWD_MKDB: &str = "/usr/sbin/pwd_mkdb";

/// Has pwd_mkdb(8) of the machine make the databases of `accounts` in `directory`: their format is the C library's own.
///
/// # Errors
/// Files that cannot be written, and what pwd_mkdb prints where it fails.
#[cfg(target_os = "freebsd")]
pub(super) fn make_databases(directory: &Path, accounts: &str) -> io::Result<()> {
    make_with(PWD_MKDB, directory, accounts)
}

fn make_with(program: &str, directory: &Path, accounts: &str) -> io::Result<()> {
    let file = directory.join("master.passwd");
    fs::write(&file, accounts)?;
    let mut command = Command::new(program);
    command.arg("-d").args([directory, &file]);
    command.env_clear().stdin(Stdio::null());
    let made = limited_output::output(&mut command, limited_output::LINES)
        .map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    if !made.status.success() {
        let printed = String::from_utf8_lossy(&made.stderr);
        return Err(io::Error::other(format!(
            "{program}: {}: {}",
            made.status,
            visible_line(printed.trim())
        )));
    }
    // No build reads it.
    fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_error_of_pwd_mkdb_has_its_status_and_what_it_printed() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("pwd_mkdb");
        let script = |text: &str| {
            fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let make = || make_with(program.to_str().unwrap(), place.path(), "root::0:0\n");
        script("echo 'pwd_mkdb: at line #1' >&2; exit 3");
        let error = make().unwrap_err().to_string();
        assert!(
            error.ends_with(": exit status: 3: pwd_mkdb: at line #1"),
            "{error}"
        );
        fs::remove_file(&program).unwrap();
        let error = make().unwrap_err().to_string();
        assert!(error.contains("pwd_mkdb: No such file"), "{error}");
        // With the directory and the accounts, as its manual page has them.
        script("[ \"$1\" = -d ] && [ -d \"$2\" ] && : >\"$2/pwd.db\" && read -r line <\"$3\"");
        make().unwrap();
        assert!(place.path().join("pwd.db").exists());
        assert!(!place.path().join("master.passwd").exists());
    }
}
