//! The last steps before the program: what its own process does, on its way into the jail.

use std::ffi::{CString, NulError, c_int};
use std::os::unix::net::UnixStream;

use rustix::io::fcntl_dupfd_cloexec;

use super::init::Helper;
use super::system;
use crate::sandbox::protocol::{During, Failure, Message, send};
use crate::sandbox::{Step, process, resources};

/// Becomes the program in `jail`, or tells `report` why not and ends.
pub(super) fn become_program(helper: &mut Helper, jail: c_int, mut report: UnixStream) -> ! {
    let message = match prepare(helper, jail, &mut report) {
        Ok(message) => message,
        Err(failure) => Message::Failed(failure),
    };
    let _ = send(&mut report, &message);
    process::exit_now(127)
}

fn prepare(helper: &mut Helper, jail: c_int, report: &mut UnixStream) -> Result<Message, Failure> {
    let specification = &helper.specification;
    if !specification.interactive {
        rustix::process::setsid().during(Step::LeaveSession)?;
        // Otherwise the session goes on telling who is logged in on the machine.
        system::name_user(&specification.user.name).during(Step::LeaveSession)?;
    }
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
    *report = fcntl_dupfd_cloexec(&*report, beyond)
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
    system::enter_jail(jail).during(Step::EnterJail)?;
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
    Err(process::execute(&program, &arguments, &environment))
        .during_on(Step::Execute, &specification.program)
}
