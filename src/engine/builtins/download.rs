// SPDX-License-Identifier: GPL-3.0-or-later
//! `builtin:download`: a file with a known hash.
//!
//! The builder is Guix's own, with Guix's attributes (see [`attributes`]). [`fetch`](crate::fetch) tries the places
//! that they name. The store path depends on the hash only. The files of mirrors are store items that clients made:
//! they are read as data.

use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::sync::mpsc::channel;

use rustix::fs::OFlags;

use crate::builder::builtin::{Builtin, BuiltinError, BuiltinOrder, BuiltinReport};
use crate::builder::error::FailureKind;
use crate::builder::graph::BuildJob;
use crate::diagnostics::FileError;
use crate::events::{Event, Kind};
use crate::fetch::{
    FailureClass, FetchError, FetchRequest, FetchedFile, Fetcher, FileHash, Form, attributes,
    by_hash,
};
use crate::formats::store_path::FixedOutputMethod;

/// Makes downloads.
pub struct DownloadBuiltin {
    /// Where files come from. Shared, because a transfer cannot be stopped: one that is under way when a run is
    /// cancelled may outlive the run by a moment.
    pub fetcher: Arc<dyn Fetcher>,
}

/// The most bytes of a file of mirrors that are read; Guix's have 10 KB.
const MIRRORS_MAX: u64 = 1 << 20;

/// What the thread of a transfer, or a cancellation, reports.
enum TransferNews {
    Done(Result<FetchedFile, FetchError>),
    Cancelled,
}

impl Builtin for DownloadBuiltin {
    fn kind(&self) -> Kind {
        Kind::Download
    }

    fn make(&self, order: &BuiltinOrder<'_>) -> Result<BuiltinReport, BuiltinError> {
        let request = request(order.job, &|path| read(order, path))?;
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
        // Whatever mode its file has in the cache.
        let mode = match request.hash.form {
            Form::ProgramNar => 0o755,
            Form::Bytes | Form::Nar => 0o644,
        };
        std::fs::set_permissions(target, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(BuiltinReport {
            cached: fetched.cached,
        })
    }
}

/// The text of the store file at `path`, which a derivation names; `None` where it is not a valid path or not such a
/// file.
fn read(order: &BuiltinOrder<'_>, path: &str) -> Option<String> {
    let path = order.directories.store_dir.parse(path).ok()?;
    // As guix-daemon's helper: a link could lead out of the store, and a pipe would never end.
    let file = std::fs::File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(order.directories.physical(&path))
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MIRRORS_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads the derivation of a download. `read` gives the text of a store file that it names.
///
/// # Errors
/// What is wrong with the derivation.
pub fn request(
    job: BuildJob<'_>,
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<FetchRequest, BuiltinError> {
    let wrong = |problem: &str| BuiltinError::Derivation(problem.to_owned());
    let environment = &job.derivation.environment;
    let fixed = job.derivation.fixed_output();
    let fixed =
        fixed.ok_or_else(|| wrong("a download has one output, `out`, whose hash is known"))?;
    let form = match (fixed.method, environment.text("executable") == Some("1")) {
        (FixedOutputMethod::Flat, false) => Form::Bytes,
        (FixedOutputMethod::Recursive, false) => Form::Nar,
        (FixedOutputMethod::Recursive, true) => Form::ProgramNar,
        (FixedOutputMethod::Flat, true) => {
            return Err(wrong("the hash of a program must be recursive"));
        }
    };
    let name = job.path.name();
    let name = name.strip_suffix(".drv").unwrap_or(name);
    let file_of = |name| environment.text(name).and_then(read);
    let urls = environment
        .text("url")
        .ok_or_else(|| wrong("the attribute `url` is missing, or not UTF-8"))?;
    let mirrors = file_of("mirrors").map(|text| attributes::mirror_list(&text));
    let places = attributes::places(urls, &mirrors.unwrap_or_default())
        .map_err(|error| BuiltinError::Derivation(error.to_string()))?;
    let methods = environment.text("download-methods");
    let has_method = |method| attributes::has_method(methods, method);
    let servers = match file_of("content-addressed-mirrors") {
        Some(code) => {
            let servers = by_hash::templates(&code);
            if servers.is_empty() {
                tracing::debug!(
                    name,
                    "content-addressed-mirrors names no server of a known form"
                );
            }
            servers
        }
        None => Vec::new(),
    };
    let may_ask = form == Form::Bytes && has_method("content-addressed-mirrors");
    let by_hash = servers.iter().filter(|_| may_ask);
    let size = environment.text("size").map(str::parse).transpose();
    let size = size.map_err(|_| wrong("the attribute `size` is not a number"))?;
    Ok(FetchRequest {
        name: name.to_owned(),
        hash: FileHash {
            hash: fixed.hash,
            form,
        },
        size,
        locations: match has_method("upstream") {
            true => places.locations,
            false => Vec::new(),
        },
        by_hash: by_hash
            .map(|server| server.url(name, &fixed.hash))
            .collect(),
        search: may_ask,
        unusable: places.unusable,
    })
}

impl DownloadBuiltin {
    /// Fetches a file in a thread of its own: a fetcher cannot be stopped, and must not keep a run from stopping. What
    /// it has by then stays in its cache for the next time.
    fn fetch(
        &self,
        order: &BuiltinOrder<'_>,
        request: &FetchRequest,
    ) -> Result<FetchedFile, BuiltinError> {
        let (sender, receiver) = channel();
        let cancelled = sender.clone();
        let _stop = order.cancellation.on_cancel(move || {
            // Fails once the transfer is over.
            let _ = cancelled.send(TransferNews::Cancelled);
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
                let _ = sender.send(TransferNews::Done(fetched));
            })
            .map_err(|error| {
                let error =
                    FileError::in_store("start a thread that fetches", &request.name)(error);
                BuiltinError::failed(FailureKind::Environment, error)
            })?;
        match receiver.recv() {
            Ok(TransferNews::Done(Err(FetchError::HashDiffers(wrong)))) => {
                Err(BuiltinError::WrongHash {
                    found: wrong.actual.hash,
                    error: Box::new(FetchError::HashDiffers(wrong)),
                })
            }
            Ok(TransferNews::Done(fetched)) => fetched.map_err(|error| {
                let kind = match error.class() {
                    FailureClass::HashDiffers => FailureKind::HashDiffers,
                    FailureClass::NotFetched => FailureKind::NotFetched,
                    FailureClass::Environment => FailureKind::Environment,
                };
                BuiltinError::failed(kind, error)
            }),
            Ok(TransferNews::Cancelled) => Err(BuiltinError::Interrupted),
            Err(_) => Err(BuiltinError::Bug(
                "the thread of the transfer died".to_owned(),
            )),
        }
    }
}
