// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads Rust code as far as the rules need it: the imports, and the lines without comments and tests.

use std::collections::BTreeSet;

use crate::Names;

/// The module of the file `path` under `src`.
pub fn module_of(path: &str) -> Names {
    let path = path.trim_end_matches(".rs");
    let mut names: Names = path.split('/').map(ToOwned::to_owned).collect();
    if names
        .last()
        .is_some_and(|name| name == "mod" || name == "lib")
    {
        names.pop();
    }
    names
}

/// `text` without the tests at its end.
fn without_tests(text: &str) -> &str {
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => &text[..tests],
        None => text,
    }
}

/// `text` without comments, the contents of strings, and the tests at its end.
pub fn code_of(text: &str) -> String {
    let text = without_tests(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_length(rest),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            // A quote as a character is not the start of a string.
            '\'' if rest.starts_with("'\"'") => 3,
            '\'' if rest.starts_with("'\\\"'") => 4,
            _ => 0,
        };
        match skipped {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
            length => rest = &rest[length..],
        }
    }
    code
}

/// How long the string is that `text` starts with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// The paths of all statements that start with `keyword`, groups spelled out.
pub fn used(code: &str, keyword: &str) -> Vec<Names> {
    let mut paths = Vec::new();
    for (place, _) in code.match_indices(keyword) {
        let before = code[..place].chars().next_back();
        let after = code[place + keyword.len()..].chars().next();
        let is_word =
            |other: Option<char>| other.is_some_and(|one| one.is_alphanumeric() || one == '_');
        if is_word(before) || !after.is_some_and(char::is_whitespace) {
            continue;
        }
        let statement = &code[place + keyword.len()..];
        let statement = statement.split(';').next().unwrap_or_default();
        spell_out(&[], statement, &mut paths);
    }
    paths
}

/// Adds the paths of `text`, such as `a::{b, c::d}`, to `paths`.
fn spell_out(prefix: &[String], text: &str, paths: &mut Vec<Names>) {
    let text = text.trim();
    let (head, group) = match text.split_once('{') {
        Some((head, group)) => (
            head,
            Some(group.rsplit_once('}').map_or(group, |(inner, _)| inner)),
        ),
        None => (text.split(" as ").next().unwrap_or_default(), None),
    };
    let names = head
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let mut path = prefix.to_vec();
    path.extend(names.map(ToOwned::to_owned));
    let Some(group) = group else {
        if path.last().is_some_and(|name| name == "self") {
            path.pop();
        }
        if !path.is_empty() {
            paths.push(path);
        }
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (place, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spell_out(&path, &group[start..place], paths);
                start = place + 1;
            }
            _ => {}
        }
    }
    if !group[start..].trim().is_empty() {
        spell_out(&path, &group[start..], paths);
    }
}

/// The paths in `code` that begin with `crate::` or `super::`.
pub fn named(code: &str) -> Vec<Names> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (place, _) in code.match_indices(start) {
            // `super::super::x` is found at its first word.
            if code[..place].ends_with(|one: char| one.is_alphanumeric() || "_:$".contains(one)) {
                continue;
            }
            let path: String = code[place..]
                .chars()
                .take_while(|one| one.is_alphanumeric() || "_:".contains(*one))
                .collect();
            // A group, which is spelled out elsewhere.
            if !path.ends_with("::") {
                paths.push(path.split("::").map(ToOwned::to_owned).collect());
            }
        }
    }
    paths
}

/// The functions that `code` calls, or passes on, of the type `name`: variants and constants have other initials.
pub fn functions_of(code: &str, name: &str) -> BTreeSet<String> {
    let start = format!("{name}::");
    let places = code.match_indices(&start).map(|(place, _)| place);
    let whole = places
        .filter(|&place| !code[..place].ends_with(|one: char| one.is_alphanumeric() || one == '_'));
    let functions = whole.map(|place| {
        let rest = code[place + start.len()..].chars();
        rest.take_while(|one| one.is_alphanumeric() || *one == '_')
            .collect::<String>()
    });
    functions
        .filter(|function| function.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect()
}

/// `path`, which `module` uses, from the root of the crate; `None` for what is not of the crate.
pub fn absolute(module: &Names, path: Names) -> Option<Names> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            let above = &module[..module.len().checked_sub(ups)?];
            Some([above, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// The lines of code of `text`: those that are not blank, a comment, or in the tests at its end.
pub fn lines_of_code(text: &str) -> usize {
    let lines = without_tests(text).lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}
