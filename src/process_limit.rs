// SPDX-License-Identifier: GPL-3.0-or-later
//! The limits of this process (getrlimit(2)), where the system tells them.
//!
//! rustix panics where it does not: a filter of system calls, such as systemd's `~@resources`, may refuse the question.

use std::mem::MaybeUninit;

use rustix::process::{Resource, Rlimit};

/// The limit on `resource`; `None` where the system does not say: a filter of system calls may refuse the question.
pub fn limit_of(resource: Resource) -> Option<Rlimit> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: getrlimit writes to `limit`, which is large enough and is read only where the call succeeded.
    let limit = unsafe {
        match libc::getrlimit(resource as _, limit.as_mut_ptr()) {
            0 => limit.assume_init(),
            _ => return None,
        }
    };
    let bound = |number: libc::rlim_t| {
        let number = (number != libc::RLIM_INFINITY).then_some(number)?;
        #[allow(
            clippy::useless_conversion,
            reason = "the type differs between systems"
        )]
        u64::try_from(number).ok()
    };
    Some(Rlimit {
        current: bound(limit.rlim_cur),
        maximum: bound(limit.rlim_max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_that_the_system_tells() {
        for resource in [
            Resource::Nofile,
            Resource::Stack,
            Resource::Core,
            Resource::As,
        ] {
            let limit = limit_of(resource).unwrap();
            assert_eq!(limit, rustix::process::getrlimit(resource), "{resource:?}");
        }
    }
}
