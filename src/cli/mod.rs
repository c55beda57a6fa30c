// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line: what users type, what they read, and the exit status.
//!
//! Each command is a function of its own in the module named after it. It returns a [`CommandFailure`] where it cannot
//! do what it was asked for; what that says and which exit status it has is decided in one place, [`failure`].

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

mod all;
pub mod arguments;
mod build;
mod completions;
pub mod configuration;
mod context;
mod daemon;
mod derivations;
mod doctor;
mod exchange;
mod explain;
pub mod failure;
mod fetch;
mod forecast;
mod gc;
mod graph;
mod inherited;
mod list;
mod log;
mod notices;
mod packages;
mod path;
mod progress;
mod realise;
mod repair;
mod report;
mod roots;
mod seed;
mod shell;
mod show;
mod signals;
mod top;
mod verify;
mod version;

use arguments::{Arguments, Command, SeedCommand};
use context::Context;
pub use failure::{CommandFailure, Status};

use crate::sandbox::inherited::{memory_too_small, set_right};
use crate::show::completions::script;
use crate::show::manual;
use crate::show::progress::invocation::Invocation;
use crate::show::progress::screen::Messages;
use crate::show::{settings, usage};
use crate::store::gc::CollectOptions;

/// Does what `arguments` (with the program's name first) ask for, and gives the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    set_right();
    if let Some(problem) = memory_too_small() {
        context::tell(&format!("bootstrap: {problem}\nhint: raise that limit\n"));
        return ExitCode::from(Status::Environment as u8);
    }
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if version::is_wanted(&arguments) {
        let _ = context::print(&version::describe());
        return ExitCode::SUCCESS;
    }
    if daemon::is_guix_daemon(&arguments) {
        return daemon::guix_daemon(&arguments);
    }
    let settings = match configuration::Settings::load() {
        Ok(settings) => settings,
        Err(failure) => {
            let text = failure.render(false, &Invocation::default());
            context::tell(&format!("{}\n", text.trim_end()));
            return ExitCode::from(failure.status());
        }
    };
    let parsed = settings
        .command()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    let (parsed, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = settings::blaming_variable(error, &arguments);
            return end_with("bootstrap", error);
        }
    };
    let color = context::use_color(parsed.global.color);
    let invocation = parsed.global.invocation();
    start_tracing(parsed.global.verbose, color);
    let done = match &parsed.command {
        Command::Config => {
            let json = parsed.global.json;
            // A setting that is wrong is shown, too.
            let context = Context::new(parsed.global).ok();
            let effective = |name: &str| settings::effective(&context.as_ref()?.session, name);
            settings.show(&matches, &effective, json)
        }
        Command::Daemon(own) => daemon::daemon(&parsed.global, own, &|| daemon::reread(&arguments)),
        _ => run(parsed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.render(color, &invocation);
            if !text.is_empty() {
                context::tell(&format!("{}\n", text.trim_end()));
            }
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CommandFailure> {
    if let Command::Completions { shell } = arguments.command {
        return context::print(&script(&Arguments::command(), shell));
    }
    if let Command::Man { directory } = &arguments.command {
        return Ok(manual::write(Arguments::command(), directory)?);
    }
    let mut global = arguments.global;
    if let Command::Build(build) = &arguments.command {
        // The shell starts in it.
        global.keep_failed |= build.shell_on_failure;
    }
    let context = Context::new(global)?;
    match &arguments.command {
        Command::All { dry_run } => all::all(&context, *dry_run),
        Command::Build(arguments) => build::build(&context, arguments),
        Command::Explain { package } => explain::explain(&context, package),
        Command::Fetch { packages, dry_run } => fetch::fetch(&context, packages, *dry_run),
        Command::Verify(arguments) => verify::verify(&context, arguments),
        Command::Lock { file } => verify::lock_command::write(&context, file),
        Command::List => list::list(&context),
        Command::Names { what } => completions::names(&context, *what),
        Command::Show { package } => show::show(&context, package),
        Command::Path { package } => path::path(&context, package),
        Command::Log { package, raw } => log::log(&context, package, *raw),
        Command::Graph {
            packages,
            packages_only,
            reduce,
            format,
        } => graph::graph(
            &context,
            graph::GraphOptions {
                packages,
                packages_only: *packages_only,
                reduce: *reduce,
                format: *format,
            },
        ),
        Command::Report { output } => report::report(&context, output),
        Command::Shell {
            of: Some(package),
            directory,
            mount,
            command,
            ..
        } => shell::of_build(&context, package, directory.as_deref(), mount, command),
        Command::Shell {
            packages,
            mount,
            command,
            ..
        } => shell::shell(&context, packages, mount, command),
        Command::Export {
            packages,
            alone,
            closure: _,
            output,
            key,
            guix,
        } => exchange::export(
            &context,
            exchange::Export {
                packages,
                alone: *alone,
                output: exchange::place(output.as_ref()),
                key: key.as_deref(),
                guix: guix.as_deref(),
            },
        ),
        Command::Import { file, unsigned } => {
            exchange::import(&context, exchange::place(file.as_ref()), *unsigned)
        }
        Command::Publish {
            directory,
            packages,
            key,
        } => exchange::publish(&context, directory, packages, key.as_deref()),
        Command::Key { name, file, guix } => {
            exchange::key(name.as_deref(), file.as_deref(), guix.as_deref())
        }
        Command::Doctor { guix } => doctor::doctor(&context, guix.as_deref()),
        Command::Gc {
            dry_run,
            max_freed,
            keep_generations,
            keep_derivations,
            keep_outputs,
        } => {
            let options = CollectOptions {
                dry_run: *dry_run,
                max_freed: *max_freed,
                keep_derivations: *keep_derivations,
                keep_outputs: *keep_outputs,
                ..CollectOptions::default()
            };
            gc::collect(&context, &options, *keep_generations)
        }
        Command::Roots => roots::roots(&context),
        Command::Top => top::top(&context),
        Command::Seed(SeedCommand::List) => seed::list(&context),
        Command::Seed(SeedCommand::Show { name }) => seed::show(&context, name.as_deref()),
        Command::Seed(SeedCommand::Update { name }) => seed::update(&context, name.as_deref()),
        Command::Seed(SeedCommand::Reset { name }) => seed::reset(&context, name.as_deref()),
        // These need no context, so they were done above.
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Config
        | Command::Daemon(_) => Ok(()),
    }
}

/// Sends what this program says about itself to standard error: warnings, with `-vv` everything.
fn start_tracing(verbose: u8, color: bool) {
    let level = match verbose {
        0 | 1 => tracing::Level::WARN,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // A program that embeds this may have set a subscriber: it stays.
    let _ = tracing_subscriber::fmt()
        .with_writer(|| Messages)
        .with_max_level(level)
        .with_ansi(color)
        .without_time()
        .with_target(false)
        .try_init();
}

/// Prints what clap says. Help and version go to standard output, and do not fail where their reader has gone away.
fn end_with(program: &str, error: clap::Error) -> ExitCode {
    let help = match usage::words(program, error) {
        Ok(problem) => {
            context::tell(&problem);
            return ExitCode::from(Status::Usage as u8);
        }
        Err(help) => help,
    };
    let printed = help.print();
    let is_lost = printed.is_err_and(|problem| problem.kind() != io::ErrorKind::BrokenPipe);
    match help.use_stderr() {
        true => ExitCode::from(Status::Usage as u8),
        false if is_lost => ExitCode::from(Status::Environment as u8),
        false => ExitCode::SUCCESS,
    }
}
