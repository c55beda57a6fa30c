// SPDX-License-Identifier: GPL-3.0-or-later
//! Building and substituting what a client wants.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::ClientSession;
use super::build_trace::Traces;
use super::fault::Fault;
use crate::builder::error::{BuildError, BuildFailureCause, WrongHash};
use crate::builder::hook::HookSettings;
use crate::builder::kept_directory::NewOwner;
use crate::builder::settings::Fallback;
use crate::builder::shared_tokens::SharedTokens;
use crate::diagnostics::with_hint;
use crate::engine::{
    self, BuildOptions, EngineError, RealiseMode, Realised, SessionOptions, TrustedKeys,
    WantedDerivation,
};
use crate::events::EventSender;
use crate::formats::base32;
use crate::formats::content_hash::{ContentHash, HashAlgorithm};
use crate::formats::store_path::StorePath;
use crate::formats::system::System;
use crate::formats::visible::visible_path;
use crate::formats::worker::{AskedPath, Fields, RequestedMode};
use crate::show::progress::Reporter;
use crate::show::records::{Recorder, Runs};

/// guix-daemon's status of a build that failed.
const BUILD_FAILED: u32 = 100;

/// guix-daemon's status of a build that took too long, or was silent for too long.
const TIMED_OUT: u32 = 101;

/// How often it is found out whether the client is still there.
const CHECK_CLIENT_EVERY: Duration = Duration::from_millis(250);

impl ClientSession {
    /// Makes a path valid by a substitute, if it is not.
    pub(super) fn ensure_path(&self, asked: &AskedPath) -> Result<Fields, Fault> {
        let path = self.required(asked)?;
        match self
            .substitute(&BTreeSet::from([path.clone()]))?
            .missing
            .is_empty()
        {
            true => Ok(Fields::of_long(1)),
            false => Err(Fault::refused(format!(
                "path `{}' does not exist and cannot be created",
                asked.text()
            ))),
        }
    }

    /// Makes the outputs of derivations valid, and other paths.
    pub(super) fn build_paths(
        &self,
        asked: &[(AskedPath, Vec<String>)],
        mode: RequestedMode,
    ) -> Result<Fields, Fault> {
        let mode = match mode {
            RequestedMode::Normal => RealiseMode::Build,
            RequestedMode::Check => RealiseMode::Check {
                keeps: self.options.keep_failed,
                fails: true,
            },
            RequestedMode::Repair => return self.repair_paths(asked),
        };
        let (wanted, mut others) = self.wanted(asked)?;
        // Clients name derivations that they have not got, so that these are substituted, too.
        others.extend(wanted.iter().map(|wanted| wanted.derivation.clone()));
        // As with guix-daemon, a path that no server has is not a failure: clients see that it is not valid.
        let substituted = self.substitute(&others)?;
        if substituted.failed {
            return Err(self.failure(&substituted.missing, 1));
        }
        if !wanted.is_empty() {
            self.realise(&wanted, mode)?;
        }
        Ok(Fields::of_long(1))
    }

    /// The derivations among `asked`, which are kept from now on, and the other paths.
    pub(super) fn wanted(
        &self,
        asked: &[(AskedPath, Vec<String>)],
    ) -> Result<(Vec<WantedDerivation>, BTreeSet<StorePath>), Fault> {
        let mut wanted: Vec<WantedDerivation> = Vec::new();
        let mut others = BTreeSet::new();
        for (path, outputs) in asked {
            let path = self.required(path)?;
            if path.is_derivation() {
                wanted.push(WantedDerivation {
                    derivation: path.clone(),
                    outputs: outputs.iter().cloned().collect(),
                });
            } else {
                others.insert(path.clone());
            }
        }
        // A derivation that another client deletes meanwhile could not be read.
        self.store
            .add_temporary_roots(wanted.iter().map(|wanted| &wanted.derivation))?;
        Ok((wanted, others))
    }

