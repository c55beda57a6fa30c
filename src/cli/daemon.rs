// SPDX-License-Identifier: GPL-3.0-or-later
//! `daemon`, and the same program under the name `guix-daemon`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use super::arguments::{DaemonArguments, Global};
use super::context::Context;
use super::failure::CommandFailure;
use crate::builder::log::LogCompression;
use crate::daemon::configuration::{DaemonConfiguration, SILENT_TIME, TIMEOUT, unsupported};
use crate::daemon::hook::{UnknownHook, build_hook};
use crate::daemon::listener::{SessionLimits, serve};
use crate::daemon::socket::Socket;
use crate::daemon::status::announce;
use crate::formats::system::UnknownSystem;
use crate::show::progress::invocation::Invocation;
use crate::show::usage;

/// The name under which the program takes guix-daemon's options.
const GUIX_DAEMON: &str = "guix-daemon";

/// Perform derivation builds and store accesses for Guix's clients
#[derive(Debug, Parser)]
#[command(name = GUIX_DAEMON, version, max_term_width = 100, infer_long_args = true)]
struct GuixDaemonArguments {
    #[command(flatten)]
    daemon: DaemonArguments,
    /// Assume SYSTEM as the system to build for
    #[arg(long, value_name = "SYSTEM")]
    system: Option<String>,
    /// Use N processor cores for builds; 0 is all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    cores: u32,
    /// Run at most N builds at a time for each client
    #[arg(short = 'M', long, value_name = "N", default_value_t = 1)]
    max_jobs: u32,
    /// Stop a build that takes longer than SECONDS; 0 is without bound
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    timeout: u64,
    /// Stop a build that says nothing for SECONDS; 0 is without bound
    #[arg(long, value_name = "SECONDS", default_value_t = SILENT_TIME)]
    max_silent_time: u64,
    /// Use URLS, separated by spaces, as substitute servers of clients that name none
    #[arg(long, value_name = "URLS")]
    substitute_urls: Option<String>,
    /// Put store, state and logs under DIR
    #[arg(long, value_name = "DIR", env = "BOOTSTRAP_ROOT")]
    root: Option<PathBuf>,
    /// The store directory
    #[arg(long, value_name = "DIR", env = "NIX_STORE_DIR", hide = true)]
    store_dir: Option<String>,
    /// The directory of database, roots and locks
    #[arg(long, value_name = "DIR", env = "GUIX_STATE_DIRECTORY", hide = true)]
    state_dir: Option<PathBuf>,
    /// The directory of build logs
    #[arg(long, value_name = "DIR", env = "GUIX_LOG_DIRECTORY", hide = true)]
    log_dir: Option<PathBuf>,
    /// The directory of downloads
    #[arg(long, value_name = "DIR", env = "BOOTSTRAP_CACHE_DIR", hide = true)]
    cache_dir: Option<PathBuf>,
}

/// Whether the program was started as `guix-daemon`.
pub(super) fn is_guix_daemon(arguments: &[OsString]) -> bool {
    let name = arguments.first().map(PathBuf::from);
    name.is_some_and(|name| name.file_name().is_some_and(|name| name == GUIX_DAEMON))
}

/// What is served, and how.
struct ServicePlan {
    configuration: DaemonConfiguration,
    listen: Vec<String>,
}

/// `guix-daemon`.
pub(super) fn guix_daemon(arguments: &[OsString]) -> ExitCode {
    if let Err(error) = guix_daemon_command().try_get_matches_from(arguments) {
        return super::end_with("guix-daemon", error);
    }
    match run(&|| read_guix_daemon(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.render(false, &Invocation::default());
            super::context::tell(&format!("{}\n", text.trim_end()));
            ExitCode::from(failure.status())
        }
    }
}

/// `bootstrap daemon`. `reread` parses the arguments again: settings files may have changed.
pub(super) fn daemon(
    global: &Global,
    arguments: &DaemonArguments,
    reread: &dyn Fn() -> Result<(Global, DaemonArguments), CommandFailure>,
) -> Result<(), CommandFailure> {
    let first = std::cell::Cell::new(Some((global.clone(), arguments.clone())));
    run(&|| {
        let (global, arguments) = match first.take() {
            Some(first) => first,
            None => reread()?,
        };
        let context = Context::new(global)?;
        let mut plan = plan(&context, &arguments)?;
        let (options, configuration) = (&context.options, &mut plan.configuration);
        // What the global options leave open is up to the daemon's clients.
        configuration.max_jobs = options.max_jobs.map_or(1, u32::from);
        configuration.cores = options.cores.map_or(0, u32::from);
        configuration.timeout = options.timeout.unwrap_or(TIMEOUT);
        configuration.max_silent_time = options.max_silent_time.unwrap_or(SILENT_TIME);
        configuration.set_substitute_urls(options.substitute_urls.as_deref());
        Ok(plan)
    })
}

