// SPDX-License-Identifier: GPL-3.0-or-later
//! The part of a log file in the build directory that explains a failure.
//!
//! `configure` prints one line and writes what the compiler said to `config.log`. Test suites print one line for a test
//! that failed, and write what the test said to a log: Automake's to one for each test, Autotest's to `testsuite.log`,
//! Meson's to `testlog.txt`, DejaGnu's to one for each tool. A build can put anything in its directory, so links are
//! not followed, and sizes and counts are bounded.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::output::printable;
use crate::formats::count::counted;
use crate::store::regular_file;

/// The most directory entries that are looked at. gcc's build directory has 100,000.
const ENTRIES_MAX: usize = 300_000;
/// The most bytes of a log that are read.
const LOG_MAX: u64 = 32 << 20;
/// The most logs of one kind that are read.
const LOGS_MAX: usize = 200;
/// How many lines are shown.
const LINES: usize = 24;
/// How many characters of a line are shown.
const LINE_MAX: usize = 400;

/// The lines to show below the output of a build that failed in `phase`, headed by the name of the file they are from;
/// empty where no log explains more. `cause` is the line of the output that looks most like the cause.
pub(super) fn excerpt(directory: &Path, phase: Option<&str>, cause: Option<&str>) -> Vec<String> {
    let configure = phase == Some("configure")
        || cause.is_some_and(|line| line.to_ascii_lowercase().contains("configure: error:"));
    let found = match (configure, cause.and_then(failed_test)) {
        (true, _) => of_configure(directory),
        (false, Some(test)) => of_test(directory, test).or_else(|| of_suites(directory, cause)),
        (false, None) if phase == Some("check") => of_suites(directory, cause),
        (false, None) => None,
    };
    let Some((file, lines)) = found.filter(|(_, lines)| !lines.is_empty()) else {
        return Vec::new();
    };
    let shown = file.strip_prefix(directory).unwrap_or(&file);
    let shown = printable(shown.as_os_str().as_encoded_bytes());
    let shorten = |line: String| line.chars().take(LINE_MAX).collect();
    std::iter::once(format!("from {shown}:"))
        .chain(lines)
        .map(shorten)
        .collect()
}

/// The name of the test in automake's ``FAIL: tests/big-file.sh``.
fn failed_test(line: &str) -> Option<&str> {
    let name = line
        .strip_prefix("FAIL: ")
        .or_else(|| line.strip_prefix("ERROR: "))?;
    name.split_whitespace().next()
}

/// From the newest `config.log` that holds an error: its last check and what that said.
fn of_configure(directory: &Path) -> Option<(PathBuf, Vec<String>)> {
    let mut logs = files(directory, &|path| path.ends_with("config.log"));
    logs.sort_by_key(|(_, modified)| *modified);
    logs.into_iter()
        .rev()
        .map(|(path, _)| path)
        .find_map(|path| {
            let lines = last_check(&read(&path)?)?;
            Some((path, lines))
        })
}

/// The lines of a `config.log` from the last check before the error to the error. The program that the check compiled
/// is left out.
fn last_check(text: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    // A first line that names the directory is followed by the error itself.
    let is_error = |line: &&str| says(line, "error: ") && !says(line, "error: in ");
    let error = lines.iter().position(is_error)?;
    let start = lines[..error]
        .iter()
        .rposition(|line| says(line, "checking "));
    let lines = lines[start.unwrap_or(error)..=error]
        .iter()
        .filter(|line| !line.starts_with("| ") && **line != "|");
    Some(shortened(&lines.copied().collect::<Vec<_>>()))
}

/// Whether `line` is `configure:NUMBER: ` and then `what`.
fn says(line: &str, what: &str) -> bool {
    let rest = line.split_once("configure:").map(|(_, rest)| rest);
    let rest = rest.and_then(|rest| rest.split_once(": "));
    rest.is_some_and(|(number, rest)| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with(what)
    })
}

/// The log of the test called `test`.
fn of_test(directory: &Path, test: &str) -> Option<(PathBuf, Vec<String>)> {
    let name = Path::new(test);
    // `foo.sh` has the log `foo.log` where automake knows the extension, else `foo.sh.log`.
    let names = [
        name.with_extension("log"),
        PathBuf::from(format!("{test}.log")),
    ];
    let logs = files(directory, &|path| {
        names.iter().any(|name| path.ends_with(name))
    });
    let (path, _) = logs.into_iter().max_by_key(|(_, modified)| *modified)?;
    let text = read(&path)?;
    let lines: Vec<&str> = text.lines().collect();
    let lines = shortened(&lines);
    Some((path, lines))
}

/// The first failed test in the log of a whole test suite. `cause` is the line of the output about it, where known.
fn of_suites(directory: &Path, cause: Option<&str>) -> Option<(PathBuf, Vec<String>)> {
    of_suite(directory, "test-suite.log", &automake_failure)
        .or_else(|| of_suite(directory, "testsuite.log", &autotest_failure))
        .or_else(|| of_suite(directory, "testlog.txt", &meson_failure))
        .or_else(|| {
            let cause = cause.filter(|cause| failed_test(cause).is_some())?;
            of_suite(directory, ".log", &|lines| logged(lines, cause))
        })
}

