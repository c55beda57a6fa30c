// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper process: makes root and jail, watches over the program, and undoes both.
//!
//! It waits for either of two things: the program ends, or the spawning process closes its socket (by asking for the
//! end, or by dying in any way at all). In either case it removes the jail, which kills what is in it, reaps all of it
//! (orphans come to it, for it is their reaper), unmounts, and only then answers: nothing of the build is left when
//! the spawning process hears of its end. It has one thread, so it may fork.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Resource};
use rustix::stdio;

use super::parameters::{JailNetwork, KnownParameters, VIMAGE, parameters, rules};
use super::plan::{Action, FileSystem, MountCall, plan};
use super::specification::{JailHelper, JailSpecification};
use super::system::{EventQueue, WatchEvent};
use super::{accounts, devices, kernel, program, record, system, teardown};
use crate::process_limit::limit_of;
use crate::process_messages::{receive, send};
use crate::sandbox::protocol::{During, HelperMessage, StepFailure};
use crate::sandbox::terminal::Terminal;
use crate::sandbox::{Finished, SandboxError, SandboxStep, helper, process, terminal};

/// The helper's whole life.
pub(in crate::sandbox) fn main() -> ! {
    system::close_inherited();
    helper::live(start)
}

fn start() -> io::Result<()> {
    let Some(told) = helper::receive_specification()? else {
        return Ok(());
    };
    let (specification, mut descriptors): (JailSpecification, _) =
        (told.specification, told.descriptors);
    // Held until this process ends: no other process watches the build then.
    let _lock = (!descriptors.is_empty()).then(|| descriptors.remove(0));
    if specification.interactive && !descriptors.is_empty() {
        stdio::dup2_stdin(descriptors.remove(0))?;
    }
    let mut helper = JailHelper {
        limits: specification.limits.clone(),
        specification,
        descriptors,
        open_files: limit_of(Resource::Nofile),
        terminal: None,
        socket: told.socket,
        null: told.null,
    };
    let message = supervise(&mut helper).unwrap_or_else(HelperMessage::Failed);
    // The spawning process may be gone.
    let _ = send(&mut helper.socket, &message);
    Ok(())
}

/// Makes the jail, has the program run in it, and undoes everything.
fn supervise(helper: &mut JailHelper) -> Result<HelperMessage, StepFailure> {
    let specification = &helper.specification;
    let opened = terminal::separate(specification.interactive, specification.user.uid);
    let (mut users_terminal, programs) = opened.during(SandboxStep::OpenTerminal)?.unzip();
    helper.terminal = programs;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    system::become_reaper().during(SandboxStep::TieLife)?;
    let ran = run(helper, users_terminal.as_mut());
    let specification = &helper.specification;
    // Where that went wrong half-way, the program's process may not be in the jail yet.
    let ended = teardown::end_descendants().during(SandboxStep::Wait);
    let undone = teardown::undo(&specification.name, &specification.root).and_then(|()| {
        record::remove(&specification.root, &specification.record)
            .during_on(SandboxStep::ForgetBuild, &specification.record)
    });
    if let Some(terminal) = users_terminal {
        terminal.finish();
    }
    let message = ran?;
    ended?;
    undone?;
    Ok(message)
}

fn run(
    helper: &mut JailHelper,
    terminal: Option<&mut Terminal>,
) -> Result<HelperMessage, StepFailure> {
    let specification = &helper.specification;
    let root = &specification.root;
    for action in plan(root, &specification.items) {
        perform(&action)?;
    }
    let vimage = kernel::setting(VIMAGE) == Some(1) && !kernel::has_sockets_beyond_networks();
    let network = JailNetwork::of(specification.network, vimage);
    let known = KnownParameters::of(kernel::setting);
    let host_name = &specification.host_name;
    let parameters = parameters(&specification.name, root, host_name, network, &known)
        .map_err(|error: SandboxError| io::Error::other(error.to_string()))
        .during(SandboxStep::MakeJail)?;
    let jail = system::make_jail(&parameters).map_err(|(error, message)| {
        StepFailure::new(SandboxStep::MakeJail, None, &error, message)
    })?;
    let mut accounted = false;
    for rule in rules(&specification.name, &specification.limits) {
        accounted = system::add_rule(&rule).during(SandboxStep::LimitResources)?;
    }
    if accounted {
        helper.limits.processes = None;
    }
    let watch = EventQueue::new(helper.socket.as_fd()).during(SandboxStep::Wait)?;
    let (mut ours, theirs) = UnixStream::pair().during(SandboxStep::Fork)?;
    let Some(program) = process::fork().during(SandboxStep::Fork)? else {
        program::become_program(helper, jail, network, theirs);
    };
    drop(theirs);
    helper.terminal = None;
    if let Some(terminal) = terminal {
        terminal.start().during(SandboxStep::OpenTerminal)?;
    }
    let ended = follow(helper, &watch, program)?;
    // All that it left behind dies before it is said what it used up, and before the last word can come from it.
    system::remove_jail(jail).during(SandboxStep::RemoveJail)?;
    teardown::end_descendants().during(SandboxStep::Wait)?;
    let Some(finished) = ended else {
        let first =
            process::usage_of_children(crate::sandbox::ExitStatusKind::Signaled(libc::SIGKILL));
        return Ok(HelperMessage::Ended {
            killed: true,
            first,
        });
    };
    match receive(&mut ours) {
        // The program's process could not become the program, or was not to.
        Ok(Some(message)) => Ok(message),
        _ => Ok(HelperMessage::Finished(process::usage_of_children(
            finished.status,
        ))),
    }
}