/// The failure of a command line that is read again, where the settings have changed what is possible with it.
fn usage(error: clap::Error) -> CommandFailure {
    CommandFailure::usage(usage::problem(&error), usage::tip(&error))
}

/// Reads the command line `arguments` again, with the settings as they are now.
pub(super) fn reread(arguments: &[OsString]) -> Result<(Global, DaemonArguments), CommandFailure> {
    let settings = super::configuration::Settings::load()?;
    let matches = settings
        .command()
        .try_get_matches_from(arguments)
        .map_err(usage)?;
    let parsed = super::arguments::Arguments::from_arg_matches(&matches).map_err(usage)?;
    match parsed.command {
        super::arguments::Command::Daemon(own) => Ok((parsed.global, own)),
        _ => Err(CommandFailure::usage("expected the command `daemon`", "")),
    }
}

/// guix-daemon's options. Service files repeat some to change them: the last one counts.
fn guix_daemon_command() -> clap::Command {
    GuixDaemonArguments::command().mut_args(|argument| match argument.get_action() {
        ArgAction::Append => argument,
        _ => argument.clone().overrides_with(argument.get_id().clone()),
    })
}

fn read_guix_daemon(arguments: &[OsString]) -> Result<ServicePlan, CommandFailure> {
    let matches = guix_daemon_command().try_get_matches_from(arguments);
    let matches = matches.map_err(usage)?;
    let parsed = GuixDaemonArguments::from_arg_matches(&matches).map_err(usage)?;
    let mut global = super::arguments::Arguments::try_parse_from(["bootstrap", "daemon"])
        .map_err(usage)?
        .global;
    global.system = parsed
        .system
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: UnknownSystem| CommandFailure::usage(error.to_string(), ""))?;
    global.root = parsed.root;
    global.state_dir = parsed.state_dir;
    global.log_dir = parsed.log_dir;
    global.cache_dir = parsed.cache_dir;
    if let Some(store_dir) = parsed.store_dir {
        global.store_dir = store_dir;
    }
    let mut plan = plan(&Context::new(global)?, &parsed.daemon)?;
    let configuration = &mut plan.configuration;
    configuration.max_jobs = parsed.max_jobs;
    configuration.cores = parsed.cores;
    configuration.timeout = parsed.timeout;
    configuration.max_silent_time = parsed.max_silent_time;
    configuration.set_substitute_urls(parsed.substitute_urls.as_deref());
    Ok(plan)
}

/// What follows from `arguments`, and from the directories and system of `context`.
///
/// # Errors
/// Where an option asks for what this daemon does not do.
fn plan(context: &Context, arguments: &DaemonArguments) -> Result<ServicePlan, CommandFailure> {
    // In the order of `UNSUPPORTED`.
    let refused = unsupported([
        arguments.disable_chroot,
        arguments.impersonate_linux,
        arguments.lose_logs,
        arguments.isolate_host_loopback,
        arguments.discover,
    ]);
    if let Some(message) = refused {
        return Err(CommandFailure::usage(message, "leave the option out"));
    }
    let hook = arguments.build_hook.as_deref();
    let hook = (!arguments.no_offload).then(|| build_hook(hook, &context.directories));
    let wrong =
        |error: UnknownHook| CommandFailure::usage(error.to_string(), "give a program's path");
    let session = context.session.options();
    Ok(ServicePlan {
        configuration: DaemonConfiguration {
            offline: session.offline,
            mirrors: session.mirrors.clone(),
            max_memory: session.build.max_memory,
            max_processes: session.build.max_processes,
            rounds: arguments.rounds.max(1),
            total_jobs: arguments.total_jobs,
            use_substitutes: !arguments.no_substitutes,
            acl: arguments.acl.clone(),
            signing_key: arguments.signing_key.clone(),
            build_hook: hook.transpose().map_err(wrong)?.unwrap_or_default(),
            cache_failures: arguments.cache_failures,
            keep_outputs: arguments.gc_keep_outputs,
            keep_derivations: arguments.gc_keep_derivations,
            deduplicate: !arguments.disable_deduplication,
            log_compression: match arguments.disable_log_compression {
                true => LogCompression::None,
                false => arguments.log_compression,
            },
            chroot_directories: arguments.chroot_directory.iter().cloned().collect(),
            trusted_users: arguments.trusted_user.clone(),
            debug: arguments.debug,
            ..DaemonConfiguration::new(session.system.name().to_owned(), &context.directories)
        },
        listen: arguments.listen.clone(),
    })
}

