// SPDX-License-Identifier: GPL-3.0-or-later
//! What earlier builds took: one line of JSON for each, in `STATE/bootstrap/builds.jsonl`.
//!
//! The scheduler reads it to know which builds are long, users to see where the time goes. A line is appended
//! with one write as each item is finished, so a killed run loses nothing that was finished before.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::builder::record_file;
use crate::events::{Kind, Made};

/// Only this much of the end is read: some thousand builds.
const READ_MAX: u64 = 4 << 20;

/// One finished item. The fields are written in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishedItem {
    /// The label of the item.
    pub item: String,
    /// How it was made.
    pub kind: Kind,
    /// The base name of the derivation.
    pub derivation: String,
    /// When it was begun, in seconds since the Epoch.
    pub started: u64,
    /// When it was registered, in seconds since the Epoch.
    pub ended: u64,
    /// How many cores the run had.
    pub cores: usize,
    /// What it took and gave.
    #[serde(flatten)]
    pub made: Made,
}

/// The part of a [`FinishedItem`] that says how long it took.
#[derive(Deserialize)]
struct Timing<'l> {
    #[serde(borrow)]
    item: Cow<'l, str>,
    seconds: f64,
    #[serde(default)]
    cached: bool,
}

/// What a process has read of a file of records.
#[derive(Debug, Default)]
struct KnownRecords {
    /// Device and inode of the file.
    file: Option<(u64, u64)>,
    /// Up to where it was read, in bytes.
    read: u64,
    durations: Arc<HashMap<String, Duration>>,
}

/// The file of records.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// The records under the state directory `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            path: state.join("bootstrap").join("builds.jsonl"),
        }
    }

    /// Where the records are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long each item took when it was last made, by label. A download that came from the cache says nothing of the
    /// network. Lines that are not records (cut off by a crash, or from another version of this program) are passed
    /// over: this is advice and no more.
    ///
    /// A process reads each record once: one that serves a client asks before each of its runs.
    pub fn durations(&self) -> Arc<HashMap<String, Duration>> {
        static ALL: LazyLock<Mutex<HashMap<PathBuf, KnownRecords>>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(self.path.clone()).or_default();
        if self.read_on(known).is_err() {
            *known = KnownRecords::default();
        }
        Arc::clone(&known.durations)
    }

    /// Reads what was added to the file since `known` was read.
    fn read_on(&self, known: &mut KnownRecords) -> io::Result<()> {
        let mut file = record_file::open(&self.path)?;
        let found = file.metadata()?;
        let identity = (found.dev(), found.ino());
        if known.file != Some(identity) || found.len() < known.read {
            *known = KnownRecords {
                file: Some(identity),
                read: found.len().saturating_sub(READ_MAX),
                durations: Arc::default(),
            };
        }
        file.seek(SeekFrom::Start(known.read))?;
        let mut bytes = Vec::new();
        file.take(READ_MAX).read_to_end(&mut bytes)?;
        // The rest is a line that is being written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = &bytes[..whole.map_or(0, |end| end + 1)];
        if whole.is_empty() {
            return Ok(());
        }
        known.read += whole.len() as u64;
        let durations = Arc::make_mut(&mut known.durations);
        for line in whole.split(|byte| *byte == b'\n') {
            let Ok(record) = serde_json::from_slice::<Timing<'_>>(line) else {
                continue;
            };
            if let (false, Ok(duration)) =
                (record.cached, Duration::try_from_secs_f64(record.seconds))
            {
                durations.insert(record.item.into_owned(), duration);
            }
        }
        Ok(())
    }

    /// The records, oldest first; none where they cannot be read. Lines that are not records are skipped.
    pub fn records(&self) -> Vec<FinishedItem> {
        self.read().unwrap_or_default()
    }

    /// The records, oldest first; empty where the file is missing. Lines that are not records are skipped.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&self) -> io::Result<Vec<FinishedItem>> {
        let text = match self.read_end() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let records = text.lines();
        Ok(records
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// The derivations of the item called `label` that were built, by base name, the latest first.
    pub fn derivations(&self, label: &str) -> Vec<String> {
        let text = self.read_end().unwrap_or_default();
        let mut found: Vec<String> = Vec::new();
        for line in text.lines().rev() {
            // Reading a line as JSON takes longer than finding out that it is about something else.
            if !line.contains(label) {
                continue;
            }
            if let Ok(record) = serde_json::from_str::<FinishedItem>(line)
                && record.item == label
                && !found.contains(&record.derivation)
            {
                found.push(record.derivation);
            }
        }
        found
    }

    fn read_end(&self) -> io::Result<String> {
        let mut file = record_file::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ_MAX)))?;
        let mut bytes = Vec::new();
        file.take(READ_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Appends a record.
    pub fn append(&self, record: &FinishedItem) -> io::Result<()> {
        record_file::append(&self.path, record)
    }
}

