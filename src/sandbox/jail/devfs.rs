// SPDX-License-Identifier: GPL-3.0-or-later
//! The rules of devfs(8), as the kernel takes them: which nodes of a mounted devfs are seen.
//!
//! A rule does its work once, on the nodes that are there when it is applied. What is to hold for nodes that appear
//! later, too, has to be in a ruleset that the mount uses: the kernel applies such a ruleset to every node that it
//! adds, and to no other. Rulesets are the machine's, known by their numbers; they stay when the mount is gone.
//!
//! Sources: `<fs/devfs/devfs.h>`, `<sys/ioccom.h>`, and sys/fs/devfs/devfs_rule.c for what each call does.

use std::ffi::{c_int, c_ulong};
use std::ops::RangeInclusive;

/// `struct devfs_rule`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    magic: u32,
    /// The ruleset's number in the upper half, the rule's own in the lower one.
    id: u32,
    conditions: c_int,
    device_flags: c_int,
    pattern: [u8; 200],
    actions: c_int,
    switches: c_int,
    uid: u32,
    gid: u32,
    mode: u16,
    included: u16,
}

const MAGIC: u32 = 0xdb0a_087a;
const CONDITION_PATTERN: c_int = 0x2;
const ACTION_SWITCHES: c_int = 0x1;
const HIDE: c_int = 0x1;
const UNHIDE: c_int = 0x2;

/// The rulesets that may be ours: the first of them that is unused or ours. The build user's number, to be known by,
/// for those of /etc/defaults/devfs.rules and of administrators are small.
pub const RULESETS: RangeInclusive<u16> = 30001..=30016;

/// The number of the first rule in a ruleset of ours, and the distance to the next: devfs(8)'s.
const FIRST: u32 = 100;

impl Rule {
    /// No condition, no action: what the kernel is to fill in, or a start.
    const NOTHING: Self = Self {
        magic: MAGIC,
        id: 0,
        conditions: 0,
        device_flags: 0,
        pattern: [0; 200],
        actions: 0,
        switches: 0,
        uid: 0,
        gid: 0,
        mode: 0,
        included: 0,
    };

    /// Hides every node.
    pub fn hide_all() -> Self {
        Self {
            actions: ACTION_SWITCHES,
            switches: HIDE,
            ..Self::NOTHING
        }
    }

    /// Shows the nodes again whose paths in devfs match `pattern`, which is cut after 199 bytes: ours are short.
    pub fn show(pattern: &str) -> Self {
        let mut rule = Self {
            conditions: CONDITION_PATTERN,
            actions: ACTION_SWITCHES,
            switches: UNHIDE,
            ..Self::NOTHING
        };
        // With a zero after it.
        for (to, from) in rule.pattern[..199].iter_mut().zip(pattern.bytes()) {
            *to = from;
        }
        rule
    }

    /// The rules of `ruleset`, when it is ours: they hide every node but pseudo-terminals, of which the kernel shows a
    /// jail only those that it opened itself.
    pub fn all_in(ruleset: u16) -> [Self; 3] {
        let mut number = 0;
        [Self::hide_all(), Self::show("pts"), Self::show("pts/*")].map(|rule| {
            number += FIRST;
            Self {
                id: (u32::from(ruleset) << 16) | number,
                ..rule
            }
        })
    }

    /// A question for the first rule of `ruleset`, for [`NEXT_RULE`].
    pub fn before_all_in(ruleset: u16) -> Self {
        Self {
            id: u32::from(ruleset) << 16,
            ..Self::NOTHING
        }
    }
}

/// `_IOC` of `<sys/ioccom.h>`, in the group `D`.
const fn call(direction: c_ulong, number: c_ulong, size: usize) -> c_ulong {
    direction | ((size as c_ulong) << 16) | ((b'D' as c_ulong) << 8) | number
}

/// The kernel reads the argument.
const IN: c_ulong = 0x8000_0000;
/// The kernel reads the argument and writes it again.
const IN_AND_OUT: c_ulong = 0xc000_0000;

/// `DEVFSIO_RADD`: adds a [`Rule`] to the ruleset that its number names, which is made where there is none. `EEXIST`
/// where that has a rule of this number.
pub const ADD_RULE: c_ulong = call(IN_AND_OUT, 0, size_of::<Rule>());
/// `DEVFSIO_RAPPLY`: applies a [`Rule`] to the nodes of the descriptor's devfs, once.
pub const APPLY_RULE: c_ulong = call(IN, 2, size_of::<Rule>());
/// `DEVFSIO_RGETNEXT`: makes of a [`Rule`] the next one of its ruleset. `ENOENT` where there is none.
pub const NEXT_RULE: c_ulong = call(IN_AND_OUT, 4, size_of::<Rule>());
/// `DEVFSIO_SUSE`: has the descriptor's devfs use a ruleset, a `u16`, for the nodes that it adds from now on.
pub const USE_RULESET: c_ulong = call(IN, 10, size_of::<u16>());

// As C lays it out; the kernel looks at the size in a call's number.
const _: () = assert!(size_of::<Rule>() == 236);
const _: () = assert!(ADD_RULE == 0xc0ec_4400 && APPLY_RULE == 0x80ec_4402);
const _: () = assert!(NEXT_RULE == 0xc0ec_4404 && USE_RULESET == 0x8002_440a);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_laid_out_as_the_kernel_reads_it() {
        use std::mem::offset_of;

        assert_eq!(offset_of!(Rule, pattern), 16);
        assert_eq!(offset_of!(Rule, actions), 216);
        assert_eq!(offset_of!(Rule, mode), 232);
        assert_eq!(offset_of!(Rule, included), 234);
    }

    #[test]
    fn all_nodes_are_hidden_without_a_condition_and_shown_by_a_pattern() {
        let hide = Rule::hide_all();
        assert_eq!((hide.conditions, hide.switches, hide.id), (0, HIDE, 0));
        let show = Rule::show("fd/*");
        assert_eq!(
            (show.conditions, show.switches),
            (CONDITION_PATTERN, UNHIDE)
        );
        assert!(show.pattern.starts_with(b"fd/*\0"));
        let long = Rule::show(&"x".repeat(300));
        assert_eq!((long.pattern[198], long.pattern[199]), (b'x', 0));
    }

    #[test]
    fn our_rules_in_a_ruleset_are_numbered_from_a_hundred() {
        let rules = Rule::all_in(30001);
        assert_eq!(
            rules.map(|rule| rule.id),
            [0x7531_0064, 0x7531_00c8, 0x7531_012c]
        );
        let rule = rules[0];
        assert_eq!(Rule { id: 0, ..rule }, Rule::hide_all());
        assert_eq!(Rule { id: 0, ..rules[2] }, Rule::show("pts/*"));
        assert_eq!(Rule::before_all_in(30001).id, 0x7531_0000);
        // A set of this number with another use is not taken for ours.
        assert_ne!(
            Rule {
                mode: 0o666,
                ..rule
            },
            rule
        );
        assert!(!RULESETS.contains(&0), "none at all");
    }
}
