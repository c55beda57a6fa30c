//! Derivations whose builder is this program itself: downloads and seeds.
//!
//! `builtin:download` is Guix's own: a flat fixed output, with the places to get it from in `url`. The places are tried
//! by [`fetch`](crate::fetch); the store path depends on the hash only. `builtin:unpack-seed` unpacks the archives of a
//! seed, which are inputs of the derivation, into a tree; what its environment says is [`seed`](crate::road::seed)'s to know.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use super::error::BuildError;
use super::graph::{Job, Task};
use super::item::{Builder, Staging, outputs};
use super::scheduler::Outcome;
use crate::events::{Event, Made};
use crate::fetch::{FetchError, FetchedFile, Location, Request};
use crate::formats::store_path::FixedOutputMethod;
use crate::road::seed::unpack::Contents;
use crate::store::{PreparedOutputs, StagedOutput};

/// What news a download's thread has for the one that waits for it.
enum News {
    Done(Result<FetchedFile, FetchError>),
    Cancelled,
}

/// Reads the derivation of a download.
pub fn request(job: Job<'_>) -> Result<Request, BuildError> {
    let wrong = |problem: String| BuildError::Derivation {
        label: job.label.to_owned(),
        problem,
    };
    let environment = &job.derivation.environment;
    let fixed = job.derivation.fixed_output();
    let fixed = fixed
        .filter(|fixed| fixed.method == FixedOutputMethod::Flat)
        .ok_or_else(|| {
            wrong("a download has one output whose content's SHA-256 is known".to_owned())
        })?;
    let urls = environment.get("url").map_or("", String::as_str);
    let locations = urls
        .split_ascii_whitespace()
        .map(str::parse::<Location>)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("url: {error}")))?;
    let size = environment.get("size").map(|size| size.parse());
    let size = size.transpose();
    Ok(Request {
        name: job
            .path
            .name()
            .strip_suffix(".drv")
            .unwrap_or(job.path.name())
            .to_owned(),
        sha256: fixed.hash,
        size: size.map_err(|error| wrong(format!("size: {error}")))?,
        locations,
    })
}

impl Builder<'_, '_> {
    /// A file with a known hash.
    pub(super) fn download(&self, job: Job<'_>) -> Result<Outcome, BuildError> {
        let request = request(job)?;
        let outputs = outputs(job)?;
        let start = self.begin(job, None);
        let fetched = self.fetch(job, &request)?;
        let store = self.tools.store;
        let path = store
            .add_file_flat(&request.name, &fetched.path, request.sha256)
            .map_err(BuildError::store(job.label))?;
        if outputs.first().map(|(_, output)| *output) != Some(&path) {
            return Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem: format!(
                    "its content belongs at {}",
                    store.directories().store_dir.display(&path)
                ),
            });
        }
        let info = store
            .path_info(&path)
            .map_err(BuildError::store(job.label))?;
        Ok(Outcome::Made(Made {
            cached: fetched.cached,
            ..self.made(start, &outputs, info.as_slice())
        }))
    }

    /// Fetches a file, in a thread of its own: a fetcher cannot be stopped, but must not keep a run from stopping.
    /// What it has got by then stays in its cache, for the next time.
    pub(super) fn fetch(&self, job: Job<'_>, request: &Request) -> Result<FetchedFile, BuildError> {
        let (sender, receiver) = channel();
        let cancelled = sender.clone();
        let _stop = self.cancellation.on_cancel(move || {
            // Nobody listens any more once it is done.
            let _ = cancelled.send(News::Cancelled);
        });
        let fetcher = Arc::clone(&self.tools.fetcher);
        let (events, item, wanted) = (self.events.clone(), job.label.to_owned(), request.clone());
        let size = job.size;
        std::thread::Builder::new()
            .name(format!("fetch {}", request.name))
            .spawn(move || {
                let fetched = fetcher.fetch(&wanted, &|progress| {
                    events.emit(Event::DownloadProgress {
                        item: item.clone(),
                        received: progress.received,
                        total: progress.total.or(size),
                        location: progress.location.to_owned(),
                    });
                });
                let _ = sender.send(News::Done(fetched));
            })
            .map_err(BuildError::Thread)?;
        match receiver.recv() {
            Ok(News::Done(fetched)) => fetched.map_err(|source| BuildError::Fetch {
                label: job.label.to_owned(),
                source: Box::new(source),
            }),
            Ok(News::Cancelled) => Err(BuildError::Interrupted),
            Err(_) => Err(BuildError::Panicked {
                label: job.label.to_owned(),
                message: "the download's thread died".to_owned(),
            }),
        }
    }

    /// A seed, unpacked by ourselves.
    pub(super) fn unpack(&self, task: &Task<'_>) -> Result<Outcome, BuildError> {
        let job = task.job;
        let outputs = outputs(job)?;
        let &[("out", path)] = outputs.as_slice() else {
            return Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem: "a seed has one output, `out`".to_owned(),
            });
        };
        let Some(locks) = self.lock(job, &outputs)? else {
            return Ok(Outcome::Reused);
        };
        let directory = self.scratch.directory();
        let slot = self.pool.acquire(task.urgency, None);
        let Some(_slot) =
            slot.map_err(BuildError::io("create a job server's pipe in", directory))?
        else {
            return Err(BuildError::Interrupted);
        };
        let staging = Staging::create(self.tools.store, &locks, path);
        let staging = staging.map_err(BuildError::store(job.label))?;
        let start = self.begin(job, None);
        let staged = staging.path.join("out");
        let unpacked = self.unpack_seed(job, &staged);
        // Also where unpacking failed: that is what stopping it looks like.
        if self.cancellation.is_cancelled() {
            return Err(BuildError::Interrupted);
        }
        unpacked?;
        let staged = StagedOutput {
            staged,
            path: path.clone(),
            // A base system knows nothing of the store. Looking for the archives, which are gone when it is used, would
            // only make it depend on them by chance.
            candidates: [path.clone()].into(),
            deriver: Some(job.path.clone()),
        };
        let infos = self
            .tools
            .store
            .prepare_outputs(&locks, vec![staged])
            .and_then(PreparedOutputs::commit)
            .map_err(BuildError::store(job.label))?;
        Ok(Outcome::Made(self.made(start, &outputs, &infos)))
    }

    /// Makes the tree of a seed at `target`.
    pub(super) fn unpack_seed(&self, job: Job<'_>, target: &Path) -> Result<(), BuildError> {
        let fail = |source| BuildError::Unpack {
            label: job.label.to_owned(),
            source: Box::new(source),
        };
        let directories = self.tools.store.directories();
        let physical = |text: &str| {
            let path = directories.store_dir.parse(text).ok()?;
            Some(directories.physical(&path))
        };
        let contents =
            Contents::from_environment(&job.derivation.environment, &physical).map_err(fail)?;
        let stop = Arc::new(AtomicBool::new(false));
        let _stop = self.cancellation.on_cancel({
            let stop = Arc::clone(&stop);
            move || stop.store(true, Ordering::Relaxed)
        });
        self.tools
            .unpacker
            .unpack(&contents, target, &stop)
            .map(drop)
            .map_err(fail)
    }
}
