// SPDX-License-Identifier: GPL-3.0-or-later
//! The last steps before the program: what its own process does, on its way into the jail.

use std::ffi::c_int;
use std::os::unix::net::UnixStream;

use bstr::ByteSlice;

use super::parameters::Network;
use super::specification::Helper;
use super::{loopback, system};
use crate::sandbox::helper::{Execution, place_descriptors};
use crate::sandbox::protocol::{During, Failure, Message, send};
use crate::sandbox::{Step, process, resources};

/// Becomes the program in `jail`, or tells `report` why not and ends.
pub(super) fn become_program(
    helper: &mut Helper,
    jail: c_int,
    network: Network,
    mut report: UnixStream,
) -> ! {
    let message = match prepare(helper, jail, network, &mut report) {
        Ok(message) => message,
        Err(failure) => Message::Failed(failure),
    };
    let _ = send(&mut report, &message);
    process::exit_now(127)
}

fn prepare(
    helper: &mut Helper,
    jail: c_int,
    network: Network,
    report: &mut UnixStream,
) -> Result<Message, Failure> {
    let specification = &helper.specification;
    // In the user's session it could type commands into the user's terminal.
    rustix::process::setsid().during(Step::LeaveSession)?;
    // Otherwise getlogin(2) still names the user who is logged in on the machine.
    system::name_user(&specification.user.name).during(Step::LeaveSession)?;
    if let Some(terminal) = helper.terminal.take() {
        terminal.attach().during(Step::OpenTerminal)?;
    }
    let execution = Execution::new(
        &specification.program,
        &specification.arguments,
        &specification.environment,
    )?;
    place_descriptors(report, &mut helper.descriptors, &specification.descriptors)?;
    system::enter_jail(jail).during(Step::EnterJail)?;
    if network == Network::Loopback {
        loopback::bring_up().during(Step::BringUpLoopback)?;
    }
    resources::limit(&helper.limits, &helper.open_files).during(Step::LimitResources)?;
    system::fix_addresses().during(Step::FixAddresses)?;
    system::gain_no_privileges().during(Step::DropPrivileges)?;
    system::become_user(specification.user.uid, specification.user.gid).during(Step::BecomeUser)?;
    // After the change of user, which might take it back.
    system::die_with_parent().during(Step::TieLife)?;
    rustix::process::chdir(&specification.directory)
        .during_on(Step::EnterBuildDirectory, &specification.directory)?;
    if specification.rehearse {
        return Ok(Message::Fit);
    }
    system::reset_signals();
    Err(execution.execute()).during_on(Step::Execute, specification.program.to_path_lossy())
}
