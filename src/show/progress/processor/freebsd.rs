// SPDX-License-Identifier: GPL-3.0-or-later
//! FreeBSD: the system control `kern.cp_time`: user, nice, system, interrupt, idle, as `long`s (`sys/resource.h`).

use super::Ticks;

/// `CPUSTATES`.
const STATES: usize = 5;
/// `CP_IDLE`.
const IDLE: usize = 4;

/// The system control `hw.physmem`, an `unsigned long`.
pub(super) fn memory() -> Option<u64> {
    let mut memory: libc::c_ulong = 0;
    let mut length = std::mem::size_of_val(&memory);
    // SAFETY: the name is NUL-terminated, `memory` is `length` bytes long and writable, and nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            c"hw.physmem".as_ptr(),
            std::ptr::from_mut(&mut memory).cast(),
            &mut length,
            std::ptr::null(),
            0,
        )
    };
    (result == 0 && length == std::mem::size_of_val(&memory)).then_some(memory)
}

pub(super) fn ticks() -> Option<Ticks> {
    let mut states: [libc::c_long; STATES] = [0; STATES];
    let mut length = std::mem::size_of_val(&states);
    // SAFETY: the name is NUL-terminated, `states` is `length` bytes long and writable, and nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            c"kern.cp_time".as_ptr(),
            states.as_mut_ptr().cast(),
            &mut length,
            std::ptr::null(),
            0,
        )
    };
    if result != 0 || length != std::mem::size_of_val(&states) {
        return None;
    }
    let ticks = states.map(|state| u64::try_from(state).unwrap_or(0));
    let total: u64 = ticks.iter().sum();
    Some(Ticks {
        busy: total - ticks[IDLE],
        total,
    })
}