/// From the first log, by age, whose name ends in `name` and in which `failure` finds lines.
fn of_suite(
    directory: &Path,
    name: &str,
    failure: &dyn Fn(&[&str]) -> Option<Range<usize>>,
) -> Option<(PathBuf, Vec<String>)> {
    let is_log = |path: &Path| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.ends_with(name))
    };
    let mut logs = files(directory, &is_log);
    logs.sort_by_key(|(_, modified)| *modified);
    logs.truncate(LOGS_MAX);
    logs.into_iter().find_map(|(path, _)| {
        let text = read(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        let lines = shortened(&lines[failure(&lines)?]);
        Some((path, lines))
    })
}

/// The first `FAIL: NAME` that is underlined, to the next line that is.
fn automake_failure(lines: &[&str]) -> Option<Range<usize>> {
    let is_underlined = |at: &usize| {
        lines
            .get(at + 1)
            .is_some_and(|next| next.starts_with("==="))
    };
    let start = (0..lines.len())
        .filter(|at| failed_test(lines[*at]).is_some())
        .find(is_underlined)?;
    let end = (start + 1..lines.len()).find(is_underlined);
    Some(start..end.unwrap_or(lines.len()))
}

/// From the first `N. FILE:LINE: testing NAME ...` whose test failed to `N. NAME (FILE:LINE): FAILED (FILE:LINE)`.
fn autotest_failure(lines: &[&str]) -> Option<Range<usize>> {
    let end = lines.iter().position(|line| line.contains("): FAILED ("))?;
    let number = lines[end].split_once('.')?.0;
    let head = format!("{number}. ");
    let is_start = |line: &&str| line.starts_with(&head) && line.contains(": testing ");
    let start = lines[..end].iter().rposition(is_start)?;
    Some(start..end + 1)
}

/// The first test, between lines of `=====`, whose result is neither success nor being left out.
fn meson_failure(lines: &[&str]) -> Option<Range<usize>> {
    let is_failure = |line: &&str| {
        line.strip_prefix("result:").is_some_and(|result| {
            let result = result.trim();
            !result.starts_with("exit status 0") && !result.contains("SKIP")
        })
    };
    let is_border = |line: &&str| line.starts_with("=====");
    let result = lines.iter().position(is_failure)?;
    let start = lines[..result].iter().rposition(is_border);
    let end = lines[result..].iter().position(is_border);
    Some(start.map_or(0, |at| at + 1)..end.map_or(lines.len(), |at| result + at))
}

/// The line `cause`, as DejaGnu logs it, and what is before it.
fn logged(lines: &[&str], cause: &str) -> Option<Range<usize>> {
    let at = lines.iter().position(|line| line.trim() == cause)?;
    Some(at.saturating_sub(LINES - 1)..at + 1)
}

/// `lines` as they can be shown: of many, the first few and the last.
fn shortened(lines: &[&str]) -> Vec<String> {
    let shown = |lines: &[&str]| -> Vec<String> {
        lines
            .iter()
            .map(|line| printable(line.as_bytes()))
            .collect()
    };
    if lines.len() <= LINES {
        return shown(lines);
    }
    let head = LINES / 4;
    let tail = LINES - head - 1;
    let mut text = shown(&lines[..head]);
    let left_out = counted(lines.len() - head - tail, "line");
    text.push(format!("[{left_out} left out]"));
    text.extend(shown(&lines[lines.len() - tail..]));
    text
}

