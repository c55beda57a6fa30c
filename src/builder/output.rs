// SPDX-License-Identifier: GPL-3.0-or-later
//! A build's output as users see it: whole lines, safe to print, and the phases that they announce.

use std::collections::VecDeque;
use std::time::Instant;

use super::diagnosis::Suspect;
use crate::events::{Event, EventSender, PhaseTime};

/// How many lines are shown when a build fails.
const LAST_LINES: usize = 30;
/// Longer lines are shown in pieces: a build may print gigabytes without an end of line.
const LINE_MAX: usize = 4096;
/// Of so many phases the times are kept. No build has a tenth of them, but any can say that it has; they become a line
/// of the history.
const PHASES_MAX: usize = 256;
/// So many characters of a phase's name are kept.
const PHASE_NAME_MAX: usize = 64;

/// Cuts output into lines and reports them.
#[derive(Debug)]
pub struct OutputLines {
    item: String,
    events: EventSender,
    partial: Vec<u8>,
    last: VecDeque<String>,
    /// Of the phase the build is in, or of all where there is none.
    suspect: Suspect,
    phase: Option<(String, Instant)>,
    phases: Vec<PhaseTime>,
    begun: Instant,
}

/// What a line says about phases, in the words of Guix's `gnu-build-system`.
#[derive(Debug, PartialEq, Eq)]
enum PhaseLine<'a> {
    /// ``starting phase `NAME'``
    Starting(&'a str),
    /// ``phase `NAME' succeeded after N seconds``, or `failed`.
    Ended(&'a str, bool),
}

impl OutputLines {
    /// The output of `item`, of which nothing has come yet.
    pub fn new(item: &str, events: EventSender) -> Self {
        Self {
            item: item.to_owned(),
            events,
            partial: Vec::new(),
            last: VecDeque::new(),
            suspect: Suspect::default(),
            phase: None,
            phases: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// More output. True where a phase ended with it.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let mut ended = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_MAX - self.partial.len();
            let end = rest.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= room => {
                    self.partial.extend_from_slice(&rest[..end]);
                    ended |= self.line();
                    rest = &rest[end + 1..];
                }
                _ => {
                    let (piece, left) = rest.split_at(room.min(rest.len()));
                    self.partial.extend_from_slice(piece);
                    if self.partial.len() == LINE_MAX {
                        ended |= self.line();
                    }
                    rest = left;
                }
            }
        }
        ended
    }

    /// The output is over: a last line without an end counts too.
    pub fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.line();
        }
    }

    /// The last lines, oldest first: of the phase the build is in, or was in last.
    pub fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// The line that most looks like the cause of a failure: of the phase the build is in, for the phases before it
    /// went well, whatever they printed.
    pub fn likely_cause(&self) -> Option<&str> {
        self.suspect.line()
    }

    /// The phase the build is in.
    pub fn phase(&self) -> Option<&str> {
        self.phase.as_ref().map(|(phase, _)| phase.as_str())
    }

    /// The phases that ended, in order, with the time each took; of more than any build has, the first.
    pub fn phases(&self) -> &[PhaseTime] {
        &self.phases
    }

    /// One line is complete.
    fn line(&mut self) -> bool {
        let text = printable(&self.partial);
        self.partial.clear();
        let ended = match phase_line(&text) {
            Some(PhaseLine::Starting(phase)) => {
                // What the phases before it printed explains no failure of this one.
                self.last.clear();
                self.suspect = Suspect::default();
                self.phase = Some((phase.to_owned(), Instant::now()));
                self.events.emit(Event::PhaseStarted {
                    item: self.item.clone(),
                    phase: phase.to_owned(),
                });
                false
            }
            Some(PhaseLine::Ended(phase, succeeded)) => self.phase_ended(phase, succeeded),
            None => {
                self.suspect.read(&text);
                false
            }
        };
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        self.events.emit(Event::Line {
            item: self.item.clone(),
            text,
        });
        ended
    }

    fn phase_ended(&mut self, phase: &str, succeeded: bool) -> bool {
        let Some((_, start)) = self.phase.take_if(|(current, _)| current == phase) else {
            // Any program may print such a line, and a builder may print it for a phase it never began.
            return false;
        };
        let seconds = start.elapsed().as_secs_f64();
        if succeeded {
            self.suspect = Suspect::default();
        } else {
            // For the message about the failure: the build is still in it.
            self.phase = Some((phase.to_owned(), start));
        }
        if self.phases.len() < PHASES_MAX {
            self.phases.push(PhaseTime {
                phase: phase.to_owned(),
                seconds,
                start: Some(start.duration_since(self.begun).as_secs_f64()),
            });
        }
        self.events.emit(Event::PhaseEnded {
            item: self.item.clone(),
            phase: phase.to_owned(),
            seconds,
            succeeded,
        });
        true
    }
}

/// `bytes` without what could confuse a terminal: control characters (escape sequences start with one) go,
/// tabs stay, bytes that are not UTF-8 become replacement characters. Of a line that was redrawn with carriage returns
/// only the last state is left, which is what a terminal would show.
pub(super) fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let start = bytes
        .iter()
        .rposition(|byte| *byte == b'\r')
        .map_or(0, |at| at + 1);
    String::from_utf8_lossy(&bytes[start..])
        .chars()
        .filter(|character| *character == '\t' || !character.is_control())
        .collect()
}

