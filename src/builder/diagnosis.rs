// SPDX-License-Identifier: GPL-3.0-or-later
//! Which line of a failed build's output says what went wrong.
//!
//! The end of a log is mostly make saying that it stops, and between the error and the end there is all that other jobs
//! still print and a test suite counts. So every line is looked at as it comes, and the most telling one is kept: one
//! in which a compiler, a linker, a script or a test says what is wrong. This is a guess for the reader, and said to be
//! one.

/// The least weight of what stops a build by itself: what comes after it is mostly its consequence, so that the first
/// such line counts. Weaker ones also come from commands whose failure does not matter, and the build went on after all
/// of them but the last: there the last counts.
const STOPS: u8 = 4;
/// What says not only what is wrong, but also that this was the end.
const FINAL: u8 = 5;

/// What names an error, in lower case, with how well: a message from a compiler about a place in a file says more
/// than the word `error`, and that something is not there is said by many a script that goes on without it.
const SIGNS: &[(&str, u8)] = &[
    ("internal compiler error", FINAL),
    ("no space left on device", STOPS),
    (": error:", STOPS),
    ("fatal error:", STOPS),
    ("undefined reference to", STOPS),
    ("undefined symbol", STOPS),
    ("multiple definition of", STOPS),
    ("cannot find -l", STOPS),
    ("syntax error near", STOPS),
    ("syntax error:", STOPS),
    ("assertion failed:", STOPS),
    ("*** no rule to make target", STOPS),
    ("don't know how to make", STOPS),
    ("error:", 3),
    ("fail:", 3),
    ("segmentation fault", 3),
    ("command not found", 3),
    (": not found", 2),
    ("permission denied", 2),
    ("no such file or directory", 1),
];

/// Lines that start so report no error, whatever they name: checks that look for something, tests that went as they
/// should, commands that are shown before they run.
const HARMLESS_STARTS: &[&str] = &[
    "checking ",
    "pass:",
    "xfail:",
    "skip:",
    "ok ",
    "ok: ",
    "+",
    "echo ",
    "libtool: compile:",
    "libtool: link:",
];

/// Lines that hold these report no error: a compiler's warnings, and make on its way out.
const HARMLESS: &[&str] = &["warning:", "*** ["];

/// The line that most looks like the cause of a failure, among those read so far.
#[derive(Debug, Default)]
pub struct Suspect(Option<(u8, String)>);

impl Suspect {
    /// Looks at the next line.
    pub fn read(&mut self, line: &str) {
        let line = line.trim();
        let weight = weight(line);
        let kept = self.0.as_ref().map_or(0, |(kept, _)| *kept);
        if weight > kept || (weight == kept && weight > 0 && weight < STOPS) {
            self.0 = Some((weight, line.to_owned()));
        }
    }

    /// The line; `None` where none names an error.
    pub fn line(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, line)| line.as_str())
    }
}

/// How well `line` names an error; 0 is not at all.
fn weight(line: &str) -> u8 {
    // Of the same length, so that a place in one is the same place in the other.
    let lower = line.to_ascii_lowercase();
    // Before all else: it may end a line that says what is being checked.
    if let Some((_, error)) = lower.split_once("configure: error:") {
        // ``configure: error: in `DIR':`` is followed by the error itself.
        let names_place = error.starts_with(" in ") && error.ends_with("':");
        return if names_place { 3 } else { FINAL };
    }
    if is_failed_test(line) {
        return FINAL;
    }
    if HARMLESS_STARTS.iter().any(|start| lower.starts_with(start))
        || HARMLESS.iter().any(|part| lower.contains(part))
    {
        return 0;
    }
    // A test that failed says more than what tests print on purpose.
    let test = lower.strip_prefix("fail: ");
    if test.is_some_and(|test| !is_number(test)) {
        return FINAL;
    }
    if is_failed_hunk(&lower) || is_failed_assertion(&lower) || is_end_of_make(&lower) {
        return STOPS;
    }
    let signs = SIGNS.iter().filter(|(sign, _)| says(line, &lower, sign));
    let best = signs.map(|(_, weight)| *weight).max().unwrap_or(0);
    match best < 3 && is_death(line) {
        true => 3,
        false => best,
    }
}

