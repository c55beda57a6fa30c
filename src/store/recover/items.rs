// SPDX-License-Identifier: GPL-3.0-or-later
//! What the records of single items would be, and which of them go together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::formats::content_hash::HashAlgorithm;
use crate::formats::derivation::Derivation;
use crate::formats::nar::NarError;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;
use crate::store::repair::{CHECK_SUFFIX, DAMAGED_SUFFIX};
use crate::store::{Store, content_address, scan};

/// The builder of seeds, which refer to nothing but themselves.
const UNPACK_SEED: &str = "builtin:unpack-seed";

/// An item whose record was found out.
pub(super) struct RecoveredItem {
    pub(super) info: PathInfo,
    /// Whether its path follows from its content.
    pub(super) proven: bool,
}

/// What the record of `path` would be, or why there is none.
pub(super) fn examine(
    store: &Store,
    path: &StorePath,
    present: &BTreeSet<StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
    outputs: &BTreeMap<&StorePath, &StorePath>,
) -> Result<RecoveredItem, String> {
    let place = store.directories().physical(path);
    let info = |scanned: scan::Scanned, references, deriver| PathInfo {
        path: path.clone(),
        nar_sha256: scanned.nar_sha256,
        nar_size: scanned.nar_size,
        references,
        deriver,
        registration_time: 0,
    };
    let scan = |candidates: &BTreeSet<StorePath>| {
        scan::hash_and_scan(&place, candidates).map_err(|error: NarError| error.to_string())
    };
    if path.is_derivation() {
        let derivation = derivations
            .get(path)
            .ok_or("its content is not what its path says")?;
        return Ok(RecoveredItem {
            info: info(scan(&BTreeSet::new())?, derivation.references(), None),
            proven: true,
        });
    }
    let Some(deriver) = outputs.get(path) else {
        return examine_alone(store, path, &place, present);
    };
    let derivation = &derivations[*deriver];
    if let Some(fixed) = derivation.fixed_output() {
        let scanned = scan(&BTreeSet::from([path.clone()]))?;
        let hash = content_address::hash_of(&place, fixed.method, fixed.hash.algorithm())
            .map_err(|error| error.to_string())?;
        if hash != fixed.hash {
            return Err("its content is not what its path says".into());
        }
        let references = scanned.references.clone();
        return Ok(RecoveredItem {
            info: info(scanned, references, Some((*deriver).clone())),
            proven: true,
        });
    }
    require_canonical(store, path)?;
    let candidates = match derivation.builder.as_slice() {
        builder if builder == UNPACK_SEED.as_bytes() => BTreeSet::from([path.clone()]),
        _ => candidates(derivation, derivations),
    };
    let scanned = scan(&candidates)?;
    let references = scanned.references.clone();
    Ok(RecoveredItem {
        info: info(scanned, references, Some((*deriver).clone())),
        proven: false,
    })
}

/// What the record of `path` would be, an item that no derivation in the store builds: a source, or a substitute.
fn examine_alone(
    store: &Store,
    path: &StorePath,
    place: &Path,
    present: &BTreeSet<StorePath>,
) -> Result<RecoveredItem, String> {
    let scanned = scan::hash_and_scan(place, present).map_err(|error| error.to_string())?;
    let found = |references: &BTreeSet<StorePath>, proven| RecoveredItem {
        info: PathInfo {
            path: path.clone(),
            nar_sha256: scanned.nar_sha256,
            nar_size: scanned.nar_size,
            references: references.clone(),
            deriver: None,
            registration_time: 0,
        },
        proven,
    };
    // Others would have their derivation here, and reading every substitute for each takes too long.
    let algorithms = [HashAlgorithm::Sha256];
    if let Some(references) =
        proof(store, path, &scanned, &algorithms).map_err(|error| error.to_string())?
    {
        return Ok(found(&references, true));
    }
    if is_kept_copy(path, present) {
        return Err("it is a copy that was kept when another item was checked or repaired".into());
    }
    require_canonical(store, path)?;
    Ok(found(&scanned.references, false))
}

/// Whether the path of the item `path`, which may name those of `present`, follows from its content.
pub(super) fn is_proven(store: &Store, path: &StorePath, present: &BTreeSet<StorePath>) -> bool {
    scan::hash_and_scan(&store.directories().physical(path), present)
        .map_err(io::Error::other)
        .and_then(|scanned| proof(store, path, &scanned, &HashAlgorithm::ALL))
        .is_ok_and(|proof| proof.is_some())
}

/// The references with which the path of the item `path` follows from its content; `None` where it does not.
fn proof(
    store: &Store,
    path: &StorePath,
    scanned: &scan::Scanned,
    algorithms: &[HashAlgorithm],
) -> io::Result<Option<BTreeSet<StorePath>>> {
    let store_dir = &store.directories().store_dir;
    let place = store.directories().physical(path);
    let sha256 = &scanned.nar_sha256;
    // A source may name items without referring to them; a text refers to those that it names.
    for references in [&BTreeSet::new(), &scanned.references] {
        if content_address::proves(store_dir, path, &place, sha256, references, algorithms)? {
            return Ok(Some(references.clone()));
        }
    }
    Ok(None)
}

