// SPDX-License-Identifier: GPL-3.0-or-later
//! What this machine offers to builds: privileges, disks, network, clock, kernel. What is made of it is up to the front
//! end.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::EngineError;
use super::planned::{Planned, derivations, graph};
use super::session::Session;
use crate::builder::history::{History, epoch_seconds};
use crate::fetch::mirrors::Mirrors;
use crate::fetch::probe::probe;
use crate::fetch::{Location, attributes};
use crate::road::plan::Plan;
use crate::road::seed::SeedError;
use crate::road::seed::release::check_host;
use crate::sandbox::features::Feature;
use crate::sandbox::{self, SandboxError};
use crate::store::directories::free_space;

/// What the store of a whole bootstrap takes, and what its largest build does while it runs (gcc's), in bytes.
const STORE_SPACE: u64 = 4 << 30;
const BUILD_SPACE: u64 = 4 << 30;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a machine offers to builds.
#[derive(Debug)]
pub struct Machine {
    /// The system it runs, such as `x86_64-linux`.
    pub system: String,
    /// Whether a sandbox can be set up.
    pub sandbox: Result<(), SandboxError>,
    /// The kernel's features that sandboxes use.
    pub features: Vec<Feature>,
    /// The first directory of the session that cannot be written to, and why.
    pub refused: Option<(PathBuf, io::Error)>,
    /// The file systems that are written to.
    pub disks: Vec<Disk>,
    /// The number of processor cores.
    pub cores: u64,
    /// The time, and what it is held against.
    pub clock: Clock,
    /// Whether the server of a source answers.
    pub sources: Reached,
    /// Whether the archive of the seed's distribution answers.
    pub archive: Reached,
    /// The seed, and whether this kernel runs its programs; `None` without a plan.
    pub seed: Option<(String, Result<(), SeedError>)>,
    /// How many derivations are planned.
    pub planned: Result<usize, EngineError>,
    /// How many items are valid.
    pub items: Result<usize, EngineError>,
}

/// A place that is written to.
#[derive(Debug)]
pub struct Disk {
    /// What goes there.
    pub what: &'static str,
    /// It, or the directory that it will be made in.
    pub place: PathBuf,
    /// Whether its file system forbids programs to run.
    pub forbids_programs: io::Result<bool>,
    /// The bytes that are free.
    pub free: io::Result<u64>,
    /// The bytes that a whole bootstrap writes to its file system.
    pub needed: u64,
    /// The file system, where the system reports it.
    device: Option<u64>,
}

/// Times, in seconds since the Epoch.
#[derive(Debug)]
pub struct Clock {
    /// The time of this machine.
    pub now: u64,
    /// When the newest build that is recorded ended.
    pub newest: Option<u64>,
    /// A server and its time.
    pub server: Option<(String, u64)>,
}

/// The result of asking for something over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// It is not to be used.
    Offline,
    /// Nothing needs it.
    NotNeeded,
    /// It could not even be asked: why.
    Unusable(String),
    /// A server was asked; why it did not answer, where it did not.
    Asked(String, Result<(), String>),
}

impl Session {
    /// Looks at all that builds depend on. Changes nothing; asks at most two servers.
    pub fn examine_machine(&self) -> Machine {
        let directories = self.directories();
        let planned = self.plan();
        let is_complete = match &planned {
            Ok(planned) => self.is_complete(&planned.plan).unwrap_or(false),
            Err(_) => false,
        };
        let mut disks = vec![
            Disk::new("store's disk", &directories.store, STORE_SPACE),
            Disk::new(
                "build directory's disk",
                &self.build_settings().temporary,
                BUILD_SPACE,
            ),
        ];
        need(&mut disks, is_complete);
        let mut network = Network::default();
        let (sources, archive) = match &planned {
            Ok(planned) => (
                network.sources(self, &planned.plan),
                network.archive(self, planned),
            ),
            Err(_) => (Reached::NotNeeded, Reached::NotNeeded),
        };
        let records = History::new(&directories.state).records();
        let checked = sandbox::platform(&directories.state).and_then(|sandbox| sandbox.check());
        Machine {
            system: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            sandbox: checked,
            features: sandbox::kernel_features(),
            refused: self.refused(),
            disks,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            clock: Clock {
                now: epoch_seconds(SystemTime::now()),
                newest: records.iter().map(|record| record.ended).max(),
                server: network.clock,
            },
            sources,
            archive,
            seed: planned.as_ref().ok().map(|planned| {
                let seed = &planned.seeds.seed;
                (seed.name.clone(), check_host(seed))
            }),
            planned: planned.map(|planned| planned.plan.nodes().len()),
            items: self
                .store_to_read()
                .and_then(|store| Ok(store.valid_paths()?.len())),
        }
    }

    /// Whether nothing of the whole bootstrap is missing: then nothing needs room any more.
    fn is_complete(&self, plan: &Plan) -> Result<bool, EngineError> {
        let store = self.store_to_read()?;
        let wanted = plan.everything()?;
        let graph = graph(plan, &self.directories().store_dir);
        let todo = graph.missing_now(derivations(plan, &wanted), &store, |_| None)?;
        Ok(todo.tasks.is_empty())
    }

    /// The first directory that this process may not write to, and why.
    fn refused(&self) -> Option<(PathBuf, io::Error)> {
        let directories = self.directories();
        [
            &directories.store,
            &directories.state,
            &directories.log,
            &directories.cache,
        ]
        .into_iter()
        .find_map(|path| {
            let place = existing(path);
            let error = rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).err()?;
            Some((place, error.into()))
        })
    }
}

