// SPDX-License-Identifier: GPL-3.0-or-later
//! How a jail's root is made: the layout's items as steps on this machine's paths, in order.

use std::path::{Path, PathBuf};

use crate::sandbox::layout::{Item, Point};

/// One step. Paths are the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes a directory of mode 0755; it may be there already.
    Directory(PathBuf),
    /// Makes a file of mode 0644; it may be there already when nothing is to be in it.
    File {
        /// Where.
        path: PathBuf,
        /// What is in it.
        contents: String,
    },
    /// Makes the databases that passwd(5) is looked up in.
    Accounts {
        /// The directory of the databases.
        directory: PathBuf,
        /// The accounts, as lines of `master.passwd`.
        contents: String,
    },
    /// Makes a symbolic link.
    Link {
        /// Where.
        path: PathBuf,
        /// What it says.
        contents: PathBuf,
    },
    /// Mounts a file system.
    Mount(MountCall),
    /// Hides every node of the devfs mounted there but some. See [`devfs`](super::devfs).
    ShowDevices {
        /// The mount.
        on: PathBuf,
        /// Patterns of the nodes that stay, relative to it.
        visible: Vec<&'static str>,
        /// Whether nodes that appear later are hidden, too, whatever they are called.
        for_good: bool,
    },
}

/// A call of `nmount(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountCall {
    /// What is mounted.
    pub file_system: FileSystem,
    /// Where.
    pub on: PathBuf,
    /// Whether nothing can be written through it.
    pub read_only: bool,
    /// Whether it is mounted already and only its options change.
    pub update: bool,
}

/// What can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSystem {
    /// nullfs: a directory or file of the machine, seen again.
    Null {
        /// The machine's path.
        source: PathBuf,
        /// Whether it is a file. Older kernels can mount directories only, and a copy must do.
        is_file: bool,
    },
    /// tmpfs: an empty directory in memory.
    Memory {
        /// Permission bits; `None`: those of the directory it is mounted on.
        mode: Option<u16>,
        /// Bytes it may hold; `None`: the system's default.
        size: Option<u64>,
    },
    /// devfs: device nodes.
    Devices,
    /// procfs: processes, of which a jail sees its own.
    Processes,
}

impl FileSystem {
    /// The kernel's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null { .. } => "nullfs",
            Self::Memory { .. } => "tmpfs",
            Self::Devices => "devfs",
            Self::Processes => "procfs",
        }
    }
}

impl MountCall {
    /// The options of `nmount(2)` but `fspath`, in order; `None` for one without a value.
    pub fn options(&self) -> Vec<(&'static str, Option<String>)> {
        let name = self.file_system.name();
        let mut options = vec![("fstype", Some(name.to_owned()))];
        match &self.file_system {
            FileSystem::Null { source, .. } => {
                options.push(("from", Some(source.display().to_string())));
            }
            FileSystem::Memory { mode, size } => {
                options.push(("from", Some(name.to_owned())));
                options.extend(mode.map(|mode| ("mode", Some(format!("{mode:o}")))));
                options.extend(size.map(|size| ("size", Some(size.to_string()))));
            }
            FileSystem::Devices | FileSystem::Processes => {
                options.push(("from", Some(name.to_owned())))
            }
        }
        if self.read_only {
            options.push(("ro", None));
        }
        // Set-user-ID programs of the seed give no rights here.
        options.push(("nosuid", None));
        options
    }
}

/// The nodes of `/dev` that a build sees: what Guix gives to builds. `fd` holds the standard streams, `pts` the
/// pseudo-terminals that the build opens: the kernel shows a terminal to the jail that opened it alone.
const DEVICES: [&str; 11] = [
    "null", "zero", "full", "random", "urandom", "fd", "fd/*", "stdin", "stdout", "stderr", "pts",
];
/// Those that a user's shell has besides.
const TERMINALS: [&str; 2] = ["tty", "pts/*"];

