// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper process, outside, and the sandbox's first process, inside.
//!
//! The helper makes the first process in new namespaces, says who its user is outside, and then waits for
//! either of two things: the first process ends, or the spawning process closes its socket (by asking for the
//! end, or by dying in any way at all); then it kills the first process, and the kernel kills every process of
//! its namespace with it. A socket serves better than a death signal here, for that is sent when the *thread*
//! that started the helper ends. The helper has one thread, so the first process does ask for a death signal
//! when the helper itself is killed.
//!
//! The first process sets up the world, makes the program's process, and then reaps whatever dies. It keeps
//! its capabilities and is not dumpable, so that no process of the build may trace it or look through it.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Gid, Pid, PidfdFlags, Resource, Rlimit, Signal, Uid, kill_process,
    pidfd_open, setrlimit,
};
use rustix::stdio;

use super::mounts::{self, Kernel, MountTree};
use super::specification::{NamespaceHelper, NamespaceSpecification};
use super::{program, system};
use crate::process_limit::limit_of;
use crate::process_messages::send;
use crate::sandbox::protocol::{During, HelperMessage, StepFailure};
use crate::sandbox::{SandboxStep, helper, process, terminal};

/// The helper's whole life.
pub(super) fn main() -> ! {
    system::close_inherited();
    helper::live(start)
}

/// Lives as the helper whose socket is standard input.
pub(super) fn start() -> io::Result<()> {
    let Some(told) = helper::receive_specification()? else {
        return Ok(());
    };
    let (specification, mut descriptors): (NamespaceSpecification, _) =
        (told.specification, told.descriptors);
    if specification.interactive && !descriptors.is_empty() {
        stdio::dup2_stdin(descriptors.remove(0))?;
    }
    let mut helper = NamespaceHelper {
        specification,
        socket: told.socket,
        descriptors,
        null: told.null,
        open_files: raise_open_files(),
        terminal: None,
    };
    match supervise(&mut helper) {
        Ok(()) => Ok(()),
        Err(failure) => send(&mut helper.socket, &HelperMessage::Failed(failure)),
    }
}

/// Makes the first process and watches over it.
fn supervise(helper: &mut NamespaceHelper) -> Result<(), StepFailure> {
    let specification = &helper.specification;
    let opened = terminal::separate(specification.interactive, specification.outside.0);
    let (mut users_terminal, programs) = opened.during(SandboxStep::OpenTerminal)?.unzip();
    helper.terminal = programs;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let privileged = rustix::process::geteuid().is_root();
    if privileged {
        // The build's own group and no other: some programs' checks (daemontools') take a user without any for root.
        let group = rustix::process::Gid::from_raw(specification.outside.1);
        match rustix::thread::set_thread_groups(&[group]) {
            // Root of a user namespace without setgroups keeps them, as other users do.
            Err(Errno::PERM) => {}
            other => other.during(SandboxStep::LeaveGroups)?,
        }
    }
    let trees = if privileged {
        match mounts::take(&specification.items, kernel(specification)) {
            // Root without CAP_SYS_ADMIN, as in a container: the first process can do it.
            Err(failure) if failure.errno == Errno::PERM.raw_os_error() => None,
            other => Some(other?),
        }
    } else {
        None
    };
    let (from_helper, mut to_first) = pipe().during(SandboxStep::CreateNamespaces)?;
    let mut namespaces = system::ALL_NAMESPACES;
    if specification.network {
        namespaces &= !system::NETWORK_NAMESPACE;
    }
    let Some(first) = system::clone_into(namespaces).during(SandboxStep::CreateNamespaces)? else {
        drop(to_first);
        if let Some(terminal) = users_terminal {
            terminal.abandon();
        }
        first_process(helper, from_helper, trees);
    };
    drop((trees, from_helper));
    prefer_to_kill(first);
    helper.terminal = None;
    let relayed = match &mut users_terminal {
        Some(terminal) => terminal.start().during(SandboxStep::OpenTerminal),
        None => Ok(()),
    };
    let watched = relayed
        .and_then(|()| map_user(helper, first))
        .and_then(|()| to_first.write_all(b"g").during(SandboxStep::MapUser))
        .and_then(|()| watch(helper, first));
    let killed = match &watched {
        Ok(killed) => *killed,
        Err(_) => true,
    };
    if killed {
        let _ = kill_process(first, Signal::KILL);
    }
    // From here on nothing of the sandbox is alive: the kernel lets the first process go last.
    let ended = process::wait(Some(first)).during(SandboxStep::Wait);
    if let Some(terminal) = users_terminal {
        terminal.finish();
    }
    watched?;
    let (_, first) = ended?;
    // The spawning process may have its answer already and be gone.
    let _ = send(&mut helper.socket, &HelperMessage::Ended { killed, first });
    Ok(())
}

/// What is added to a build's `oom_score_adj`: it counts as if it used 30 % more of the memory than it does.
const MORE_LIKELY: i32 = 300;

/// Has the kernel kill the build, and not the run, where memory runs out. A system that refuses decides by itself.
fn prefer_to_kill(first: Pid) {
    let path = format!("/proc/{}/oom_score_adj", first.as_raw_pid());
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let own: i32 = own.trim().parse().unwrap_or(0);
    let _ = fs::write(path, (own + MORE_LIKELY).min(1000).to_string());
}