fn phase_line(line: &str) -> Option<PhaseLine<'_>> {
    if let Some(rest) = line.strip_prefix("starting phase `") {
        let phase = rest.strip_suffix('\'')?;
        return Some(PhaseLine::Starting(shortened(phase)));
    }
    let (phase, rest) = line.strip_prefix("phase `")?.split_once('\'')?;
    let phase = shortened(phase);
    let rest = rest.strip_prefix(' ')?;
    if rest.starts_with("succeeded after ") {
        Some(PhaseLine::Ended(phase, true))
    } else if rest.starts_with("failed after ") {
        Some(PhaseLine::Ended(phase, false))
    } else {
        None
    }
}

/// The start of a phase's name, or all of it.
fn shortened(phase: &str) -> &str {
    let end = phase.char_indices().nth(PHASE_NAME_MAX);
    end.map_or(phase, |(end, _)| &phase[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (OutputLines, std::sync::mpsc::Receiver<Event>) {
        let (events, receiver) = EventSender::channel();
        (OutputLines::new("sed", events), receiver)
    }

    fn lines(receiver: &std::sync::mpsc::Receiver<Event>) -> Vec<String> {
        let texts = receiver.try_iter().filter_map(|event| match event {
            Event::Line { text, .. } => Some(text),
            _ => None,
        });
        texts.collect()
    }

    #[test]
    fn lines_are_whole_however_the_bytes_come() {
        let (mut output, receiver) = output();
        for piece in ["on", "e\ntw", "o\n", "\nthree"] {
            output.push(piece.as_bytes());
        }
        output.finish();
        assert_eq!(lines(&receiver), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_line_without_end_is_shown_in_pieces() {
        let (mut output, receiver) = output();
        output.push(&[b'x'; LINE_MAX * 2 + 10]);
        output.push(b"\n");
        let lengths: Vec<usize> = lines(&receiver).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_MAX, LINE_MAX, 10]);
    }

    #[test]
    fn nothing_that_controls_a_terminal_gets_through() {
        let (mut output, receiver) = output();
        output.push(b"\x1b[2J\x1b]0;title\x07red\tand \xff\xc2\x9b31m\r\n10%\r50%\r100%\n");
        assert_eq!(
            lines(&receiver),
            ["[2J]0;titlered\tand \u{fffd}31m", "100%"]
        );
    }

    #[test]
    fn phases_are_told_and_timed() {
        let (mut output, receiver) = output();
        output.push(b"starting phase `configure'\n");
        assert_eq!(output.phase(), Some("configure"));
        assert!(output.push(b"phase `configure' succeeded after 0.5 seconds\n"));
        assert_eq!(output.phase(), None);
        output.push(b"starting phase `build'\n");
        output.push(b"phase `build' failed after 3.0 seconds\n");
        assert_eq!(output.phase(), Some("build"));
        let phases: Vec<&str> = output
            .phases()
            .iter()
            .map(|time| time.phase.as_str())
            .collect();
        assert_eq!(phases, ["configure", "build"]);
        let told: Vec<(String, bool)> = receiver
            .try_iter()
            .filter_map(|event| match event {
                Event::PhaseEnded {
                    phase, succeeded, ..
                } => Some((phase, succeeded)),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [("configure".to_owned(), true), ("build".to_owned(), false)]
        );
    }

    #[test]
    fn a_build_that_makes_phases_up_is_noted_up_to_a_point() {
        let (mut output, _receiver) = output();
        let name = "\u{e4}".repeat(1000);
        for number in 0..2000 {
            output.push(format!("starting phase `{number}{name}'\n").as_bytes());
            let end = format!("phase `{number}{name}' succeeded after 0.0 seconds\n");
            assert!(output.push(end.as_bytes()));
        }
        assert_eq!(output.phases().len(), PHASES_MAX);
        assert!(output.phases()[0].phase.starts_with("0\u{e4}"));
        let longest = output.phases().iter().map(|time| time.phase.len()).max();
        assert!(longest <= Some(PHASE_NAME_MAX * 2), "{longest:?}");
    }

    #[test]
    fn the_end_of_a_phase_that_never_began_is_an_ordinary_line() {
        let (mut output, _receiver) = output();
        assert!(!output.push(b"phase `check' succeeded after 1.0 seconds\n"));
        assert!(output.phases().is_empty());
        assert_eq!(phase_line("starting phase `x"), None);
        assert_eq!(phase_line("phase `x' was fine"), None);
    }

    #[test]
    fn the_likely_cause_is_of_the_phase_however_long_ago_it_was() {
        let (mut output, _receiver) = output();
        output.push(b"starting phase `configure'\nx.c:1:2: error: of a trial\n");
        assert_eq!(output.likely_cause(), Some("x.c:1:2: error: of a trial"));
        output.push(b"phase `configure' succeeded after 0.5 seconds\n");
        assert_eq!(output.likely_cause(), None);
        output.push(b"starting phase `build'\nx.c:3:4: error: oh\n");
        output.push("cc -c y.c\n".repeat(1000).as_bytes());
        output.push(b"phase `build' failed after 3.0 seconds\n");
        assert_eq!(output.likely_cause(), Some("x.c:3:4: error: oh"));
        output.push(b"starting phase `check'\n");
        assert_eq!(output.likely_cause(), None);
    }

    #[test]
    fn the_last_thirty_lines_of_the_phase_are_kept() {
        let (mut output, _receiver) = output();
        for number in 0..100 {
            output.push(format!("{number}\n").as_bytes());
        }
        let last = output.last_lines();
        assert_eq!(last.len(), 30);
        assert_eq!((last[0].as_str(), last[29].as_str()), ("70", "99"));
        output.push(b"starting phase `build'\ncc\n");
        assert_eq!(output.last_lines(), ["starting phase `build'", "cc"]);
    }
}