/// Listens and serves as `read` says, which is asked again upon SIGHUP.
fn run(read: &dyn Fn() -> Result<ServicePlan, CommandFailure>) -> Result<(), CommandFailure> {
    let plan = read()?;
    for limit in crate::sandbox::inherited::low_limits() {
        super::context::tell(&format!("bootstrap: warning: {limit}; raise it\n"));
    }
    // Before a client can connect: who finds the daemon serving finds it in `bootstrap top`, too.
    let status = announce(&plan.configuration);
    let mut sockets = Socket::given()?;
    for place in &plan.listen {
        let socket = Socket::listen(place)?;
        if matches!(socket, Socket::Remote(_)) {
            super::context::tell(&format!(
                "bootstrap: warning: anyone who reaches {place} can use the daemon: it does not know the users of other \
                 machines, and nothing is encrypted\n"
            ));
        }
        sockets.push(socket);
    }
    if sockets.is_empty() {
        sockets.push(Socket::local(&plan.configuration.places.socket())?);
    }
    let reload = || Ok(read().map_err(|error| error.to_string())?.configuration);
    let limits = SessionLimits::default();
    Ok(serve(sockets, plan.configuration, limits, &reload, status)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<ServicePlan, CommandFailure> {
        let whole = std::iter::once(GUIX_DAEMON).chain(arguments.iter().copied());
        let whole: Vec<OsString> = whole.map(OsString::from).collect();
        read_guix_daemon(&whole)
    }

    #[test]
    fn guix_daemons_options_are_taken_by_their_names() {
        let plan = read(&[
            // getopt's abbreviations.
            "--build-users=guixbuild",
            "-M",
            "4",
            "--cores=0",
            "--substitute-urls=https://a.example https://b.example",
            "--listen=/tmp/one",
            "--listen=localhost",
            "--gc-keep-outputs",
            "--gc-keep-derivations=No",
            "--no-offload",
            "--rounds=2",
            "--timeout=5",
            "--disable-deduplication",
            "--chroot-directory=/usr/share",
            "--chroot-directory=/usr/share/",
            "--log-compression=bzip2",
            "--discover=no",
            "--root=/try",
        ])
        .unwrap();
        let configuration = plan.configuration;
        assert_eq!((configuration.max_jobs, configuration.cores), (4, 0));
        assert_eq!(configuration.substitute_urls.len(), 2);
        assert_eq!(plan.listen, ["/tmp/one", "localhost"]);
        assert!(configuration.keep_outputs && !configuration.keep_derivations);
        assert_eq!((configuration.rounds, configuration.timeout), (2, 5));
        assert_eq!(configuration.max_silent_time, 3600);
        assert_eq!(
            configuration.chroot_directories,
            [PathBuf::from("/usr/share")].into()
        );
        assert_eq!(configuration.log_compression, LogCompression::Bzip2);
        assert_eq!(
            configuration.places.socket(),
            PathBuf::from("/try/var/guix/daemon-socket/socket")
        );
    }

    #[test]
    fn of_an_option_that_is_given_again_the_last_one_counts() {
        let plan = read(&[
            "--max-jobs=2",
            "--no-substitutes",
            "--substitute-urls=https://a.example",
            "--max-jobs=4",
            "--no-substitutes",
            "--substitute-urls=https://b.example https://c.example",
            "--listen=/tmp/one",
            "--listen=/tmp/two",
        ])
        .unwrap();
        assert_eq!(plan.configuration.max_jobs, 4);
        assert_eq!(plan.listen, ["/tmp/one", "/tmp/two"]);
    }

    #[test]
    fn an_unknown_option_is_an_error_with_the_nearest_name() {
        let Err(CommandFailure::Found { message, hint, .. }) = read(&["--max-jobz=4"]) else {
            panic!("it was accepted");
        };
        assert_eq!(message, "unexpected argument '--max-jobz' found");
        assert!(hint.contains("--max-jobs"), "{hint}");
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for option in [
            "--disable-chroot",
            "--impersonate-linux-2.6",
            "--lose-logs",
            "--isolate-host-loopback",
            "--discover",
        ] {
            let Err(CommandFailure::Found { message, .. }) = read(&[option]) else {
                panic!("{option} was accepted");
            };
            let name = option.split('=').next().unwrap();
            assert!(message.starts_with(name), "{message}");
        }
    }
}
