//! The last steps before the program: what only its own process must undergo.

use std::ffi::{CString, NulError};
use std::io;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::init::Helper;
use super::system;
use crate::sandbox::protocol::{During, Failure, Message, send};
use crate::sandbox::{Step, process, resources};

/// Becomes the program, or says why not and ends.
pub(super) fn become_program(helper: &mut Helper) -> ! {
    let message = match prepare(helper) {
        Ok(message) => message,
        Err(failure) => Message::Failed(failure),
    };
    let _ = send(&mut helper.socket, &message);
    process::exit_now(127)
}

fn prepare(helper: &mut Helper) -> Result<Message, Failure> {
    let specification = &helper.specification;
    if !specification.interactive {
        rustix::process::setsid().during(Step::LeaveSession)?;
    }
    system::fix_addresses().during(Step::FixAddresses)?;
    rustix::process::chdir(&specification.directory)
        .during_on(Step::EnterBuildDirectory, &specification.directory)?;
    let strings = |strings: &[String]| -> Result<Vec<CString>, NulError> {
        let strings = strings.iter();
        strings
            .map(|string| CString::new(string.as_str()))
            .collect()
    };
    let program = CString::new(specification.program.as_str()).during(Step::Execute)?;
    let mut arguments = strings(&specification.arguments).during(Step::Execute)?;
    arguments.insert(0, program.clone());
    let environment = strings(&specification.environment).during(Step::Execute)?;
    // Out of the way of the numbers that the program expects.
    let beyond = specification.descriptors.iter().max().unwrap_or(&2) + 1;
    helper.socket = fcntl_dupfd_cloexec(&helper.socket, beyond)
        .during(Step::PlaceDescriptors)?
        .into();
    for descriptor in &mut helper.descriptors {
        let moved = fcntl_dupfd_cloexec(&*descriptor, beyond).during(Step::PlaceDescriptors)?;
        // Not closed: its number may be one of those placed below.
        std::mem::forget(std::mem::replace(descriptor, moved));
    }
    let placed = helper.descriptors.iter().zip(&specification.descriptors);
    for (descriptor, &number) in placed {
        process::place(descriptor, number).during(Step::PlaceDescriptors)?;
    }
    resources::limit(&specification.limits, &helper.open_files).during(Step::LimitResources)?;
    drop_privileges().during(Step::DropPrivileges)?;
    if specification.rehearse {
        return Ok(Message::Fit);
    }
    system::reset_signals();
    Err(process::execute(&program, &arguments, &environment))
        .during_on(Step::Execute, &specification.program)
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
