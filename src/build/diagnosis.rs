//! Which line of a failed build's output tells what went wrong.
//!
//! The end of a log is mostly make saying that it stops. The line that matters comes before: the first of the last lines
//! in which a compiler, a linker, a script or a test says what is wrong. This is a guess for people, and said to be one.

/// What tells of an error, in lower case, with how well: a message from a compiler about a place in a file says more than
/// the word `failed`.
const SIGNS: [(&str, u8); 17] = [
    ("fatal error:", 4),
    (": error:", 4),
    ("undefined reference to", 4),
    ("undefined symbol", 4),
    ("multiple definition of", 4),
    ("configure: error:", 5),
    ("no space left on device", 5),
    ("cannot find -l", 4),
    ("internal compiler error", 5),
    ("command not found", 3),
    (": not found", 3),
    ("no such file or directory", 3),
    ("permission denied", 3),
    ("segmentation fault", 3),
    ("killed", 2),
    ("error:", 3),
    ("fail:", 3),
];

/// Lines with these report what is no error: checks that look for something, make on its way out, what a test suite counts.
const NO_SIGNS: [&str; 7] = [
    "checking ",
    "make: ***",
    "make[",
    "warning:",
    "# fail:",
    "# error:",
    "xfail:",
];

/// The line among `lines`, oldest first, that most looks like the cause: the first of the most telling ones.
pub fn likely_cause(lines: &[String]) -> Option<&str> {
    let telling = |line: &String| {
        let lower = line.to_lowercase();
        if NO_SIGNS
            .iter()
            .any(|no| lower.starts_with(no) || (lower.contains(no) && no.ends_with(':')))
        {
            return 0;
        }
        let signs = SIGNS.iter().filter(|(sign, _)| lower.contains(sign));
        signs.map(|(_, weight)| *weight).max().unwrap_or(0)
    };
    let best = lines.iter().map(telling).max().filter(|best| *best > 0)?;
    let line = lines.iter().find(|line| telling(line) == best)?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Option<String> {
        let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        likely_cause(&lines).map(ToOwned::to_owned)
    }

    #[test]
    fn a_compilers_first_error_is_found_before_make_stops() {
        let text = "cc -c main.c\nmain.c:3:1: warning: unused: error: is a word\n  main.c:4:2: error: expected ';'\n\
                    main.c:9:2: error: too many errors\nmake[2]: *** [main.o] Error 1\nmake: *** [all] Error 2";
        assert_eq!(cause(text).unwrap(), "main.c:4:2: error: expected ';'");
    }

    #[test]
    fn configure_linkers_shells_and_tests_are_understood() {
        for line in [
            "configure: error: C compiler cannot create executables",
            "ld: undefined reference to `main'",
            "./build.sh: line 3: perl: command not found",
            "build.sh: perl: not found",
            "FAIL: tests/big-file.sh",
            "cp: cannot stat 'doc/x': No such file or directory",
        ] {
            let text = format!(
                "checking for error: no\nPASS: one\n{line}\n# FAIL:  1\nmake: *** [check] Error 1"
            );
            assert_eq!(cause(&text).as_deref(), Some(line));
        }
    }

    #[test]
    fn where_nothing_looks_like_an_error_nothing_is_said() {
        assert_eq!(cause("all is well\nmake: *** [all] Error 2\n"), None);
        assert_eq!(cause(""), None);
    }
}
