// SPDX-License-Identifier: GPL-3.0-or-later
//! Output on wide and narrow terminals, with and without colours.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::pseudo_terminal::terminal;
use crate::server::serve_with;
use crate::{World, bootstrap};

impl World {
    /// All sources come from a slow server that has none of them.
    fn with_slow_server() -> Self {
        let world = Self::with_recipes();
        let directory = world.path("served");
        std::fs::create_dir(&directory).unwrap();
        let url = serve_with(&directory, "", |_| {
            std::thread::sleep(Duration::from_millis(300));
        });
        world.replace("https://127.0.0.1:9", &url);
        world
    }

    /// The output of a failing fetch on a terminal of this width.
    fn shown(&self, columns: u16, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let (mut ours, theirs) = terminal(columns);
        let mut command = self.command("small-linux");
        command
            .args(arguments)
            .args(["--keep-going", "fetch", "tool"]);
        // Servers by hash are slow to say that they have no such file.
        command
            .env("BOOTSTRAP_MIRRORS", "debian=none by-hash=none")
            .env("TERM", "xterm")
            .envs(variables.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(theirs);
        let mut child = command.spawn().unwrap();
        // It holds the program's end of the terminal, too.
        drop(command);
        let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
        // Linux reports an error after the other end is closed.
        while let Ok(count @ 1..) = ours.read(&mut buffer) {
            shown.extend(&buffer[..count]);
        }
        assert_eq!(child.wait().unwrap().code(), Some(4));
        String::from_utf8(shown).unwrap()
    }
}

/// The screen after `shown` on a terminal of this width, which wraps long lines.
fn screen(shown: &str, columns: usize) -> String {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut characters = shown.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(characters.next(), Some('['));
                let mut number = String::new();
                let end = characters.find(|character| {
                    let is_end = ('@'..='~').contains(character);
                    number.extend((!is_end).then_some(*character));
                    is_end
                });
                let count = number.parse().unwrap_or(1);
                column = column.min(columns - 1);
                match end.unwrap() {
                    'A' => row -= count,
                    'B' => row += count,
                    'K' => rows[row].clear(),
                    'm' => {}
                    other => panic!("{number}{other}: {shown:?}"),
                }
            }
            _ => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                rows.resize(rows.len().max(row + 1), Vec::new());
                let filled = rows[row].len().max(column + 1);
                rows[row].resize(filled, ' ');
                rows[row][column] = character;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    let lines = rows.iter().map(|row| row.iter().collect::<String>());
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Whether an escape sequence sets a colour, bold or dim.
fn has_colors(shown: &str) -> bool {
    shown.split("\x1b[").skip(1).any(|after| {
        let end = after.find(|character: char| !character.is_ascii_digit() && character != ';');
        // `0m` and `m` reset colours.
        end.is_some_and(|end| after[end..].starts_with('m') && !["", "0"].contains(&&after[..end]))
    })
}

#[test]
fn colours_are_distinguished_from_other_sequences() {
    assert!(has_colors("\x1b[1;31mfailed\x1b[0m"));
    assert!(!has_colors("\x1b[2K\x1b[1A\x1b[0m\x1b[m3m"));
}

#[test]
fn a_bar_that_is_too_long_would_leave_something_behind() {
    let drawn = |bar: &str| format!("{bar}\r\x1b[2Kdone\r\n");
    assert_eq!(screen(&drawn("12345678"), 8), "done\n");
    assert_eq!(screen(&drawn("123456789"), 8), "12345678\ndone\n");
    assert_eq!(screen("\x1b[1ma\x1b[0m\nb\x1b[1A\rc", 8), "c\n b");
}

#[test]
fn bars_fit_terminals_narrow_and_wide() {
    let world = World::with_slow_server();
    for columns in [20, 40, 100, 400] {
        let shown = world.shown(columns, &[], &[]);
        // All that fits into twenty columns.
        assert!(shown.contains("0 buildin"), "{shown:?}");
        let left = screen(&shown, usize::from(columns));
        assert!(!left.contains("0 buildin"), "{left}\n{shown:?}");
        // A message may wrap anywhere.
        let message: String = left.split_whitespace().collect();
        // Of those that fail alike the first is described, whichever that is.
        assert!(
            message.contains(".gz:failed:cannotfetch")
                || message.contains(".txz:failed:cannotfetch"),
            "{left}"
        );
    }
}

#[test]
fn no_color_is_obeyed_and_the_option_overrides_it() {
    let world = World::with_slow_server();
    let shown = world.shown(80, &[], &[]);
    assert!(has_colors(&shown), "{shown:?}");
    let shown = world.shown(80, &[("NO_COLOR", "1")], &[]);
    assert!(!has_colors(&shown), "{shown:?}");
    // Bars work without colours.
    assert!(shown.contains("\x1b["), "{shown:?}");
    let shown = world.shown(80, &[("NO_COLOR", "1")], &["--color", "always"]);
    assert!(has_colors(&shown), "{shown:?}");
    let shown = world.shown(80, &[], &["--color", "never"]);
    assert!(!has_colors(&shown), "{shown:?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let world = World::with_slow_server();
    let shown = world.shown(80, &[("TERM", "dumb")], &[]);
    assert!(!shown.contains('\x1b'), "{shown:?}");
    // Of five that fail alike the last is counted only.
    assert!(shown.contains(": failed: cannot fetch "), "{shown:?}");
    let shown = world.shown(80, &[], &["--progress", "plain", "--color", "never"]);
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn pipes_and_logs_get_colours_only_on_request() {
    let world = World::with_recipes();
    let (_, err) = world.expect(4, &["--offline", "fetch", "tool"]);
    assert!(!err.contains('\x1b'), "{err:?}");
    let (_, err) = world.expect(4, &["--offline", "--color", "always", "fetch", "tool"]);
    assert!(has_colors(&err), "{err:?}");
}

#[test]
fn a_closed_reader_does_not_change_the_exit_status() {
    let world = World::with_recipes();
    for (status, arguments) in [
        (4, &["--offline", "fetch", "tool"][..]),
        (4, &["--offline", "--progress", "json", "fetch", "tool"]),
        (
            4,
            &["--offline", "-v", "--color", "always", "fetch", "tool"],
        ),
        (2, &["show", "nobody"]),
        (2, &["--no-such-option"]),
        (0, &["report", "-o", "-"]),
        (0, &["graph"]),
        (0, &["--help"]),
    ] {
        let mut command = world.command("small-linux");
        command.args(arguments).stdin(Stdio::null());
        let unread = || std::io::pipe().unwrap().1;
        command.stdout(unread()).stderr(unread());
        let ended = command.status().unwrap();
        assert_eq!(ended.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn escape_sequences_in_names_never_reach_the_terminal() {
    let world = World::with_recipes();
    for name in ["a\x1b[2Jb", "a\x1b]0;title\x07b", "a\u{202e}b\u{9b}2J"] {
        let output = bootstrap()
            .args(["--color", "always", "list", "--recipes"])
            .arg(world.path(name))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        for shown in [&out, &err] {
            let foreign = |one: char| one.is_control() && !['\n', '\x1b'].contains(&one);
            assert!(!shown.contains(foreign), "{shown:?}");
            assert!(
                !shown.contains("\x1b[2J") && !shown.contains("\x1b]"),
                "{shown:?}"
            );
            assert!(!shown.contains('\u{202e}'), "{shown:?}");
        }
        assert!(err.contains("a\\u{"), "{err:?}");
    }
}

/// Colours and line breaks too: the one can hide text, the other makes lines that look like ours.
#[test]
fn errors_show_foreign_names_on_one_line_and_without_their_colours() {
    let world = World::with_recipes();
    let odd = "a\x1b[8m\nfailed: b";
    let seeds = world.path(odd);
    std::fs::create_dir_all(&seeds).unwrap();
    std::fs::write(
        seeds.join("one.toml"),
        "\x1b[31m = 1\nname = \"\x1b[32m\"\n",
    )
    .unwrap();
    let other = world.path("seeds-of-another-name");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(
        other.join("two.toml"),
        "name = \"o\\u001b[31m\\nfailed: b\"\n",
    )
    .unwrap();
    let missing = world.path("nowhere").join(odd);
    let under_a_file = world.path("file").join(odd);
    std::fs::write(world.path("file"), "").unwrap();
    let arguments = |option: &str, path: &std::path::Path, rest: &[&str]| {
        let mut all = vec![std::ffi::OsString::from("--color"), "never".into()];
        all.extend([option.into(), path.into()]);
        all.extend(rest.iter().map(std::ffi::OsString::from));
        all
    };
    for arguments in [
        arguments("--recipes", &missing, &["list"]),
        arguments("--seeds", &seeds, &["seed", "list"]),
        arguments("--seeds", &other, &["seed", "list"]),
        arguments("--root", &under_a_file, &["gc"]),
        arguments("--root", &under_a_file, &["build", "hello"]),
        arguments("--root", &under_a_file, &["verify", "--lock", "nowhere"]),
        arguments(
            "--root",
            &world.path("root"),
            &["import", missing.to_str().unwrap()],
        ),
        arguments(
            "--root",
            &world.path("root"),
            &["key", "x-1", under_a_file.to_str().unwrap()],
        ),
        arguments(
            "--root",
            &world.path("root"),
            &["report", "-o", missing.to_str().unwrap()],
        ),
        arguments(
            "--root",
            &world.path("root"),
            &["verify", "--compare", missing.to_str().unwrap()],
        ),
    ] {
        let output = bootstrap().args(&arguments).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!err.contains('\x1b'), "{arguments:?}: {err:?}");
        let fakes = |line: &str| line.starts_with("failed: b");
        assert!(!err.lines().any(fakes), "{arguments:?}: {err}");
    }
}
