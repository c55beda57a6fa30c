// SPDX-License-Identifier: GPL-3.0-or-later
//! What a run uses where nothing is set, as `bootstrap config` shows it.

use super::progress::size;
use crate::engine::Session;

/// Where build directories are made.
pub const TEMPORARY: &str = "TMPDIR";
/// What a build's `/tmp` and `/dev/shm` may hold.
pub const TEMPORARY_SIZE: &str = "build-tmp-size";

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
