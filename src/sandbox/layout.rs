// SPDX-License-Identifier: GPL-3.0-or-later
//! What a sandbox holds, as data: the list of directories, files, links and mounts that make a [`World`], in
//! the order in which they can be made.
//!
//! Working the list out is a pure function of the world and of what [`HostSources::inspect`] saw of it on the
//! machine; making it real is the backend's part (mounts in a namespace, nullfs and tmpfs for a jail). Once the
//! whole list is made, the backend makes `/` itself read-only: what is not a writable mount cannot be changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{GuestRoot, SandboxError, World, forbids_programs};

/// One thing to make. Guest paths are absolute; a parent comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A directory of mode 0755; it may be there already, when it lies in a writable mount.
    Directory {
        /// Guest path.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
    },
    /// A file of mode 0644.
    File {
        /// Guest path.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// What is in it.
        contents: String,
    },
    /// A symbolic link.
    Link {
        /// Guest path.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// What it says.
        #[serde(with = "super::protocol::path_bytes")]
        contents: PathBuf,
    },
    /// A host path seen at a guest path, without set-user-ID programs and devices.
    Mount {
        /// Host path, of a directory or a file.
        #[serde(with = "super::protocol::path_bytes")]
        source: PathBuf,
        /// Guest path.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// What to create there first, to mount on.
        point: Point,
        /// Whether the program may write there.
        writable: bool,
    },
    /// An empty directory, writable by all (mode 1777), in memory.
    Temporary {
        /// Guest path, of a directory to be made.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// Bytes it may hold; `None`: the system's default.
        size: Option<u64>,
    },
    /// The system's view of the sandbox's own processes.
    Processes {
        /// Guest path, of a directory to be made.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// Whether it is there on systems whose programs usually do without.
        asked: bool,
    },
    /// The device nodes, and what belongs beside them: standard streams, pseudo-terminals, shared memory.
    Devices {
        /// Guest path, of a directory to be made.
        #[serde(with = "super::protocol::path_bytes")]
        target: PathBuf,
        /// With the terminal of an interactive program.
        terminal: bool,
        /// Bytes that shared memory may hold; `None`: the system's default.
        size: Option<u64>,
    },
}

/// What a mount is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Point {
    /// An empty directory, to be made.
    Directory,
    /// An empty file, to be made.
    File,
    /// Something that a read-only mount already has there.
    Existing,
}

/// What a host path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// Anything else that can be mounted on a file.
    File,
    /// A symbolic link, with what it says.
    Link(PathBuf),
}

/// What the host paths of a world are: all that a layout needs to know of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSources {
    /// The source of every mount.
    pub mounts: BTreeMap<PathBuf, SourceKind>,
    /// The entries of [`GuestRoot::Tree`]'s directory.
    pub root: BTreeMap<PathBuf, SourceKind>,
    /// The machine's files about the network, where the world shares it: guest path and contents.
    pub network: BTreeMap<PathBuf, String>,
}

/// The machine's files that say how to find hosts and services. A build with the machine's network sees those that
/// exist, as guix-daemon's builds do.
const NETWORK_FILES: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/hosts",
];

/// What is copied of one of them at most, in bytes.
const LONGEST_NETWORK_FILE: u64 = 8 << 20;

