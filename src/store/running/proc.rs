// SPDX-License-Identifier: GPL-3.0-or-later
//! What `/proc` of Linux reports on processes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::ProcessReferences;

/// Looks at all processes in `proc`.
pub(super) fn scan_processes(proc: &Path, found: &mut ProcessReferences) {
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        for name in ["maps", "environ"] {
            if let Ok(text) = fs::read(process.join(name)) {
                found.scan(number, &text);
            }
        }
        let open = fs::read_dir(process.join("fd")).into_iter().flatten();
        let links = ["exe", "cwd", "root"].map(|name| process.join(name));
        for link in open.flatten().map(|entry| entry.path()).chain(links) {
            if let Ok(target) = fs::read_link(link) {
                found.scan(number, target.as_os_str().as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::store_path::StoreDir;
    use crate::store::directories::Directories;

    #[test]
    fn programs_maps_and_environments_are_looked_into() {
        let name = |letter: &str| format!("{}-{letter}", letter.repeat(32));
        let directory = tempfile::tempdir().unwrap();
        let directories =
            Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(directory.path()));
        let process = directory.path().join("proc/17");
        fs::create_dir_all(process.join("fd")).unwrap();
        fs::create_dir_all(directory.path().join("proc/self")).unwrap();
        fs::write(
            process.join("environ"),
            format!(
                "PATH=/gnu/store/{}/bin:/gnu/store/{}/bin\0X=/gnu/store/short\0",
                name("a"),
                name("b")
            ),
        )
        .unwrap();
        fs::write(
            process.join("maps"),
            format!(
                "7f00-7f01 r-xp 00000000 08:01 1 {}/lib/libc.so\n",
                directories.store.join(name("c")).display()
            ),
        )
        .unwrap();
        std::os::unix::fs::symlink(
            format!("/gnu/store/{}/bin/sh", name("d")),
            process.join("exe"),
        )
        .unwrap();
        std::os::unix::fs::symlink(
            format!("/gnu/store/{} (deleted)", name("f")),
            process.join("fd/3"),
        )
        .unwrap();
        let mut found = ProcessReferences::new(&directories);
        scan_processes(&directory.path().join("proc"), &mut found);
        let items = found.items();
        let found: Vec<_> = items.iter().map(|(_, path)| path.name()).collect();
        assert_eq!(found, ["a", "b", "c", "d", "f"]);
        assert!(items.iter().all(|(process, _)| *process == 17));
    }
}
