// SPDX-License-Identifier: GPL-3.0-or-later
//! What commands work with: the options as values, and the engine's session made of them.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::arguments::{Color, Global};
use super::failure::CommandFailure;
use super::{inherited, notices, signals};
use crate::diagnostics::FileError;
use crate::engine::{
    BuildOptions, EngineError, Planned, SeedOptions, Session, SessionOptions, TrustedKeys,
    check_root, system_of,
};
use crate::events::Summary;
use crate::events::cancellation::Cancellation;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::formats::system::System;
use crate::road::recipe::RecipeSource;
use crate::road::seed::{SeedSource, own_base};
use crate::show::progress::invocation::Invocation;
use crate::show::progress::screen::Messages;
use crate::show::summary;
use crate::store::Store;
use crate::store::directories::Directories;

/// How many names of files that are not store items are listed: there may be thousands.
pub(super) const LISTED: usize = 20;

/// The circumstances of a command.
#[derive(Debug)]
pub struct Context {
    /// The options.
    pub options: Global,
    /// The engine.
    pub session: Session,
    /// Where everything is.
    pub directories: Directories,
    /// Whether to use colours on standard error.
    pub color: bool,
    /// How commands are typed that messages name.
    pub invocation: Invocation,
    cancellation: OnceCell<Cancellation>,
}

impl Context {
    /// Makes values of `options`.
    pub fn new(options: Global) -> Result<Self, CommandFailure> {
        let session = session_options(&options)?;
        let (quiet, invocation) = (options.quiet, options.invocation());
        let notes = invocation.clone();
        let notify = Arc::new(move |notice| {
            for line in notices::describe(&notice) {
                note(quiet, &notes, &line);
            }
        });
        Ok(Self {
            color: use_color(options.color),
            invocation,
            directories: session.directories.clone(),
            session: Session::with_notices(session, notify),
            options,
            cancellation: OnceCell::new(),
        })
    }

    /// What stops the runs of this command. From the first call on, signals set it off instead of ending the process.
    pub(super) fn interruption(&self) -> &Cancellation {
        self.cancellation.get_or_init(|| {
            signals::cancellation().unwrap_or_else(|error| {
                self.note(&format!(
                    "cannot catch signals ({error}): an interrupted run ends at once"
                ));
                Cancellation::new()
            })
        })
    }

    /// The plan.
    pub fn plan(&self) -> Result<Planned, CommandFailure> {
        Ok(self.session.plan()?)
    }

    /// The store, to read. One that does not exist is empty.
    pub fn store_to_read(&self) -> Result<Store, CommandFailure> {
        Ok(self.session.store_to_read()?)
    }

    /// The store, to change; made where there is none.
    pub fn store_to_write(&self) -> Result<Store, CommandFailure> {
        Ok(self.session.store_to_write()?)
    }

    /// `error` as a failure of the command. A run that failed is summed up first.
    pub(super) fn failure(&self, error: EngineError) -> CommandFailure {
        if let EngineError::Run(report) = &error
            && !self.options.quiet
        {
            self.sum_up(&report.summary);
        }
        error.into()
    }

    /// Says that others cannot make what is planned, where they cannot.
    pub fn note_impurity(&self, planned: &Planned) {
        if let Some(impurity) = planned.impurity() {
            self.note(&format!("impure: {impurity}"));
        }
    }

    /// `path` with the store directory that it was computed for.
    pub fn shown(&self, path: &StorePath) -> String {
        self.session.shown(path)
    }

    /// Says on standard error what a run did.
    pub fn sum_up(&self, summary: &Summary) {
        tell(&self.invocation.complete(&summary::describe(summary)));
    }

    /// Says `message` on standard error, unless only errors are wanted. Bars may be on the screen at the time.
    pub fn note(&self, message: &str) {
        note(self.options.quiet, &self.invocation, message);
    }
}

fn note(quiet: bool, invocation: &Invocation, message: &str) {
    if !quiet {
        tell(&format!(
            "bootstrap: {}\n",
            invocation.visible_line(message)
        ));
    }
}

