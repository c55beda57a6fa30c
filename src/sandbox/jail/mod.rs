// SPDX-License-Identifier: GPL-3.0-or-later
//! FreeBSD's sandbox: a jail on a root of its own.
//!
//! The root is an empty file system in memory on a directory that only root can reach. In it, every input is a
//! read-only nullfs mount, `/tmp` a file system in memory, `/dev` a devfs that shows a few nodes. The jail has a
//! network of its own, in which there is loopback and nothing else, a host name of its own and none of the rights that
//! jails can be given; the program in it is the build user from its first instruction. [`plan`], [`devfs`] and
//! [`parameters`] say what is made, as data that every platform's tests can look at; the rest makes it, on FreeBSD
//! only.
//!
//! Two processes carry a build: the *helper*, outside the jail, which makes root and jail, watches, and undoes both;
//! and the *program*. The helper is our own binary executed again, and ends the jail when the spawning process goes
//! away. What is on the machine for a build is recorded before it is made ([`record`]), so that the next run can undo
//! what a helper that was killed itself has left.
//!
//! The calls are our own, through `libc`, not those of the `jail` crate: its way in is a hook between fork and
//! execution in a process with threads, and it knows nothing of mounts, user numbers without accounts, or our
//! order of steps.
//!
//! Needs root and FreeBSD 13; where the kernel can, builds cannot gain privileges by set-user-ID programs either.
//! Sources: FreeBSD's manual pages jail(2), jail(8), nmount(2), mount_nullfs(8), tmpfs(5), devfs(8), procctl(2),
//! rctl(4), rctl_add_rule(2), kqueue(2).

#[cfg(any(test, target_os = "freebsd"))]
mod accounts;
#[cfg(target_os = "freebsd")]
mod backend;
pub mod devfs;
#[cfg(target_os = "freebsd")]
mod devices;
pub mod features;
#[cfg(target_os = "freebsd")]
mod init;
#[cfg(target_os = "freebsd")]
mod kernel;
#[cfg(target_os = "freebsd")]
mod loopback;
pub mod parameters;
pub mod plan;
#[cfg(target_os = "freebsd")]
mod program;
pub mod record;
pub mod remedies;
#[cfg(target_os = "freebsd")]
mod specification;
#[cfg(target_os = "freebsd")]
mod system;
#[cfg(target_os = "freebsd")]
mod teardown;
mod user;

#[cfg(target_os = "freebsd")]
pub use backend::Jails;
#[cfg(target_os = "freebsd")]
pub(super) use init::main as init_main;
