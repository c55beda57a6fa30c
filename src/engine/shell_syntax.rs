// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds syntax errors in the shell scripts of recipes before anything is built.
//!
//! The machine's `sh -n` reads each script and runs nothing of it. The recipes inside the binary were checked when it
//! was made, so only those of a folder are read again.

use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rayon::prelude::*;

use crate::limited_output;
use crate::road::recipe::{Recipe, RecipeError, RecipeErrors, RecipeFile, RecipeProblem, Recipes};
use crate::threads;

/// Reads the phases of all `recipes`.
///
/// # Errors
/// The first syntax error of each, at its line. A machine without `sh` finds none.
pub(super) fn check(recipes: &Recipes) -> Result<(), RecipeErrors> {
    let all: Vec<&Recipe> = recipes.iter().collect();
    threads::ready();
    let errors = all.par_iter().flat_map_iter(|recipe| {
        let of_stages = recipe.stage_phases.iter();
        let of_stages = of_stages.map(|(stage, text)| (format!("phases-{stage}.sh"), text));
        let of_all = recipe
            .phases
            .iter()
            .map(|text| ("phases.sh".to_owned(), text));
        of_all
            .chain(of_stages)
            .map(move |(file, text)| (recipe, file, text))
    });
    let errors = errors.filter_map(|(recipe, file, script)| {
        let script = &script.contents;
        let (line, message) = syntax_error(script)?;
        let recipe_file = Path::new(&recipe.file.path);
        let text = String::from_utf8_lossy(script).into_owned();
        let span = line_of(&text, line);
        let path = recipe_file.with_file_name(&file);
        Some(RecipeError {
            problem: RecipeProblem::Shell { message },
            file: Arc::new(RecipeFile {
                path: path.display().to_string(),
                text,
            }),
            span,
        })
    });
    match RecipeErrors::new(errors.collect()) {
        Some(errors) => Err(errors),
        None => Ok(()),
    }
}

/// The first line, from 1, that `sh -n` cannot read in `script`, and why.
fn syntax_error(script: &[u8]) -> Option<(usize, String)> {
    // A file and not a pipe: the shell may stop reading.
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(script).ok()?;
    file.rewind().ok()?;
    let mut shell = Command::new("sh");
    shell
        .arg("-n")
        .env("LC_ALL", "C")
        .env_remove("ENV")
        .stdin(file);
    let output = limited_output::output(&mut shell, limited_output::LINES).ok()?;
    match output.status.success() {
        true => None,
        false => message(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// Line and problem in `sh: 3: Syntax error: ...` (dash, FreeBSD's ash) or `sh: line 3: syntax error ...` (bash).
fn message(text: &str) -> Option<(usize, String)> {
    let first = text.lines().next()?;
    let mut rest = first;
    while let Some((word, after)) = rest.split_once(": ") {
        let number = word.strip_prefix("line ").unwrap_or(word);
        if let Ok(line) = number.parse() {
            return Some((line, after.to_owned()));
        }
        rest = after;
    }
    Some((1, first.to_owned()))
}

/// The bytes of the line `number` of `text`: of its last one, where a shell missed something until the end.
fn line_of(text: &str, number: usize) -> std::ops::Range<usize> {
    let mut start = 0;
    let mut found = 0..0;
    for line in text.split_inclusive('\n').take(number.max(1)) {
        let content = line.trim_end();
        let indent = content.len() - content.trim_start().len();
        found = start + indent..start + content.len();
        start += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_mistake_is_found() {
        assert_eq!(syntax_error(b"phase_build() {\n    make\n}\n"), None);
        // Nothing is run.
        assert_eq!(syntax_error(b"exit 3\n"), None);
        let (line, message) = syntax_error(b"phase_build() {\n    fi\n}\n").unwrap();
        assert_eq!(line, 2, "{message}");
        assert!(
            message.to_lowercase().starts_with("syntax error"),
            "{message}"
        );
        assert!(syntax_error(b"say 'it\n").is_some());
        assert!(syntax_error(b"if true; then\n").is_some());
    }

    #[test]
    fn messages_of_all_shells_are_read() {
        for text in [
            "sh: 3: Syntax error: \"fi\" unexpected",
            "sh: line 3: syntax error near unexpected token `fi'\nsh: line 3: `fi'",
            "/dev/stdin: line 3: syntax error",
        ] {
            let (line, message) = message(text).unwrap();
            assert!(
                line == 3 && message.to_lowercase().starts_with("syntax"),
                "{text}"
            );
        }
        assert_eq!(message("odd"), Some((1, "odd".to_owned())));
        assert_eq!(message(""), None);
    }

    #[test]
    fn a_line_is_marked_without_its_indentation() {
        let text = "one\n  two\n";
        assert_eq!(&text[line_of(text, 2)], "two");
        assert_eq!(&text[line_of(text, 3)], "two");
        assert_eq!(line_of("", 1), 0..0);
    }
}