/// The engine's options, made of the command line's.
fn session_options(options: &Global) -> Result<SessionOptions, CommandFailure> {
    let descriptions = match &options.seeds {
        Some(directory) => SeedSource::Directory(directory.clone()),
        None => SeedSource::Embedded,
    };
    let system = match (options.system, &options.seed) {
        (Some(system), _) => system,
        (None, Some(seed)) if seed != own_base::HOST => system_of(&descriptions, seed)?,
        (None, _) => host_system()?,
    };
    let store_dir = StoreDir::new(&options.store_dir).map_err(CommandFailure::StoreDir)?;
    let absolute = |path: &Path| -> Result<PathBuf, EngineError> {
        Ok(std::path::absolute(path).map_err(FileError::named_by_user("resolve", path))?)
    };
    let root = options.root.as_deref().map(absolute).transpose()?;
    check_root(root.as_deref())?;
    let mut directories = Directories::new(store_dir, root.as_deref());
    for (option, directory) in [
        (&options.state_dir, &mut directories.state),
        (&options.log_dir, &mut directories.log),
        (&options.cache_dir, &mut directories.cache),
    ] {
        if let Some(option) = option {
            *directory = absolute(option)?;
        }
    }
    let number = |option: Option<u16>| option.and_then(|number| NonZeroUsize::new(number.into()));
    let seconds = |option: Option<u64>| option.map(Duration::from_secs);
    let urls = options.substitute_urls.as_deref().unwrap_or_default();
    Ok(SessionOptions {
        system,
        directories,
        recipes: match &options.recipes {
            Some(directory) => RecipeSource::Directory(directory.clone()),
            None => RecipeSource::Embedded,
        },
        seed: SeedOptions {
            descriptions,
            name: options.seed.clone(),
            file: options.seed_file.clone(),
            locked: options.locked,
        },
        offline: options.offline,
        mirrors: options.mirrors.clone().unwrap_or_default(),
        substitute_urls: urls.split_whitespace().map(ToOwned::to_owned).collect(),
        trusted_keys: TrustedKeys::Text(options.trusted_keys.clone().unwrap_or_default()),
        build: BuildOptions {
            max_jobs: number(options.max_jobs),
            cores: number(options.cores),
            keep_failed: options.keep_failed,
            keep_going: options.keep_going,
            timeout: seconds(options.timeout),
            max_silent_time: seconds(options.max_silent_time),
            max_memory: options.max_memory,
            max_processes: options.max_processes,
            temporary: inherited::temporary(std::env::var_os("TMPDIR")),
            ..BuildOptions::default()
        },
    })
}

/// The system this program runs on.
fn host_system() -> Result<System, CommandFailure> {
    let name = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    name.parse().map_err(|_| {
        let known = System::names().join(", ");
        CommandFailure::usage(
            format!("this machine is {name}, which nothing is built for"),
            format!("look at another system's plan with --system: {known}"),
        )
    })
}

pub fn use_color(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let variable = |name: &str| std::env::var_os(name);
            std::io::stderr().is_terminal() && !without_color(&variable)
        }
    }
}

/// Whether the environment asks for no colours: by `NO_COLOR`, set to anything at all (no-color.org), or with a
/// terminal that says that it can do nothing.
fn without_color(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_some_and(|value| !value.is_empty())
        || variable("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Writes `text` to standard error, in one piece. A reader that has gone away (`2>&1 | head`) neither stops a run nor
/// changes how it ends, as the standard library's macros would: they panic.
pub fn tell(text: &str) {
    let _ = Messages.write_all(text.as_bytes());
}

/// Writes `text` to standard output. A reader that has seen enough (`head`) is not a failure.
pub fn print(text: &str) -> Result<(), CommandFailure> {
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CommandFailure::writing("to standard output")),
    }
}

/// Writes `value` to standard output as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CommandFailure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| CommandFailure::Io {
        action: "write",
        what: "JSON to standard output".to_owned(),
        error: error.into(),
    })?;
    text.push('\n');
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_dumb_terminals_are_heeded() {
        let without = |name: &str, value: &str| {
            without_color(&|asked| (asked == name).then(|| OsString::from(value)))
        };
        assert!(without("NO_COLOR", "1"));
        assert!(without("NO_COLOR", "0"));
        assert!(!without("NO_COLOR", ""));
        assert!(without("TERM", "dumb"));
        assert!(!without("TERM", "xterm-256color"));
        assert!(use_color(Color::Always));
        assert!(!use_color(Color::Never));
    }
}
