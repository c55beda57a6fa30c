// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings from `/etc/bootstrap.toml` and the environment, and `config`, which shows them.
//!
//! Every global option but those of `NOT_SETTINGS` is a setting: in the file under its long name, in the environment as
//! `BOOTSTRAP_NAME` in capitals. They become defaults of the options, so that the command line has the last word and
//! help and errors are the same wherever a value is from. New options are settings without a word about it here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};
use serde::Serialize;

use super::arguments::Arguments;
use super::context::{print, print_json};
use super::failure::CommandFailure;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::{visible_line, visible_path};
use crate::road::recipe::closest;
use crate::show::settings::{TEMPORARY, TEMPORARY_SIZE, variable};
use crate::show::usage;

/// Where the file is.
const FILE: &str = "/etc/bootstrap.toml";
/// The variable that names another; empty is none.
const FILE_VARIABLE: &str = "BOOTSTRAP_CONFIG";

/// What belongs to a call and not to a machine.
const NOT_SETTINGS: [&str; 5] = ["help", "version", "verbose", "quiet", "json"];

/// What the file says.
#[derive(Debug, Default)]
pub struct Settings {
    /// The file, where there is one.
    file: Option<PathBuf>,
    /// Option and value.
    values: Vec<(String, String)>,
}

/// What a run uses where nothing is set, by the name of the setting.
pub type Effective<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A setting as `config --json` shows it.
#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    /// The effective value.
    value: Option<String>,
    /// `command line`, `environment`, `file` or `default`.
    source: &'static str,
}

/// The options that can be set: those of every command, by their long names. Help and version are none.
fn options(command: &Command) -> Vec<String> {
    let global = command.get_arguments().filter(|one| one.is_global_set());
    global
        .filter_map(|one| one.get_long().map(ToOwned::to_owned))
        .filter(|name| !NOT_SETTINGS.contains(&name.as_str()))
        .collect()
}

impl Settings {
    /// Reads the file that the environment names, or else the usual one.
    pub fn load() -> Result<Self, CommandFailure> {
        match file(std::env::var_os(FILE_VARIABLE)) {
            Some((path, named)) => Self::read(&path, named),
            None => Ok(Self::default()),
        }
    }

    /// Reads the file `path`. A missing file means no settings, unless it was `named`.
    fn read(path: &Path, named: bool) -> Result<Self, CommandFailure> {
        match crate::limited_file::read_text(path, crate::limited_file::SMALL) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                Ok(Self::default())
            }
            Err(error) => Err(CommandFailure::reading(path)(error)),
        }
    }

    /// Reads `text`, which is in the file `path`.
    ///
    /// # Errors
    /// Text that is not TOML, a setting that does not exist, or a value that its option does not take.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CommandFailure> {
        let wrong = |problem: String| {
            CommandFailure::usage(
                format!("{}: {problem}", path.display()),
                "`bootstrap config --help` shows what can be set",
            )
        };
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| wrong(error.to_string().trim_end().to_owned()))?;
        let command = Arguments::command();
        let known = options(&command);
        let mut values = Vec::new();
        for (name, value) in table {
            if !known.contains(&name) {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let hint = match closest(&name, &names) {
                    Some(similar) => format!(", did you mean `{similar}`?"),
                    None => String::new(),
                };
                return Err(wrong(format!("unknown setting `{name}`{hint}")));
            }
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                other => {
                    return Err(wrong(format!(
                        "`{name}`: expected a string, a number, or true or false, saw {}",
                        other.type_str()
                    )));
                }
            };
            check(&command, &name, &value).map_err(wrong)?;
            values.push((name, value));
        }
        Ok(Self {
            file: Some(path.to_owned()),
            values,
        })
    }

    /// The command line with these settings and the environment's as defaults.
    pub fn command(&self) -> Command {
        let mut command = Arguments::command();
        let names = options(&command);
        for name in &names {
            let value = self.values.iter().find(|(other, _)| other == name);
            let id = id(name);
            command = command.mut_arg(id, |option| {
                // These live as long as the process, which makes them once.
                let variable: &'static str = variable(name).leak();
                // A variable that is set to nothing is not set.
                let option = match std::env::var_os(variable).is_some_and(|value| value.is_empty())
                {
                    true => option.env(Resettable::Reset),
                    false => option.env(variable).hide_env(name != "root"),
                };
                match value {
                    Some((_, value)) => {
                        let value: &'static str = value.clone().leak();
                        let takes_value = option.get_action().takes_values();
                        let option = option.default_value(value);
                        match takes_value {
                            true => option.hide_default_value(true),
                            false => option,
                        }
                    }
                    None => option,
                }
            });
        }
        command
    }

    /// `bootstrap config`: all settings of this call.
    pub fn show(
        &self,
        matches: &ArgMatches,
        effective: Effective<'_>,
        json: bool,
    ) -> Result<(), CommandFailure> {
        let command = Arguments::command();
        let mut settings: Vec<Setting> = options(&command)
            .into_iter()
            .map(|name| {
                let id = id(&name);
                let value = matches.get_raw(&id).map(|values| {
                    let values: Vec<String> = values
                        .map(|value| value.to_string_lossy().into_owned())
                        .collect();
                    // The password of a proxy or a server is for no screen and no report of a problem.
                    without_secrets(&values.join(" ")).into_owned()
                });
                let value = value.or_else(|| effective(&name));
                let source = match matches.value_source(&id) {
                    Some(ValueSource::CommandLine) => "command line",
                    Some(ValueSource::EnvVariable) => "environment",
                    _ if self.values.iter().any(|(other, _)| *other == name) => "file",
                    _ => "default",
                };
                Setting {
                    name,
                    value,
                    source,
                }
            })
            .collect();
        // What no option sets.
        settings.extend([TEMPORARY, TEMPORARY_SIZE].map(|name| Setting {
            name: name.to_owned(),
            value: effective(name),
            source: match name == TEMPORARY && std::env::var_os("TMPDIR").is_some() {
                true => "environment",
                false => "default",
            },
        }));
        if json {
            return print_json(&settings);
        }
        let mut text = match &self.file {
            Some(file) => format!("# {}\n", visible_path(file)),
            None => format!("# {FILE} is not there\n"),
        };
        for setting in settings {
            let value = visible_line(setting.value.as_deref().unwrap_or("-"));
            text.push_str(&format!(
                "{:<16} {value:<24} {}\n",
                setting.name, setting.source
            ));
        }
        print(&text)
    }
}

