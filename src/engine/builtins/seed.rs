// SPDX-License-Identifier: GPL-3.0-or-later
//! `builtin:unpack-seed`: the tree of a seed, unpacked from archives that are inputs of the derivation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::ArchiveError;
use crate::builder::builtin::{Builtin, BuiltinError, BuiltinOrder, BuiltinReport};
use crate::builder::error::FailureKind;
use crate::events::Kind;
use crate::road::seed::unpack::{Contents, SeedUnpacker};
use crate::road::seed::{SeedError, SeedFailure};

/// Makes seeds.
pub struct UnpackSeed<'u> {
    /// What unpacks the archives.
    pub unpacker: &'u dyn SeedUnpacker,
}

/// A seed that could not be unpacked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot unpack the seed: {0}")]
struct CannotUnpack(#[diagnostic_source] SeedError);

impl Builtin for UnpackSeed<'_> {
    fn kind(&self) -> Kind {
        Kind::Seed
    }

    fn make(&self, order: &BuiltinOrder<'_>) -> Result<BuiltinReport, BuiltinError> {
        let target = order.outputs.get("out");
        let Some(target) = target.filter(|_| order.outputs.len() == 1) else {
            return Err(BuiltinError::Derivation(
                "a seed has one output, `out`".to_owned(),
            ));
        };
        let physical = |text: &str| {
            let path = order.directories.store_dir.parse(text).ok()?;
            Some(order.directories.physical(&path))
        };
        let contents = Contents::from_environment(&order.job.derivation.environment, &physical)
            .map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let _stop = order.cancellation.on_cancel({
            let stop = Arc::clone(&stop);
            move || stop.store(true, Ordering::Relaxed)
        });
        let unpacked = self.unpacker.unpack(&contents, target, &stop);
        unpacked.map_err(failed)?;
        Ok(BuiltinReport::default())
    }
}

fn failed(error: SeedError) -> BuiltinError {
    if matches!(error, SeedError::Archive(ArchiveError::Stopped { .. })) {
        return BuiltinError::Interrupted;
    }
    let kind = match error.failure() {
        SeedFailure::HashDiffers => FailureKind::HashDiffers,
        SeedFailure::NotFetched => FailureKind::NotFetched,
        SeedFailure::Environment => FailureKind::Environment,
        SeedFailure::Usage | SeedFailure::Unpack => FailureKind::Build,
    };
    BuiltinError::failed(kind, CannotUnpack(error))
}
