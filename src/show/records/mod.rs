//! What runs leave behind in the state directory, for people who ask later what happened.
//!
//! | file under `STATE/bootstrap` | one line for each | written by |
//! |---|---|---|
//! | `builds.jsonl` | finished item ([`history`](crate::builder::history)) | the build |
//! | `runs/STAMP.events.jsonl` | event of one run ([`Stamped`](crate::events::Stamped)) | [`Recorder`] |
//! | `rebuilds.jsonl` | second build of an output ([`Rebuild`]) | whoever compares builds |
//!
//! Beside its events is what a run was made from, `runs/STAMP.json`, which the command line writes. `docs/events.md` describes the
//! formats. Everything is JSON, one object a line, written with one call for each line: a run that is killed loses nothing that
//! happened before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::builder::record_file;

mod events;
mod recorder;

pub use events::RecordedEvent;
pub use recorder::Recorder;

/// Until when anything on record can have happened, in seconds since the Epoch: in 30000 years. What is said to be later was
/// written by no clock, and would leave no room for anything else on a time line.
pub const TIME_MAX: u64 = 1_000_000_000_000;

/// How the names of event files end.
const EVENTS: &str = ".events.jsonl";
/// How the names of the files end that say what a run was made from.
const MANIFEST: &str = ".json";
/// So many runs are kept.
const RUNS_KEPT: usize = 50;
/// A longer line or file is no record of ours.
const READ_MAX: u64 = 64 << 20;

/// The directory of runs.
#[derive(Debug, Clone)]
pub struct Runs {
    directory: PathBuf,
}

/// The events of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    /// What happened, in order, each with its time in seconds since the Epoch.
    pub events: Vec<(f64, RecordedEvent)>,
}

impl Runs {
    /// The runs under the state directory `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("bootstrap").join("runs"),
        }
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The event files, oldest first. No directory is no runs.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        self.files_of(EVENTS)
    }

    /// The files whose names end in `suffix`, oldest first.
    fn files_of(&self, suffix: &str) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.ends_with(suffix)) {
                files.push(path);
            }
        }
        // Times have as many digits for the next centuries: the order of the names is that of time.
        files.sort();
        Ok(files)
    }

    /// Reads the run in the file `path`. Lines that are no events, from another version or cut off, are passed over.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<RecordedRun> {
        let bytes = read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(RecordedRun {
            events: events::read(&text),
        })
    }

    /// Makes the file that says what a run was made from, which ended at `ended`: the file, and where it is.
    ///
    /// # Errors
    /// Where it cannot be made, or older ones cannot be removed.
    pub fn create_manifest(&self, ended: SystemTime) -> io::Result<(File, PathBuf)> {
        self.create(MANIFEST, ended)
    }

    /// Makes a file of the time `time` whose name ends in `suffix`, and removes the oldest of those where there are too many.
    fn create(&self, suffix: &str, time: SystemTime) -> io::Result<(File, PathBuf)> {
        let files = self.files_of(suffix)?;
        remove(&files[..files.len().saturating_sub(RUNS_KEPT - 1)])?;
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}.{:09}{suffix}", time.as_secs(), time.subsec_nanos());
        let path = self.directory.join(name);
        Ok((record_file::create_new(&path)?, path))
    }
}

/// Removes `files`, those that are still there: another run may be at it.
fn remove(files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// What a second build of an item gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebuild {
    /// The label of the item.
    pub item: String,
    /// The base name of the derivation that was built again.
    pub derivation: String,
    /// Whether every output had the same NAR hash as before, in each round.
    pub same: bool,
    /// When, in seconds since the Epoch.
    pub time: u64,
    /// How often it was built again. Records of older versions do not say: once at least.
    #[serde(default = "once")]
    pub rounds: u32,
    /// What was different in each round, by name, and at what `time` it began; nothing in records of older versions.
    #[serde(default)]
    pub variations: Vec<BTreeMap<String, String>>,
}

fn once() -> u32 {
    1
}

/// The second builds that were made.
#[derive(Debug, Clone)]
pub struct Rebuilds {
    path: PathBuf,
}

impl Rebuilds {
    /// The records under the state directory `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            path: state.join("bootstrap").join("rebuilds.jsonl"),
        }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of them, oldest first; none where there is no file.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&self) -> io::Result<Vec<Rebuild>> {
        let bytes = match read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn append(&self, rebuild: &Rebuild) -> io::Result<()> {
        record_file::append(&self.path, rebuild)
    }
}

/// What is in the file `path`.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    record_file::open(path)?
        .take(READ_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::time::Duration;

    #[test]
    fn rebuilds_are_read_back_and_torn_lines_passed_over() {
        let state = tempfile::tempdir().unwrap();
        let rebuilds = Rebuilds::new(state.path());
        assert_eq!(rebuilds.read().unwrap(), []);
        let rebuild = Rebuild {
            item: "sed".into(),
            derivation: "x-sed.drv".into(),
            same: true,
            time: 7,
            rounds: 2,
            variations: vec![[("cores".to_owned(), "3".to_owned())].into()],
        };
        rebuilds.append(&rebuild).unwrap();
        let path = state.path().join("bootstrap/rebuilds.jsonl");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"item\":\"gr\n\xff\n").unwrap();
        rebuilds.append(&rebuild).unwrap();
        assert_eq!(rebuilds.read().unwrap(), [rebuild.clone(), rebuild]);
    }

    #[test]
    fn records_that_do_not_say_how_often_are_read() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("bootstrap");
        fs::create_dir(&directory).unwrap();
        let old = "{\"item\":\"sed\",\"derivation\":\"x-sed.drv\",\"same\":false,\"time\":7}\n";
        fs::write(directory.join("rebuilds.jsonl"), old).unwrap();
        let read = Rebuilds::new(state.path()).read().unwrap();
        assert_eq!((read[0].same, read[0].rounds), (false, 1));
        assert!(read[0].variations.is_empty());
    }

    #[test]
    fn no_runs_are_no_error() {
        let state = tempfile::tempdir().unwrap();
        assert!(Runs::new(state.path()).files().unwrap().is_empty());
    }

    #[test]
    fn as_many_manifests_are_kept_as_events() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::new(state.path());
        let at = |number: usize| UNIX_EPOCH + Duration::from_secs(1_000_000 + number as u64);
        for number in 0..RUNS_KEPT + 5 {
            for suffix in [EVENTS, MANIFEST] {
                runs.create(suffix, at(number)).unwrap();
            }
        }
        for suffix in [EVENTS, MANIFEST] {
            let files = runs.files_of(suffix).unwrap();
            assert_eq!(files.len(), RUNS_KEPT);
            assert!(files[0].ends_with(format!("1000005.000000000{suffix}")));
        }
    }

    #[test]
    fn what_another_run_has_removed_is_no_error() {
        let state = tempfile::tempdir().unwrap();
        let there = state.path().join("there");
        fs::write(&there, "").unwrap();
        remove(&[state.path().join("gone"), there.clone()]).unwrap();
        assert!(!there.exists());
        assert!(remove(&[state.path().to_owned()]).is_err());
    }
}
