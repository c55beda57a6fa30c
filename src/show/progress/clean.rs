//! Cleans the text of events before reporters get it.

use std::borrow::Cow;

use crate::events::Event;
use crate::formats::secrets::without_secrets;

/// Hides the secrets of URLs in `event`: reporters show it, or write it to records that every user can read.
pub(super) fn hide_secrets(event: &mut Event) {
    match event {
        Event::SubstitutesFound { location, .. } | Event::DownloadProgress { location, .. } => {
            hide(location);
        }
        Event::SubstitutesEnded {
            location, problem, ..
        } => {
            hide(location);
            problem.iter_mut().for_each(hide);
        }
        Event::Line { text, .. } => hide(text),
        Event::Failed {
            message,
            likely_cause,
            last_lines,
            ..
        } => {
            hide(message);
            likely_cause.iter_mut().chain(last_lines).for_each(hide);
        }
        Event::RunFinished { summary } => {
            for failed in &mut summary.failed {
                hide(&mut failed.message);
            }
        }
        Event::Preparing { .. }
        | Event::RunStarted { .. }
        | Event::Planned { .. }
        | Event::Processor { .. }
        | Event::WaitingForLock { .. }
        | Event::Started { .. }
        | Event::PhaseStarted { .. }
        | Event::PhaseEnded { .. }
        | Event::Finished { .. }
        | Event::Reused { .. }
        | Event::Skipped { .. }
        | Event::Interrupted => {}
    }
}

fn hide(text: &mut String) {
    if let Cow::Owned(hidden) = without_secrets(text) {
        *text = hidden;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{FailedItem, Summary};

    #[test]
    fn no_event_carries_the_secret_of_a_url() {
        let url = || "http://user:word@host/?token=word".to_owned();
        let mut events = [
            Event::SubstitutesFound {
                substitutes: 1,
                size: None,
                location: url(),
            },
            Event::SubstitutesEnded {
                location: url(),
                installed: 0,
                nar_size: 0,
                problem: Some(url()),
            },
            Event::DownloadProgress {
                item: "sed".into(),
                received: 0,
                total: None,
                location: url(),
            },
            Event::Line {
                item: "sed".into(),
                text: url(),
            },
            Event::Failed {
                item: "sed".into(),
                message: url(),
                likely_cause: Some(url()),
                last_lines: vec![url()],
                log: None,
                kept: None,
            },
            Event::RunFinished {
                summary: Summary {
                    failed: vec![FailedItem {
                        item: "sed".into(),
                        message: url(),
                    }],
                    ..Summary::default()
                },
            },
        ];
        for event in &mut events {
            hide_secrets(event);
            let json = serde_json::to_string(&event).unwrap();
            assert!(!json.contains("word"), "{json}");
            assert!(json.contains("http://***@host/?token=***"), "{json}");
        }
    }
}
