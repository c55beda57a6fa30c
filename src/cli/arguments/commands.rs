// SPDX-License-Identifier: GPL-3.0-or-later
//! The arguments of the commands that have many: `build`, `verify` and `seed`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to build, and what else to do about it.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The packages: NAME, or stage0/NAME; or derivations of the store: FILE.drv, or FILE.drv:OUTPUT
    #[arg(required = true, value_name = "PKG")]
    pub packages: Vec<String>,
    /// Only say what would be downloaded, built and reused, and how long that took before
    #[arg(short = 'n', long, conflicts_with_all = ["check", "repair", "shell_on_failure"])]
    pub dry_run: bool,
    /// Build everything that needs them, too
    #[arg(long, conflicts_with_all = ["check", "repair"])]
    pub dependents: bool,
    /// Leave a link to the package's store path, which is kept alive as long as the link is there; other outputs than
    /// `out` get LINK-NAME
    #[arg(long, value_name = "LINK", conflicts_with = "dry_run")]
    pub add_root: Option<PathBuf>,
    /// Build, then rebuild each once and compare
    #[arg(long)]
    pub check: bool,
    /// First repair what is damaged of them and of what they refer to; damaged copies are kept aside
    #[arg(long)]
    pub repair: bool,
    /// After a failure, start a shell in the failed build's sandbox, where it stopped
    #[arg(long)]
    pub shell_on_failure: bool,
}

/// The lock that is used where none is named.
pub const LOCK: &str = "bootstrap.lock";

/// What goes without `--rebuild`: clap forgets that an option needs it where it is forbidden.
const WITHOUT_REBUILD: [&str; 5] = ["lock", "compare", "fixpoint", "diverse", "recover"];

/// What to verify, and how.
///
/// By itself: the store against the database. Nothing in the store is changed.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Only these packages, outputs (`gcc:lib`) or store items, with all that they refer to; packages alone with
    /// --rebuild, --fixpoint and --diverse [default: the whole store]
    #[arg(value_name = "PKG")]
    pub packages: Vec<String>,
    /// Compare with a lock as well
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = LOCK)]
    pub lock: Option<PathBuf>,
    /// Build again in a fresh sandbox, and compare [default: the final inputs and the proof]
    #[arg(long, conflicts_with_all = ["lock", "compare"])]
    pub rebuild: bool,
    /// Build again N times
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rebuild", conflicts_with_all = WITHOUT_REBUILD, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Build again with another core count, umask, time zone, locale, host name, user and affinity each time
    #[arg(long, requires = "rebuild", conflicts_with_all = WITHOUT_REBUILD)]
    pub vary: bool,
    /// Where build directories are made with --vary: on another file system, directories have another order
    #[arg(long, value_name = "DIR", requires = "vary")]
    pub vary_directory: Option<PathBuf>,
    /// Build final packages with the final tools instead of stage0's, and compare
    #[arg(long, conflicts_with_all = ["lock", "rebuild", "compare"])]
    pub fixpoint: bool,
    /// Bootstrap from two seeds, and compare the final outputs
    #[arg(long, num_args = 2, value_names = ["SEED_A", "SEED_B"], conflicts_with_all = ["lock", "rebuild", "fixpoint", "compare"])]
    pub diverse: Option<Vec<String>>,
    /// Compare two documents that --json wrote, and check their signatures
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["packages", "lock", "sign"])]
    pub compare: Option<Vec<PathBuf>>,
    /// Compare only if both are signed by this key; may be repeated: 64 hexadecimal digits, NAME:BASE64, or
    /// a file
    #[arg(long, value_name = "KEY", requires = "compare", conflicts_with_all = ["packages", "lock", "rebuild", "fixpoint", "diverse", "recover", "sign"])]
    pub signed_by: Vec<String>,
    /// Rebuild a lost or damaged database from what the store holds
    #[arg(long, conflicts_with_all = ["packages", "lock", "rebuild", "fixpoint", "diverse", "compare", "sign"])]
    pub recover: bool,
    /// Print the JSON document, signed with the Ed25519 key in the file KEY
    #[arg(long, value_name = "KEY")]
    pub sign: Option<PathBuf>,
}

/// What to do with seeds.
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// List the seeds
    List,
    /// Show a seed: archives, sizes, hashes, links
    Show {
        /// The seed [default: the one that would be used]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Write a seed's lock again from what the distribution offers now: into the folder of --seeds, or for this machine
    Update {
        /// The seed [default: the one that would be used]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Undo `seed update` on this machine: use what the seed's pinned lock says
    Reset {
        /// The seed [default: the one that would be used]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use crate::cli::arguments::Arguments;

    /// How `verify` refuses `options`.
    fn refusal(options: &str) -> ErrorKind {
        let whole = ["bootstrap", "verify"]
            .into_iter()
            .chain(options.split(' '));
        Arguments::try_parse_from(whole).unwrap_err().kind()
    }

    #[test]
    fn no_option_of_verify_is_passed_over_without_what_it_belongs_to() {
        for options in ["--signed-by k", "--rounds 3 gzip", "--vary gzip"] {
            assert_eq!(
                refusal(options),
                ErrorKind::MissingRequiredArgument,
                "{options}"
            );
        }
        // Where something else forbids what it belongs to.
        for options in [
            "--signed-by k gzip",
            "--signed-by k --lock=f",
            "--signed-by k --rebuild",
            "--signed-by k --recover",
            "--rounds 3 --lock=f gzip",
            "--rounds 2 --compare a b",
            "--vary --recover",
            "--vary --fixpoint",
            "--vary --diverse a b",
        ] {
            assert_eq!(refusal(options), ErrorKind::ArgumentConflict, "{options}");
        }
    }
}
