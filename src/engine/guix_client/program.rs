// SPDX-License-Identifier: GPL-3.0-or-later
//! Running the client: its version, and its answers to `client.scm`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::fault::GuixFault;
use crate::diagnostics::FileError;
use crate::engine::error::EngineError;
use crate::formats::scheme::Datum;
use crate::formats::visible::{visible, visible_lines, visible_path};

/// What the client runs.
const SCRIPT: &str = include_str!("client.scm");
/// How long the client may take for one answer. The longest loads all of Guix's packages.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many bytes are read of what it prints, from the end.
const MOST: u64 = 1 << 20;
/// How many lines of that a message shows.
const SHOWN: usize = 10;

/// A client's program, and a directory for what it is given.
#[derive(Debug)]
pub(super) struct Client {
    program: PathBuf,
    scratch: tempfile::TempDir,
}

/// The fields of an answer.
#[derive(Debug)]
pub(super) struct AnswerFields {
    command: String,
    fields: BTreeMap<String, Datum>,
}

impl Client {
    /// The client `program`: a path, or a name that is searched on PATH.
    pub(super) fn new(program: &Path) -> Result<Self, GuixFault> {
        let place = std::env::temp_dir();
        let scratch = tempfile::Builder::new()
            .prefix("bootstrap-doctor-")
            .tempdir_in(&place);
        let client = Self {
            program: program.to_owned(),
            scratch: scratch.map_err(|error| unwritten(&place, error))?,
        };
        client.write("client.scm", SCRIPT)?;
        Ok(client)
    }

    /// The directory for what the client is given.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file for the client, with the directories that lead to it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), GuixFault> {
        let path = self.scratch().join(name);
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| unwritten(&path, error))
    }

    /// The first line of `guix --version`, which names the version.
    pub(super) fn version(&self) -> Result<String, GuixFault> {
        let (command, text) = self.run(&["--version"])?;
        let first = text.lines().next().unwrap_or_default();
        match first.strip_prefix("guix (GNU Guix) ") {
            Some(version) if !version.trim().is_empty() => Ok(visible(version.trim())),
            _ => Err(GuixFault::Answer {
                command,
                expected: "`guix (GNU Guix) VERSION`",
                seen: visible(first),
            }),
        }
    }

    /// The answer to a question of `client.scm`.
    ///
    /// # Errors
    /// Where the client fails, prints no answer, or reports an error: that is [`GuixFault::Client`].
    pub(super) fn ask(
        &self,
        what: &'static str,
        question: &[&str],
    ) -> Result<AnswerFields, GuixFault> {
        let script = self.scratch().join("client.scm");
        let script = script.to_string_lossy();
        let (command, text) = self.run(&[&["repl", "--", &*script], question].concat())?;
        let mut lines = text.lines().rev();
        let line = lines.find(|line| line.starts_with("(bootstrap-doctor "));
        let fields = line.and_then(|line| fields(&Datum::parse(line).ok()?));
        let Some(fields) = fields else {
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            return Err(GuixFault::Answer {
                command,
                expected: "a line `(bootstrap-doctor …)`",
                seen: visible(line.or(last).unwrap_or_default()),
            });
        };
        match fields.get("error").and_then(Datum::string) {
            Some(message) => Err(GuixFault::Client {
                what,
                message: visible_lines(message.trim()),
            }),
            None => Ok(AnswerFields { command, fields }),
        }
    }

    /// Runs the client. Gives the command line and what it printed to standard output.
    fn run(&self, arguments: &[&str]) -> Result<(String, String), GuixFault> {
        let program = visible_path(&self.program);
        let command = [&[&*program], arguments].concat().join(" ");
        let failed = |error: io::Error| GuixFault::NotRun {
            program: program.clone(),
            error,
        };
        let mut output = tempfile::tempfile_in(self.scratch()).map_err(failed)?;
        let mut errors = tempfile::tempfile_in(self.scratch()).map_err(failed)?;
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("GUILE_AUTO_COMPILE", "0")
            .env("GUILE_WARN_DEPRECATED", "no")
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(errors.try_clone().map_err(failed)?)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => GuixFault::NoProgram {
                    program: program.clone(),
                },
                _ => failed(error),
            })?;
        let started = Instant::now();
        let ended = loop {
            match child.try_wait().map_err(failed)? {
                Some(ended) => break Some(ended),
                None if started.elapsed() > PATIENCE => break None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let text = end_of(&mut output).map_err(failed)?;
        if ended.as_ref().is_some_and(ExitStatus::success) {
            return Ok((command, text));
        }
        let errors = end_of(&mut errors).map_err(failed)?;
        let output = match errors.trim().is_empty() {
            true => text,
            false => errors,
        };
        let output = shortened(&output);
        match ended {
            Some(ended) => Err(GuixFault::Failed {
                command,
                ended: ended.to_string(),
                output,
            }),
            None => {
                // It may end by itself meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                Err(GuixFault::Endless {
                    command,
                    seconds: PATIENCE.as_secs(),
                    output,
                })
            }
        }
    }
}

impl AnswerFields {
    /// The text of the field `name`.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, GuixFault> {
        let text = self.fields.get(name).and_then(Datum::string);
        text.ok_or_else(|| self.lacks(name))
    }

    /// The field `name` as Guile writes it, of numbers and booleans.
    pub(super) fn word(&self, name: &'static str) -> Result<&str, GuixFault> {
        let word = self.fields.get(name).and_then(Datum::symbol);
        word.ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, name: &'static str) -> GuixFault {
        let seen = self.fields.get(name).map(Datum::to_string);
        GuixFault::Answer {
            command: self.command.clone(),
            expected: name,
            seen: visible(seen.unwrap_or_default()),
        }
    }
}

/// The fields of `(bootstrap-doctor (FIELD VALUE) ...)`.
fn fields(datum: &Datum) -> Option<BTreeMap<String, Datum>> {
    let fields = datum.form("bootstrap-doctor")?.iter();
    fields
        .map(|field| match field.list()? {
            [name, value] => Some((name.symbol()?.to_owned(), value.clone())),
            _ => None,
        })
        .collect()
}

/// The end of what was written to `file`.
fn end_of(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of `text`.
fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    let last: Vec<String> = last.iter().map(visible).collect();
    last.join("\n")
}

fn unwritten(path: &Path, error: io::Error) -> GuixFault {
    EngineError::from(FileError::named_by_user("write", path)(error)).into()
}
