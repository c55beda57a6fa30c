// SPDX-License-Identifier: GPL-3.0-or-later
//! Which user number a build has. A jail has no numbers of its own: a program of the machine can kill a jailed process
//! of the same user.

use crate::sandbox::BuildUser;

/// The file that lists the machine's accounts.
#[cfg(target_os = "freebsd")]
pub(super) const ACCOUNTS: &str = "/etc/passwd";

/// `user` with the first number from its own on that no account in `accounts`, the text of a passwd(5) file, has.
///
/// Nix kills all processes of its build users, the first of which is 30001 too, before and after each build.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code))]
pub(super) fn without_account(user: &BuildUser, accounts: &str) -> BuildUser {
    let taken: Vec<u32> = accounts
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    let free = |first: u32| {
        (first..=u32::MAX - 1)
            .find(|number| !taken.contains(number))
            .unwrap_or(first)
    };
    BuildUser {
        uid: free(user.uid),
        gid: user.gid,
        name: user.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_an_account_has_is_left_to_it() {
        let user = BuildUser::default();
        let uid = |accounts: &str| without_account(&user, accounts).uid;
        assert_eq!(uid(""), 30001);
        assert_eq!(uid("root:*:0:0:Charlie &:/root:/bin/sh\n"), 30001);
        assert_eq!(
            uid(
                "nixbld1:*:30001:30000::/var/empty:/usr/sbin/nologin\nnixbld2:*:30002:30000::/:/x\n"
            ),
            30003
        );
        assert_eq!(uid("# 30001\n:::\nodd:*:x:0\nlast:*:30001"), 30002);
        assert_eq!(without_account(&user, "").gid, 30000);
    }
}
