// SPDX-License-Identifier: GPL-3.0-or-later
//! The builders that are part of this program.
//!
//! | builder | makes |
//! |---|---|
//! | `builtin:download` | a file with a known hash ([`download`]) |
//! | `builtin:unpack-seed` | the tree of a seed ([`seed`]) |
//!
//! To add one, implement [`Builtin`](crate::builder::builtin::Builtin) in a file of its own, and name it in [`kind`]
//! and [`all`].

pub mod download;
pub mod seed;

use crate::builder::builtin::Builtins;
use crate::events::Kind;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::road::seed::unpack::Unpacker;

use download::Download;
use seed::UnpackSeed;

/// The name of the builder of downloads.
pub const DOWNLOAD: &str = "builtin:download";
/// The name of the builder of seeds.
pub const UNPACK_SEED: &str = "builtin:unpack-seed";

/// The builtins of a run whose files come from `download`.
pub fn all(download: &Download) -> Builtins<'_> {
    Builtins::new().with(DOWNLOAD, download).with(
        UNPACK_SEED,
        &UnpackSeed {
            unpacker: &Unpacker,
        },
    )
}

/// How the builder called `builder` makes its outputs.
pub fn kind(builder: &[u8]) -> Kind {
    match builder {
        name if name == DOWNLOAD.as_bytes() => Kind::Download,
        name if name == UNPACK_SEED.as_bytes() => Kind::Seed,
        _ => Kind::Build,
    }
}

/// The seed that is the root of the sandbox of `derivation`, if there is one: an output of an input derivation that
/// `builtin:unpack-seed` builds, and that the variable `seed` names. Any other use of a variable with this name is the
/// derivation's own business. `find` looks up an input derivation.
pub fn root<'d>(
    store_dir: &StoreDir,
    derivation: &'d Derivation,
    find: impl Fn(&StorePath) -> Option<&'d Derivation>,
) -> Option<&'d StorePath> {
    let text = derivation.environment.text("seed")?;
    let path = store_dir.parse(text).ok()?;
    let inputs = derivation.input_derivations.keys();
    let mut seeds = inputs
        .filter_map(find)
        .filter(|input| input.builder == UNPACK_SEED);
    seeds.find_map(|seed| {
        let mut outputs = seed.outputs.values();
        outputs.find_map(|output| output.path.as_ref().filter(|output| **output == path))
    })
}
