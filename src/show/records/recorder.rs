// SPDX-License-Identifier: GPL-3.0-or-later
//! Records the events of a run in a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{EVENTS, Runs};
use crate::events::{Event, stamped_line};
use crate::show::progress::Reporter;

/// A reader of events that records them, except the output of builds, which is in their logs, and the progress of
/// downloads. A run that has nothing to make leaves no record.
#[derive(Debug)]
pub struct Recorder {
    runs: Runs,
    file: RecorderState,
}

#[derive(Debug)]
enum RecorderState {
    Waiting(Event),
    Nothing,
    Writing(File, PathBuf),
}

impl Recorder {
    /// A recorder that adds a file to `runs`.
    pub fn new(runs: &Runs) -> Self {
        Self {
            runs: runs.clone(),
            file: RecorderState::Nothing,
        }
    }

    fn start(&mut self, first: &Event) {
        match self.runs.create(EVENTS, SystemTime::now()) {
            Ok((file, path)) => {
                self.file = RecorderState::Writing(file, path);
                self.write(first);
            }
            Err(error) => self.give_up(&self.runs.directory.clone(), &error),
        }
    }

    fn write(&mut self, event: &Event) {
        if let RecorderState::Writing(file, path) = &mut self.file {
            let written = stamped_line(event)
                .map_err(io::Error::from)
                .and_then(|line| file.write_all(&line));
            if let Err(error) = written {
                let path = path.clone();
                self.give_up(&path, &error);
            }
        }
    }

    /// Stops recording: the run goes on without a record.
    fn give_up(&mut self, path: &Path, error: &io::Error) {
        tracing::warn!(
            "cannot record this run in {}: {error}; `bootstrap report` will not show its phases",
            path.display()
        );
        self.file = RecorderState::Nothing;
    }
}

impl Reporter for Recorder {
    fn report(&mut self, event: &Event) {
        match (event, &self.file) {
            (Event::Preparing { .. } | Event::Line { .. } | Event::DownloadProgress { .. }, _) => {}
            (event, RecorderState::Writing(..)) => self.write(event),
            (Event::RunStarted { .. }, _) => self.file = RecorderState::Waiting(event.clone()),
            // Something will be made, if only by installing it.
            (
                Event::Planned { .. } | Event::SubstitutesFound { .. },
                RecorderState::Waiting(first),
            ) => {
                let first = first.clone();
                self.start(&first);
                self.write(event);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Stamped, Summary};
    use crate::show::records::RUNS_KEPT;
    use std::fs;

    fn started() -> Event {
        Event::RunStarted {
            builds: 1,
            downloads: 0,
            reused: 0,
        }
    }

    fn planned() -> Event {
        Event::Planned {
            items: Vec::new(),
            jobs: 1,
            downloads: 1,
            cores: 1,
        }
    }

    fn finished() -> Event {
        Event::RunFinished {
            summary: Summary::default(),
        }
    }

    /// All events in the only file of `runs`.
    fn recorded(runs: &Runs) -> Vec<Event> {
        let files = runs.files().unwrap();
        assert_eq!(files.len(), 1);
        let text = fs::read_to_string(&files[0]).unwrap();
        let lines = text.lines().map(serde_json::from_str::<Stamped>);
        lines.map(|line| line.unwrap().event).collect()
    }

    #[test]
    fn a_run_is_recorded_without_the_output_of_builds() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::new(state.path());
        let mut recorder = Recorder::new(&runs);
        let line = Event::Line {
            item: "sed".into(),
            text: "checking for cc".into(),
        };
        let phase = Event::PhaseStarted {
            item: "sed".into(),
            phase: "build".into(),
        };
        for event in [&started(), &planned(), &phase, &line, &finished()] {
            recorder.report(event);
        }
        assert_eq!(recorded(&runs), [started(), planned(), phase, finished()]);
    }

    #[test]
    fn a_run_that_installs_is_recorded_once_even_if_it_builds_too() {
        let found = Event::SubstitutesFound {
            substitutes: 1,
            size: None,
            location: "https://example.org".into(),
        };
        for told in [
            vec![started(), found.clone(), finished()],
            vec![started(), planned(), found, finished()],
        ] {
            let state = tempfile::tempdir().unwrap();
            let runs = Runs::new(state.path());
            let mut recorder = Recorder::new(&runs);
            for event in &told {
                recorder.report(event);
            }
            assert_eq!(recorded(&runs), told);
        }
    }

    #[test]
    fn a_run_with_nothing_to_make_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::new(state.path());
        let mut recorder = Recorder::new(&runs);
        recorder.report(&started());
        recorder.report(&finished());
        assert!(!state.path().join("bootstrap").exists());
    }

    #[test]
    fn old_runs_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::new(state.path());
        fs::create_dir_all(&runs.directory).unwrap();
        for number in 0..RUNS_KEPT + 5 {
            let name = format!("10{number:02}.000000000{EVENTS}");
            fs::write(runs.directory.join(name), "").unwrap();
        }
        let mut recorder = Recorder::new(&runs);
        recorder.report(&started());
        recorder.report(&planned());
        let files = runs.files().unwrap();
        assert_eq!(files.len(), RUNS_KEPT);
        assert!(files[0].ends_with(format!("1006.000000000{EVENTS}")));
    }

    #[test]
    fn an_unwritable_directory_does_not_stop_the_run() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("bootstrap"), "a file").unwrap();
        let mut recorder = Recorder::new(&Runs::new(state.path()));
        recorder.report(&started());
        recorder.report(&planned());
        recorder.report(&finished());
    }
}
