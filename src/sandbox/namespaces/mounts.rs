// SPDX-License-Identifier: GPL-3.0-or-later
//! The sandbox's file system: a new root in memory, everything of the layout in it, and the machine's gone.
//!
//! Host paths are turned into *trees*, mounts attached nowhere, while the machine's file system is still there;
//! they are attached only once the new root is the only one. So no link that lies in a writable directory of
//! the host can lead a mount elsewhere. A privileged caller takes the trees before it gives up its privileges:
//! the build user need not reach the store's or the build directory's parents. For anyone else only the
//! sandbox's first process may mount, and its user is the caller.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::system::{attribute, change_mount};
use crate::sandbox::SandboxStep;
use crate::sandbox::layout::{Item, Point};
use crate::sandbox::protocol::{During, StepFailure};

/// The nodes of `/dev`: what Guix and Nix give to builds, less the terminal.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// A host path ready to be attached.
pub(super) struct MountTree {
    source: PathBuf,
    mount: OwnedFd,
    attributes: u64,
}

/// How mounts get their attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// With `mount_setattr`.
    Current,
    /// With remounts, which leave out what is mounted inside a source: Linux 5.2 to 5.11.
    Old,
}

/// The host paths that `items` mount, in the order in which [`populate`] wants them.
pub(super) fn take(items: &[Item], kernel: Kernel) -> Result<Vec<MountTree>, StepFailure> {
    let mut trees = Vec::new();
    for item in items {
        match item {
            Item::Mount {
                source, writable, ..
            } => {
                let mut attributes = attribute::NO_SET_USER_ID | attribute::NO_DEVICES;
                if !writable {
                    attributes |= attribute::READ_ONLY;
                }
                trees.push(tree(source.clone(), attributes, kernel)?);
            }
            Item::Devices { terminal, .. } => {
                for name in devices(*terminal) {
                    let source = Path::new("/dev").join(name);
                    let attributes = attribute::NO_SET_USER_ID | attribute::READ_ONLY;
                    trees.push(tree(source, attributes, kernel)?);
                }
            }
            _ => {}
        }
    }
    Ok(trees)
}

fn devices(terminal: bool) -> impl Iterator<Item = &'static str> {
    DEVICES.into_iter().chain(terminal.then_some("tty"))
}

fn tree(source: PathBuf, attributes: u64, kernel: Kernel) -> Result<MountTree, StepFailure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    // An old kernel restricts one mount at a time: what is mounted below is not shown.
    flags.set(OpenTreeFlags::AT_RECURSIVE, kernel == Kernel::Current);
    let mount = open_tree(CWD, &source, flags).during_on(SandboxStep::OpenSource, &source)?;
    if kernel == Kernel::Current {
        change_mount(mount.as_fd(), attributes, true, true)
            .during_on(SandboxStep::RestrictMount, &source)?;
    }
    Ok(MountTree {
        source,
        mount,
        attributes,
    })
}

/// Keeps this process's mounts from spreading to the machine, and the machine's from spreading here.
pub(super) fn separate() -> Result<(), StepFailure> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).during(SandboxStep::SeparateMounts)
}

/// Makes an empty file system in memory this process's root, and the machine's root unreachable. Gives a
/// `/proc` to be mounted later: the kernel makes a new one only while an old one is visible.
pub(super) fn enter_new_root() -> Result<OwnedFd, StepFailure> {
    let processes = processes().during(SandboxStep::MountProcesses)?;
    let root = temporary("755", None).during(SandboxStep::MountRoot)?;
    // Where it is attached does not matter, for it is the root a moment later; `/proc` is there on any machine.
    attach(&root, Path::new("/proc")).during(SandboxStep::MountRoot)?;
    let enter = || -> io::Result<()> {
        rustix::process::fchdir(&root)?;
        // Puts the old root on top of the new one, at the same place, whence it can be unmounted without a
        // directory of its own.
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    };
    enter().during(SandboxStep::EnterRoot)?;
    Ok(processes)
}

fn processes() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn temporary(mode: &str, size: Option<u64>) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", mode)?;
    if let Some(size) = size {
        fsconfig_set_string(&context, "size", size.to_string())?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn pseudo_terminals() -> io::Result<OwnedFd> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "ptmxmode", "666")?;
    fsconfig_set_string(&context, "mode", "620")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn attach(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", CWD, target, flags)?)
}

