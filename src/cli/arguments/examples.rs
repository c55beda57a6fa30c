// SPDX-License-Identifier: GPL-3.0-or-later
//! The end of each help: examples of each command, and for the program what holds for every command.

/// What ends the program's own help.
pub(super) const EXIT_STATUS: &str = include_str!("examples/exit_status.txt");

/// What follows that at length, and in the manual page.
pub(super) const SETTINGS: &str = include_str!("examples/settings.txt");

pub(super) const ALL_EXAMPLES: &str = include_str!("examples/all.txt");

pub(super) const BUILD_EXAMPLES: &str = include_str!("examples/build.txt");

pub(super) const SHELL_EXAMPLES: &str = include_str!("examples/shell.txt");

pub(super) const GRAPH_EXAMPLES: &str = include_str!("examples/graph.txt");

pub(super) const EXPORT_EXAMPLES: &str = include_str!("examples/export.txt");

pub(super) const PUBLISH_EXAMPLES: &str = include_str!("examples/publish.txt");

pub(super) const KEY_EXAMPLES: &str = include_str!("examples/key.txt");

pub(super) const CONFIG_EXAMPLES: &str = include_str!("examples/config.txt");

pub(super) const COMPLETIONS_EXAMPLES: &str = include_str!("examples/completions.txt");

pub(super) const REPORT_EXAMPLES: &str = include_str!("examples/report.txt");

pub(super) const EXPLAIN_EXAMPLES: &str = include_str!("examples/explain.txt");

pub(super) const FETCH_EXAMPLES: &str = include_str!("examples/fetch.txt");

pub(super) const VERIFY_EXAMPLES: &str = include_str!("examples/verify.txt");

pub(super) const LOCK_EXAMPLES: &str = include_str!("examples/lock.txt");

pub(super) const LIST_EXAMPLES: &str = include_str!("examples/list.txt");

pub(super) const SHOW_EXAMPLES: &str = include_str!("examples/show.txt");

pub(super) const PATH_EXAMPLES: &str = include_str!("examples/path.txt");

pub(super) const LOG_EXAMPLES: &str = include_str!("examples/log.txt");

pub(super) const GC_EXAMPLES: &str = include_str!("examples/gc.txt");

pub(super) const ROOTS_EXAMPLES: &str = include_str!("examples/roots.txt");

pub(super) const SEED_EXAMPLES: &str = include_str!("examples/seed.txt");

pub(super) const IMPORT_EXAMPLES: &str = include_str!("examples/import.txt");

pub(super) const DAEMON_EXAMPLES: &str = include_str!("examples/daemon.txt");

pub(super) const TOP_EXAMPLES: &str = include_str!("examples/top.txt");

pub(super) const DOCTOR_EXAMPLES: &str = include_str!("examples/doctor.txt");

pub(super) const MAN_EXAMPLES: &str = include_str!("examples/man.txt");

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::Arguments;

    /// The calls of this program in a line of shell, each as words: as much of the shell's language as examples use.
    fn calls(line: &str) -> Vec<Vec<String>> {
        let (mut words, mut word) = (Vec::new(), String::new());
        let mut quote = None;
        for character in line.chars().chain([' ']) {
            match (quote, character) {
                (Some(open), _) if character == open => quote = None,
                (None, '"' | '\'') => quote = Some(character),
                (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
                _ => word.push(character),
            }
        }
        assert_eq!(quote, None, "{line}");
        let commands = words.split(|word| ["|", "&&"].contains(&word.as_str()));
        commands
            .filter(|command| {
                command
                    .first()
                    .is_some_and(|program| program == "bootstrap")
            })
            .map(|command| {
                let redirected = |word: &String| [">", "2>&1"].contains(&word.as_str());
                let end = command.iter().position(redirected);
                command[..end.unwrap_or(command.len())].to_vec()
            })
            .collect()
    }

    #[test]
    fn every_command_has_examples_and_all_of_them_are_understood() {
        let all = Arguments::command();
        // What scripts call is not in the help.
        for command in all
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
            let mut shown = 0;
            for line in examples.lines() {
                // A setting, or another command's input.
                let line = line
                    .trim()
                    .trim_start_matches("BOOTSTRAP_CONFIG=./bootstrap.toml ");
                let line = line.trim_start_matches("\"$(").replace(")/bin/hello\"", "");
                for call in calls(&line) {
                    shown += usize::from(call.iter().any(|word| word == name));
                    if let Err(error) = Arguments::try_parse_from(&call) {
                        panic!("{call:?}: {error}");
                    }
                }
            }
            assert!(shown >= 1, "{name}: {help}");
        }
    }
}
