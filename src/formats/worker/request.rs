// SPDX-License-Identifier: GPL-3.0-or-later
//! What a client asks for.

use std::io::Read;

use super::wire::{AskedPath, TEXT_MAX};
use super::{ClientOptions, Version, WireError, WireReader};
use crate::formats::store_path::StoreDir;

/// What `build-paths` does about what is valid already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedMode {
    /// Nothing.
    Normal,
    /// Puts damaged outputs right. For trusted clients only.
    Repair,
    /// Builds again and compares.
    Check,
}

/// What `collect-garbage` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectAction {
    /// Lists the live paths.
    ReturnLive,
    /// Lists the dead paths.
    ReturnDead,
    /// Deletes dead paths.
    DeleteDead,
    /// Deletes certain paths.
    DeleteSpecific,
}

/// One operation and its arguments. Each is described in guix-daemon's terms; the number is the operation's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are named after what `worker-protocol` has.
pub enum WorkerRequest {
    /// 1. The path is checked by the daemon: one that is not in the store is an error that leaves the connection
    ///    usable.
    IsValidPath { path: String },
    /// 3.
    HasSubstitutes(AskedPath),
    /// 4.
    QueryPathHash(AskedPath),
    /// 5.
    QueryReferences(AskedPath),
    /// 6.
    QueryReferrers(AskedPath),
    /// 7. The archive follows in the input.
    AddToStore {
        name: String,
        recursive: bool,
        algorithm: String,
    },
    /// 8.
    AddTextToStore {
        name: String,
        content: Vec<u8>,
        references: Vec<AskedPath>,
    },
    /// 9. Each element is a derivation, `DERIVATION!OUTPUT,…`, or another path.
    BuildPaths {
        wanted: Vec<(AskedPath, Vec<String>)>,
        mode: RequestedMode,
    },
    /// 10.
    EnsurePath(AskedPath),
    /// 11.
    AddTemporaryRoot(AskedPath),
    /// 12. A file name.
    AddIndirectRoot { link: Vec<u8> },
    /// 13.
    SyncWithCollector,
    /// 14.
    FindRoots,
    /// 16.
    ExportPath { path: AskedPath, sign: bool },
    /// 18.
    QueryDeriver(AskedPath),
    /// 19.
    SetOptions(ClientOptions),
    /// 20.
    CollectGarbage {
        action: CollectAction,
        paths: Vec<AskedPath>,
        ignore_liveness: bool,
        most_freed: u64,
    },
    /// 21.
    QuerySubstitutablePathInfo(AskedPath),
    /// 22.
    QueryDerivationOutputs(AskedPath),
    /// 23.
    QueryAllValidPaths,
    /// 24.
    QueryFailedPaths,
    /// 25. Paths, or `*` for all.
    ClearFailedPaths { paths: Vec<String> },
    /// 26.
    QueryPathInfo(AskedPath),
    /// 27. The daemon asks for the bytes.
    ImportPaths,
    /// 28.
    QueryDerivationOutputNames(AskedPath),
    /// 29.
    QueryPathFromHashPart { hash_part: String },
    /// 30.
    QuerySubstitutablePathInfos(Vec<AskedPath>),
    /// 31.
    QueryValidPaths(Vec<AskedPath>),
    /// 32.
    QuerySubstitutablePaths(Vec<AskedPath>),
    /// 33.
    QueryValidDerivers(AskedPath),
    /// 34.
    OptimiseStore,
    /// 35.
    VerifyStore { check_contents: bool, repair: bool },
    /// 80.
    BuiltinBuilders,
    /// 81.
    SubstituteUrls,
}