/// Whether `path` is named like a copy that [`repair`](super::repair) keeps of an item that is present.
fn is_kept_copy(path: &StorePath, present: &BTreeSet<StorePath>) -> bool {
    let name = path.base_name();
    let name = match name.rsplit_once('-') {
        Some((start, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => start,
        _ => name,
    };
    [DAMAGED_SUFFIX, CHECK_SUFFIX]
        .iter()
        .filter_map(|suffix| StorePath::from_base_name(name.strip_suffix(suffix)?).ok())
        .any(|original| present.contains(&original))
}

/// Fails where the item `path` is not as a finished build leaves it.
fn require_canonical(store: &Store, path: &StorePath) -> Result<(), String> {
    let deviations = store.deviations(path).map_err(|error| error.to_string())?;
    match deviations.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "it is not as a finished build leaves it: {}: {}",
            first.path.display(),
            first.problem
        )),
    }
}

/// What the outputs of `derivation` can refer to: its outputs, and those of everything before it.
fn candidates(
    derivation: &Derivation,
    derivations: &BTreeMap<StorePath, Derivation>,
) -> BTreeSet<StorePath> {
    let mut found = BTreeSet::new();
    let mut seen: BTreeSet<&StorePath> = BTreeSet::new();
    let mut open = vec![derivation];
    while let Some(derivation) = open.pop() {
        let outputs = derivation.outputs.values();
        found.extend(outputs.filter_map(|output| output.path.clone()));
        found.extend(derivation.input_sources.iter().cloned());
        for input in derivation.input_derivations.keys() {
            if seen.insert(input) {
                open.extend(derivations.get(input));
            }
        }
    }
    found
}

/// Those of `found` all of whose references are among them, which of them are proven, and what is lost.
#[allow(clippy::type_complexity)] // Three collections, each used once.
pub(super) fn consistent(
    store: &Store,
    found: BTreeMap<StorePath, Result<RecoveredItem, String>>,
) -> (
    Vec<PathInfo>,
    BTreeSet<StorePath>,
    BTreeMap<StorePath, String>,
) {
    let mut lost = BTreeMap::new();
    let mut good = BTreeMap::new();
    for (path, found) in found {
        match found {
            Ok(found) => {
                good.insert(path, found);
            }
            Err(reason) => {
                lost.insert(path, reason);
            }
        }
    }
    loop {
        let broken: Vec<(StorePath, StorePath)> = good
            .iter()
            .filter_map(|(path, found)| {
                let mut references = found.info.references.iter();
                let missing = references.find(|reference| !good.contains_key(*reference))?;
                Some((path.clone(), missing.clone()))
            })
            .collect();
        let circle = match broken.is_empty() {
            true => circle(&good),
            false => BTreeSet::new(),
        };
        if broken.is_empty() && circle.is_empty() {
            break;
        }
        for path in circle {
            good.remove(&path);
            lost.insert(path, "it and other items refer to each other".to_owned());
        }
        for (path, missing) in broken {
            good.remove(&path);
            let missing = store.directories().store_dir.display(&missing);
            lost.insert(path, format!("it refers to {missing}, which is gone"));
        }
    }
    // A deriver that is lost is not recorded.
    let proven = good
        .iter()
        .filter(|(_, found)| found.proven)
        .map(|(path, _)| path.clone())
        .collect();
    let kept: BTreeSet<StorePath> = good.keys().cloned().collect();
    let infos = good
        .into_values()
        .map(|found| PathInfo {
            deriver: found.info.deriver.filter(|deriver| kept.contains(deriver)),
            ..found.info
        })
        .collect();
    (infos, proven, lost)
}

/// The items that refer to each other in a circle, and those between two circles: no database holds such.
fn circle(found: &BTreeMap<StorePath, RecoveredItem>) -> BTreeSet<StorePath> {
    let mut left: BTreeSet<&StorePath> = found.keys().collect();
    loop {
        let before = left.len();
        let refers = |path: &StorePath| {
            let mut references = found[path].info.references.iter();
            references.any(|reference| reference != path && left.contains(reference))
        };
        let referring: BTreeSet<&StorePath> =
            left.iter().copied().filter(|path| refers(path)).collect();
        let referred: BTreeSet<&StorePath> = referring
            .iter()
            .flat_map(|path| {
                found[*path]
                    .info
                    .references
                    .iter()
                    .filter(move |one| one != path)
            })
            .collect();
        left = referring.intersection(&referred).copied().collect();
        if left.len() == before {
            return left.into_iter().cloned().collect();
        }
    }
}
