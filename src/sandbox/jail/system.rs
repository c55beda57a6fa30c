// SPDX-License-Identifier: GPL-3.0-or-later
//! FreeBSD's system calls that the libraries we use have no safe form of. All `unsafe` code of the jail is here, in
//! `devices`, `kernel`, `loopback` and `process`.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::kqueue::{self, Event, EventFilter, EventFlags};
use rustix::process::Signal;

use super::parameters::{Parameter, ParameterValue};
use super::plan::MountCall;
use crate::sandbox::process::checked;

/// The interface of rctl(4), in the C library since FreeBSD 9, which the `libc` crate lacks. See rctl_add_rule(2).
mod rctl {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        pub(super) fn rctl_add_rule(
            input: *const c_char,
            input_length: usize,
            output: *mut c_char,
            output_length: usize,
        ) -> c_int;
        pub(super) fn rctl_remove_rule(
            input: *const c_char,
            input_length: usize,
            output: *mut c_char,
            output_length: usize,
        ) -> c_int;
    }
}

/// `struct procctl_reaper_kill` of `<sys/procctl.h>`.
#[repr(C)]
struct ReaperKill {
    signal: c_int,
    flags: u32,
    subtree: libc::pid_t,
    killed: u32,
    failed: libc::pid_t,
    pad: [u32; 15],
}

/// `struct procctl_reaper_status` of `<sys/procctl.h>`.
#[repr(C)]
struct ReaperStatus {
    flags: u32,
    children: u32,
    descendants: u32,
    reaper: libc::pid_t,
    first: libc::pid_t,
    pad: [u32; 15],
}

/// Room for the kernel's own words about a failed call.
const MESSAGE: usize = 256;

/// Options as `nmount` and `jail_set` take them: pairs of name and value, with what they point to.
struct SystemOptions {
    strings: Vec<(CString, Vec<u8>)>,
    message: [u8; MESSAGE],
}

impl SystemOptions {
    fn new() -> Self {
        Self {
            strings: Vec::new(),
            message: [0; MESSAGE],
        }
    }

    /// Adds an option. Empty bytes mean that it has no value.
    fn add(&mut self, name: &str, value: Vec<u8>) -> io::Result<()> {
        self.strings.push((CString::new(name)?, value));
        Ok(())
    }

    /// Adds an option whose value is a C string.
    fn add_text(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.add(name, CString::new(value)?.into_bytes_with_nul())
    }

    /// Calls `call` with the options, and returns what the kernel says about a failure, if anything.
    fn pass(
        &mut self,
        call: impl FnOnce(&mut [libc::iovec]) -> c_int,
    ) -> Result<c_int, (io::Error, Option<String>)> {
        let part = |start: *const c_void, length| libc::iovec {
            iov_base: start.cast_mut(),
            iov_len: length,
        };
        let mut parts = Vec::new();
        for (name, value) in &self.strings {
            parts.push(part(name.as_ptr().cast(), name.as_bytes_with_nul().len()));
            parts.push(match value.as_slice() {
                [] => part(std::ptr::null(), 0),
                value => part(value.as_ptr().cast(), value.len()),
            });
        }
        let name = c"errmsg";
        parts.push(part(name.as_ptr().cast(), name.to_bytes_with_nul().len()));
        parts.push(libc::iovec {
            iov_base: self.message.as_mut_ptr().cast(),
            iov_len: MESSAGE,
        });
        let result = checked(call(&mut parts));
        result.map_err(|error| {
            let message = CStr::from_bytes_until_nul(&self.message);
            let message = message.ok().map(|text| text.to_string_lossy().into_owned());
            (error, message.filter(|text| !text.is_empty()))
        })
    }
}

/// Makes `mount`.
pub(super) fn mount(mount: &MountCall) -> Result<(), (io::Error, Option<String>)> {
    let mut options = SystemOptions::new();
    let mut add = || -> io::Result<()> {
        for (name, value) in mount.options() {
            match value {
                Some(text) => options.add_text(name, text.as_bytes())?,
                None => options.add(name, Vec::new())?,
            }
        }
        options.add_text("fspath", mount.on.as_os_str().as_bytes())
    };
    add().map_err(|error| (error, None))?;
    let mut flags = libc::MNT_NOSUID;
    if mount.read_only {
        flags |= libc::MNT_RDONLY;
    }
    if mount.update {
        flags |= libc::MNT_UPDATE;
    }
    let mounted = options.pass(|parts| {
        // SAFETY: every part is a name, a value or nothing that `options` keeps alive, with its length; the last one
        // is writable.
        unsafe { libc::nmount(parts.as_mut_ptr(), parts.len() as u32, flags) }
    });
    match mounted {
        Ok(_) => Ok(()),
        // A file system that the kernel does not have: inside the kernel that is ENODEV, but nmount makes it EINVAL, a
        // wrong argument, with this message (vfs_donmount in sys/kern/vfs_mount.c).
        Err((_, Some(message))) if message == "Invalid fstype" => {
            Err((io::Error::from_raw_os_error(libc::ENODEV), Some(message)))
        }
        Err(failed) => Err(failed),
    }
}

