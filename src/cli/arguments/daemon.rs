// SPDX-License-Identifier: GPL-3.0-or-later
//! The arguments that only the daemon has.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::yes_or_no;
use crate::builder::log::LogCompression;
use crate::daemon::configuration::shown_directory;

/// What only the daemon has.
#[derive(Debug, Clone, Args)]
pub struct DaemonArguments {
    /// Listen on SOCKET: a file name, or HOST or HOST:PORT for clients elsewhere; may be given several times [default:
    /// daemon-socket/socket in the state directory]
    #[arg(long, value_name = "SOCKET")]
    pub listen: Vec<String>,
    /// Accepted, since service files give it: each build has a user of its own in its sandbox, and no account is needed
    #[arg(long, value_name = "GROUP")]
    pub build_users_group: Option<String>,
    /// Trust USER as root is trusted, or the members of a group: @GROUP; may be given several times
    #[arg(long, value_name = "USER")]
    pub trusted_user: Vec<String>,
    /// Use no substitutes
    #[arg(long)]
    pub no_substitutes: bool,
    /// Build each derivation N times, and fail where the results differ
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rounds: u32,
    /// Run at most N jobs at a time for all clients together, which share them fairly; 0 is two more than there are
    /// processors, or max-jobs times cores where that is more
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub total_jobs: u32,
    /// Keep the outputs of live derivations
    #[arg(long, value_name = "yes/no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", default_value = "no", value_parser = yes_or_no, action = ArgAction::Set)]
    pub gc_keep_outputs: bool,
    /// Keep the derivations of live outputs
    #[arg(long, value_name = "yes/no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", default_value = "yes", value_parser = yes_or_no, action = ArgAction::Set)]
    pub gc_keep_derivations: bool,
    /// Compress build logs by TYPE: gzip, bzip2, or none
    #[arg(long, value_name = "TYPE", default_value = "gzip")]
    pub log_compression: LogCompression,
    /// The same as --log-compression=none, and older
    #[arg(long, hide = true)]
    pub disable_log_compression: bool,
    /// Do not hard-link equal files of new items
    #[arg(long, alias = "disable-store-optimization")]
    pub disable_deduplication: bool,
    /// Offer builds to PROGRAM, which may have other machines make them. It may have arguments, separated by spaces.
    /// The default is `guix offload` where /etc/guix/machines.scm names machines
    #[arg(long, value_name = "PROGRAM")]
    pub build_hook: Option<String>,
    /// Send no builds to other machines
    #[arg(long, alias = "no-build-hook", conflicts_with = "build_hook")]
    pub no_offload: bool,
    /// Whether to use substitute servers found on the local network; only `no` is accepted
    #[arg(long, value_name = "yes/no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", default_value = "no", value_parser = yes_or_no, action = ArgAction::Set)]
    pub discover: bool,
    /// Read the keys whose owners may say what is in the store from FILE
    #[arg(long, value_name = "FILE", default_value = "/etc/guix/acl")]
    pub acl: PathBuf,
    /// Sign exports with the key in FILE
    #[arg(long, value_name = "FILE", default_value = "/etc/guix/signing-key.sec")]
    pub signing_key: PathBuf,
    /// Log each request
    #[arg(long)]
    pub debug: bool,
    /// Not supported: builds are always isolated
    #[arg(long, hide = true)]
    pub disable_chroot: bool,
    /// Show builds the directory DIR of this machine, read-only; may be given several times. What they make may depend
    /// on it
    #[arg(long, value_name = "DIR", value_parser = shown_directory)]
    pub chroot_directory: Vec<PathBuf>,
    /// Not supported
    #[arg(long = "impersonate-linux-2.6", hide = true)]
    pub impersonate_linux: bool,
    /// Record failed builds, and do not try them again; `guix gc --clear-failures` clears the record
    #[arg(long)]
    pub cache_failures: bool,
    /// Not supported: logs are kept
    #[arg(long, hide = true)]
    pub lose_logs: bool,
    /// Not supported
    #[arg(long, hide = true)]
    pub isolate_host_loopback: bool,
}
