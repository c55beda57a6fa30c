//! What runs leave behind in the state directory, for people who ask later what happened.
//!
//! | file under `STATE/bootstrap` | one line for each | written by |
//! |---|---|---|
//! | `builds.jsonl` | finished item ([`history`](crate::build::history)) | the build |
//! | `runs/STAMP.events.jsonl` | event of one run ([`Stamped`]) | [`Recorder`] |
//! | `rebuilds.jsonl` | second build of an output ([`Rebuild`]) | whoever compares builds |
//!
//! `docs/events.md` describes the formats. Everything is JSON, one object a line, written with one call for each line: a
//! run that is killed loses nothing that happened before.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::events::Stamped;

mod recorder;

pub use recorder::Recorder;

/// How the names of event files end.
const SUFFIX: &str = ".events.jsonl";
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
    /// When it began, as its file is called: seconds since the Epoch.
    pub name: String,
    /// What happened, in order.
    pub events: Vec<Stamped>,
}

impl Runs {
    /// The runs under the state directory `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("bootstrap").join("runs"),
        }
    }

    /// The event files, oldest first. No directory is no runs.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.ends_with(SUFFIX)) {
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
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        Ok(RecordedRun {
            name: name.trim_end_matches(SUFFIX).to_owned(),
            events: lines(path)?,
        })
    }
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

    /// All of them, oldest first; none where there is no file.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&self) -> io::Result<Vec<Rebuild>> {
        match lines(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn append(&self, rebuild: &Rebuild) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut line = serde_json::to_vec(rebuild)?;
        line.push(b'\n');
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).open(&self.path)?;
        file.write_all(&line)
    }
}

/// The lines of the file `path` that are JSON of a `T`.
fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Vec<T>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(READ_MAX)
        .read_to_end(&mut bytes)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