/// `time` in whole seconds since the Epoch; 0 before it.
pub(crate) fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::PhaseTime;
    use std::fs::OpenOptions;
    use std::io::Write;

    fn record(item: &str, seconds: f64) -> FinishedItem {
        FinishedItem {
            item: item.to_owned(),
            kind: Kind::Build,
            derivation: "x.drv".to_owned(),
            started: 1,
            ended: 2,
            cores: 2,
            made: Made {
                seconds,
                phases: vec![PhaseTime {
                    phase: "build".to_owned(),
                    seconds: 1.5,
                    start: None,
                }],
                ..Made::default()
            },
        }
    }

    #[test]
    fn the_last_duration_of_each_item_counts_and_torn_lines_do_not() {
        let state = tempfile::tempdir().unwrap();
        let history = History::new(state.path());
        assert!(history.durations().is_empty());
        history.append(&record("sed", 5.0)).unwrap();
        history.append(&record("sed", 7.0)).unwrap();
        history.append(&record("negative", -1.0)).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(history.path())
            .unwrap();
        file.write_all(b"{\"item\":\"grep\",\"kind").unwrap();
        let durations = history.durations();
        assert_eq!(
            durations,
            HashMap::from([("sed".to_owned(), Duration::from_secs(7))]).into()
        );
    }

    #[test]
    fn a_download_from_the_cache_does_not_say_how_long_downloads_take() {
        let state = tempfile::tempdir().unwrap();
        let history = History::new(state.path());
        for (item, seconds, cached) in [
            ("source/sed", 4.0, false),
            ("source/sed", 0.0, true),
            ("source/grep", 0.0, true),
        ] {
            let mut record = record(item, seconds);
            record.kind = Kind::Download;
            record.made.cached = cached;
            history.append(&record).unwrap();
        }
        let known = HashMap::from([("source/sed".to_owned(), Duration::from_secs(4))]);
        assert_eq!(history.durations(), known.into());
    }

    #[test]
    fn what_was_built_of_an_item_is_known_latest_first() {
        let state = tempfile::tempdir().unwrap();
        let history = History::new(state.path());
        for (item, derivation) in [
            ("sed", "1.drv"),
            ("stage0/sed", "2.drv"),
            ("sed", "3.drv"),
            ("sed", "1.drv"),
        ] {
            let record = FinishedItem {
                derivation: derivation.to_owned(),
                ..record(item, 1.0)
            };
            history.append(&record).unwrap();
        }
        assert_eq!(history.derivations("sed"), ["1.drv", "3.drv"]);
        assert!(history.derivations("grep").is_empty());
    }

    #[test]
    fn fields_come_in_a_fixed_order() {
        assert_eq!(
            serde_json::to_string(&record("sed", 5.0)).unwrap(),
            "{\"item\":\"sed\",\"kind\":\"build\",\"derivation\":\"x.drv\",\"started\":1,\"ended\":2,\"cores\":2,\
             \"outputs\":[],\"seconds\":5.0,\"user_seconds\":0.0,\"system_seconds\":0.0,\
             \"phases\":[{\"phase\":\"build\",\"seconds\":1.5}]}"
        );
    }

    #[test]
    fn what_is_added_is_read_and_a_file_that_is_replaced_is_read_anew() {
        let state = tempfile::tempdir().unwrap();
        let history = History::new(state.path());
        let seconds = |item: &str| history.durations().get(item).map(Duration::as_secs);
        assert_eq!(seconds("sed"), None);
        history.append(&record("sed", 3.0)).unwrap();
        assert_eq!(seconds("sed"), Some(3));
        // A record that is being written counts once it is complete.
        let line = serde_json::to_string(&record("tar", 5.0)).unwrap();
        let mut file = OpenOptions::new().append(true).open(&history.path).unwrap();
        let (start, end) = line.split_at(20);
        file.write_all(start.as_bytes()).unwrap();
        assert_eq!(seconds("tar"), None);
        file.write_all(format!("{end}\n").as_bytes()).unwrap();
        assert_eq!((seconds("sed"), seconds("tar")), (Some(3), Some(5)));
        std::fs::remove_file(&history.path).unwrap();
        history.append(&record("gcc", 9.0)).unwrap();
        assert_eq!((seconds("sed"), seconds("gcc")), (None, Some(9)));
    }
}
