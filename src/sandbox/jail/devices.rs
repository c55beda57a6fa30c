// SPDX-License-Identifier: GPL-3.0-or-later
//! Which nodes of a mounted devfs are seen: the calls that give [`devfs`]'s rules to the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::devfs::{self, Rule};
use crate::sandbox::process::checked;

/// Hides all nodes of the devfs that `devices` is the root of, but those that `visible` matches; and, where `for_good`,
/// all that appear later but pseudo-terminals.
pub(super) fn show(devices: BorrowedFd<'_>, visible: &[&str], for_good: bool) -> io::Result<()> {
    // First: between the two, a node could appear.
    if for_good {
        hide_later_devices(devices)?;
    }
    let apply = |mut rule| call_about_rule(devices, devfs::APPLY_RULE, &mut rule);
    apply(Rule::hide_all())?;
    visible
        .iter()
        .try_for_each(|pattern| apply(Rule::show(pattern)))
}

/// Has the devfs that `devices` is the root of hide the nodes that are added to it from now on, but pseudo-terminals.
/// What it has already stays as it is.
///
/// The rules for that have to be in a ruleset of the machine's, and stay there: another build may use them. A ruleset
/// that another program has filled is neither used nor changed.
fn hide_later_devices(devices: BorrowedFd<'_>) -> io::Result<()> {
    for ruleset in devfs::RULESETS {
        let ours = Rule::all_in(ruleset);
        let there = first_rules(devices, ruleset)?;
        // Another build may be about to add them, too.
        let missing = ours.iter().filter(|rule| !there.contains(rule));
        if there.iter().all(|rule| ours.contains(rule)) {
            for mut rule in missing.copied() {
                match call_about_rule(devices, devfs::ADD_RULE, &mut rule) {
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                    other => other?,
                }
            }
        }
        if first_rules(devices, ruleset)? == ours {
            let fd = devices.as_raw_fd();
            // SAFETY: the call reads a number of 16 bits, which this is.
            checked(unsafe { libc::ioctl(fd, devfs::USE_RULESET, &raw const ruleset) })?;
            return Ok(());
        }
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

/// The rules of `ruleset`, but no more than one above what a ruleset of ours has.
fn first_rules(devices: BorrowedFd<'_>, ruleset: u16) -> io::Result<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut rule = Rule::before_all_in(ruleset);
    while rules.len() <= Rule::all_in(ruleset).len() {
        match call_about_rule(devices, devfs::NEXT_RULE, &mut rule) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            other => other?,
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// One of devfs's calls whose argument is a rule.
fn call_about_rule(
    devices: BorrowedFd<'_>,
    call: libc::c_ulong,
    rule: &mut Rule,
) -> io::Result<()> {
    // SAFETY: the call reads a rule and may write one, which this is, as the assertions in `devfs` say.
    checked(unsafe { libc::ioctl(devices.as_raw_fd(), call, &raw mut *rule) })?;
    Ok(())
}
