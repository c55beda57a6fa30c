// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs APT's programs with the private configuration and a clean environment.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Apt, AptError, AptLock, AptSettings};
use crate::limited_output;

/// Variables of the caller's environment that APT sees; it knows what a proxy is.
const PASSED_ON: &[&str] = &[
    "PATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// The last lines of a program's messages that are worth repeating.
const SHOWN_LINES: usize = 6;

/// A command that knows nothing of the caller's locale or APT settings.
pub(super) fn clean(apt: &Apt, program: &str) -> Command {
    bare(&apt.settings, program)
}

/// As [`clean`], for the host's own APT.
pub(super) fn bare(settings: &AptSettings, program: &str) -> Command {
    let mut command = match &settings.programs {
        Some(directory) => Command::new(directory.join(program)),
        None => Command::new(program),
    };
    command.env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

/// Whether `program` is on this machine.
pub(super) fn find(settings: &AptSettings, program: &str) -> Result<(), AptError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = match &settings.programs {
        Some(directory) => vec![directory.clone()],
        None => std::env::split_paths(&path).collect(),
    }
    .into_iter();
    match directories.any(|directory| directory.join(program).is_file()) {
        true => Ok(()),
        false => Err(AptError::Missing {
            program: program.to_owned(),
        }),
    }
}

fn private(apt: &Apt, program: &str) -> Command {
    let mut command = clean(apt, program);
    command.env("APT_CONFIG", apt.configuration_file());
    command
}

/// `apt-get`, which shares `lock`.
fn locked(apt: &Apt, lock: &AptLock) -> Result<Command, AptError> {
    let mut command = private(apt, "apt-get");
    command.stdin(lock.shared().map_err(AptError::io(&apt.directory))?);
    Ok(command)
}

/// Runs `apt-get` and returns what it prints.
pub(super) fn apt_get(apt: &Apt, lock: &AptLock, arguments: &[&str]) -> Result<String, AptError> {
    run(locked(apt, lock)?, "apt-get", arguments).map_err(|error| match &error {
        AptError::Failed { message, .. } => no_space(apt, message).unwrap_or(error),
        _ => error,
    })
}

/// Runs `apt-cache` and returns what it prints.
pub(super) fn apt_cache(apt: &Apt, arguments: &[&str]) -> Result<String, AptError> {
    run(private(apt, "apt-cache"), "apt-cache", arguments)
}

/// Starts `apt-get` in `directory`; its messages are in the files `stdout` and `stderr` there.
pub(super) fn start_apt_get(
    apt: &Apt,
    lock: &AptLock,
    arguments: &[String],
    directory: &Path,
    messages: &Path,
) -> Result<Child, AptError> {
    let file = std::fs::File::create(messages).map_err(AptError::io(messages))?;
    locked(apt, lock)?
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .map_err(|error| cannot_start("apt-get", error))
}

/// Runs `command`, the program `program`, to its end.
pub(super) fn run(
    mut command: Command,
    program: &str,
    arguments: &[&str],
) -> Result<String, AptError> {
    command.args(arguments);
    let output = limited_output::output(&mut command, limited_output::LISTING)
        .map_err(|error| cannot_start(program, error))?;
    if !output.status.success() {
        let first = arguments.first().copied().unwrap_or_default();
        return Err(AptError::Failed {
            command: format!("{program} {first}"),
            message: last_lines(&output.stderr),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error that APT's `message` stands for where it says that there is no space left: all that APT writes is in the
/// private directory. Its locale is `C`, so the words are these.
pub(super) fn no_space(apt: &Apt, message: &str) -> Option<AptError> {
    let says_so = ["No space left on device", "enough free space in"]
        .iter()
        .any(|words| message.contains(words));
    says_so.then(|| AptError::io(&apt.directory)(io::ErrorKind::StorageFull.into()))
}

/// Words of APT's messages about a temporary file that it cannot create.
const NO_TEMPORARY: [&str; 3] = [
    "Couldn't create temporary file",
    "Unable to mkstemp",
    "Couldn't create tempfiles",
];

/// Whether APT's `message` is of a temporary file that it cannot create.
pub(super) fn lacks_temporary(message: &str) -> bool {
    NO_TEMPORARY.iter().any(|words| message.contains(words))
}

/// What to do about the failure that `message` is of.
pub(super) fn remedy(message: &str) -> &'static str {
    match lacks_temporary(message) {
        true => {
            "APT checks signatures as the user `_apt`, who must be able to write to /tmp: `chmod 1777 /tmp`, or mount one \
             that all users can write to"
        }
        false => {
            "see whether `apt-get update` works here: its entries, mirrors and proxies are used"
        }
    }
}

fn cannot_start(program: &str, error: io::Error) -> AptError {
    if error.kind() == io::ErrorKind::NotFound {
        return AptError::Missing {
            program: program.to_owned(),
        };
    }
    AptError::io(program)(error)
}

/// The end of a program's messages: its errors where it marks some, in one line.
pub(super) fn last_lines(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| {
            // APT only warns of it, and then takes the signature for a bad one.
            line.starts_with("E:") || NO_TEMPORARY.iter().any(|words| line.contains(words))
        })
        .collect();
    if errors.is_empty() {
        errors = lines;
    }
    if errors.is_empty() {
        return "it does not say why".to_owned();
    }
    let skipped = errors.len().saturating_sub(SHOWN_LINES);
    errors[skipped..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_other_messages() {
        let messages = b"Reading...\nW: something\nE: Version '9' for 'sed' was not found\n";
        assert_eq!(
            last_lines(messages),
            "E: Version '9' for 'sed' was not found"
        );
        assert_eq!(last_lines(b"one\n\ntwo\n"), "one; two");
        let messages = b"W: GPG error: http://x sid InRelease: Couldn't create temporary file /tmp/apt.conf.1 for passing \
            config to apt-key\nE: The repository 'http://x sid InRelease' is not signed.\n";
        let error = AptError::Failed {
            command: "apt-get update".to_owned(),
            message: last_lines(messages),
        };
        let help = |error: &AptError| miette::Diagnostic::help(error).map(|help| help.to_string());
        assert!(error.to_string().contains("apt.conf.1"), "{error}");
        assert!(help(&error).is_some_and(|help| help.contains("chmod 1777 /tmp")));
        let error = AptError::Failed {
            command: "apt-get update".to_owned(),
            message: last_lines(b"E: The repository 'http://x sid InRelease' is not signed.\n"),
        };
        assert!(help(&error).is_some_and(|help| help.contains("apt-get update")));
        assert_eq!(last_lines(b""), "it does not say why");
    }

    #[test]
    fn a_missing_program_is_named() {
        let program = "no-such-program-here";
        let apt = Apt::new(
            Path::new("/nowhere"),
            super::super::AptSettings::new("bookworm", "amd64"),
        );
        let error = run(clean(&apt, program), program, &[]).unwrap_err();
        assert!(matches!(error, AptError::Missing { program: missing } if missing == program));
    }
}
