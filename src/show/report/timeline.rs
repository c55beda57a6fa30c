// SPDX-License-Identifier: GPL-3.0-or-later
//! Draws the time line: a row for each build, with its phases as parts of a bar, and processor use below.
//!
//! Downloads share one row, and so do substitutes. Pauses between runs, often of hours, are cut out and marked.

use super::{ReportData, Span};
use crate::show::graph::svg::escape;
use crate::show::progress::size;

mod processor;

/// Lengths, in units of the drawing.
const LABELS: f64 = 230.0;
const WIDTH: f64 = 1200.0;
const ROW: f64 = 18.0;
const BAR: f64 = 12.0;
const TOP: f64 = 26.0;
/// Longer pauses, in seconds, are cut out.
const PAUSE: f64 = 60.0;
/// The width of a cut.
const CUT: f64 = 16.0;

/// The phases with their own colour; the others share one.
pub const PHASES: [&str; 5] = ["unpack", "configure", "build", "check", "install"];

/// The periods in which something ran, and their places.
#[derive(Debug)]
struct Scale {
    /// Start, end, and the left edge.
    pieces: Vec<(f64, f64, f64)>,
    /// Units per second.
    unit: f64,
}

impl Scale {
    fn new(spans: &[Span]) -> Self {
        let mut pieces: Vec<(f64, f64)> = Vec::new();
        // Spans are sorted by start.
        for span in spans {
            match pieces.last_mut() {
                Some(last) if span.start <= last.1 + PAUSE => last.1 = last.1.max(span.end()),
                _ => pieces.push((span.start, span.end())),
            }
        }
        let busy: f64 = pieces.iter().map(|(start, end)| end - start).sum();
        let cuts = pieces.len().saturating_sub(1) as f64 * CUT;
        let unit = (WIDTH - cuts).max(100.0) / busy.max(1.0);
        let mut x = LABELS;
        let pieces = pieces.into_iter().map(|(start, end)| {
            let left = x;
            x += (end - start) * unit + CUT;
            (start, end, left)
        });
        Self {
            pieces: pieces.collect(),
            unit,
        }
    }

    /// The place of the moment `time`.
    fn x(&self, time: f64) -> f64 {
        let piece = self
            .pieces
            .iter()
            .rev()
            .find(|(start, _, _)| time >= *start);
        match piece.or(self.pieces.first()) {
            Some((start, end, left)) => left + (time.clamp(*start, *end) - start) * self.unit,
            None => LABELS,
        }
    }
}

/// The time line as SVG; `None` without records.
pub fn svg(report: &ReportData) -> Option<String> {
    let builds: Vec<&Span> = report
        .spans
        .iter()
        .filter(|span| !["download", "substitute"].contains(&span.kind))
        .collect();
    if report.spans.is_empty() {
        return None;
    }
    let scale = Scale::new(&report.spans);
    let downloads = together(report, &scale, "download", TOP);
    let substitutes = together(report, &scale, "substitute", TOP + ROW);
    let first = match substitutes.is_empty() {
        true => TOP + ROW,
        false => TOP + 2.0 * ROW,
    };
    let rows = first + builds.len() as f64 * ROW;
    let height = rows + processor::HEIGHT + 34.0;
    let mut text = format!(
        "<svg id=\"timeline\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"group\" aria-label=\"Time line of builds\">\n",
        LABELS + WIDTH + 20.0
    );
    text.push_str(&grid(&scale, rows + processor::HEIGHT));
    text.push_str(&downloads);
    text.push_str(&substitutes);
    for (row, span) in builds.iter().enumerate() {
        text.push_str(&bar(span, &scale, first + row as f64 * ROW));
    }
    text.push_str(&processor::area(report, &scale, rows + 10.0));
    text.push_str("</svg>\n");
    Some(text)
}

