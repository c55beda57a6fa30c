// SPDX-License-Identifier: GPL-3.0-or-later
//! Refuses worlds that contradict themselves, whatever the backend: what the layout does not look at.

use bstr::{BString, ByteSlice};

use super::{SandboxError, World};
use crate::process_messages::MOST_DESCRIPTORS;

/// Whether the program, its user, environment and descriptors make sense.
///
/// # Errors
/// [`SandboxError::BadWorld`] with what is wrong.
pub(super) fn sensible(world: &World) -> Result<(), SandboxError> {
    let bad = |problem: String| Err(SandboxError::BadWorld(problem));
    let user = &world.user;
    if user.uid == 0 || user.gid == 0 {
        return bad(format!("the build user `{}` is root", user.name));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if user.name.is_empty() || !user.name.chars().all(is_plain) {
        return bad(format!("`{}` is not a user name", user.name));
    }
    if world.host_name.is_empty() || world.host_name.len() > 64 {
        return bad(format!("`{}` is not a host name", world.host_name));
    }
    if !world.program.starts_with(b"/") {
        return bad(format!("`{}` is not an absolute path", world.program));
    }
    let has_zero = |string: &BString| string.contains(&0);
    for (name, value) in &world.environment {
        if name.is_empty() || name.contains_str("=") || has_zero(name) || has_zero(value) {
            return bad(format!("environment variable `{name}` cannot be passed on"));
        }
    }
    let mut strings = world.arguments.iter().chain([&world.program]);
    if let Some(string) = strings.find(|string| has_zero(string)) {
        return bad(format!(
            "`{}` holds a zero byte",
            string.replace("\0", "\\0").as_bstr()
        ));
    }
    let mut numbers: Vec<_> = world
        .descriptors
        .iter()
        .map(|&(_, number)| number)
        .collect();
    numbers.sort_unstable();
    if numbers.first().is_some_and(|&first| first < 3) {
        return bad("descriptors 0, 1 and 2 are the standard streams".to_owned());
    }
    if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("two descriptors have the same number".to_owned());
    }
    // One place is for an interactive program's standard input.
    if numbers.len() >= MOST_DESCRIPTORS {
        return bad(format!("{} descriptors are too many", numbers.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::sandbox::{BuildDirectory, BuildUser, GuestRoot, ResourceLimits};

    fn world() -> World {
        World {
            root: GuestRoot::Empty,
            mounts: vec![],
            store_dir: "/gnu/store".into(),
            store_writable: "/".into(),
            build_directory: BuildDirectory {
                host: "/".into(),
                guest: "/tmp/x".into(),
            },
            host_name: "localhost".into(),
            user: BuildUser::default(),
            limits: ResourceLimits::default(),
            program: "/bin/sh".into(),
            arguments: vec![],
            environment: Default::default(),
            descriptors: vec![],
            output: null(),
            network: false,
            processes: false,
            thirty_two_bit: false,
            interactive: false,
        }
    }

    fn null() -> OwnedFd {
        fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_world_that_makes_no_sense_is_refused_with_what_is_wrong() {
        sensible(&world()).unwrap();
        let variable = |name: &str, value: &str| [(name.into(), value.into())].into();
        type Change = Box<dyn Fn(&mut World)>;
        let changes: [(Change, &str); 10] = [
            (Box::new(|world| world.user.uid = 0), "root"),
            (Box::new(|world| world.user.name = "a:b".into()), "`a:b`"),
            (
                Box::new(|world| world.host_name = "x".repeat(65)),
                "host name",
            ),
            (Box::new(|world| world.program = "sh".into()), "`sh`"),
            (Box::new(|world| world.program = "/a\0".into()), "`/a\\0`"),
            (
                Box::new(|world| world.arguments = vec!["b\0".into()]),
                "`b\\0`",
            ),
            (
                Box::new(move |world| world.environment = variable("A=B", "")),
                "`A=B`",
            ),
            (
                Box::new(move |world| world.environment = variable("A", "\0")),
                "`A`",
            ),
            (
                Box::new(|world| world.descriptors = vec![(null(), 2)]),
                "standard streams",
            ),
            (
                Box::new(|world| world.descriptors = vec![(null(), 5), (null(), 5)]),
                "same number",
            ),
        ];
        for (change, complaint) in changes {
            let mut world = world();
            change(&mut world);
            let error = sensible(&world).unwrap_err();
            assert!(!error.is_environment());
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }
}
