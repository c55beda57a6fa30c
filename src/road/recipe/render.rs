// SPDX-License-Identifier: GPL-3.0-or-later
//! Shows errors in recipes with the lines they are in, and carets below.

use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::error::{RecipeError, RecipeErrors};
use crate::formats::visible::visible;

/// The most characters of a line that are shown before the place of an error, and after its start.
const SHOWN: usize = 200;

impl RecipeErrors {
    /// All errors with the lines they are in, and carets below.
    pub fn render(&self, color: bool) -> String {
        let theme = GraphicalTheme {
            // Carets in every locale: users search for them.
            characters: ThemeCharacters::ascii(),
            styles: match color {
                true => ThemeStyles::ansi(),
                false => ThemeStyles::none(),
            },
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(100)
            .with_context_lines(1);
        let mut text = String::new();
        for error in self.errors() {
            let shown = RenderedError {
                error,
                excerpt: Excerpt::of(error),
            };
            // Writing to a String cannot fail, and the span is in the excerpt.
            if handler.render_report(&mut text, &shown).is_err() {
                let (line, column) = error.position();
                let path = visible(&error.file.path);
                text.push_str(&format!("{path}:{line}:{column}: {error}\n"));
            }
        }
        text
    }
}

/// The part of a recipe around an error, in visible characters.
///
/// The terminal gets nothing else of the file. Of a long line only the part around the error is shown: the library
/// panics where it must indent by more than 65,535 columns.
#[derive(Debug)]
struct Excerpt {
    name: String,
    /// The file with lines that are not shown left empty, so that lines keep their numbers.
    text: String,
    span: Range<usize>,
    /// The column of the error in the file, from 0.
    column: usize,
}

impl Excerpt {
    fn of(error: &RecipeError) -> Self {
        let (line, column) = error.position();
        let file = &error.file.text;
        let mut text = String::new();
        let mut span = 0..0;
        let mut start = 0;
        for (index, content) in file.split('\n').enumerate().take(line + 1) {
            if index > 0 {
                text.push('\n');
            }
            if index + 1 == line {
                let at = error.span.start.saturating_sub(start).min(content.len());
                let end = error
                    .span
                    .end
                    .saturating_sub(start)
                    .clamp(at, content.len());
                let (before, marked, after) = around(content, at..end);
                let begin = text.len() + before.len();
                span = begin..begin + marked.len();
                text.push_str(&before);
                text.push_str(&marked);
                text.push_str(&after);
            } else if index + 1 == line.saturating_sub(1) || index == line {
                text.push_str(&first(content, SHOWN));
            }
            start += content.len() + 1;
        }
        Self {
            name: visible(&error.file.path),
            text,
            span,
            column: column - 1,
        }
    }
}

/// What is before, in and after `span` of `line`, cut and in visible characters.
fn around(line: &str, span: Range<usize>) -> (String, String, String) {
    let boundary = |mut place: usize| {
        while !line.is_char_boundary(place) {
            place -= 1;
        }
        place
    };
    let (start, end) = (boundary(span.start), boundary(span.end));
    let before = &line[..start];
    let cut = before
        .char_indices()
        .rev()
        .nth(SHOWN - 1)
        .map_or(0, |(place, _)| place);
    let dots = if cut > 0 { "..." } else { "" };
    (
        format!("{dots}{}", visible(&before[cut..])),
        first(&line[start..end], SHOWN),
        first(&line[end..], SHOWN),
    )
}

/// The first `most` characters of `text`, in visible characters.
fn first(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => visible(text),
        Some((end, _)) => visible(&text[..end]) + "...",
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        // The place that is printed above the lines is the one in the file.
        let column = match (before, after) {
            (0, 0) => self.column,
            _ => contents.column(),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            column,
            contents.line_count(),
        )))
    }
}

/// What the library shows: the error with its excerpt.
#[derive(Debug)]
struct RenderedError<'a> {
    error: &'a RecipeError,
    excerpt: Excerpt,
}

impl fmt::Display for RenderedError<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error, formatter)
    }
}

impl std::error::Error for RenderedError<'_> {}

impl Diagnostic for RenderedError<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.error.problem.help()?;
        Some(Box::new(visible(help)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = LabeledSpan::underline(self.excerpt.span.clone());
        Some(Box::new(std::iter::once(span)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::error::RecipeProblem;
    use super::super::model::RecipeFile;
    use super::*;

    /// What is shown of an error about `marked` in `text`.
    fn render(text: &str, marked: &str) -> String {
        let start = text.find(marked).unwrap();
        let error = RecipeError {
            problem: RecipeProblem::UnknownKey {
                key: marked.to_owned(),
                place: "the recipe".to_owned(),
                known: vec!["name"],
            },
            file: Arc::new(RecipeFile {
                path: "recipes/x/recipe.toml".to_owned(),
                text: text.to_owned(),
            }),
            span: start..start + marked.len(),
        };
        RecipeErrors::new(vec![error]).unwrap().render(false)
    }

    #[test]
    fn an_error_far_to_the_right_is_shown_with_its_column() {
        for columns in [300, 65_534, 65_535, 65_536, 200_000] {
            let text = format!("a = 1\n{}wrong = 2\nlast = 3\n", " ".repeat(columns));
            let shown = render(&text, "wrong");
            assert!(
                shown.contains(&format!("recipe.toml:2:{}]", columns + 1)),
                "{shown}"
            );
            assert!(
                shown.contains("wrong = 2") && shown.contains("last = 3"),
                "{shown}"
            );
            assert!(shown.len() < 3000, "{}", shown.len());
        }
    }

    #[test]
    fn a_long_error_is_cut() {
        let wrong = "w".repeat(100_000);
        let shown = render(&format!("{wrong} = 2\n"), &wrong);
        assert!(shown.contains("recipe.toml:1:1]"), "{shown}");
        assert!(shown.len() < 6000, "{}", shown.len());
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_escapes() {
        let text = "before\u{1b}]0;title\u{7}\n\u{1b}[31m wrong\u{202e} = 1 \r\nafter\u{1b}c\n";
        let shown = render(text, "wrong\u{202e}");
        let hostile = |character: char| {
            character != '\n' && (character.is_control() || character == '\u{202e}')
        };
        assert!(!shown.contains(hostile), "{shown:?}");
        assert!(shown.contains("\\u{1b}[31m wrong\\u{202e} = 1"), "{shown}");
        // The caret is below the word, not where it would be without the escapes.
        let lines: Vec<&str> = shown.lines().collect();
        let place = lines
            .iter()
            .position(|line| line.contains("wrong\\u{202e} = 1"))
            .unwrap();
        assert_eq!(
            lines[place].find("wrong"),
            lines[place + 1].find('^'),
            "{shown}"
        );
    }

    #[test]
    fn an_error_at_the_end_of_a_file_has_a_place() {
        for text in ["", "a", "a\n"] {
            let error = RecipeError {
                problem: RecipeProblem::NoOut,
                file: Arc::new(RecipeFile {
                    path: "x".to_owned(),
                    text: text.to_owned(),
                }),
                span: text.len()..text.len() + 1,
            };
            let shown = RecipeErrors::new(vec![error]).unwrap().render(false);
            assert!(shown.contains("the outputs lack `out`"), "{shown}");
        }
    }
}
