// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds programs of this machine that the daemon runs: git and the build hook.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program `name`: an absolute path, or a name that a directory in this process's PATH has. Directories that are
/// relative are not searched.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        let file = Path::new(name);
        return (file.is_absolute() && is_program(file)).then(|| file.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute() && !name.is_empty())
        .map(|directory| directory.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    let found = file.metadata();
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_by_absolute_path() {
        assert!(find("sh").is_some_and(|file| file.is_absolute()));
        assert_eq!(find("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        for missing in [
            "",
            "no-such-program-here",
            "/no/such/program",
            "bin/sh",
            "/etc/passwd",
            "/bin",
        ] {
            assert_eq!(find(missing), None, "{missing}");
        }
    }
}
