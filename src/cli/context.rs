//! What commands work with: the options as values, and plan and store, made when a command asks for them.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use super::arguments::{Color, Global};
use super::failure::Failure;
use super::seeds::{self, Asking};
use super::summary;
use crate::events::Summary;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::formats::system::System;
use crate::road::plan::{self, Plan};
use crate::road::recipe::{self, RecipeSource, Recipes};
use crate::road::seed::own;
use crate::show::progress::invocation::Invocation;
use crate::show::progress::screen::Messages;
use crate::store::directories::Directories;
use crate::store::{Access, OpenOptions, Store};

/// The run's circumstances.
#[derive(Debug)]
pub struct Context {
    /// The options.
    pub options: Global,
    /// The system to build for.
    pub system: System,
    /// Where everything is.
    pub directories: Directories,
    /// Whether to use colours on standard error.
    pub color: bool,
    /// How commands are typed that messages name.
    pub invocation: Invocation,
}

/// Recipes and seed, and the plan they make.
#[derive(Debug)]
pub struct Planned {
    /// The recipes.
    pub recipes: Recipes,
    /// The seed, and the roots that sources are regenerated in.
    pub seeds: seeds::Chosen,
    /// The plan.
    pub plan: Plan,
}

impl Context {
    /// Makes values of `options`.
    pub fn new(options: Global) -> Result<Self, Failure> {
        let system = match (options.system, &options.seed) {
            (Some(system), _) => system,
            (None, Some(seed)) if seed != own::HOST => seeds::system_of(&options, seed)?,
            (None, _) => host_system()?,
        };
        let store_dir = StoreDir::new(&options.store_dir).map_err(Failure::StoreDir)?;
        let absolute = |path: &std::path::Path| {
            std::path::absolute(path).map_err(|error| Failure::Io {
                action: "resolve",
                what: path.display().to_string(),
                error,
            })
        };
        let root = options.root.as_deref().map(absolute).transpose()?;
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
        Ok(Self {
            color: use_color(options.color),
            invocation: options.invocation(),
            system,
            directories,
            options,
        })
    }

    /// The recipes of this run.
    pub fn recipes(&self) -> Result<Recipes, Failure> {
        let source = match &self.options.recipes {
            Some(directory) => RecipeSource::Directory(directory.clone()),
            None => RecipeSource::Embedded,
        };
        Ok(recipe::load(&source)?)
    }

    /// The plan of this run, with the seeds as they are known on this machine.
    pub fn plan(&self) -> Result<Planned, Failure> {
        self.plan_with(&Asking::NOBODY)
    }

    /// The plan of this run.
    pub fn plan_with(&self, asking: &Asking<'_>) -> Result<Planned, Failure> {
        let recipes = self.recipes()?;
        let seeds = seeds::choose(self, &recipes, asking)?;
        let settings = plan::Settings {
            system: self.system,
            store_dir: self.directories.store_dir.clone(),
        };
        let plan = plan::plan(&recipes, &seeds.seed, &seeds.roots, &settings)?;
        Ok(Planned {
            recipes,
            seeds,
            plan,
        })
    }

    /// The store, to look at. One that does not exist is empty.
    pub fn store_to_read(&self) -> Result<Store, Failure> {
        let options = OpenOptions {
            access: Access::ReadOnly,
            ..OpenOptions::default()
        };
        Ok(Store::open_with(self.directories.clone(), options)?)
    }

    /// The store, to change; made where there is none.
    pub fn store_to_write(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.directories.clone())?)
    }

    /// Says that others cannot make what is planned, where they cannot.
    pub fn note_impurity(&self, planned: &Planned) {
        if let Some(impurity) = planned.seeds.seed.impurity() {
            self.note(&format!("impure: {impurity}"));
        }
    }

    /// `path` with the store directory that it was computed for.
    pub fn shown(&self, path: &StorePath) -> String {
        self.directories.store_dir.display(path)
    }

    /// Says on standard error what a run did.
    pub fn sum_up(&self, summary: &Summary) {
        tell(&self.invocation.complete(&summary::describe(summary)));
    }

    /// Says `message` on standard error, unless nothing but errors is wanted. Bars may be there at the time.
    pub fn note(&self, message: &str) {
        if !self.options.quiet {
            let message = self.invocation.complete(message);
            tell(&format!("bootstrap: {message}\n"));
        }
    }
}

/// The system this program runs on.
fn host_system() -> Result<System, Failure> {
    let name = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    name.parse().map_err(|_| {
        let known = System::names().join(", ");
        Failure::Usage(format!(
            "this machine is {name}, which nothing is built for; look at another system's plan with --system: {known}"
        ))
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

/// Whether the environment asks for no colours: by `NO_COLOR`, set to anything at all (no-color.org), or with a terminal that
/// says that it can do nothing.
fn without_color(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_some_and(|value| !value.is_empty())
        || variable("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Writes `text` to standard error, in one piece. A reader that has gone away (`2>&1 | head`) neither stops a run nor changes
/// how it ends, as the standard library's macros would: they panic.
pub fn tell(text: &str) {
    let _ = Messages.write_all(text.as_bytes());
}

/// Writes `text` to standard output. A reader that has seen enough (`head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::writing("to standard output")),
    }
}

/// Writes `value` to standard output as JSON that people can read, too.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Failure::Io {
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