impl WorkerRequest {
    /// Reads the next request of a client of `version`, or `None` where the client has closed the connection after the
    /// one before.
    ///
    /// # Errors
    /// Where it cannot be read. What follows it in the input has no meaning then.
    pub fn read(
        reader: &mut WireReader<impl Read>,
        store_dir: &StoreDir,
        version: Version,
    ) -> Result<Option<Self>, WireError> {
        let Some(operation) = reader.long_or_end()? else {
            return Ok(None);
        };
        let minor = version.minor();
        Ok(Some(match operation {
            1 => Self::IsValidPath {
                path: reader.string("a path")?,
            },
            3 => Self::HasSubstitutes(reader.path(store_dir)?),
            4 => Self::QueryPathHash(reader.path(store_dir)?),
            5 => Self::QueryReferences(reader.path(store_dir)?),
            6 => Self::QueryReferrers(reader.path(store_dir)?),
            7 => add_to_store(reader)?,
            8 => Self::AddTextToStore {
                name: reader.string("a name")?,
                content: reader.bytes("a text", TEXT_MAX)?,
                references: reader.paths(store_dir)?,
            },
            9 => Self::BuildPaths {
                wanted: reader.list("a list of derivations", |reader| wanted(reader, store_dir))?,
                mode: match minor >= 15 {
                    true => mode(reader.int()?)?,
                    false => RequestedMode::Normal,
                },
            },
            10 => Self::EnsurePath(reader.path(store_dir)?),
            11 => Self::AddTemporaryRoot(reader.path(store_dir)?),
            12 => Self::AddIndirectRoot {
                link: reader.name("a file name")?,
            },
            13 => Self::SyncWithCollector,
            14 => Self::FindRoots,
            16 => Self::ExportPath {
                path: reader.path(store_dir)?,
                sign: reader.boolean()?,
            },
            18 => Self::QueryDeriver(reader.path(store_dir)?),
            19 => Self::SetOptions(ClientOptions::read(reader, version)?),
            20 => {
                let request = Self::CollectGarbage {
                    action: action(reader.int()?)?,
                    paths: reader.paths(store_dir)?,
                    ignore_liveness: reader.boolean()?,
                    most_freed: reader.long()?,
                };
                for _ in 0..if minor >= 5 { 3 } else { 1 } {
                    reader.int()?;
                }
                request
            }
            21 => Self::QuerySubstitutablePathInfo(reader.path(store_dir)?),
            22 => Self::QueryDerivationOutputs(reader.path(store_dir)?),
            23 => Self::QueryAllValidPaths,
            24 => Self::QueryFailedPaths,
            25 => Self::ClearFailedPaths {
                paths: reader.list("a list of paths", |reader| {
                    let path = reader.string("a path")?;
                    let size = path.len();
                    Ok((path, size))
                })?,
            },
            26 => Self::QueryPathInfo(reader.path(store_dir)?),
            27 => Self::ImportPaths,
            28 => Self::QueryDerivationOutputNames(reader.path(store_dir)?),
            29 => Self::QueryPathFromHashPart {
                hash_part: reader.string("a hash part")?,
            },
            30 => Self::QuerySubstitutablePathInfos(reader.paths(store_dir)?),
            31 => Self::QueryValidPaths(reader.paths(store_dir)?),
            32 => Self::QuerySubstitutablePaths(reader.paths(store_dir)?),
            33 => Self::QueryValidDerivers(reader.path(store_dir)?),
            34 => Self::OptimiseStore,
            35 => Self::VerifyStore {
                check_contents: reader.boolean()?,
                repair: reader.boolean()?,
            },
            80 => Self::BuiltinBuilders,
            81 => Self::SubstituteUrls,
            seen => return Err(WireError::Operation { seen }),
        }))
    }
}

fn add_to_store(reader: &mut WireReader<impl Read>) -> Result<WorkerRequest, WireError> {
    let name = reader.string("a name")?;
    // Clients send 1. A client that sends 0 wants what was once the only kind.
    let has_kind = reader.int()? == 1;
    let recursive = reader.int()? == 1;
    let algorithm = reader.string("a hash algorithm")?;
    Ok(match has_kind {
        true => WorkerRequest::AddToStore {
            name,
            recursive,
            algorithm,
        },
        false => WorkerRequest::AddToStore {
            name,
            recursive: true,
            algorithm: "sha256".to_owned(),
        },
    })
}

fn wanted(
    reader: &mut WireReader<impl Read>,
    store_dir: &StoreDir,
) -> Result<((AskedPath, Vec<String>), usize), WireError> {
    let text = reader.string("a derivation")?;
    let size = text.len();
    let (path, outputs) = match text.split_once('!') {
        None => (text, Vec::new()),
        Some((path, outputs)) => (
            path.to_owned(),
            outputs.split(',').map(str::to_owned).collect(),
        ),
    };
    Ok(((AskedPath::parse(store_dir, path)?, outputs), size))
}

fn mode(number: u32) -> Result<RequestedMode, WireError> {
    match number {
        0 => Ok(RequestedMode::Normal),
        1 => Ok(RequestedMode::Repair),
        2 => Ok(RequestedMode::Check),
        seen => Err(WireError::Value {
            expected: "the build mode 0, 1 or 2",
            seen: seen.to_string(),
        }),
    }
}

fn action(number: u32) -> Result<CollectAction, WireError> {
    match number {
        0 => Ok(CollectAction::ReturnLive),
        1 => Ok(CollectAction::ReturnDead),
        2 => Ok(CollectAction::DeleteDead),
        3 => Ok(CollectAction::DeleteSpecific),
        seen => Err(WireError::Value {
            expected: "an action of the collector from 0 to 3",
            seen: seen.to_string(),
        }),
    }
}