/// Unmounts what is mounted at `path`, even in use.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string.
    checked(unsafe { libc::unmount(path.as_ptr(), libc::MNT_FORCE) })?;
    Ok(())
}

/// Where file systems are mounted, in the order in which they were.
pub(super) fn mounts() -> io::Result<Vec<PathBuf>> {
    loop {
        // SAFETY: without a buffer the call only counts.
        let count = checked(unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) })?;
        // A few more may be mounted meanwhile.
        let room = usize::try_from(count).unwrap_or(0) + 16;
        let mut buffer: Vec<libc::statfs> = Vec::with_capacity(room);
        let size = libc::c_long::try_from(room * size_of::<libc::statfs>());
        let size = size.map_err(io::Error::other)?;
        // SAFETY: the buffer has room for as many bytes as the call may write.
        let found =
            checked(unsafe { libc::getfsstat(buffer.as_mut_ptr(), size, libc::MNT_NOWAIT) })?;
        let found = usize::try_from(found).unwrap_or(0);
        if found >= room {
            continue;
        }
        // SAFETY: the kernel has written that many, which is less than the capacity.
        unsafe { buffer.set_len(found) };
        let path = |mounted: &libc::statfs| {
            let bytes: Vec<u8> = mounted
                .f_mntonname
                .iter()
                .map(|&byte| byte as u8)
                .take_while(|&byte| byte != 0)
                .collect();
            PathBuf::from(OsStr::from_bytes(&bytes))
        };
        return Ok(buffer.iter().map(path).collect());
    }
}

/// Makes a jail; gives its number.
pub(super) fn make_jail(parameters: &[Parameter]) -> Result<c_int, (io::Error, Option<String>)> {
    let mut options = SystemOptions::new();
    for parameter in parameters {
        let added = match &parameter.value {
            ParameterValue::Flag => options.add(parameter.name, Vec::new()),
            ParameterValue::Number(number) => {
                options.add(parameter.name, number.to_ne_bytes().into())
            }
            ParameterValue::Text(text) => options.add_text(parameter.name, text.as_bytes()),
        };
        added.map_err(|error| (error, None))?;
    }
    options.pass(|parts| {
        // SAFETY: as for nmount.
        unsafe { libc::jail_set(parts.as_mut_ptr(), parts.len() as u32, libc::JAIL_CREATE) }
    })
}