/// Whether `line` is what a test suite prints of a test that failed, in the ways of TAP, Autotest, Meson, CTest,
/// pytest, GoogleTest, Go and Rust.
fn is_failed_test(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix("not ok ") {
        let rest = rest.to_ascii_lowercase();
        return !rest.contains("# todo") && !rest.contains("# skip");
    }
    if let Some(test) = line.strip_prefix("FAILED ") {
        return test.contains("::");
    }
    if let Some(test) = line.strip_prefix("[  FAILED  ] ") {
        return test.contains('.');
    }
    if line.starts_with("--- FAIL: ") || line.contains("***Failed") || line.contains("***Timeout") {
        return true;
    }
    if line.starts_with("test ") && line.ends_with(" ... FAILED") {
        return true;
    }
    let Some((number, rest)) = line.split_once(char::is_whitespace) else {
        return false;
    };
    // ``  7: names of files       FAILED (basic.at:12)``
    if number.strip_suffix(':').is_some_and(is_number) {
        return rest.contains(" FAILED (");
    }
    // `` 2/31 names of files       FAIL    0.01s   exit status 1``
    let is_place = |text: &str| {
        let place = text.split_once('/');
        place.is_some_and(|(at, of)| is_number(at) && is_number(of))
    };
    is_place(number)
        && rest
            .split_whitespace()
            .skip(1)
            .any(|word| matches!(word, "FAIL" | "ERROR" | "TIMEOUT"))
}

/// Whether `sign` stands somewhere in `line`, whose lower case is `lower`, and means what it says there.
fn says(line: &str, lower: &str, sign: &str) -> bool {
    let means_it = |(at, _): (usize, &str)| {
        let (before, after) = (&line[..at], &lower[at + sign.len()..]);
        !is_inside_word(before, &line[at..]) && !is_number(after) && !has_options(before)
    };
    // Nearly every line has no sign at all, and that is seen much sooner than where one would be.
    lower.contains(sign) && lower.match_indices(sign).any(means_it)
}

/// Whether what begins with `rest` is a part of a longer name that ends `before`, such as `strerror:` or `test-error:`.
/// `ImportError:` is two words.
fn is_inside_word(before: &str, rest: &str) -> bool {
    let Some(first) = rest.chars().next().filter(|first| first.is_alphabetic()) else {
        return false;
    };
    before.ends_with(|last: char| match last.is_lowercase() {
        true => !first.is_uppercase(),
        false => last.is_alphanumeric() || "_-./".contains(last),
    })
}

/// Whether `text` is a count and nothing else: what follows the words of a summary.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `before`, the start of a line, is that of a command with options, which a message may be among. A message
/// starts with who says it, or with the place in a file.
fn has_options(before: &str) -> bool {
    let mut words = before.split_whitespace();
    if words.next().is_none_or(|first| first.ends_with(':')) {
        return false;
    }
    words.any(|word| {
        let name = word.trim_start_matches('-');
        !name.is_empty() && name.len() < word.len()
    })
}

/// ``Hunk #2 FAILED at 17.``, as `patch` says it.
fn is_failed_hunk(lower: &str) -> bool {
    let rest = lower.strip_prefix("hunk #");
    let words = rest.and_then(|rest| rest.split_once(' '));
    words.is_some_and(|(number, rest)| is_number(number) && rest.starts_with("failed"))
}

/// ``x: x.c:3: main: Assertion `y' failed.``, as the C library says it.
fn is_failed_assertion(lower: &str) -> bool {
    let rest = lower.split_once("assertion `");
    let rest = rest.or_else(|| lower.split_once("assertion '"));
    rest.is_some_and(|(_, rest)| rest.contains("' failed"))
}

/// ``Makefile:3: *** missing separator.  Stop.``: what make cannot begin with.
fn is_end_of_make(lower: &str) -> bool {
    lower.contains("*** ") && lower.ends_with("stop.")
}

