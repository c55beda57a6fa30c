// SPDX-License-Identifier: GPL-3.0-or-later
//! The last steps before the program: what only its own process must undergo.

use std::io;

use bstr::ByteSlice;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::filter::FilteredBuild;
use super::specification::NamespaceHelper;
use super::{filter, system};
use crate::process_messages::send;
use crate::sandbox::helper::{Execution, place_descriptors};
use crate::sandbox::protocol::{During, HelperMessage, StepFailure};
use crate::sandbox::{SandboxStep, process, resources};

/// Becomes the program, or says why not and ends.
pub(super) fn become_program(helper: &mut NamespaceHelper) -> ! {
    let message = match prepare(helper) {
        Ok(message) => message,
        Err(failure) => HelperMessage::Failed(failure),
    };
    let _ = send(&mut helper.socket, &message);
    process::exit_now(127)
}

fn prepare(helper: &mut NamespaceHelper) -> Result<HelperMessage, StepFailure> {
    let specification = &helper.specification;
    // In the user's session it could type commands into the user's terminal.
    rustix::process::setsid().during(SandboxStep::LeaveSession)?;
    if let Some(terminal) = helper.terminal.take() {
        terminal.attach().during(SandboxStep::OpenTerminal)?;
    }
    if specification.thirty_two_bit {
        system::be_thirty_two_bit().during(SandboxStep::ChoosePersonality)?;
    }
    // Docker's and podman's own filters refuse it, and other sandboxes do not know it.
    if system::fix_addresses().is_err() {
        send(&mut helper.socket, &HelperMessage::RandomAddresses)
            .during(SandboxStep::FixAddresses)?;
    }
    rustix::process::chdir(&specification.directory)
        .during_on(SandboxStep::EnterBuildDirectory, &specification.directory)?;
    let execution = Execution::new(
        &specification.program,
        &specification.arguments,
        &specification.environment,
    )?;
    place_descriptors(
        &mut helper.socket,
        &mut helper.descriptors,
        &specification.descriptors,
    )?;
    resources::limit(&specification.limits, helper.open_files)
        .during(SandboxStep::LimitResources)?;
    drop_privileges().during(SandboxStep::DropPrivileges)?;
    let build = FilteredBuild {
        network: specification.network,
        thirty_two_bit: specification.thirty_two_bit,
    };
    filter::install(build).during(SandboxStep::FilterCalls)?;
    if specification.rehearse {
        return Ok(HelperMessage::Fit);
    }
    system::reset_signals();
    Err(execution.execute()).during_on(SandboxStep::Execute, specification.program.to_path_lossy())
}

/// Gives up every capability, and the ways to get one: by set-user-ID programs, by file capabilities.
fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Past the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    match rustix::thread::clear_ambient_capability_set() {
        // Linux before 4.3 has none.
        Err(Errno::INVAL) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, none)?)
}