    /// Builds, and reports progress to the client.
    fn realise(&self, wanted: &[WantedDerivation], mode: RealiseMode) -> Result<(), Fault> {
        // What clients ask for most often is there: that needs neither an engine nor a record.
        if mode == RealiseMode::Build && self.are_built(wanted)? {
            return Ok(());
        }
        if mode != RealiseMode::Build {
            let mut outputs = BTreeSet::new();
            for wanted in wanted {
                let all = self.store.derivation_outputs(&wanted.derivation)?;
                outputs.extend(all.into_values());
            }
            self.substitute(&outputs)?;
            self.refuse_unbuilt(wanted)?;
        }
        let engine = engine::Session::new(self.engine_options()?);
        // An ordinary build has its rounds in the engine, before anything is registered.
        let checks = match mode {
            RealiseMode::Check { .. } => self.options.rounds,
            RealiseMode::Build => 1,
        };
        for _ in 0..checks {
            let realised = self.follow(|events| {
                engine.realise(&self.store, wanted, mode, events, &self.cancellation)
            })?;
            self.check_result(wanted, &realised)?;
        }
        Ok(())
    }

    /// Refuses to build again what is not built: there is nothing to compare with.
    fn refuse_unbuilt(&self, wanted: &[WantedDerivation]) -> Result<(), Fault> {
        for wanted in wanted {
            if !self.are_built(std::slice::from_ref(wanted))? {
                return Err(Fault::refused(format!(
                    "derivation `{}' is missing outputs; build it normally before using `--check'",
                    self.shown(&wanted.derivation)
                )));
            }
        }
        Ok(())
    }