/// What a shell says of a program that a signal ended, alone or after the number of the process.
fn is_death(line: &str) -> bool {
    let mut before: Option<&str> = None;
    for word in line.split_whitespace() {
        if matches!(word, "Aborted" | "Killed") && before.is_none_or(is_number) {
            return true;
        }
        before = Some(word);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Option<String> {
        let mut suspect = Suspect::default();
        for line in text.lines() {
            suspect.read(line);
        }
        suspect.line().map(ToOwned::to_owned)
    }

    #[test]
    fn a_compilers_first_error_is_found_before_make_stops() {
        let text = "cc -c main.c\nmain.c:3:1: warning: unused: error: is a word\n  main.c:4:2: error: expected ';'\n\
                    main.c:9:2: error: too many errors\nmake[2]: *** [main.o] Error 1\nmake: *** [all] Error 2";
        assert_eq!(cause(text).unwrap(), "main.c:4:2: error: expected ';'");
    }

    #[test]
    fn what_tells_of_an_error_is_found() {
        for line in [
            "configure: error: C compiler cannot create executables",
            "checking for GMP... configure: error: no GMP",
            "ld: undefined reference to `main'",
            "./build.sh: line 3: perl: command not found",
            "build.sh: perl: not found",
            "FAIL: tests/big-file.sh",
            "not ok 2 - names of files",
            "7: names of files                            FAILED (basic.at:12)",
            "2/31 names of files            FAIL             0.01s   exit status 1",
            "12/31 core / names of files     TIMEOUT          30.01s",
            "3/10 Test  #3: names .....................***Failed    0.00 sec",
            "FAILED tests/test_names.py::test_long - AssertionError: 1",
            "[  FAILED  ] Names.Long (3 ms)",
            "--- FAIL: TestNames (0.00s)",
            "test names::long ... FAILED",
            "cp: cannot stat 'doc/x': No such file or directory",
            "make: *** No rule to make target 'x.h', needed by 'x.o'.  Stop.",
            "make[2]: *** No rule to make target 'x.h', needed by 'x.o'.",
            "Makefile:3: *** missing separator.  Stop.",
            "bmake: don't know how to make x.h. Stop",
            "make[1]: gcc: No such file or directory",
            "./build.sh: line 7: syntax error near unexpected token `fi'",
            "build.sh: 7: Syntax error: \"fi\" unexpected",
            "sort: sort.c:88: main: Assertion `count > 0' failed.",
            "Assertion failed: count > 0 (sort.c: main: 88)",
            "Hunk #2 FAILED at 17.",
            "Aborted",
            "Aborted (core dumped)",
            "./test.sh: line 5:  4242 Aborted                 ./sort -x",
            "/bin/sh: line 1:  4243 Killed  cc1",
            "ImportError: no module is called `x'",
            "libtool:   error: cannot find the library 'x.la'",
        ] {
            let text = format!(
                "checking for error: no\nPASS: one\n{line}\n# FAIL:  1\nmake: *** [check] Error 1"
            );
            assert_eq!(cause(&text).as_deref(), Some(line));
        }
    }

    #[test]
    fn what_only_looks_like_an_error_is_passed_over() {
        for line in [
            "",
            "all is well",
            "checking for perl... not found",
            "checking whether error: is a label... no such file or directory",
            "PASS: error-test",
            "PASS: error: is printed",
            "XFAIL: tests/known.sh",
            "not ok 3 - links # TODO not yet",
            "not ok 4 - links # SKIP no links here",
            "1/31 names of files             OK               0.01s",
            "7: names of files                               ok",
            "[  FAILED  ] 2 tests, listed below:",
            "FAILED 2 of 31",
            "ok 3 - error: is printed",
            "0 errors, 2 warnings",
            "errors: 0",
            "# ERROR: 0",
            "FAIL: 0",
            "12 assertions, 0 failed",
            "gcc -Werror -Wfatal-errors -c error.c -o error.o",
            "gcc -DMESSAGE='\"x: error: y\"' -c main.c",
            "libtool: compile:  gcc -c error: -o x.o",
            "  CC       strerror.lo",
            "strerror: ok",
            "test-error: ok",
            "error.c: In function 'error_at_line':",
            "echo 'error: no compiler'; exit 1",
            "+ echo error: no compiler",
            "main.c:3:1: warning: 'x' shadows error: 'y'",
            "make[2]: *** [Makefile:10: error.o] Error 1",
            "make[1]: *** [Makefile:12: check] Aborted (core dumped)",
            "make: *** Waiting for unfinished jobs....",
            "Hunk #1 succeeded at 17 (offset 2 lines).",
            "programs that are Killed or Aborted",
        ] {
            assert_eq!(cause(line), None, "{line}");
        }
    }

    #[test]
    fn the_first_that_stops_a_build_counts_and_the_last_of_what_need_not() {
        let missing = |name: &str| format!("rm: cannot remove '{name}': No such file or directory");
        let (a, b) = (missing("a"), missing("b"));
        assert_eq!(cause(&format!("{a}\n{b}\nbye")), Some(b.clone()));
        let error = "x.c:1:2: error: oh";
        let text = format!("{a}\n{error}\ny.c:1:2: error: and again\n{b}");
        assert_eq!(cause(&text).as_deref(), Some(error));
        let text = format!("{error}\nFAIL: one\nFAIL: two\n{b}");
        assert_eq!(cause(&text).as_deref(), Some("FAIL: one"));
    }

    #[test]
    fn where_configure_names_a_directory_first_the_error_follows() {
        let text = "configure: error: in `/tmp/x/sub':\nconfigure: error: C compiler cannot create executables\n\
                    See `config.log' for more details";
        let expected = "configure: error: C compiler cannot create executables";
        assert_eq!(cause(text).as_deref(), Some(expected));
    }

    #[test]
    fn where_nothing_looks_like_an_error_nothing_is_said() {
        assert_eq!(cause("all is well\nmake: *** [all] Error 2\n"), None);
        assert_eq!(cause(""), None);
    }
}