/// Raises the limit on open files as far as possible, and returns the former one: every input is a descriptor for a
/// moment, and there may be more than the usual 1024.
fn raise_open_files() -> Option<Rlimit> {
    let before = limit_of(Resource::Nofile)?;
    let mut raised = before;
    raised.current = raised.maximum;
    let _ = setrlimit(Resource::Nofile, raised);
    Some(before)
}

pub(super) fn kernel(specification: &NamespaceSpecification) -> Kernel {
    if specification.old_kernel {
        Kernel::Old
    } else {
        Kernel::Current
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}

/// Says which outside user the one user inside is. From outside, for only here are the privileges to name
/// another user than the caller.
fn map_user(helper: &NamespaceHelper, first: Pid) -> Result<(), StepFailure> {
    let process = format!("/proc/{}", first.as_raw_pid());
    let user = &helper.specification.user;
    let (uid, gid) = helper.specification.outside;
    for (name, contents) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {uid} 1", user.uid)),
        ("gid_map", format!("{} {gid} 1", user.gid)),
    ] {
        let path = format!("{process}/{name}");
        let mut file = File::options()
            .write(true)
            .open(&path)
            .during_on(SandboxStep::MapUser, &path)?;
        file.write_all(contents.as_bytes())
            .during_on(SandboxStep::MapUser, &path)?;
    }
    Ok(())
}

/// Waits until the first process has ended, or (`true`) has to be ended.
fn watch(helper: &mut NamespaceHelper, first: Pid) -> Result<bool, StepFailure> {
    helper.descriptors.clear();
    if !helper.specification.interactive {
        // Readers of the output must see it end with the last process of the build.
        stdio::dup2_stdout(&helper.null).during(SandboxStep::Wait)?;
        stdio::dup2_stderr(&helper.null).during(SandboxStep::Wait)?;
    }
    let first = pidfd_open(first, PidfdFlags::empty()).during(SandboxStep::Wait)?;
    loop {
        let mut watched = [
            PollFd::new(&first, PollFlags::IN),
            PollFd::new(&helper.socket, PollFlags::IN | PollFlags::RDHUP),
        ];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            other => other.during(SandboxStep::Wait)?,
        };
        if !watched[0].revents().is_empty() {
            return Ok(false);
        }
        if !watched[1].revents().is_empty() {
            return Ok(true);
        }
    }
}

/// The first process's whole life.
fn first_process(
    helper: &mut NamespaceHelper,
    from_helper: File,
    trees: Option<Vec<MountTree>>,
) -> ! {
    let message = match live(helper, from_helper, trees) {
        Ok(message) => message,
        Err(failure) => HelperMessage::Failed(failure),
    };
    let _ = send(&mut helper.socket, &message);
    process::exit_now(0)
}

fn live(
    helper: &mut NamespaceHelper,
    mut from_helper: File,
    trees: Option<Vec<MountTree>>,
) -> Result<HelperMessage, StepFailure> {
    let specification = &helper.specification;
    let mut go = [0];
    from_helper
        .read_exact(&mut go)
        .during(SandboxStep::MapUser)?;
    become_user(specification.user.uid, specification.user.gid).during(SandboxStep::BecomeUser)?;
    // After the change of user, which takes the signal back.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(SandboxStep::TieLife)?;
    let mut helper_alive = [PollFd::new(&from_helper, PollFlags::empty())];
    poll(&mut helper_alive, Some(&Default::default())).during(SandboxStep::TieLife)?;
    if !helper_alive[0].revents().is_empty() {
        return Err(Errno::PIPE).during(SandboxStep::TieLife);
    }
    system::leave_keyring();
    mounts::separate()?;
    let kernel = kernel(specification);
    let trees = match trees {
        Some(trees) => trees,
        None => mounts::take(&specification.items, kernel)?,
    };
    let processes = mounts::enter_new_root()?;
    mounts::populate(&specification.items, trees, processes, kernel)?;
    forbid_namespaces()?;
    if !specification.network {
        system::bring_up_loopback().during(SandboxStep::BringUpLoopback)?;
    }
    system::name_host(&specification.host_name).during(SandboxStep::NameHost)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .during(SandboxStep::TieLife)?;
    let Some(program) = process::fork().during(SandboxStep::Fork)? else {
        program::become_program(helper);
    };
    helper.descriptors.clear();
    helper.terminal = None;
    for number in [0, 1, 2] {
        process::place(&helper.null, number).during(SandboxStep::Wait)?;
    }
    reap(program)
}

fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Lets no process of the sandbox make a user namespace, in which it would have privileges again. Whether a
/// build may would otherwise depend on the machine's settings.
fn forbid_namespaces() -> Result<(), StepFailure> {
    let path = "/proc/sys/user/max_user_namespaces";
    match File::options().write(true).open(path) {
        // A kernel without that setting.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(mut file) => file.write_all(b"0"),
    }
    .during_on(SandboxStep::ForbidNamespaces, path)
}

/// Reaps until `program` has ended, then kills and reaps the rest.
fn reap(program: Pid) -> Result<HelperMessage, StepFailure> {
    let status = loop {
        let (ended, finished) = process::wait(None).during(SandboxStep::Wait)?;
        if ended == program {
            break finished.status;
        }
    };
    system::kill_all();
    while process::wait(None).is_ok() {}
    Ok(HelperMessage::Finished(process::usage_of_children(status)))
}
