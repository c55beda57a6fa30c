//! The commands that messages name, as they have to be typed here.
//!
//! A message is made where nobody knows how the program was called. It names a command between back quotes, as in
//! `bootstrap log sed`; typed as it stands, that would look at another store or other recipes than those that the message
//! is about. So the options that choose store, recipes and seed are put in where the message is shown.

/// How each command in a message begins.
const COMMAND: &str = "`bootstrap ";

/// The options that commands need to be about the same store, recipes and seed as this run.
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

    /// How the program is called with the options, before a command.
    pub fn program(&self) -> String {
        format!("bootstrap {}", self.0).trim_end().to_owned()
    }

    /// `message` with the options in each of its commands. What is complete already must not come here again.
    pub fn complete(&self, message: &str) -> String {
        match self.0.is_empty() {
            true => message.to_owned(),
            false => message.replace(COMMAND, &format!("{COMMAND}{}", self.0)),
        }
    }
}

/// `text` as one word for a shell, in single quotes where it needs any.
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
    fn commands_in_messages_get_the_options_and_nothing_else_changes() {
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