    /// Does `work` in another thread, while this one tells the client of events and sees whether it is still there.
    pub(super) fn follow<R: Send>(
        &self,
        work: impl FnOnce(&EventSender) -> Result<R, EngineError> + Send,
    ) -> Result<R, Fault> {
        let (events, receiver) = EventSender::channel();
        let mut traces = Traces::new(
            &self.client,
            &self.options,
            &self.store,
            &self.configuration.system,
        );
        let mut recorder = Recorder::new(&Runs::new(&self.directories.state));
        let done = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("engine".to_owned())
                .spawn_scoped(scope, move || work(&events));
            let thread = thread.map_err(|error| {
                Fault::refused(format!("the daemon cannot start a thread: {error}"))
            })?;
            let mut checked = Instant::now();
            loop {
                match receiver.recv_timeout(CHECK_CLIENT_EVERY) {
                    Ok(event) => {
                        traces.tell(&event);
                        recorder.report(&event);
                        if let Some(status) = &self.status {
                            status.note(&event);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if checked.elapsed() >= CHECK_CLIENT_EVERY {
                    checked = Instant::now();
                    if self.client.is_closed() {
                        self.cancellation.cancel();
                    }
                }
            }
            thread
                .join()
                .map_err(|_| Fault::refused("internal error: the build thread panicked"))
        })?;
        if let Some(status) = &self.status {
            status.rest();
        }
        if self.cancellation.is_cancelled() {
            // The client is gone, or the daemon ends: no reply can be read, or this is all of it.
            return match self.client.is_closed() {
                true => Err(Fault::Gone),
                false => Err(Fault::ended("the daemon is ending")),
            };
        }
        done.map_err(|error| match error {
            EngineError::Build(error) => self.build_fault(*error),
            error => error.into(),
        })
    }

    fn build_fault(&self, error: BuildError) -> Fault {
        EngineError::from(error).into()
    }

    /// The fault that follows from what was made, if one does.
    fn check_result(&self, wanted: &[WantedDerivation], realised: &Realised) -> Result<(), Fault> {
        let differing = realised.outcomes.iter().find_map(|outcome| {
            let difference = outcome.difference.as_ref()?;
            let derivation = StorePath::from_base_name(&outcome.label);
            let derivation = derivation.map_or(outcome.label.clone(), |path| self.shown(&path));
            let mut message = format!(
                "derivation `{derivation}' may not be deterministic: output `{}' differs",
                self.shown(&outcome.info.path)
            );
            if let Some(kept) = &difference.kept {
                message.push_str(&format!(" from `{}'", visible_path(kept)));
            }
            Some(message)
        });
        if let Some(message) = differing {
            return Err(Fault::Refused { message, status: 1 });
        }
        let errors = &realised.report.errors;
        if errors.is_empty() {
            return Ok(());
        }
        let status = self.log_errors(errors);
        let mut failed = BTreeSet::new();
        for wanted in wanted {
            if !self.are_built(std::slice::from_ref(wanted))? {
                failed.insert(wanted.derivation.clone());
            }
        }
        // Not those that were not tried, since the run ended at the first failure.
        let summary = &realised.report.summary;
        let skipped = summary.skipped.iter().map(|skipped| skipped.item.as_str());
        let named = summary.failed.iter().map(|failed| failed.item.as_str());
        let ended: BTreeSet<&str> = named.chain(skipped).collect();
        let is_ended = |path: &&StorePath| ended.contains(path.base_name());
        let tried: BTreeSet<StorePath> = failed.iter().filter(is_ended).cloned().collect();
        if !tried.is_empty() {
            failed = tried;
        } else if failed.is_empty() {
            // Built again, and that failed.
            failed.extend(wanted.iter().map(|wanted| wanted.derivation.clone()));
        }
        Err(self.failure(&failed, status))
    }

    /// Sends `errors` to the client, and gives guix-daemon's status for them.
    pub(super) fn log_errors(&self, errors: &[BuildError]) -> u32 {
        for error in errors {
            if let (true, Some(trace)) = (self.options.traces, hash_trace(error)) {
                self.client.log(trace);
            }
            // The trace of a build does not have all of it.
            self.client.log(format!("{}\n", with_hint(error)));
            if let Some(kept) = error.kept() {
                let directory = visible_path(kept);
                self.client
                    .log(format!("note: keeping build directory `{directory}'\n"));
            }
        }
        let statuses = errors.iter().map(|error| match error {
            BuildError::Failed(failed) => status_of(&failed.cause),
            _ => 1,
        });
        // That of a build that took too long comes first.
        statuses.max().unwrap_or(1)
    }

    /// guix-daemon's words for paths that could not be made.
    pub(super) fn failure(&self, paths: &BTreeSet<StorePath>, status: u32) -> Fault {
        let paths = paths.iter().map(|path| format!("`{}'", self.shown(path)));
        Fault::Refused {
            message: format!("build of {} failed", paths.collect::<Vec<_>>().join(", ")),
            status,
        }
    }

    /// Whether the outputs that are wanted are valid. They are kept from now on.
    fn are_built(&self, wanted: &[WantedDerivation]) -> Result<bool, Fault> {
        for wanted in wanted {
            let outputs = self.store.derivation_outputs(&wanted.derivation)?;
            let paths: Vec<&StorePath> = outputs
                .iter()
                .filter(|(name, _)| wanted.outputs.is_empty() || wanted.outputs.contains(*name))
                .map(|(_, path)| path)
                .collect();
            self.store.add_temporary_roots(paths.iter().copied())?;
            if paths.is_empty()
                || self.store.valid_among(paths.iter().copied())?.len() < paths.len()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// This session's part in the job tokens of all sessions.
    fn tokens(&self) -> Result<Arc<SharedTokens>, Fault> {
        if let Some(tokens) = self.tokens.get() {
            return Ok(Arc::clone(tokens));
        }
        let configuration = &self.configuration;
        let directory = configuration.places.tokens();
        let tokens = SharedTokens::new(
            &directory,
            configuration.tokens(),
            configuration.reserved_tokens(),
        );
        let tokens = tokens.map_err(|error| {
            Fault::refused(format!(
                "cannot make the directory of job tokens {}: {error}",
                directory.display()
            ))
        })?;
        Ok(Arc::clone(self.tokens.get_or_init(|| Arc::new(tokens))))
    }

    /// The build hook, where there is one and the client does not want to do without.
    fn hook(&self) -> Option<HookSettings> {
        let (program, arguments) = self.configuration.build_hook.split_first()?;
        self.options.use_build_hook.then(|| HookSettings {
            program: program.into(),
            arguments: arguments.iter().map(Into::into).collect(),
            traces: self.options.traces,
            answer_within: None,
        })
    }

    /// Who gets the build directories that are kept: the client's user, where that is not this process's own, or root.
    /// Nothing a build makes is given to root's group.
    fn keeps_for(&self) -> Option<NewOwner> {
        let identity = self.peer.identity?;
        let is_other = identity.user != 0 && identity.user != rustix::process::geteuid().as_raw();
        let group = Some(identity.group).filter(|group| *group != 0);
        is_other.then_some((identity.user, group))
    }

    /// The options of the engine for this client's builds.
    pub(super) fn engine_options(&self) -> Result<SessionOptions, Fault> {
        let system: System = self.configuration.system.parse().map_err(Fault::refused)?;
        let count = |number: u32| NonZeroUsize::new(number as usize);
        let options = &self.options;
        let (substitute_urls, keys) = self.substitute_sources()?;
        Ok(SessionOptions {
            directories: self.directories.clone(),
            offline: self.configuration.offline,
            mirrors: self.configuration.mirrors.clone(),
            substitute_urls,
            trusted_keys: TrustedKeys::Keys(keys),
            build: BuildOptions {
                // Without any, those that prefer this machine are built one by one.
                max_jobs: count(options.max_jobs.max(1)),
                only_elsewhere: options.max_jobs == 0,
                hook: self.hook(),
                cores: count(options.cores),
                tells_all_cores: true,
                shared_tokens: Some(self.tokens()?),
                keep_failed: options.keep_failed,
                keep_going: options.keep_going,
                ends_others: true,
                ignores_strays: true,
                fallback: match options.fallback {
                    true => Fallback::Always,
                    false => Fallback::Never,
                },
                keeps_for: self.keeps_for(),
                cache_failures: self.configuration.cache_failures,
                log_compression: self.configuration.log_compression,
                rounds: NonZeroU32::new(options.rounds),
                timeout: options.timeout(),
                max_silent_time: options.max_silent_time(),
                max_memory: self.configuration.max_memory,
                max_processes: self.configuration.max_processes,
                host_directories: self.configuration.chroot_directories.clone(),
                sandbox_is_fit: self.sandbox_is_fit,
                skips_untrusted: true,
                ..BuildOptions::default()
            },
            ..SessionOptions::new(system, self.directories.store_dir.clone())
        })
    }
}

/// guix-daemon's status of a failure: the builder's own, one of time or output, or any other.
fn status_of(cause: &BuildFailureCause) -> u32 {
    match cause {
        BuildFailureCause::Status(_)
        | BuildFailureCause::FailedBefore
        | BuildFailureCause::FailedElsewhere => BUILD_FAILED,
        BuildFailureCause::TimedOut(_)
        | BuildFailureCause::TimedOutElsewhere
        | BuildFailureCause::Silent(_)
        | BuildFailureCause::LogTooLong(_) => TIMED_OUT,
        _ => 1,
    }
}

/// guix-daemon's line for a fixed output of another hash, of which clients make a message that has both hashes.
fn hash_trace(error: &BuildError) -> Option<String> {
    let WrongHash {
        path,
        method,
        expected,
        found,
    } = error.wrong_hash()?;
    let digits = |hash: &ContentHash| match hash.algorithm() {
        HashAlgorithm::Md5 => hash.to_base16(),
        _ => base32::encode(hash.bytes()),
    };
    let (prefix, name) = (method.prefix(), expected.algorithm().name());
    let (expected, found) = (digits(&expected), digits(&found));
    Some(format!(
        "@ hash-mismatch {path} {prefix}{name} {expected} {found}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::error::{FailedBuild, FailureKind};
    use crate::formats::store_path::FixedOutputMethod;

    #[test]
    fn builds_and_downloads_of_another_hash_have_one_line() {
        let [expected, found] = ["one", "two"].map(|text| {
            ContentHash::of_reader(HashAlgorithm::Sha256, &mut text.as_bytes()).unwrap()
        });
        let wrong = WrongHash {
            path: "/gnu/store/x".to_owned(),
            method: FixedOutputMethod::Recursive,
            expected,
            found,
        };
        let digits = |hash: ContentHash| base32::encode(hash.bytes());
        let line = format!(
            "@ hash-mismatch /gnu/store/x r:sha256 {} {}\n",
            digits(expected),
            digits(found)
        );
        let download = |wrong_hash| BuildError::Maker {
            label: "x".to_owned(),
            kind: FailureKind::HashDiffers,
            wrong_hash,
            error: "other bytes".into(),
        };
        let build = BuildError::Failed(Box::new(FailedBuild {
            label: "x".to_owned(),
            cause: BuildFailureCause::HashDiffers {
                path: wrong.path.clone(),
                method: wrong.method,
                expected,
                found,
            },
            phase: None,
            last_lines: Vec::new(),
            likely_cause: None,
            log: None,
            kept: None,
        }));
        assert_eq!(hash_trace(&build), Some(line.clone()));
        assert_eq!(hash_trace(&download(Some(Box::new(wrong)))), Some(line));
        assert_eq!(hash_trace(&download(None)), None);
        assert_eq!(hash_trace(&BuildError::Interrupted), None);
    }
}