/// The file to read where the environment says `given`, and whether that names it; `None` stands for no file at all.
fn file(given: Option<OsString>) -> Option<(PathBuf, bool)> {
    match given {
        Some(path) if path.is_empty() => None,
        Some(path) => Some((PathBuf::from(path), true)),
        None => Some((PathBuf::from(FILE), false)),
    }
}

/// What clap calls the option `name`.
fn id(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether the option `name` takes `value`, by asking it.
fn check(command: &Command, name: &str, value: &str) -> Result<(), String> {
    let option = command
        .get_arguments()
        .find(|one| one.get_long() == Some(name));
    let takes_value = option.is_some_and(|option| option.get_action().takes_values());
    if !takes_value {
        return match value {
            "true" | "false" => Ok(()),
            _ => Err(format!("`{name}`: expected true or false, saw `{value}`")),
        };
    }
    let arguments = [
        "bootstrap".to_owned(),
        format!("--{name}={value}"),
        "list".to_owned(),
    ];
    let parsed = command.clone().try_get_matches_from(arguments);
    parsed.map_or_else(|error| Err(usage::problem(&error)), |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(Path::new("/etc/bootstrap.toml"), text).map_err(|error| error.to_string())
    }

    fn arguments(settings: &Settings, arguments: &[&str]) -> Arguments {
        let matches = settings.command().try_get_matches_from(arguments).unwrap();
        Arguments::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_file_sets_defaults_and_the_command_line_overrules_it() {
        let settings =
            parse("seed = \"mine\"\nmax-jobs = 3\nkeep-failed = true\nmax-memory = \"2G\"\n")
                .unwrap();
        let global = arguments(&settings, &["bootstrap", "list"]).global;
        assert_eq!(global.seed.as_deref(), Some("mine"));
        assert_eq!(
            (global.max_jobs, global.max_memory),
            (Some(3), Some(2 << 30))
        );
        assert!(global.keep_failed && !global.keep_going);
        let global = arguments(&settings, &["bootstrap", "list", "-j", "5"]).global;
        assert_eq!(global.max_jobs, Some(5));
    }

    #[test]
    fn the_usual_file_is_read_unless_the_environment_names_another_or_none() {
        let usual = PathBuf::from("/etc/bootstrap.toml");
        assert_eq!(file(None), Some((usual, false)));
        let mine = PathBuf::from("mine");
        assert_eq!(file(Some("mine".into())), Some((mine, true)));
        assert_eq!(file(Some(OsString::new())), None);
    }

    #[test]
    fn the_usual_file_need_not_be_there_and_one_that_was_named_has_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bootstrap.toml");
        let settings = Settings::read(&path, false).unwrap();
        assert_eq!((settings.file, settings.values), (None, Vec::new()));
        let error = Settings::read(&path, true).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        std::fs::write(&path, "cores = 3\n").unwrap();
        let settings = Settings::read(&path, false).unwrap();
        assert_eq!(settings.values, [("cores".to_owned(), "3".to_owned())]);
        assert_eq!(settings.file, Some(path.clone()));
        // What is there and cannot be read is not passed over.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Settings::read(&path, false).is_err());
    }

    #[test]
    fn mistakes_are_named_with_what_is_right() {
        for (text, message) in [
            (
                "max-job = 3",
                "unknown setting `max-job`, did you mean `max-jobs`?",
            ),
            ("max-jobs = 0", "0 is not in 1.."),
            ("progress = \"loud\"", "invalid value 'loud'"),
            (
                "keep-failed = \"perhaps\"",
                "expected true or false, saw `perhaps`",
            ),
            ("seed = [1]", "saw array"),
            ("seed = ", "TOML parse error at line 1"),
            ("max-memory = \"lots\"", "is not a size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.starts_with("/etc/bootstrap.toml: "), "{error}");
        }
    }

    #[test]
    fn every_option_is_a_setting_and_the_command_holds_together() {
        let names = options(&Arguments::command());
        assert!(names.len() > 12, "{names:?}");
        Settings::default().command().debug_assert();
    }
}
