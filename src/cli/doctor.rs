//! `doctor`: whether this machine can build, and what to do where it cannot.
//!
//! Here is what is looked at; what is made of it is in [`checks`].

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::context::{Context, print, print_json};
use super::failure::{Failure, Status};
use crate::builder::history::{History, epoch_seconds};
use crate::engine::{EngineError, Planned, derivations, graph};
use crate::fetch::mirrors::Mirrors;
use crate::fetch::probe::probe;
use crate::fetch::{Location, attributes};
use crate::road::plan::Plan;
use crate::road::seed::release::check_host;
use crate::sandbox;
use crate::store::directories::free_space;

mod checks;

use checks::{Finding, Reached, State};

/// What the store of a whole road takes, and what its largest build does while it runs (gcc's), in bytes.
const STORE_SPACE: u64 = 4 << 30;
const BUILD_SPACE: u64 = 4 << 30;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `bootstrap doctor`. Where anything is bad the exit status is that of an unfit environment.
pub fn doctor(context: &Context) -> Result<(), Failure> {
    let mut findings = look(context);
    for remedy in findings.iter_mut().filter_map(|one| one.remedy.as_mut()) {
        *remedy = context.invocation.complete(remedy);
    }
    if context.options.json {
        print_json(&findings)?;
    } else {
        print(&checks::describe(&findings))?;
    }
    match findings
        .iter()
        .filter(|one| one.state == State::Bad)
        .count()
    {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::Environment,
            format!(
                "{count} of {} checks failed: this machine cannot build yet",
                findings.len()
            ),
            "",
        )),
    }
}

fn look(context: &Context) -> Vec<Finding> {
    let here = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let directories = &context.directories;
    let checked = sandbox::platform(&directories.state).and_then(|sandbox| sandbox.check());
    let mut findings = vec![
        checks::host(&here, context.session.options().system),
        checks::sandbox(checked),
    ];
    findings.extend(sandbox::features::features().iter().map(checks::feature));
    let refused = refused(context);
    let refused = refused
        .as_ref()
        .map(|(place, error)| (place.as_path(), io::Error::from(*error)));
    findings.push(checks::privileges(refused));
    let planned = context.plan();
    let is_complete = match &planned {
        Ok(planned) => is_complete(context, &planned.plan).unwrap_or(false),
        Err(_) => false,
    };
    let disks = [
        ("store's disk", directories.store.clone(), STORE_SPACE),
        ("build directory's disk", std::env::temp_dir(), BUILD_SPACE),
    ];
    let disks = disks.map(|(what, path, needed)| Disk::new(what, &path, needed));
    for (disk, needed) in disks.iter().zip(needed(&disks, is_complete)) {
        findings.push(checks::space(
            disk.what,
            &disk.place,
            free_space(&disk.place),
            needed,
        ));
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    findings.push(checks::memory(
        cores,
        crate::show::progress::processor::memory(),
    ));
    let mut network = Network::default();
    let reached = match &planned {
        Ok(planned) => network.sources(context, &planned.plan),
        Err(_) => Reached::NotNeeded,
    };
    let archive = match &planned {
        Ok(planned) => network.archive(context, planned),
        Err(_) => Reached::NotNeeded,
    };
    findings.push(checks::clock(
        epoch_seconds(SystemTime::now()),
        newest_record(context),
        network.clock(),
    ));
    findings.push(checks::network(&reached));
    findings.push(checks::archive(&archive));
    if let Ok(planned) = &planned {
        let seed = &planned.seeds.seed;
        findings.push(checks::seed(&seed.name, check_host(seed)));
    }
    let planned = planned.map(|planned| planned.plan.nodes().len());
    findings.push(checks::recipes(planned.map_err(|failure| {
        let text = failure.render(false, &context.invocation);
        text.trim_end().to_owned()
    })));
    let items = context
        .store_to_read()
        .and_then(|store| Ok(store.valid_paths()?.len()));
    let items = items.map_err(|error| context.invocation.complete(&error.to_string()));
    findings.push(checks::store(items));
    findings
}

/// Whether nothing of the road is missing: then nothing needs room any more.
fn is_complete(context: &Context, plan: &Plan) -> Result<bool, Failure> {
    let store = context.store_to_read()?;
    let wanted = plan.everything()?;
    let graph = graph(plan, &context.directories.store_dir);
    let todo = graph
        .missing_now(derivations(plan, &wanted), &store, |_| None)
        .map_err(EngineError::from)?;
    Ok(todo.tasks.is_empty())
}

/// A place that things are written to.
struct Disk {
    what: &'static str,
    /// It, or what it will be made in.
    place: PathBuf,
    /// The file system, where the system tells.
    device: Option<u64>,
    /// The bytes that a whole road writes to it.
    needed: u64,
}

impl Disk {
    fn new(what: &'static str, path: &Path, needed: u64) -> Self {
        let place = existing(path);
        Self {
            what,
            device: place.metadata().ok().map(|found| found.dev()),
            place,
            needed,
        }
    }
}

/// What has to be free at each of `disks`: what is written to all that are on one file system, together.
fn needed(disks: &[Disk], is_complete: bool) -> Vec<u64> {
    let together = |disk: &Disk| match disk.device {
        None => disk.needed,
        device => {
            let others = disks.iter().filter(|other| other.device == device);
            others.map(|other| other.needed).sum()
        }
    };
    let needed = disks.iter().map(together);
    needed
        .map(|needed| if is_complete { 0 } else { needed })
        .collect()
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

/// The first place that this process may not write to, and why.
fn refused(context: &Context) -> Option<(PathBuf, rustix::io::Errno)> {
    let directories = &context.directories;
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
        Some((place, error))
    })
}

/// When the newest build on record here ended, in seconds since the Epoch.
fn newest_record(context: &Context) -> Option<u64> {
    let records = History::new(&context.directories.state).records();
    records.iter().map(|record| record.ended).max()
}

/// The servers that were asked, and the first time that one of them had.
#[derive(Debug, Default)]
struct Network {
    clock: Option<(String, u64)>,
}

impl Network {
    /// Asks the server of one of the sources, which is as good as any.
    fn sources(&mut self, context: &Context, plan: &Plan) -> Reached {
        if context.options.offline {
            return Reached::Offline;
        }
        match source(plan) {
            None => Reached::NotNeeded,
            Some(url) => self.ask(&url),
        }
    }

    /// Asks the archive of the seed's distribution for its index, where the seed has a distribution.
    fn archive(&mut self, context: &Context, planned: &Planned) -> Reached {
        let Some(distribution) = &planned.seeds.seed.distribution else {
            return Reached::NotNeeded;
        };
        if context.options.offline {
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
            // A clock that is wrong makes every certificate look wrong: its time can be had without one.
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

    fn clock(&self) -> Option<(&str, u64)> {
        let (host, time) = self.clock.as_ref()?;
        Some((host, *time))
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
    // Who asks is nobody's business in a report.
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
            device,
            needed,
        };
        let of = |one, other| needed(&[disk(one, 3), disk(other, 4)], false);
        assert_eq!(of(Some(1), Some(2)), [3, 4]);
        assert_eq!(of(Some(1), Some(1)), [7, 7]);
        assert_eq!(of(None, None), [3, 4]);
        assert_eq!(needed(&[disk(Some(1), 3), disk(Some(1), 4)], true), [0, 0]);
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
        assert_eq!(network.clock(), None);
    }
}