impl HostSources {
    /// Looks at the host paths of `world`, without following links.
    ///
    /// # Errors
    /// [`SandboxError::Source`] for one that cannot be looked at.
    pub fn inspect(world: &World) -> Result<Self, SandboxError> {
        let mut sources = Self::default();
        for mount in &world.mounts {
            sources
                .mounts
                .insert(mount.source.clone(), kind(&mount.source)?);
        }
        if let GuestRoot::Tree(tree) = &world.root {
            let failed = |source| SandboxError::Source {
                path: tree.clone(),
                source,
            };
            for entry in fs::read_dir(tree).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                sources
                    .root
                    .insert(PathBuf::from(entry.file_name()), kind(&entry.path())?);
            }
        }
        for directory in [&world.store_writable, &world.build_directory.host] {
            if kind(directory)? != SourceKind::Directory {
                return Err(SandboxError::Source {
                    path: directory.clone(),
                    source: io::ErrorKind::NotADirectory.into(),
                });
            }
            if forbids_programs(directory).is_ok_and(|forbids| forbids) {
                let path = directory.clone();
                return Err(SandboxError::NoExecution { path });
            }
        }
        if world.network {
            for path in NETWORK_FILES.map(PathBuf::from) {
                // Some are links out of /etc, and none need be there.
                if let Ok(contents) = read_some(&path) {
                    sources.network.insert(path, contents);
                }
            }
        }
        Ok(sources)
    }
}

