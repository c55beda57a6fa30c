// SPDX-License-Identifier: GPL-3.0-or-later
//! What a program may use up, as limits of its process that its children inherit.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::ResourceLimits;
use super::process::physical_memory;
use crate::process_limit::limit_of;

/// The stack a program gets, where the limits allow: 8 MiB, as the kernel gives by itself. Programs size things
/// by it, and a build must not depend on the caller's `ulimit -s`.
const STACK: u64 = 8 << 20;

/// How many files a program may have open, where the limits allow; it may raise that. It is what Linux gives by itself.
/// Programs close everything below it, or size tables by it: a build must not depend on the caller's `ulimit -n`, which
/// on FreeBSD grows with the machine's memory.
const OPEN_FILES: u64 = 1024;

/// More processes than this no build needs at a time, however many the caller may have.
const MOST_PROCESSES: u64 = 1 << 15;

impl ResourceLimits {
    /// The limits of builds when the user sets none, so that one build cannot take the whole machine: `/tmp` and
    /// `/dev/shm` hold a quarter of the memory each, and processes are half as many as the caller's. Address space is
    /// not limited: compilers and run-time systems reserve much more of it than they use.
    pub fn of_machine() -> Self {
        let processes = current_of(Resource::Nproc);
        Self {
            processes: Some((processes.min(MOST_PROCESSES) / 2).max(1)),
            temporary: physical_memory().map(|memory| memory / 4),
            ..Self::default()
        }
    }
}

/// What this process may use of `resource` now.
fn current_of(resource: Resource) -> u64 {
    let limit = limit_of(resource).and_then(|limit| limit.current);
    limit.unwrap_or(u64::MAX)
}

/// Limits this process to `limits`. Where these say nothing of open files, as many as programs usually may have, and
/// `most`, the caller's limits, allow.
pub(super) fn limit(limits: &ResourceLimits, most: Option<Rlimit>) -> io::Result<()> {
    if let Some(most) = most {
        let maximum = most.maximum;
        let current = Some(OPEN_FILES.min(maximum.unwrap_or(u64::MAX)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    }
    for (resource, limit) in [
        (Resource::As, limits.memory),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_size),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, Some(0)),
    ] {
        let Some(limit) = limit else { continue };
        let most = limit_of(resource).and_then(|limit| limit.maximum);
        let limit = Some(limit.min(most.unwrap_or(u64::MAX)));
        let both = Rlimit {
            current: limit,
            maximum: limit,
        };
        setrlimit(resource, both)?;
    }
    if let Some(count) = limits.processors {
        let allowed = sched_getaffinity(None)?;
        let mut fewer = CpuSet::new();
        let numbers: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|number| allowed.is_set(*number))
            .collect();
        let first = limits.first_processor.checked_rem(numbers.len());
        let count = count.clamp(1, numbers.len().max(1));
        let chosen = numbers.iter().cycle().skip(first.unwrap_or(0)).take(count);
        chosen.for_each(|number| fewer.set(*number));
        sched_setaffinity(None, &fewer)?;
    }
    let stack = limit_of(Resource::Stack).and_then(|limit| limit.maximum);
    let stack = Rlimit {
        current: Some(STACK.min(stack.unwrap_or(u64::MAX))),
        maximum: stack,
    };
    Ok(setrlimit(Resource::Stack, stack)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_gets_a_fraction_of_the_machine_by_default() {
        let limits = ResourceLimits::of_machine();
        let memory = physical_memory().unwrap();
        assert!(memory > 64 << 20);
        assert_eq!(limits.temporary, Some(memory / 4));
        let own = current_of(Resource::Nproc);
        let processes = limits.processes.unwrap();
        assert!(processes >= 1 && (own == 1 || processes <= own / 2));
        assert_eq!(limits.memory, None);
    }
}