/// Lines at round times, and the cuts.
fn grid(scale: &Scale, height: f64) -> String {
    let mut text = String::new();
    let wanted = 90.0 / scale.unit;
    let steps = [
        1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0,
    ];
    let step = steps.iter().copied().find(|step| *step >= wanted);
    // Beyond that in whole days, so that marks stay readable.
    let step = step.unwrap_or_else(|| (wanted / 86400.0).ceil() * 86400.0);
    let mut passed = 0.0;
    for (number, (start, end, left)) in scale.pieces.iter().enumerate() {
        let mut mark = (passed / step).ceil() * step;
        while mark <= passed + end - start {
            let x = left + (mark - passed) * scale.unit;
            text.push_str(&format!(
                "<path class=\"mark\" d=\"M{x:.1} {TOP}V{height:.1}\"/><text class=\"axis\" x=\"{x:.1}\" y=\"16\">{}</text>\n",
                clock(mark)
            ));
            mark += step;
        }
        passed += end - start;
        if let Some((next, _, _)) = scale.pieces.get(number + 1) {
            let x = left + (end - start) * scale.unit + CUT / 2.0;
            text.push_str(&format!(
                "<path class=\"cut\" d=\"M{x:.1} {TOP}V{height:.1}\"><title>nothing ran for {}</title></path>\n",
                size::seconds(next - end)
            ));
        }
    }
    text
}

/// Hours, minutes and seconds, without leading zeros.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, seconds) {
        (0, _) => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// One row at `top` for all spans of `kind`; empty without any.
fn together(report: &ReportData, scale: &Scale, kind: &str, top: f64) -> String {
    let spans = report.spans.iter().filter(|span| span.kind == kind);
    let spans: Vec<&Span> = spans.collect();
    if spans.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "<g class=\"row\"><text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">{}</text>\n",
        LABELS - 8.0,
        top + ROW / 2.0,
        size::counted(spans.len(), kind)
    );
    for span in spans {
        let (x, width) = (scale.x(span.start), (span.seconds * scale.unit).max(1.0));
        text.push_str(&format!(
            "<rect class=\"{kind}{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BAR}\"><title>{}: {}</title></rect>\n",
            if span.failed { " failed" } else { "" },
            top + (ROW - BAR) / 2.0,
            escape(&span.label),
            took(span).unwrap_or_else(|| size::seconds(span.seconds))
        ));
    }
    text.push_str("</g>\n");
    text
}

/// The time of a failed or unfinished span as text; `None` for finished ones.
fn took(span: &Span) -> Option<String> {
    let took = || size::seconds(span.seconds);
    match span {
        Span { failed: true, .. } => Some(format!("failed after {}", took())),
        Span {
            unfinished: true, ..
        } => Some(format!("not finished after {}", took())),
        _ => None,
    }
}