/// The beginning of the regular file `path`.
fn read_some(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(LONGEST_NETWORK_FILE)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn kind(path: &Path) -> Result<SourceKind, SandboxError> {
    let read = || {
        let kind = fs::symlink_metadata(path)?.file_type();
        Ok(if kind.is_symlink() {
            SourceKind::Link(fs::read_link(path)?)
        } else if kind.is_dir() {
            SourceKind::Directory
        } else {
            SourceKind::File
        })
    };
    read().map_err(|source| SandboxError::Source {
        path: path.to_owned(),
        source,
    })
}

/// The things to make for `world`, in order.
///
/// # Errors
/// [`SandboxError::BadWorld`] when a guest path is not absolute and plain, two things have the same place, or a
/// place lies where nothing can be made.
pub fn layout(world: &World, sources: &HostSources) -> Result<Vec<Item>, SandboxError> {
    let mut layout = SandboxLayout::default();
    layout.essentials(world, &sources.network)?;
    let store_dir = Path::new(&world.store_dir);
    if let GuestRoot::Tree(tree) = &world.root {
        let own = ["dev", "proc", "tmp", "etc"].map(OsStr::new);
        let store_top = store_dir.components().nth(1).map(Component::as_os_str);
        for (name, kind) in &sources.root {
            if own.contains(&name.as_os_str()) || Some(name.as_os_str()) == store_top {
                continue;
            }
            layout.show(&tree.join(name), &Path::new("/").join(name), kind, false)?;
        }
    }
    layout.show(
        &world.store_writable,
        store_dir,
        &SourceKind::Directory,
        true,
    )?;
    let build = &world.build_directory;
    layout.show(&build.host, &build.guest, &SourceKind::Directory, true)?;
    // By target, so that what lies in another mount comes after it.
    let mut mounts: Vec<_> = world.mounts.iter().collect();
    mounts.sort_by_key(|mount| &mount.target);
    for mount in mounts {
        let kind = sources
            .mounts
            .get(&mount.source)
            .ok_or_else(|| bad(&mount.source, "was not looked at"))?;
        layout.show(&mount.source, &mount.target, kind, mount.writable)?;
    }
    Ok(layout.items)
}

fn bad(path: &Path, problem: &str) -> SandboxError {
    SandboxError::BadWorld(format!("`{}` {problem}", path.display()))
}

#[derive(Default)]
struct SandboxLayout {
    items: Vec<Item>,
    /// Every guest path that is something already.
    taken: BTreeSet<PathBuf>,
    /// Directories made only because something lies in them: a mount may still go there.
    parents: BTreeSet<PathBuf>,
    /// Targets of read-only mounts: nothing can be made in them.
    sealed: BTreeSet<PathBuf>,
}

impl SandboxLayout {
    /// What every world has, whatever its root.
    fn essentials(
        &mut self,
        world: &World,
        network: &BTreeMap<PathBuf, String>,
    ) -> Result<(), SandboxError> {
        let size = world.limits.temporary;
        let target = PathBuf::from("/dev");
        self.place(&target)?;
        self.items.push(Item::Devices {
            target,
            terminal: world.interactive,
            size,
        });
        let target = PathBuf::from("/proc");
        self.place(&target)?;
        self.items.push(Item::Processes {
            target,
            asked: world.processes,
        });
        let target = PathBuf::from("/tmp");
        self.place(&target)?;
        self.items.push(Item::Temporary { target, size });
        let user = &world.user;
        let (name, uid, gid) = (&user.name, user.uid, user.gid);
        for (target, contents) in [
            // To the letter as guix-daemon's (`startBuilder' in its `build.cc').
            (
                "/etc/passwd",
                format!(
                    "{name}:x:{uid}:{gid}:Nix build user:/:/noshell\n\
                     nobody:x:65534:65534:Nobody:/:/noshell\n"
                ),
            ),
            ("/etc/group", format!("{name}:!:{gid}:\n")),
            (
                "/etc/hosts",
                "127.0.0.1 localhost\n::1 localhost\n".to_owned(),
            ),
        ] {
            let target = PathBuf::from(target);
            if network.contains_key(&target) {
                continue;
            }
            self.place(&target)?;
            self.items.push(Item::File { target, contents });
        }
        for (target, contents) in network {
            self.place(target)?;
            self.items.push(Item::File {
                target: target.clone(),
                contents: contents.clone(),
            });
        }
        Ok(())
    }

    /// Makes `source`, which is a `kind`, visible at `target`.
    fn show(
        &mut self,
        source: &Path,
        target: &Path,
        kind: &SourceKind,
        writable: bool,
    ) -> Result<(), SandboxError> {
        if source.to_str().is_none() {
            return Err(bad(source, "is not UTF-8"));
        }
        if !source.is_absolute() {
            return Err(bad(source, "is not an absolute path"));
        }
        let sealed = self.place(target)?;
        let target = target.to_owned();
        let point = match kind {
            SourceKind::Link(contents) => {
                if sealed {
                    return Err(bad(&target, "is a link inside a read-only mount"));
                }
                let contents = contents.clone();
                self.items.push(Item::Link { target, contents });
                return Ok(());
            }
            _ if sealed => Point::Existing,
            SourceKind::Directory => Point::Directory,
            SourceKind::File => Point::File,
        };
        if !writable {
            self.sealed.insert(target.clone());
        }
        self.items.push(Item::Mount {
            source: source.to_owned(),
            target,
            point,
            writable,
        });
        Ok(())
    }

    /// Takes `target`, having made the directories above it; returns whether it lies in a read-only mount.
    fn place(&mut self, target: &Path) -> Result<bool, SandboxError> {
        let mut components = target.components();
        let plain = components.next() == Some(Component::RootDir)
            && components.all(|component| matches!(component, Component::Normal(_)))
            // Components hide `.` and `//`, which would make one place look like two.
            && target.components().collect::<PathBuf>().as_os_str() == target.as_os_str();
        if !plain || target == Path::new("/") {
            return Err(bad(target, "is not a plain absolute path in the sandbox"));
        }
        if target.to_str().is_none() {
            return Err(bad(target, "is not UTF-8"));
        }
        if self.parents.contains(target) {
            return Err(bad(target, "would hide what is already mounted in it"));
        }
        if !self.taken.insert(target.to_owned()) {
            return Err(bad(target, "occurs twice"));
        }
        let is_sealed = |sealed: &BTreeSet<PathBuf>, path: &Path| {
            path.ancestors()
                .skip(1)
                .any(|ancestor| sealed.contains(ancestor))
        };
        let mut above: Vec<_> = target.ancestors().skip(1).collect();
        above.pop();
        for parent in above.into_iter().rev() {
            if self.taken.contains(parent) || self.parents.contains(parent) {
                continue;
            }
            self.parents.insert(parent.to_owned());
            if !is_sealed(&self.sealed, parent) {
                self.items.push(Item::Directory {
                    target: parent.to_owned(),
                });
            }
        }
        Ok(is_sealed(&self.sealed, target))
    }
}

#[cfg(test)]
mod tests;