/// Makes `items` in the new root, with the `trees` that [`take`] took for them, and the root read-only.
pub(super) fn populate(
    items: &[Item],
    trees: Vec<MountTree>,
    processes: OwnedFd,
    kernel: Kernel,
) -> Result<(), StepFailure> {
    let mut trees = trees.into_iter();
    let mut next = |target: &Path| {
        let tree = trees.next().ok_or(Errno::NOENT);
        tree.during_on(SandboxStep::MountSource, target)
    };
    for item in items {
        match item {
            Item::Directory { target } => directory(target)?,
            Item::File { target, contents } => {
                fs::write(target, contents).during_on(SandboxStep::MakeEntry, target)?;
            }
            Item::Link { target, contents } => link(target, contents)?,
            Item::Mount { target, point, .. } => {
                match point {
                    Point::Directory => directory(target)?,
                    Point::File => file(target)?,
                    Point::Existing => {}
                }
                place(&next(target)?, target, kernel)?;
            }
            Item::Temporary { target, size } => shared_directory(target, *size)?,
            Item::Processes { target, .. } => {
                directory(target)?;
                attach(&processes, target).during_on(SandboxStep::MountProcesses, target)?;
            }
            Item::Devices {
                target,
                terminal,
                size,
            } => {
                directory(target)?;
                for name in devices(*terminal) {
                    let node = target.join(name);
                    file(&node)?;
                    place(&next(&node)?, &node, kernel)?;
                }
                for (name, contents) in [
                    ("fd", "/proc/self/fd"),
                    ("stdin", "/proc/self/fd/0"),
                    ("stdout", "/proc/self/fd/1"),
                    ("stderr", "/proc/self/fd/2"),
                    ("ptmx", "pts/ptmx"),
                ] {
                    link(&target.join(name), Path::new(contents))?;
                }
                shared_directory(&target.join("shm"), *size)?;
                let terminals = target.join("pts");
                directory(&terminals)?;
                pseudo_terminals()
                    .and_then(|mount| attach(&mount, &terminals))
                    .during_on(SandboxStep::MakeDevices, &terminals)?;
            }
        }
    }
    let root = Path::new("/");
    match kernel {
        Kernel::Current => {
            let here = File::open(root).during_on(SandboxStep::RestrictMount, root)?;
            change_mount(here.as_fd(), attribute::READ_ONLY, false, false)
        }
        Kernel::Old => remount(root, attribute::READ_ONLY),
    }
    .during_on(SandboxStep::RestrictMount, root)
}

fn place(tree: &MountTree, target: &Path, kernel: Kernel) -> Result<(), StepFailure> {
    attach(&tree.mount, target).during_on(SandboxStep::MountSource, target)?;
    if kernel == Kernel::Old {
        mount_change(target, MountPropagationFlags::PRIVATE)
            .during_on(SandboxStep::SeparateMounts, &tree.source)?;
        remount(target, tree.attributes).during_on(SandboxStep::RestrictMount, &tree.source)?;
    }
    Ok(())
}

/// Adds `attributes` to the mount at `target`. The flags it has are given again: those that come from a more
/// privileged namespace may not be left out.
fn remount(target: &Path, attributes: u64) -> io::Result<()> {
    let now = statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND;
    for (seen, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(flag, now.contains(seen));
    }
    for (wanted, flag) in [
        (attribute::READ_ONLY, MountFlags::RDONLY),
        (attribute::NO_SET_USER_ID, MountFlags::NOSUID),
        (attribute::NO_DEVICES, MountFlags::NODEV),
    ] {
        if attributes & wanted != 0 {
            flags |= flag;
        }
    }
    Ok(mount_remount(target, flags, "")?)
}

fn shared_directory(target: &Path, size: Option<u64>) -> Result<(), StepFailure> {
    directory(target)?;
    temporary("1777", size)
        .and_then(|mount| attach(&mount, target))
        .during_on(SandboxStep::MountTemporary, target)
}

/// Makes a directory, or takes the one that an earlier attempt has left in a writable mount.
fn directory(target: &Path) -> Result<(), StepFailure> {
    match fs::create_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(target) {
                Ok(there) if there.is_dir() => Ok(()),
                _ => Err(error),
            }
        }
        other => other,
    }
    .during_on(SandboxStep::MakeEntry, target)
}

/// Makes an empty file, or takes the one that an earlier attempt has left in a writable mount.
fn file(target: &Path) -> Result<(), StepFailure> {
    match File::create_new(target).map(drop) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(target) {
                Ok(there) if there.is_file() => Ok(()),
                _ => Err(error),
            }
        }
        other => other,
    }
    .during_on(SandboxStep::MakeEntry, target)
}

/// Makes a link, or takes the same one that an earlier attempt has left in a writable mount.
fn link(target: &Path, contents: &Path) -> Result<(), StepFailure> {
    match symlink(contents, target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read_link(target) {
            Ok(there) if there == contents => Ok(()),
            _ => Err(error),
        },
        other => other,
    }
    .during_on(SandboxStep::MakeEntry, target)
}