/// The steps that make `items` under `root`, an empty directory that every user may enter.
pub fn plan(root: &Path, items: &[Item]) -> Vec<Action> {
    let memory = |on: PathBuf, mode, size| {
        Action::Mount(MountCall {
            file_system: FileSystem::Memory { mode, size },
            on,
            read_only: false,
            update: false,
        })
    };
    // Without mode and size: the kernel adds the options that a mount was made with to those of its change, and
    // tmpfs refuses to change with most of them.
    let mut actions = vec![memory(root.to_owned(), None, None)];
    for item in items {
        match item {
            Item::Directory { target } => actions.push(Action::Directory(inside(root, target))),
            Item::File { target, contents } => {
                actions.push(Action::File {
                    path: inside(root, target),
                    contents: contents.clone(),
                });
                if target == Path::new(PASSWD) {
                    actions.push(Action::Accounts {
                        directory: inside(root, Path::new("/etc")),
                        contents: master_passwd(contents),
                    });
                }
            }
            Item::Link { target, contents } => actions.push(Action::Link {
                path: inside(root, target),
                contents: contents.clone(),
            }),
            Item::Mount {
                source,
                target,
                point,
                writable,
            } => {
                let on = inside(root, target);
                match point {
                    Point::Directory => actions.push(Action::Directory(on.clone())),
                    Point::File => actions.push(Action::File {
                        path: on.clone(),
                        contents: String::new(),
                    }),
                    Point::Existing => {}
                }
                actions.push(Action::Mount(MountCall {
                    file_system: FileSystem::Null {
                        source: source.clone(),
                        is_file: *point == Point::File,
                    },
                    on,
                    read_only: !writable,
                    update: false,
                }));
            }
            Item::Temporary { target, size } => {
                let on = inside(root, target);
                actions.push(Action::Directory(on.clone()));
                actions.push(memory(on, Some(0o1777), *size));
            }
            // FreeBSD's programs do without.
            Item::Processes { asked: false, .. } => {}
            Item::Processes { target, .. } => {
                let on = inside(root, target);
                actions.push(Action::Directory(on.clone()));
                actions.push(Action::Mount(MountCall {
                    file_system: FileSystem::Processes,
                    on,
                    read_only: false,
                    update: false,
                }));
            }
            Item::Devices {
                target, terminal, ..
            } => {
                let on = inside(root, target);
                actions.push(Action::Directory(on.clone()));
                actions.push(Action::Mount(MountCall {
                    file_system: FileSystem::Devices,
                    on: on.clone(),
                    read_only: false,
                    update: false,
                }));
                let terminals = TERMINALS.into_iter().filter(|_| *terminal);
                actions.push(Action::ShowDevices {
                    on,
                    visible: DEVICES.into_iter().chain(terminals).collect(),
                    // What a user starts in a shell may open a terminal of its own.
                    for_good: !terminal,
                });
            }
        }
    }
    actions.push(Action::Mount(MountCall {
        file_system: FileSystem::Memory {
            mode: None,
            size: None,
        },
        on: root.to_owned(),
        read_only: true,
        update: true,
    }));
    actions
}

/// The file of accounts. Programs look them up in databases beside it, `pwd.db` and `spwd.db`: see passwd(5).
const PASSWD: &str = "/etc/passwd";

/// The lines of `master.passwd` for those of `passwd`: without passwords, classes or dates.
fn master_passwd(passwd: &str) -> String {
    let line = |line: &str| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, uid, gid, full_name, home, shell] => {
            format!("{name}:*:{uid}:{gid}::0:0:{full_name}:{home}:{shell}\n")
        }
        _ => String::new(),
    };
    passwd.lines().map(line).collect()
}

