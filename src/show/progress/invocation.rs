// SPDX-License-Identifier: GPL-3.0-or-later
//! Completes the commands in messages with the options of this run.
//!
//! A message names a command between back quotes, such as `bootstrap log sed`. The code that writes it does not know
//! the options of the program, and the command alone would use another store, recipes or seed. The options are inserted
//! where the message is shown.

use crate::formats::visible::{visible_line, visible_lines};

/// The start of each command in a message.
const COMMAND: &str = "`bootstrap ";

/// The options that select the store, recipes and seed of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation(String);

impl Invocation {
    /// From the long names of options, without dashes, and their values.
    pub fn new<'o>(options: impl IntoIterator<Item = (&'o str, String)>) -> Self {
        let options = options.into_iter();
        Self(
            options
                .map(|(name, value)| format!("--{name} {} ", word(&value)))
                .collect(),
        )
    }

    /// The program and its options, without a command.
    pub fn program(&self) -> String {
        format!("bootstrap {}", self.0).trim_end().to_owned()
    }

    /// `message` with the options in each of its commands. Completing a message twice inserts them twice.
    pub fn complete(&self, message: &str) -> String {
        match self.0.is_empty() {
            true => message.to_owned(),
            false => message.replace(COMMAND, &format!("{COMMAND}{}", self.0)),
        }
    }

    /// [`complete`](Self::complete), without colours: for messages that have none of ours, so that each is foreign.
    pub fn visible(&self, message: &str) -> String {
        visible_lines(self.complete(message))
    }

    /// As [`visible`](Self::visible), on one line: a file name may hold a line break.
    pub fn visible_line(&self, message: &str) -> String {
        visible_line(self.complete(message))
    }
}

/// `text` as one word for a shell, in single quotes if needed.
pub fn word(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+=:@%,".contains(character);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_in_messages_get_the_options() {
        let options = [
            ("root", "/tmp/a try".to_owned()),
            ("seed", "mine".to_owned()),
        ];
        let invocation = Invocation::new(options);
        assert_eq!(
            invocation
                .complete("bootstrap: no; run `bootstrap build sed`, or `bootstrap gc` and `make`"),
            "bootstrap: no; run `bootstrap --root '/tmp/a try' --seed mine build sed`, \
             or `bootstrap --root '/tmp/a try' --seed mine gc` and `make`"
        );
        assert_eq!(
            invocation.program(),
            "bootstrap --root '/tmp/a try' --seed mine"
        );
        let message = "run `bootstrap build sed`";
        assert_eq!(Invocation::default().complete(message), message);
        assert_eq!(Invocation::default().program(), "bootstrap");
    }

    #[test]
    fn a_shell_reads_each_word_as_it_was() {
        for text in [
            "/gnu/store",
            "x86_64-linux",
            "",
            "a b",
            "it's",
            "$HOME",
            "~/x",
            "a;b\n",
            "`id`",
        ] {
            let script = format!("printf %s {}", word(text));
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
        assert_eq!(word("/gnu/store"), "/gnu/store");
    }
}
