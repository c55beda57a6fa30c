// SPDX-License-Identifier: GPL-3.0-or-later
//! The builders that are part of this program.
//!
//! | builder | makes |
//! |---|---|
//! | `builtin:download` | a file with a known hash ([`download`]) |
//! | `builtin:git-download` | the files of a commit, with a known hash ([`git`]) |
//! | `builtin:unpack-seed` | the tree of a seed ([`seed`]) |
//!
//! To add one, implement [`Builtin`](crate::builder::builtin::Builtin) in a file of its own, and name it in [`kind`]
//! and [`all`].

pub mod download;
pub mod git;
pub mod seed;

use crate::builder::builtin::Builtins;
use crate::events::Kind;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::road::seed::unpack::Unpacker;

use download::DownloadBuiltin;
use git::GitDownload;
use seed::UnpackSeed;

/// The name of the builder of downloads.
pub const DOWNLOAD: &str = "builtin:download";
/// The name of the builder of checkouts.
pub const GIT_DOWNLOAD: &str = "builtin:git-download";
/// The name of the builder of seeds.
pub const UNPACK_SEED: &str = "builtin:unpack-seed";

/// What fetches the sources of a run.
pub struct Fetching {
    /// Files.
    pub download: DownloadBuiltin,
    /// Commits.
    pub git: GitDownload,
}

/// The builtins of a run whose sources come from `fetching`.
pub fn all(fetching: &Fetching) -> Builtins<'_> {
    Builtins::new()
        .with(DOWNLOAD, &fetching.download)
        .with(GIT_DOWNLOAD, &fetching.git)
        .with(
            UNPACK_SEED,
            &UnpackSeed {
                unpacker: &Unpacker,
            },
        )
}

/// The builders that a client of a daemon may name.
pub fn names_for_clients() -> Vec<&'static str> {
    // Without git, Guix has a derivation of its own run one.
    let git = git::find().map(|_| "git-download");
    std::iter::once("download").chain(git).collect()
}

/// How the builder called `builder` makes its outputs.
pub fn kind(builder: &[u8]) -> Kind {
    match builder {
        name if name == DOWNLOAD.as_bytes() || name == GIT_DOWNLOAD.as_bytes() => Kind::Download,
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