/// Where the guest's `target` is on the machine.
fn inside(root: &Path, target: &Path) -> PathBuf {
    root.join(target.strip_prefix("/").unwrap_or(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(mount: &MountCall) -> String {
        let options = mount.options().into_iter().map(|option| match option {
            (name, Some(value)) => format!("{name}={value}"),
            (name, None) => name.to_owned(),
        });
        options.collect::<Vec<_>>().join(",")
    }

    fn shown(actions: &[Action]) -> Vec<String> {
        let show = |action: &Action| match action {
            Action::Directory(path) => format!("directory {}", path.display()),
            Action::File { path, contents } => format!("file {} {contents:?}", path.display()),
            Action::Accounts {
                directory,
                contents,
            } => format!("accounts in {} {contents:?}", directory.display()),
            Action::Link { path, contents } => {
                format!("link {} -> {}", path.display(), contents.display())
            }
            Action::Mount(mount) => {
                let verb = if mount.update { "change" } else { "mount" };
                format!("{verb} {} {}", mount.on.display(), options(mount))
            }
            Action::ShowDevices {
                on,
                visible,
                for_good,
            } => {
                let verb = if *for_good { "show only" } else { "show" };
                format!("{verb} {} {}", on.display(), visible.join(" "))
            }
        };
        actions.iter().map(show).collect()
    }

    #[test]
    fn an_empty_world_is_a_sealed_root_in_memory() {
        assert_eq!(
            shown(&plan(Path::new("/j/b"), &[])),
            [
                "mount /j/b fstype=tmpfs,from=tmpfs,nosuid",
                "change /j/b fstype=tmpfs,from=tmpfs,ro,nosuid",
            ]
        );
    }

    #[test]
    fn inputs_are_read_only_and_the_store_and_build_directory_are_not() {
        let mount = |source: &str, target: &str, point, writable| Item::Mount {
            source: source.into(),
            target: target.into(),
            point,
            writable,
        };
        let items = [
            Item::Temporary {
                target: "/tmp".into(),
                size: Some(4096),
            },
            Item::Directory {
                target: "/gnu".into(),
            },
            mount("/host/store", "/gnu/store", Point::Directory, true),
            mount("/host/a", "/gnu/store/a", Point::Directory, false),
            mount("/host/f", "/gnu/store/f", Point::File, false),
            mount("/host/doc", "/usr/share/doc", Point::Existing, false),
        ];
        let actions = shown(&plan(Path::new("/j/b"), &items));
        assert_eq!(
            actions[1..actions.len() - 1],
            [
                "directory /j/b/tmp",
                "mount /j/b/tmp fstype=tmpfs,from=tmpfs,mode=1777,size=4096,nosuid",
                "directory /j/b/gnu",
                "directory /j/b/gnu/store",
                "mount /j/b/gnu/store fstype=nullfs,from=/host/store,nosuid",
                "directory /j/b/gnu/store/a",
                "mount /j/b/gnu/store/a fstype=nullfs,from=/host/a,ro,nosuid",
                "file /j/b/gnu/store/f \"\"",
                "mount /j/b/gnu/store/f fstype=nullfs,from=/host/f,ro,nosuid",
                "mount /j/b/usr/share/doc fstype=nullfs,from=/host/doc,ro,nosuid",
            ]
        );
    }

    #[test]
    fn accounts_are_databases_too() {
        let items = [Item::File {
            target: "/etc/passwd".into(),
            contents: "b:x:30001:30001:Build user:/homeless-shelter:/noshell\nodd\n".into(),
        }];
        assert_eq!(
            shown(&plan(Path::new("/j/b"), &items))[2],
            r#"accounts in /j/b/etc "b:*:30001:30001::0:0:Build user:/homeless-shelter:/noshell\n""#
        );
    }

    #[test]
    fn builds_see_ten_device_nodes_and_terminals_and_shells_their_own_too() {
        let devices = |terminal| {
            let items = [Item::Devices {
                target: "/dev".into(),
                terminal,
                size: None,
            }];
            shown(&plan(Path::new("/j/b"), &items))[1..4].to_vec()
        };
        let builds = devices(false);
        assert_eq!(
            builds,
            [
                "directory /j/b/dev",
                "mount /j/b/dev fstype=devfs,from=devfs,nosuid",
                "show only /j/b/dev null zero full random urandom fd fd/* stdin stdout stderr pts",
            ]
        );
        assert_eq!(
            devices(true)[2],
            "show /j/b/dev null zero full random urandom fd fd/* stdin stdout stderr pts tty pts/*"
        );
    }

    #[test]
    fn there_is_a_view_of_processes_where_it_is_asked_for() {
        let planned = |asked| {
            let items = [Item::Processes {
                target: "/proc".into(),
                asked,
            }];
            shown(&plan(Path::new("/j/b"), &items))
        };
        assert_eq!(planned(false).len(), 2);
        assert_eq!(
            planned(true)[1..3],
            [
                "directory /j/b/proc",
                "mount /j/b/proc fstype=procfs,from=procfs,nosuid",
            ]
        );
    }
}