/// Waits until the program has ended, or, `None`, has to be ended.
fn follow(
    helper: &mut JailHelper,
    watch: &EventQueue,
    program: Pid,
) -> Result<Option<Finished>, StepFailure> {
    helper.descriptors.clear();
    if !helper.specification.interactive {
        // Readers of the output must see it end with the last process of the build.
        stdio::dup2_stdout(&helper.null).during(SandboxStep::Wait)?;
        stdio::dup2_stderr(&helper.null).during(SandboxStep::Wait)?;
    }
    loop {
        while let Some((ended, finished)) =
            process::wait_without_blocking().during(SandboxStep::Wait)?
        {
            if ended == program {
                return Ok(Some(finished));
            }
        }
        if watch.wait().during(SandboxStep::Wait)? == WatchEvent::Descriptor {
            return Ok(None);
        }
    }
}

/// Makes one thing of the plan.
fn perform(action: &Action) -> Result<(), StepFailure> {
    match action {
        Action::Directory(path) => match fs::create_dir(path) {
            // What an earlier attempt has left in a writable mount.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_directory(path) => {
                Ok(())
            }
            other => other,
        }
        .during_on(SandboxStep::MakeEntry, path),
        Action::File { path, contents } => {
            fs::write(path, contents).during_on(SandboxStep::MakeEntry, path)
        }
        Action::Accounts {
            directory,
            contents,
        } => accounts::make_databases(directory, contents)
            .during_on(SandboxStep::MakeAccounts, directory),
        Action::Link { path, contents } => match symlink(contents, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::read_link(path) {
                    Ok(there) if there == *contents => Ok(()),
                    _ => Err(error),
                }
            }
            other => other,
        }
        .during_on(SandboxStep::MakeEntry, path),
        Action::Mount(mount) => perform_mount(mount),
        Action::ShowDevices {
            on,
            visible,
            for_good,
        } => File::open(on)
            .and_then(|devices| devices::show(devices.as_fd(), visible, *for_good))
            .during_on(SandboxStep::MakeDevices, on),
    }
}

fn perform_mount(mount: &MountCall) -> Result<(), StepFailure> {
    let step = match &mount.file_system {
        _ if mount.update => SandboxStep::RestrictMount,
        FileSystem::Null { .. } => SandboxStep::MountSource,
        FileSystem::Memory { .. } => SandboxStep::MountTemporary,
        FileSystem::Devices => SandboxStep::MakeDevices,
        FileSystem::Processes => SandboxStep::MountProcesses,
    };
    match (system::mount(mount), &mount.file_system) {
        (Ok(()), _) => Ok(()),
        // An older kernel mounts on directories only. The copy is root's and cannot be written to.
        (
            Err((error, _)),
            FileSystem::Null {
                source,
                is_file: true,
            },
        ) if error.raw_os_error() == Some(libc::ENOTDIR) => fs::copy(source, &mount.on)
            .and_then(|_| {
                let mode = fs::metadata(source)?.permissions().mode() & 0o555;
                fs::set_permissions(&mount.on, fs::Permissions::from_mode(mode))
            })
            .during_on(SandboxStep::MakeEntry, &mount.on),
        // To be on the safe side only: nothing in the root belongs to the build user.
        (Err((error, _)), _) if mount.update && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(())
        }
        (Err((error, message)), _) => Err(StepFailure::new(
            step,
            Some(mount.on.clone()),
            &error,
            message,
        )),
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_dir())
}
