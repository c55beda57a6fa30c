// SPDX-License-Identifier: GPL-3.0-or-later
//! The last steps before the program: what its own process does, on its way into the jail.

use std::ffi::c_int;
use std::os::unix::net::UnixStream;

use bstr::ByteSlice;

use super::parameters::{JailNetwork, SECURELEVEL};
use super::specification::JailHelper;
use super::{kernel, loopback, system};
use crate::process_messages::send;
use crate::sandbox::helper::{Execution, place_descriptors};
use crate::sandbox::protocol::{During, HelperMessage, StepFailure};
use crate::sandbox::{SandboxStep, process, resources};

/// Becomes the program in `jail`, or writes to `report` why not and ends.
pub(super) fn become_program(
    helper: &mut JailHelper,
    jail: c_int,
    network: JailNetwork,
    mut report: UnixStream,
) -> ! {
    let message = match prepare(helper, jail, network, &mut report) {
        Ok(message) => message,
        Err(failure) => HelperMessage::Failed(failure),
    };
    let _ = send(&mut report, &message);
    process::exit_now(127)
}

fn prepare(
    helper: &mut JailHelper,
    jail: c_int,
    network: JailNetwork,
    report: &mut UnixStream,
) -> Result<HelperMessage, StepFailure> {
    let specification = &helper.specification;
    // In the user's session it could type commands into the user's terminal.
    rustix::process::setsid().during(SandboxStep::LeaveSession)?;
    // Otherwise getlogin(2) still names the user who is logged in on the machine.
    system::name_user(&specification.user.name).during(SandboxStep::LeaveSession)?;
    if let Some(terminal) = helper.terminal.take() {
        terminal.attach().during(SandboxStep::OpenTerminal)?;
    }
    let execution = Execution::new(
        &specification.program,
        &specification.arguments,
        &specification.environment,
    )?;
    place_descriptors(report, &mut helper.descriptors, &specification.descriptors)?;
    system::enter_jail(jail).during(SandboxStep::EnterJail)?;
    if network == JailNetwork::Loopback {
        loopback::bring_up().during(SandboxStep::BringUpLoopback)?;
        loopback::pass_all();
    }
    kernel::set(c"kern.securelevel", SECURELEVEL)
        .during_on(SandboxStep::DropPrivileges, "kern.securelevel")?;
    resources::limit(&helper.limits, helper.open_files).during(SandboxStep::LimitResources)?;
    system::fix_addresses().during(SandboxStep::FixAddresses)?;
    system::gain_no_privileges().during(SandboxStep::DropPrivileges)?;
    system::become_user(specification.user.uid, specification.user.gid)
        .during(SandboxStep::BecomeUser)?;
    // After the change of user, which might take it back.
    system::die_with_parent().during(SandboxStep::TieLife)?;
    rustix::process::chdir(&specification.directory)
        .during_on(SandboxStep::EnterBuildDirectory, &specification.directory)?;
    if specification.rehearse {
        return Ok(HelperMessage::Fit);
    }
    system::reset_signals();
    Err(execution.execute()).during_on(SandboxStep::Execute, specification.program.to_path_lossy())
}
