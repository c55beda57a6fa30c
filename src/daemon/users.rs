// SPDX-License-Identifier: GPL-3.0-or-later
//! Users and groups by name and number.
//!
//! The system's own look-up (`getpwnam`) is not safe to call with other threads and loads plugins into this process. So
//! the files are read, and what is not there is asked of `getent`, which knows the other sources.

use crate::{limited_file, limited_output};
use std::process::{Command, Stdio};

/// A user's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) group: u32,
}

/// The user whose name or number is `key`.
pub(super) fn user(key: &str) -> Option<User> {
    parse_user(&look_up("passwd", key)?)
}

/// The user with `number` in the machine's own file, which is read at once: no other source is waited for.
pub(super) fn local_user(number: u32) -> Option<User> {
    parse_user(&in_file("passwd", &number.to_string())?)
}

fn parse_user(text: &str) -> Option<User> {
    let mut fields = text.split(':');
    let name = fields.next()?.to_owned();
    let number = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(User {
        name,
        number,
        group,
    })
}

/// The number of the group called `name`, and the names of its members.
pub(super) fn group(name: &str) -> Option<(u32, Vec<String>)> {
    let text = look_up("group", name)?;
    let mut fields = text.split(':');
    let number = fields.nth(2)?.parse().ok()?;
    let members = fields.next().unwrap_or_default();
    let members = members.trim().split(',').filter(|name| !name.is_empty());
    Some((number, members.map(str::to_owned).collect()))
}

/// The line of `database` whose first or third field is `key`.
fn look_up(database: &str, key: &str) -> Option<String> {
    if key.is_empty() || key.contains([':', '\n', '\0']) || key.starts_with('-') {
        return None;
    }
    if let Some(line) = in_file(database, key) {
        return Some(line);
    }
    let mut getent = Command::new("getent");
    getent.args([database, key]).stdin(Stdio::null());
    let output = limited_output::output(&mut getent, limited_output::LINES).ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next()?.to_owned())
}

/// As [`look_up`], in the machine's own file alone.
fn in_file(database: &str, key: &str) -> Option<String> {
    let file = format!("/etc/{database}");
    let file =
        limited_file::read_regular(file.as_ref(), limited_file::DOCUMENT).unwrap_or_default();
    let file = String::from_utf8_lossy(&file);
    let is_it = |line: &&str| {
        let mut fields = line.split(':');
        fields.next() == Some(key) || fields.nth(1) == Some(key)
    };
    file.lines().find(is_it).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = user("root").unwrap();
        assert_eq!((root.number, root.group), (0, 0));
        assert_eq!(user("0"), Some(root));
        assert_eq!(user("no-such-user-as-this"), None);
        for hostile in ["", "root:x", "-s", "a\nb"] {
            assert_eq!(user(hostile), None);
        }
    }
}
