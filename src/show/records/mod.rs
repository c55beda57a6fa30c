// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeps records of runs in the state directory, for reports.
//!
//! | file under `STATE/bootstrap` | one line for each | written by |
//! |---|---|---|
//! | `builds.jsonl` | finished item ([`history`](crate::builder::history)) | the build |
//! | `runs/STAMP.events.jsonl` | event of one run ([`Stamped`](crate::events::Stamped)) | [`Recorder`] |
//! | `rebuilds.jsonl` | second build of an output ([`Rebuild`]) | `verify --rebuild`, `build --check` |
//!
//! `runs/STAMP.json`, which the command line writes, says what a run was made from. `docs/events.md` describes the
//! formats: JSON, one object a line. Each line is written with one call, so that a killed run loses nothing that
//! happened before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::builder::record_file;
use crate::diagnostics::FileError;
use crate::engine::{FinishedRun, Manifest, Planned, Rounds, Session};
use crate::events::Summary;

mod events;
mod recorder;

pub use events::RecordedEvent;
pub use recorder::Recorder;

/// The latest plausible time of a record, in seconds since the Epoch: in 30,000 years. A later time would leave no room
/// for anything else on a time line.
pub const TIME_MAX: u64 = 1_000_000_000_000;

/// The suffix of event files.
const EVENTS: &str = ".events.jsonl";
/// The suffix of the files that say what a run was made from.
const MANIFEST: &str = ".json";
/// The number of runs that are kept.
const RUNS_KEPT: usize = 50;
/// The most bytes that are read of a file: our records are shorter.
const READ_MAX: u64 = 64 << 20;

/// The directory of runs.
#[derive(Debug, Clone)]
pub struct Runs {
    directory: PathBuf,
}

/// The events of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    /// The events in order, each with its time in seconds since the Epoch.
    pub events: Vec<(f64, RecordedEvent)>,
}

impl Runs {
    /// The runs under the state directory `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("bootstrap").join("runs"),
        }
    }

    /// The directory of the files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The event files, oldest first; none if there is no directory.
    ///
    /// # Errors
    /// If the directory cannot be read.
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
        // Times have the same number of digits for centuries, so names sort by time.
        files.sort();
        Ok(files)
    }

    /// Reads the run in the file `path`. Lines that are not events, from another version or cut off, are skipped.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<RecordedRun> {
        let bytes = read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(RecordedRun {
            events: events::read(&text),
        })
    }

    /// Makes the file that says what the run that ended at `ended` was made from; returns it and its path.
    ///
    /// # Errors
    /// If it cannot be made, or older ones cannot be removed.
    pub fn create_manifest(&self, ended: SystemTime) -> io::Result<(File, PathBuf)> {
        self.create(MANIFEST, ended)
    }

    /// Writes the manifest of a run, under the time of its end. A run that made nothing has none.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep_manifest(
        &self,
        session: &Session,
        planned: Option<&Planned>,
        summary: &Summary,
    ) -> Result<(), FileError> {
        if summary.made.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now();
        let failed = |error| FileError::in_store("write", &self.directory)(error);
        let manifest = Manifest::new(session, planned, summary, now);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(error.into()))?;
        let (mut file, path) = self.create_manifest(now).map_err(failed)?;
        file.write_all(&text)
            .map_err(FileError::in_store("write", path))
    }

    /// Makes a file for `time` whose name ends in `suffix`, and removes the oldest files beyond the limit.
    fn create(&self, suffix: &str, time: SystemTime) -> io::Result<(File, PathBuf)> {
        let files = self.files_of(suffix)?;
        remove(&files[..files.len().saturating_sub(RUNS_KEPT - 1)])?;
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}.{:09}{suffix}", time.as_secs(), time.subsec_nanos());
        let path = self.directory.join(name);
        Ok((record_file::create_new(&path)?, path))
    }
}

/// Removes `files`. Some may be gone: another run may be removing them.
fn remove(files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// The result of a second build of an item.
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
    /// How often it was built again. Missing in records of older versions: at least once.
    #[serde(default = "once")]
    pub rounds: u32,
    /// What was varied in each round, by name, and the `time` it began; empty in records of older versions.
    #[serde(default)]
    pub variations: Vec<BTreeMap<String, String>>,
}

fn once() -> u32 {
    1
}

/// The records of second builds.
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

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of them, oldest first; none if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read.
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

    /// Records what came of each package of `run`.
    pub fn record(&self, run: &FinishedRun<'_>, rounds: &Rounds) {
        let all = run.planned.plan.nodes();
        let nodes = run.targets.iter().map(|index| &all[*index]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        for (node, same) in rounds.compared(nodes) {
            let rebuild = Rebuild {
                item: node.label.clone(),
                derivation: node.derivation_path.base_name().to_owned(),
                same,
                time: now,
                rounds: rounds.count(),
                variations: rounds.described_variations(),
            };
            if let Err(error) = self.append(&rebuild) {
                tracing::warn!("cannot record that {} was built again: {error}", node.label);
            }
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, rebuild: &Rebuild) -> io::Result<()> {
        record_file::append(&self.path, rebuild)
    }
}

/// The contents of the file `path`.
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
    fn rebuilds_are_read_back_and_torn_lines_skipped() {
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
    fn records_without_rounds_are_read() {
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
    fn a_missing_directory_is_not_an_error() {
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
    fn removing_a_missing_file_is_not_an_error() {
        let state = tempfile::tempdir().unwrap();
        let there = state.path().join("there");
        fs::write(&there, "").unwrap();
        remove(&[state.path().join("gone"), there.clone()]).unwrap();
        assert!(!there.exists());
        assert!(remove(&[state.path().to_owned()]).is_err());
    }
}
