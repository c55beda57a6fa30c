//! What running processes use of the store, read from `/proc`.
//!
//! Somebody may have left a root behind, or removed it, while a program from the store still runs. Its executable,
//! libraries (mapped files), open files, working directory and the paths in its environment are spared, as Guix's
//! daemon spares them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::path::{HASH_PART_LEN, StorePath};
use super::roots::{Root, RootKind};
use crate::directories::Directories;

/// The store items that the processes in `proc` use. Processes that end meanwhile, or that are not ours to look at, are
/// passed over.
pub(super) fn running_roots(proc: &Path, directories: &Directories) -> Vec<Root> {
    let mut prefixes = vec![format!("{}/", directories.store_dir).into_bytes()];
    let mut physical = directories.store.as_os_str().as_bytes().to_vec();
    physical.push(b'/');
    if physical != prefixes[0] {
        prefixes.push(physical);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let mut used = BTreeSet::new();
        let mut scan = |text: &[u8]| {
            for prefix in &prefixes {
                find_paths(text, prefix, &mut used);
            }
        };
        for name in ["maps", "environ"] {
            if let Ok(text) = fs::read(process.join(name)) {
                scan(&text);
            }
        }
        let open = fs::read_dir(process.join("fd")).into_iter().flatten();
        let links = ["exe", "cwd", "root"].map(|name| process.join(name));
        for link in open.flatten().map(|entry| entry.path()).chain(links) {
            if let Ok(target) = fs::read_link(link) {
                scan(target.as_os_str().as_bytes());
            }
        }
        roots.extend(used.into_iter().map(|path| Root {
            link: process.clone(),
            kind: RootKind::Running(number),
            path,
        }));
    }
    roots
}

/// Adds to `found` every store path in `text` that follows `prefix`, the store directory with a slash.
fn find_paths(text: &[u8], prefix: &[u8], found: &mut BTreeSet<StorePath>) {
    let mut rest = text;
    while let Some(at) = rest
        .windows(prefix.len())
        .position(|window| window == prefix)
    {
        rest = &rest[at + prefix.len()..];
        let end = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte)))
            .unwrap_or(rest.len());
        if end > HASH_PART_LEN {
            let name = std::str::from_utf8(&rest[..end]).ok();
            found.extend(name.and_then(|name| StorePath::from_base_name(name).ok()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::path::StoreDir;

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
        let roots = running_roots(&directory.path().join("proc"), &directories);
        let found: Vec<_> = roots.iter().map(|root| root.path.name()).collect();
        assert_eq!(found, ["a", "b", "c", "d", "f"]);
        assert!(roots.iter().all(|root| root.kind == RootKind::Running(17)));
    }
}