fn bar(span: &Span, scale: &Scale, top: f64) -> String {
    let label = escape(&span.label);
    let (x, width) = (scale.x(span.start), (span.seconds * scale.unit).max(1.5));
    let y = top + (ROW - BAR) / 2.0;
    let took = took(span).unwrap_or_else(|| {
        let [wall, processor] = [span.seconds, span.processor_seconds].map(size::seconds);
        format!("{wall} wall, {processor} CPU")
    });
    // The class, the mark before the name, and the description.
    let (class, mark, critical) = match span {
        Span { failed: true, .. } => (" failed", "\u{2717} ", ""),
        Span {
            unfinished: true, ..
        } => (" unfinished", "\u{2026} ", ""),
        Span { critical: true, .. } => (" critical", "\u{25c6} ", ", on the critical path"),
        _ => ("", "", ""),
    };
    let mut longest: Vec<&(String, f64, f64)> = span.phases.iter().collect();
    longest.sort_by(|one, other| other.2.total_cmp(&one.2));
    let longest: Vec<String> = longest
        .iter()
        .take(4)
        .filter(|(_, _, seconds)| *seconds >= 0.5)
        .map(|(phase, _, seconds)| format!("{} {}", escape(phase), size::seconds(*seconds)))
        .collect();
    let description = format!(
        "{label}: {took}{critical}{}{}",
        if longest.is_empty() { "" } else { "; " },
        longest.join(", ")
    );
    let mut text = format!(
        "<g class=\"row{class}\" data-item=\"{label}\" tabindex=\"0\" role=\"button\" aria-label=\"{description}\">\
         <title>{description}</title><text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">{mark}{label}</text>\
         <rect class=\"whole\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>\n",
        LABELS - 8.0,
        top + ROW / 2.0,
    );
    for (phase, start, seconds) in &span.phases {
        let width = seconds * scale.unit;
        // A thinner part would be invisible.
        if width >= 0.4 {
            let class = PHASES.iter().find(|known| *known == phase);
            text.push_str(&format!(
                "<rect class=\"phase {}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>",
                class.unwrap_or(&"other"),
                scale.x(span.start + start)
            ));
        }
    }
    text.push_str(&format!(
        "<rect class=\"frame\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/></g>\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn span(label: &str, start: f64, seconds: f64) -> Span {
        Span {
            label: label.into(),
            kind: "build",
            start,
            seconds,
            processor_seconds: seconds * 1.5,
            phases: vec![
                ("configure".into(), 0.0, seconds / 4.0),
                ("odd<phase>".into(), seconds / 4.0, seconds / 2.0),
            ],
            critical: label == "b",
            failed: label == "failed",
            unfinished: label == "unfinished",
        }
    }

    pub(super) fn report(spans: Vec<Span>) -> ReportData {
        ReportData {
            version: "0",
            program: "bootstrap".into(),
            system: "x86_64-linux".into(),
            seed: "seed".into(),
            made: 0,
            cores: 2,
            items: Vec::new(),
            edges: Vec::new(),
            files: Vec::new(),
            seeds: Vec::new(),
            spans,
            others: Vec::new(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn pauses_are_cut_out() {
        let spans = vec![
            span("a", 1000.0, 100.0),
            span("b", 1090.0, 50.0),
            span("c", 90_000.0, 60.0),
        ];
        let scale = Scale::new(&spans);
        assert_eq!(scale.pieces.len(), 2);
        assert_eq!(scale.x(1000.0), LABELS);
        assert!((scale.x(90_060.0) - LABELS - WIDTH).abs() < 0.01);
        // A moment in a pause is drawn at its start.
        assert_eq!(scale.x(50_000.0), scale.x(1140.0));
        let text = svg(&report(spans)).unwrap();
        assert!(text.contains("nothing ran for 24 h 41 min 00 s"), "{text}");
    }

    #[test]
    fn a_bar_has_its_phases_and_a_description() {
        let text = svg(&report(vec![span("a", 0.0, 40.0), span("b", 40.0, 80.0)])).unwrap();
        assert!(text.contains("class=\"phase configure\""));
        assert!(text.contains("class=\"phase other\""));
        assert!(text.contains("odd&lt;phase&gt; 40.0 s"), "{text}");
        assert_eq!(text.matches("class=\"row critical\"").count(), 1);
        assert!(text.contains("b: 1 min 20 s wall, 2 min 00 s CPU, on the critical path"));
    }

    #[test]
    fn failed_builds_are_marked_with_their_time() {
        let mut spans = vec![span("failed", 0.0, 40.0), span("failed", 50.0, 2.0)];
        spans[1].kind = "download";
        let text = svg(&report(spans)).unwrap();
        assert!(text.contains("failed: failed after 40.0 s; "), "{text}");
        assert!(text.contains(">\u{2717} failed</text>"), "{text}");
        assert_eq!(text.matches("class=\"row failed\"").count(), 1);
        assert!(text.contains("<title>failed: failed after 2.0 s</title>"));
    }

    #[test]
    fn unfinished_builds_are_marked() {
        let mut spans = vec![span("unfinished", 0.0, 40.0), span("unfinished", 50.0, 2.0)];
        spans[1].kind = "download";
        let text = svg(&report(spans)).unwrap();
        for part in [
            "class=\"row unfinished\"",
            "unfinished: not finished after 40.0 s; ",
            ">\u{2026} unfinished</text>",
            "<title>unfinished: not finished after 2.0 s</title>",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn years_have_no_more_marks_than_a_day() {
        let year = 365.0 * 86400.0;
        for seconds in [86400.0, year, 1e300] {
            let text = svg(&report(vec![span("a", 0.0, seconds)])).unwrap();
            let marks = text.matches("class=\"mark\"").count();
            assert!((2..=20).contains(&marks), "{seconds}: {marks}");
        }
    }

    #[test]
    fn substitutes_share_one_row() {
        let mut spans = vec![span("libc", 0.0, 4.0), span("libc:static", 1.0, 4.0)];
        for span in &mut spans {
            span.kind = "substitute";
        }
        spans.push(span("a", 5.0, 40.0));
        let text = svg(&report(spans)).unwrap();
        assert!(text.contains(">2 substitutes</text>"), "{text}");
        assert!(text.contains("<title>libc:static: 4.0 s</title>"), "{text}");
        assert_eq!(text.matches("<g class=\"row").count(), 2);
    }

    #[test]
    fn without_records_there_is_no_time_line() {
        assert!(svg(&report(Vec::new())).is_none());
    }
}
