// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings: what a run uses where nothing is set, as `bootstrap config` shows it, and who set what is wrong.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};

use super::progress::size;
use crate::engine::Session;

/// Where build directories are made.
pub const TEMPORARY: &str = "TMPDIR";
/// What a build's `/tmp` and `/dev/shm` may hold.
pub const TEMPORARY_SIZE: &str = "build-tmp-size";

/// The environment variable of the option `name`.
pub fn variable(name: &str) -> String {
    format!("BOOTSTRAP_{}", name.replace('-', "_").to_uppercase())
}

/// The `error` that clap found in `arguments` and the environment. Where a value of the environment is wrong, it names
/// the variable instead of the option.
pub fn blaming_variable(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    if let Some(variable) = variable_to_blame(&error, arguments, &|name| std::env::var_os(name)) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The environment variable with the wrong value, if `arguments` do not have that value.
fn variable_to_blame(
    error: &clap::Error,
    arguments: &[OsString],
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let value = text(ContextKind::InvalidValue)?;
    // Such as `--cores <N>`.
    let option = text(ContextKind::InvalidArg)?.strip_prefix("--")?;
    let variable = variable(option.split(' ').next()?);
    let is_given = |argument: &OsString| argument.to_string_lossy().ends_with(value);
    let is_set = environment(&variable).is_some_and(|set| set == value);
    (is_set && !arguments.iter().any(is_given)).then_some(variable)
}

/// What `session` uses for the setting `name`, which is not set; `None` where that is nothing.
pub fn effective(session: &Session, name: &str) -> Option<String> {
    let builds = session.build_settings();
    let directories = session.directories();
    let text = match name {
        "system" => session.options().system.name().to_owned(),
        "seed" => session.seed_name().to_owned(),
        "root" => "/".to_owned(),
        "state-dir" => directories.state.display().to_string(),
        "log-dir" => directories.log.display().to_string(),
        "cache-dir" => directories.cache.display().to_string(),
        "recipes" | "seeds" => "those in the program".to_owned(),
        "max-jobs" => builds.max_jobs.to_string(),
        "cores" => builds.cores.to_string(),
        "max-processes" => builds.limits.processes?.to_string(),
        "timeout" | "max-silent-time" | "max-memory" => "no limit".to_owned(),
        TEMPORARY => builds.temporary.display().to_string(),
        TEMPORARY_SIZE => size::bytes(builds.limits.temporary?),
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, value_parser};

    use super::*;

    #[test]
    fn a_wrong_value_of_the_environment_is_blamed_on_its_variable() {
        let cores = |default: Option<&'static str>| {
            let cores = Arg::new("max_jobs").long("max-jobs").short('j');
            let cores = cores.value_name("N").value_parser(value_parser!(u16));
            Command::new("bootstrap").arg(match default {
                Some(default) => cores.default_value(default),
                None => cores,
            })
        };
        let blamed = |default, arguments: &[&str]| {
            let error = cores(default).try_get_matches_from(arguments).unwrap_err();
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            variable_to_blame(&error, &arguments, &|name| {
                (name == "BOOTSTRAP_MAX_JOBS").then(|| "few".into())
            })
        };
        // To clap, a default is as good as a variable.
        let variable = blamed(Some("few"), &["bootstrap"]);
        assert_eq!(variable.as_deref(), Some("BOOTSTRAP_MAX_JOBS"));
        assert_eq!(blamed(None, &["bootstrap", "--max-jobs=few"]), None);
        assert_eq!(blamed(None, &["bootstrap", "-jfew"]), None);
        assert_eq!(blamed(None, &["bootstrap", "-j", "many"]), None);
        assert_eq!(blamed(None, &["bootstrap", "--max-job"]), None);
    }
}
