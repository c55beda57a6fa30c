// SPDX-License-Identifier: GPL-3.0-or-later
//! What is wrong with a command line, in the form of all other errors.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::formats::visible::visible;

/// The words for `error`, which clap found in a command line: first what is wrong, after `program`'s name, then hints
/// and how the command is called. What the caller gave is quoted as [`visible`] shows it.
///
/// # Errors
///
/// `error` itself where it is none, but the help or the version that was asked for, or the help where nothing was.
pub fn words(program: &str, error: clap::Error) -> Result<String, clap::Error> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(error);
    }
    let text = with_visible_values(error).render().to_string();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines = lines.map(|line| match line.split_once(": ") {
        Some(("error", problem)) => format!("{program}: {problem}\n"),
        Some(("  tip", tip)) => format!("hint: {tip}\n"),
        _ if line.starts_with("For more information") => "hint: `--help` says more\n".to_owned(),
        _ => format!("{line}\n"),
    });
    Ok(lines.collect())
}

/// What is wrong, in one line, where the command line is not the user's own.
pub fn problem(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}

/// What may have been meant, where that is known, or nothing.
pub fn tip(error: &clap::Error) -> String {
    let text = error.to_string();
    let tip = text.lines().find_map(|line| line.strip_prefix("  tip: "));
    tip.unwrap_or_default().to_owned()
}

fn with_visible_values(mut error: clap::Error) -> clap::Error {
    let values = error.context().filter_map(|(kind, value)| {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(visible(text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(visible).collect())
            }
            _ => return None,
        };
        Some((kind, value))
    });
    for (kind, value) in values.collect::<Vec<(ContextKind, ContextValue)>>() {
        error.insert(kind, value);
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn said(arguments: &[&str]) -> Option<String> {
        let build = Command::new("build").arg(Arg::new("PKG").required(true));
        let command = Command::new("bootstrap")
            .subcommand(build)
            .subcommand_required(true)
            .arg_required_else_help(true);
        words(
            "bootstrap",
            command.try_get_matches_from(arguments).unwrap_err(),
        )
        .ok()
    }

    #[test]
    fn a_wrong_command_line_is_an_error_like_others() {
        assert_eq!(
            said(&["bootstrap", "buld"]).unwrap(),
            "bootstrap: unrecognized subcommand 'buld'\n\
             hint: a similar subcommand exists: 'build'\n\
             Usage: bootstrap <COMMAND>\n\
             hint: `--help` says more\n"
        );
        assert_eq!(
            said(&["bootstrap", "build"]).unwrap(),
            "bootstrap: the following required arguments were not provided:\n  \
             <PKG>\n\
             Usage: bootstrap build <PKG>\n\
             hint: `--help` says more\n"
        );
        assert!(
            said(&["bootstrap", "b\u{1b}[31m"])
                .unwrap()
                .starts_with("bootstrap: ")
        );
        assert!(
            !said(&["bootstrap", "b\u{1b}[31m"])
                .unwrap()
                .contains('\u{1b}')
        );
    }

    #[test]
    fn help_that_is_asked_for_is_no_error() {
        assert_eq!(said(&["bootstrap", "--help"]), None);
        assert_eq!(said(&["bootstrap"]), None);
    }
}