impl Disk {
    fn new(what: &'static str, path: &Path, needed: u64) -> Self {
        let place = existing(path);
        Self {
            what,
            device: place.metadata().ok().map(|found| found.dev()),
            forbids_programs: sandbox::forbids_programs(&place),
            free: free_space(&place),
            place,
            needed,
        }
    }
}

/// Sets what has to be free at each of `disks`: what is written to all that are on one file system, together.
fn need(disks: &mut [Disk], is_complete: bool) {
    let together = |disk: &Disk| match disk.device {
        _ if is_complete => 0,
        None => disk.needed,
        device => {
            let others = disks.iter().filter(|other| other.device == device);
            others.map(|other| other.needed).sum()
        }
    };
    let needed: Vec<u64> = disks.iter().map(together).collect();
    for (disk, needed) in disks.iter_mut().zip(needed) {
        disk.needed = needed;
    }
}

/// The first directory above `path`, or itself, that exists.
fn existing(path: &Path) -> PathBuf {
    let mut existing = path;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) => existing = parent,
            None => break,
        }
    }
    existing.to_owned()
}

/// The servers that were asked, and the first time that one of them had.
#[derive(Debug, Default)]
struct Network {
    clock: Option<(String, u64)>,
}

impl Network {
    /// Asks the server of one of the sources, which is as good as any.
    fn sources(&mut self, session: &Session, plan: &Plan) -> Reached {
        if session.options().offline {
            return Reached::Offline;
        }
        match source(plan) {
            None => Reached::NotNeeded,
            Some(url) => self.ask(&url),
        }
    }

    /// Asks the archive of the seed's distribution for its index, where the seed has a distribution.
    fn archive(&mut self, session: &Session, planned: &Planned) -> Reached {
        let Some(distribution) = &planned.seeds.seed.distribution else {
            return Reached::NotNeeded;
        };
        if session.options().offline {
            return Reached::Offline;
        }
        let urls = match distribution.apt_settings().release_files() {
            Ok(urls) => urls,
            Err(error) => return Reached::Unusable(error.to_string()),
        };
        // APT has more ways to an archive than there are here: a directory, or a list of mirrors.
        match urls.iter().find(|url| is_http(url)) {
            Some(url) => self.ask(url),
            None => Reached::Asked(urls.first().cloned().unwrap_or_default(), Ok(())),
        }
    }

    fn ask(&mut self, url: &str) -> Reached {
        let host = host(url).to_owned();
        let answer = probe(url, PATIENCE);
        let date = match &answer {
            Ok(date) => *date,
            // A clock that is wrong makes every certificate look wrong: the time can be read without one.
            Err(_) if self.clock.is_none() && url.starts_with("https://") => {
                probe(&format!("http://{host}/"), PATIENCE).ok().flatten()
            }
            Err(_) => None,
        };
        if self.clock.is_none() {
            self.clock = date.map(|date| (host.clone(), date));
        }
        Reached::Asked(host, answer.map(drop))
    }
}

/// Where one of the sources is.
fn source(plan: &Plan) -> Option<String> {
    let nodes = plan.nodes().iter();
    let urls = nodes.filter_map(|node| node.derivation.environment.text("url"));
    urls.flat_map(|urls| attributes::urls(urls).unwrap_or_default())
        .filter_map(|location| match location.parse::<Location>() {
            Ok(Location::Url(url)) => Mirrors::default().urls(&url).into_iter().next(),
            _ => None,
        })
        .find(|url| is_http(url))
}

fn is_http(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// The host of `url`, with its port where it names one.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    // The user's name does not belong into a report.
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_without_user_and_path() {
        assert_eq!(host("https://ftp.gnu.org/gnu/sed"), "ftp.gnu.org");
        assert_eq!(host("http://me:secret@proxy:8080/x"), "proxy:8080");
        assert_eq!(host("odd"), "odd");
    }

    #[test]
    fn room_is_looked_for_where_the_directory_will_be() {
        let directory = tempfile::tempdir().unwrap();
        let place = existing(&directory.path().join("not/yet/there"));
        assert_eq!(place, directory.path());
        assert!(free_space(&place).unwrap() > 0);
        assert!(free_space(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn what_shares_a_file_system_needs_room_together_and_a_finished_store_none() {
        let disk = |device, needed| Disk {
            what: "disk",
            place: PathBuf::new(),
            forbids_programs: Ok(false),
            free: Ok(0),
            device,
            needed,
        };
        let of = |one, other, is_complete| {
            let mut disks = [disk(one, 3), disk(other, 4)];
            need(&mut disks, is_complete);
            disks.map(|disk| disk.needed)
        };
        assert_eq!(of(Some(1), Some(2), false), [3, 4]);
        assert_eq!(of(Some(1), Some(1), false), [7, 7]);
        assert_eq!(of(None, None, false), [3, 4]);
        assert_eq!(of(Some(1), Some(1), true), [0, 0]);
        let directory = tempfile::tempdir().unwrap();
        let [store, builds] =
            ["a/store", "b"].map(|name| Disk::new("disk", &directory.path().join(name), 1));
        assert!(store.device.is_some() && store.device == builds.device);
    }

    #[test]
    fn a_server_that_does_not_answer_has_no_time() {
        // A port that was free a moment ago.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut network = Network::default();
        let reached = network.ask(&format!("http://{address}/x"));
        assert!(
            matches!(&reached, Reached::Asked(host, Err(_)) if *host == address.to_string()),
            "{reached:?}"
        );
        assert_eq!(network.clock, None);
    }
}
