// SPDX-License-Identifier: GPL-3.0-or-later
//! What is varied when a build is made again: each round something else of everything that must not matter.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::builder::variation::Variation;
use crate::sandbox::BuildUser;

const UMASKS: [u32; 3] = [0o077, 0o002, 0o027];
const HOST_NAMES: [&str; 3] = ["elsewhere", "build-9.example.org", "x"];
const USERS: [&str; 3] = ["somebody", "guixbuilder", "u"];
/// POSIX spellings, which need no data base: east and west of Greenwich, one with a half hour.
const TIME_ZONES: [&str; 3] = ["UTC-9", "UTC+11", "XYZ-5:30"];
/// For builders that set none, as the phases do. The first comes with every base system; the others are not installed
/// there, but may be named.
const LOCALES: [&str; 3] = ["C.UTF-8", "ja_JP.UTF-8", "tr_TR.UTF-8"];

/// What is different in round `round`, counted from 0, on a machine with `processors` processors where builds may
/// use `cores`. `directory` is a place for build directories on another file system, where there is one.
///
/// The first build's user has number 30001; those here follow on it.
pub fn variation(
    round: usize,
    cores: NonZeroUsize,
    processors: usize,
    directory: Option<PathBuf>,
) -> Variation {
    let pick = |from: [&str; 3]| Some(from[round % from.len()].to_owned());
    let number = BuildUser::default().uid + 1 + (round % 8) as u32;
    Variation {
        // More jobs than before, so that they end in another order.
        cores: cores.checked_add(1 + round % 3),
        processors: (processors > 1).then(|| processors - 1 - round % (processors - 1)),
        umask: Some(UMASKS[round % UMASKS.len()]),
        host_name: pick(HOST_NAMES),
        user: Some(BuildUser {
            uid: number,
            gid: number,
            name: USERS[round % USERS.len()].to_owned(),
        }),
        time_zone: pick(TIME_ZONES),
        locale: pick(LOCALES),
        directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_differs_from_the_first_build_and_from_the_round_before() {
        let two = NonZeroUsize::new(2).unwrap();
        let rounds: Vec<Variation> = (0..4).map(|round| variation(round, two, 4, None)).collect();
        for (round, varied) in rounds.iter().enumerate() {
            assert_ne!(varied.cores, Some(two));
            assert_ne!(varied.user.as_ref().unwrap(), &BuildUser::default());
            assert!((1..4).contains(&varied.processors.unwrap()), "{round}");
            assert!(varied.describe().len() >= 7);
        }
        assert!(rounds.windows(2).all(|pair| pair[0] != pair[1]));
        // There is nothing to take away from one processor.
        assert_eq!(variation(0, two, 1, None).processors, None);
    }
}