fn read(path: &Path) -> Option<String> {
    let bytes = regular_file::read(path, LOG_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The regular files below `directory` that are `wanted`, with the time of their last change. Links are not followed.
fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<(PathBuf, Option<SystemTime>)> {
    let mut found = Vec::new();
    let mut left = ENTRIES_MAX;
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries {
            if left == 0 {
                return found;
            }
            left -= 1;
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && wanted(&entry.path()) {
                let modified = entry.metadata().and_then(|found| found.modified());
                found.push((entry.path(), modified.ok()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const CONFIG_LOG: &str = "configure:100: checking for gcc\nconfigure:101: result: gcc\n\
        configure:200: checking whether the C compiler works\nconfigure:201: gcc conftest.c\n\
        ld: cannot find -lgmp\nconfigure:202: $? = 1\nconfigure: failed program was:\n| int main (void)\n| {\n|\n\
        configure:203: error: C compiler cannot create executables\nSee `config.log' for more details\n\n\
        ## ---------------- ##\n## Cache variables. ##\n";

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn configure_is_explained_by_its_last_check() {
        let directory = place(&[
            ("a-1.0/config.log", CONFIG_LOG),
            // Configured well, and later.
            ("a-1.0/sub/config.log", "configure:1: checking for x\n"),
        ]);
        let expected = [
            "from a-1.0/config.log:",
            "configure:200: checking whether the C compiler works",
            "configure:201: gcc conftest.c",
            "ld: cannot find -lgmp",
            "configure:202: $? = 1",
            "configure: failed program was:",
            "configure:203: error: C compiler cannot create executables",
        ];
        assert_eq!(excerpt(directory.path(), Some("configure"), None), expected);
        // gcc configures its libraries while it is built.
        let cause = Some("checking for GMP... configure: error: none");
        assert_eq!(excerpt(directory.path(), Some("build"), cause), expected);
        assert!(excerpt(directory.path(), Some("build"), Some("x.c: error: y")).is_empty());
    }

    #[test]
    fn the_first_failed_test_is_shown() {
        let suite = "summary\n=======\n\nPASS: one\n=========\nfine\nFAIL: two.sh\n============\n\nexpected 1\nFAIL: three\n\
            ===========\nno\n";
        let directory = place(&[
            ("a/tests/test-suite.log", suite),
            ("a/tests/big.log", "+ sort\nout of memory\n"),
            ("a/tests/odd.sh.log", "odd\n"),
        ]);
        let shown = |cause| excerpt(directory.path(), Some("check"), cause);
        for (cause, expected) in [
            (
                Some("FAIL: tests/big.sh"),
                &["from a/tests/big.log:", "+ sort", "out of memory"][..],
            ),
            (
                Some("FAIL: odd.sh (exit status: 1)"),
                &["from a/tests/odd.sh.log:", "odd"],
            ),
            (
                None,
                &[
                    "from a/tests/test-suite.log:",
                    "FAIL: two.sh",
                    "============",
                    "",
                    "expected 1",
                ],
            ),
        ] {
            assert_eq!(shown(cause), expected, "{cause:?}");
        }
        assert_eq!(shown(Some("FAIL: gone"))[1], "FAIL: two.sh");
    }

    #[test]
    fn test_suites_of_all_kinds_are_read() {
        let autotest = "1. a.at:3: testing one ...\n1. one (a.at:3): ok\n2. a.at:9: testing two ...\n./a.at:10: x\n\
            ./a.at:10: exit code was 1, expected 0\n2. two (a.at:9): FAILED (a.at:10)\n";
        let meson = "Log of Meson test suite\n===== 1/2 =====\ntest: one\nresult: exit status 0\n=====\n\n===== 2/2 =====\n\
            test: two\nresult: exit status 1\n--- stderr ---\noh\n=====\n\nSummary\n";
        let dejagnu =
            "PASS: x.c\nspawn gcc y.c\ny.c: bad\nFAIL: y.c (test for excess errors)\nPASS: z.c\n";
        for (file, text, cause, expected) in [
            (
                "a/testsuite.log",
                autotest,
                Some("2: two    FAILED (a.at:10)"),
                &[
                    "2. a.at:9: testing two ...",
                    "./a.at:10: x",
                    "./a.at:10: exit code was 1, expected 0",
                    "2. two (a.at:9): FAILED (a.at:10)",
                ][..],
            ),
            (
                "b/meson-logs/testlog.txt",
                meson,
                None,
                &["test: two", "result: exit status 1", "--- stderr ---", "oh"],
            ),
            (
                "gcc/testsuite/gcc.log",
                dejagnu,
                Some("FAIL: y.c (test for excess errors)"),
                &[
                    "PASS: x.c",
                    "spawn gcc y.c",
                    "y.c: bad",
                    "FAIL: y.c (test for excess errors)",
                ],
            ),
        ] {
            let directory = place(&[(file, text)]);
            let shown = excerpt(directory.path(), Some("check"), cause);
            assert_eq!(shown[0], format!("from {file}:"));
            assert_eq!(shown[1..], *expected, "{file}");
        }
    }

    #[test]
    fn configure_may_name_its_directory_first() {
        let text = "configure:1: checking for cc\nconfigure:2: error: in `/x':\nconfigure:3: error: no cc\n";
        let directory = place(&[("config.log", text)]);
        let lines = excerpt(directory.path(), Some("configure"), None);
        assert_eq!(lines.last().unwrap(), "configure:3: error: no cc");
        assert_eq!(lines[1], "configure:1: checking for cc");
    }

    #[test]
    fn what_a_build_left_there_neither_leads_out_nor_floods() {
        let outside = place(&[("config.log", CONFIG_LOG), ("sub/config.log", CONFIG_LOG)]);
        let directory = place(&[]);
        symlink(
            outside.path().join("config.log"),
            directory.path().join("config.log"),
        )
        .unwrap();
        symlink(outside.path().join("sub"), directory.path().join("sub")).unwrap();
        assert!(excerpt(directory.path(), Some("configure"), None).is_empty());
        let noise = format!("\u{1b}[2J{}\n", "x".repeat(10_000)).repeat(1000);
        let text = format!("configure:1: checking x\n{noise}configure:2: error: y\n");
        let directory = place(&[("config.log", &text)]);
        let lines = excerpt(directory.path(), Some("configure"), None);
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[7], "[979 lines left out]");
        assert_eq!(lines[LINES], "configure:2: error: y");
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= LINE_MAX && !line.contains('\u{1b}'))
        );
    }
}
