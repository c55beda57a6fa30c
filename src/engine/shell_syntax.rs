// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds syntax errors in the shell scripts of recipes before anything is built.
//!
//! The machine's `sh -n` reads each script and runs nothing of it. The recipes inside the binary were checked when it
//! was made, so only those of a folder are read again.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rayon::prelude::*;

use crate::limited_output;
use crate::road::recipe::{Recipe, RecipeError, RecipeErrors, RecipeFile, RecipeProblem, Recipes};
use crate::threads;

/// A script that builds read.
struct Script<'r> {
    path: PathBuf,
    contents: &'r [u8],
}

/// Reads the scripts of all `recipes`, which are in `folder`, and the phases beside them.
///
/// # Errors
/// The first syntax error of each, at its line. A machine without `sh` finds none.
pub(super) fn check(recipes: &Recipes, folder: &Path) -> Result<(), RecipeErrors> {
    let mut scripts: Vec<Script<'_>> = recipes.iter().flat_map(scripts_of).collect();
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let beside = whole.with_file_name("stage0");
    let common = recipes.phases().iter();
    let common = common.filter(|(name, _)| name.ends_with(".sh"));
    scripts.extend(common.map(|(name, contents)| Script {
        path: beside.join(name),
        contents,
    }));
    threads::ready();
    let errors = scripts.par_iter().filter_map(|script| {
        let (line, message) = syntax_error(script.contents)?;
        let text = String::from_utf8_lossy(script.contents).into_owned();
        let span = line_of(&text, line);
        Some(RecipeError {
            problem: RecipeProblem::Shell { message },
            file: Arc::new(RecipeFile {
                path: script.path.display().to_string(),
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

/// The scripts in the folder of `recipe`: its phases, those of single stages, and what completes its sources.
fn scripts_of(recipe: &Recipe) -> impl Iterator<Item = Script<'_>> {
    let phases = recipe.phases.iter();
    let phases = phases.map(|text| ("phases.sh".to_owned(), text));
    let of_stages = recipe.stage_phases.iter();
    let of_stages = of_stages.map(|(stage, text)| (format!("phases-{stage}.sh"), text));
    let extras = recipe.extras.values();
    let sources = std::iter::once(&recipe.sources).chain(extras);
    let regenerate = sources.flat_map(|variants| variants.values());
    let regenerate = regenerate
        .filter_map(|source| source.regenerate.as_ref())
        .map(|regenerate| (regenerate.script.name.clone(), &regenerate.script));
    let folder = Path::new(&recipe.file.path);
    phases
        .chain(of_stages)
        .chain(regenerate)
        .map(move |(name, text)| Script {
            path: folder.with_file_name(name),
            contents: &text.contents,
        })
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