/// The number of the jail called `name`; `None` where there is none.
pub(super) fn find_jail(name: &str) -> io::Result<Option<c_int>> {
    let mut options = SystemOptions::new();
    options.add_text("name", name.as_bytes())?;
    let found = options.pass(|parts| {
        // SAFETY: as for nmount. The call may write to the value of `name`, the same name, no further than it reaches.
        unsafe { libc::jail_get(parts.as_mut_ptr(), parts.len() as u32, 0) }
    });
    match found {
        Ok(number) => Ok(Some(number)),
        Err((error, _)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err((error, _)) => Err(error),
    }
}

/// Puts this process into a jail, at its root.
pub(super) fn enter_jail(jail: c_int) -> io::Result<()> {
    // SAFETY: the call has no requirements.
    checked(unsafe { libc::jail_attach(jail) })?;
    Ok(())
}

/// Removes a jail and kills its processes. One that is gone already is fine.
pub(super) fn remove_jail(jail: c_int) -> io::Result<()> {
    // SAFETY: the call has no requirements.
    match checked(unsafe { libc::jail_remove(jail) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
        _ => Ok(()),
    }
}

/// Adds a resource rule. False where the kernel keeps no accounts (`kern.racct.enable=0`, or built without).
pub(super) fn add_rule(rule: &str) -> io::Result<bool> {
    let rule = CString::new(rule)?;
    // SAFETY: the rule is a C string, of the length given with its end; no answer is wanted.
    let added = checked(unsafe {
        rctl::rctl_add_rule(
            rule.as_ptr(),
            rule.as_bytes_with_nul().len(),
            std::ptr::null_mut(),
            0,
        )
    });
    match added {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(false),
        Err(error) => Err(error),
        Ok(_) => Ok(true),
    }
}

/// Removes the resource rules that `filter` names. Where there are none, or no accounts, it is done already.
pub(super) fn remove_rules(filter: &str) {
    let Ok(filter) = CString::new(filter) else {
        return;
    };
    // SAFETY: as for adding one.
    unsafe {
        rctl::rctl_remove_rule(
            filter.as_ptr(),
            filter.as_bytes_with_nul().len(),
            std::ptr::null_mut(),
            0,
        )
    };
}

/// Calls `procctl` for this process.
fn control(command: c_int, data: *mut c_void) -> io::Result<()> {
    let myself = libc::id_t::from(rustix::process::getpid().as_raw_pid());
    // SAFETY: the callers pass what the command reads or writes.
    checked(unsafe { libc::procctl(libc::P_PID, myself, command, data) })?;
    Ok(())
}

/// Makes this process the parent of all its descendants whose own parents die.
pub(super) fn become_reaper() -> io::Result<()> {
    control(libc::PROC_REAP_ACQUIRE, std::ptr::null_mut())
}

/// Kills all descendants of this process, a reaper. That there are none is fine.
pub(super) fn kill_descendants() {
    let mut request = ReaperKill {
        signal: libc::SIGKILL,
        flags: 0,
        subtree: 0,
        killed: 0,
        failed: 0,
        pad: [0; 15],
    };
    let _ = control(libc::PROC_REAP_KILL, (&raw mut request).cast());
}

/// How many descendants this process, a reaper, has; those that are dead and not waited for count as well.
pub(super) fn descendants() -> io::Result<u32> {
    let mut status = ReaperStatus {
        flags: 0,
        children: 0,
        descendants: 0,
        reaper: 0,
        first: 0,
        pad: [0; 15],
    };
    control(libc::PROC_REAP_STATUS, (&raw mut status).cast())?;
    Ok(status.descendants)
}

/// Switches off address-space randomisation for the programs that this process executes.
pub(super) fn fix_addresses() -> io::Result<()> {
    let mut wanted = libc::PROC_ASLR_FORCE_DISABLE;
    control(libc::PROC_ASLR_CTL, (&raw mut wanted).cast())
}

/// Lets set-user-ID programs give nothing to this process and its children. An older kernel cannot; there the mounts'
/// `nosuid` has to do.
pub(super) fn gain_no_privileges() -> io::Result<()> {
    let mut wanted = libc::PROC_NO_NEW_PRIVS_ENABLE;
    match control(libc::PROC_NO_NEW_PRIVS_CTL, (&raw mut wanted).cast()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// Keeps the kernel from killing this process when memory runs out, as protect(1) does; what it starts is not kept.
/// Only root may.
pub(super) fn protect() {
    let mut wanted = libc::PPROT_SET;
    // As without: the kernel then chooses by size alone.
    let _ = control(libc::PROC_SPROTECT, (&raw mut wanted).cast());
}

/// Has this process killed when its parent dies.
pub(super) fn die_with_parent() -> io::Result<()> {
    let mut signal = libc::SIGKILL;
    control(libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast())
}

/// Names the user of this process's session, which getlogin(2) tells.
pub(super) fn name_user(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name is a C string.
    checked(unsafe { libc::setlogin(name.as_ptr()) })?;
    Ok(())
}

/// Becomes the user `uid` with the group `gid` and no other, for good.
pub(super) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the pointer is to one group.
    checked(unsafe { libc::setgroups(1, &raw const gid) })?;
    // SAFETY: the calls have no requirements.
    checked(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: as above.
    checked(unsafe { libc::setresuid(uid, uid, uid) })?;
    Ok(())
}

/// Gives every signal its default action and unblocks them all: execution would pass on what is ignored or blocked,
/// as under nohup(1).
pub(super) fn reset_signals() {
    /// FreeBSD has signals 1 to 128.
    const LAST: c_int = 128;
    for signal in 1..=LAST {
        // SAFETY: the default action runs no code of ours. The calls that fail are for signals that cannot be changed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a set of signals is plain numbers; sigemptyset makes it a value, and sigprocmask reads it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes every descriptor from 3 on that the parent left open.
pub(super) fn close_inherited() {
    // SAFETY: called before this process owns any descriptor but the standard streams.
    unsafe { libc::closefrom(3) };
}

/// Reports the end of children, and that a descriptor can be read or has ended.
pub(super) struct EventQueue {
    queue: OwnedFd,
    descriptor: c_int,
}

/// What an [`EventQueue`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchEvent {
    /// Some child may have ended.
    Child,
    /// There is something to read, or the other end is closed.
    Descriptor,
}

impl EventQueue {
    /// Watches from now on. `descriptor` must stay open as long as the watch is used.
    pub(super) fn new(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let queue = kqueue::kqueue()?;
        let descriptor = descriptor.as_raw_fd();
        let filters = [
            EventFilter::Read(descriptor),
            EventFilter::Signal {
                signal: Signal::CHILD,
                times: 0,
            },
        ];
        let changes =
            filters.map(|filter| Event::new(filter, EventFlags::ADD, std::ptr::null_mut()));
        let mut none: [Event; 0] = [];
        // SAFETY: the caller keeps the descriptor open.
        unsafe { kqueue::kevent(&queue, &changes, &mut none, None) }?;
        Ok(Self { queue, descriptor })
    }

    /// Waits until something has happened.
    pub(super) fn wait(&self) -> io::Result<WatchEvent> {
        let mut events = Vec::with_capacity(2);
        loop {
            // SAFETY: the caller keeps the descriptor open.
            let waited = unsafe {
                kqueue::kevent(
                    &self.queue,
                    &[],
                    rustix::buffer::spare_capacity(&mut events),
                    None,
                )
            };
            match waited {
                Err(rustix::io::Errno::INTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let about_descriptor = |event: &Event| matches!(event.filter(), EventFilter::Read(number) if number == self.descriptor);
        // A request to end comes first.
        Ok(if events.iter().any(about_descriptor) {
            WatchEvent::Descriptor
        } else {
            WatchEvent::Child
        })
    }
}
