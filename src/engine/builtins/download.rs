//! `builtin:download`: a file with a known hash.
//!
//! The builder is Guix's own. It makes one flat fixed output. The variable `url` holds the places to try;
//! [`fetch`](crate::fetch) tries them. The store path depends on the hash only.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::builder::builtin::{Builtin, BuiltinError, BuiltinReport, Order};
use crate::builder::error::FailureKind;
use crate::builder::graph::Job;
use crate::diagnostics::FileError;
use crate::events::{Event, Kind};
use crate::fetch::{FailureClass, FetchError, FetchedFile, Fetcher, Location, Request};
use crate::formats::store_path::FixedOutputMethod;

/// Makes downloads.
pub struct Download {
    /// Where files come from. Shared, because a transfer cannot be stopped: one that is under way when a run is cancelled may
    /// outlive the run by a moment.
    pub fetcher: Arc<dyn Fetcher>,
}

/// What the thread of a transfer, or a cancellation, reports.
enum News {
    Done(Result<FetchedFile, FetchError>),
    Cancelled,
}

impl Builtin for Download {
    fn kind(&self) -> Kind {
        Kind::Download
    }

    fn make(&self, order: &Order<'_>) -> Result<BuiltinReport, BuiltinError> {
        let request = request(order.job)?;
        let Some(target) = order.outputs.get("out") else {
            return Err(BuiltinError::Derivation(
                "the output of a download is called `out`".to_owned(),
            ));
        };
        let fetched = self.fetch(order, &request)?;
        let failed = |error| {
            let error = FileError::in_store("create", target)(error);
            BuiltinError::failed(FailureKind::Environment, error)
        };
        std::fs::copy(&fetched.path, target).map_err(failed)?;
        // A download is not a program, whatever mode its file has in the cache.
        std::fs::set_permissions(target, Permissions::from_mode(0o644)).map_err(failed)?;
        Ok(BuiltinReport {
            cached: fetched.cached,
        })
    }
}

/// Reads the derivation of a download.
///
/// # Errors
/// What is wrong with the derivation.
pub fn request(job: Job<'_>) -> Result<Request, BuiltinError> {
    let wrong = BuiltinError::Derivation;
    let environment = &job.derivation.environment;
    let fixed = job.derivation.fixed_output();
    let sha256 = fixed
        .filter(|fixed| fixed.method == FixedOutputMethod::Flat)
        .and_then(|fixed| fixed.hash.sha256())
        .ok_or_else(|| {
            wrong("a download has one output whose content's SHA-256 is known".to_owned())
        })?;
    let urls = environment.text("url").unwrap_or_default();
    let locations = urls
        .split_ascii_whitespace()
        .map(str::parse::<Location>)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("url: {error}")))?;
    let size = environment.text("size").map(|size| size.parse());
    let size = size.transpose();
    Ok(Request {
        name: job
            .path
            .name()
            .strip_suffix(".drv")
            .unwrap_or(job.path.name())
            .to_owned(),
        sha256,
        size: size.map_err(|error| wrong(format!("size: {error}")))?,
        locations,
    })
}

impl Download {
    /// Fetches a file in a thread of its own: a fetcher cannot be stopped, and must not keep a run from stopping. What it has
    /// by then stays in its cache for the next time.
    fn fetch(&self, order: &Order<'_>, request: &Request) -> Result<FetchedFile, BuiltinError> {
        let (sender, receiver) = channel();
        let cancelled = sender.clone();
        let _stop = order.cancellation.on_cancel(move || {
            // Fails once the transfer is over.
            let _ = cancelled.send(News::Cancelled);
        });
        let fetcher = Arc::clone(&self.fetcher);
        let events = order.events.clone();
        let (item, wanted) = (order.job.label.to_owned(), request.clone());
        let size = order.job.size;
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
            .map_err(|error| {
                let error =
                    FileError::in_store("start a thread that fetches", &request.name)(error);
                BuiltinError::failed(FailureKind::Environment, error)
            })?;
        match receiver.recv() {
            Ok(News::Done(fetched)) => fetched.map_err(|error| {
                let kind = match error.class() {
                    FailureClass::HashDiffers => FailureKind::HashDiffers,
                    FailureClass::NotFetched => FailureKind::NotFetched,
                    FailureClass::Environment => FailureKind::Environment,
                };
                BuiltinError::failed(kind, error)
            }),
            Ok(News::Cancelled) => Err(BuiltinError::Interrupted),
            Err(_) => Err(BuiltinError::Bug(
                "the thread of the transfer died".to_owned(),
            )),
        }
    }
}
