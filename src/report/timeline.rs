//! The time line: a row for each build, its phases as pieces of one bar, and beneath how busy the processor was.
//!
//! A road is often walked in several runs with hours in between. Times in which nothing ran are cut out and marked.

use super::{Report, Span};
use crate::picture::svg::escape;
use crate::progress::size;

/// Measures in the picture's own units.
const LABELS: f64 = 230.0;
const WIDTH: f64 = 1200.0;
const ROW: f64 = 18.0;
const BAR: f64 = 12.0;
const TOP: f64 = 26.0;
const PROCESSOR: f64 = 70.0;
/// A longer pause is cut out, in seconds.
const PAUSE: f64 = 60.0;
/// How wide what was cut out is drawn.
const CUT: f64 = 16.0;
/// In so many columns processor use is averaged.
const COLUMNS: usize = 300;

/// The phases that have a colour of their own; the others are one colour.
pub const PHASES: [&str; 5] = ["unpack", "configure", "build", "check", "install"];

/// Time cut into pieces in which something ran, and where each is drawn.
#[derive(Debug)]
struct Scale {
    /// Start, end, and the left edge.
    pieces: Vec<(f64, f64, f64)>,
    /// Units for a second.
    unit: f64,
}

impl Scale {
    fn new(spans: &[Span]) -> Self {
        let mut pieces: Vec<(f64, f64)> = Vec::new();
        // Spans come by their start.
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

    /// Where the moment `time` is drawn.
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

/// The time line as SVG; nothing where nothing is on record.
pub fn svg(report: &Report) -> Option<String> {
    let builds: Vec<&Span> = report
        .spans
        .iter()
        .filter(|span| span.kind != "download")
        .collect();
    if report.spans.is_empty() {
        return None;
    }
    let scale = Scale::new(&report.spans);
    let rows = TOP + ROW + builds.len() as f64 * ROW;
    let height = rows + PROCESSOR + 34.0;
    let mut text = format!(
        "<svg id=\"timeline\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"group\" aria-label=\"Time line of builds\">\n",
        LABELS + WIDTH + 20.0
    );
    text.push_str(&grid(&scale, rows + PROCESSOR));
    text.push_str(&downloads(report, &scale));
    for (row, span) in builds.iter().enumerate() {
        text.push_str(&bar(span, &scale, TOP + ROW + row as f64 * ROW));
    }
    text.push_str(&processor(report, &scale, rows + 10.0));
    text.push_str("</svg>\n");
    Some(text)
}

/// Lines at round times, and what was cut out.
fn grid(scale: &Scale, height: f64) -> String {
    let mut text = String::new();
    let wanted = 90.0 / scale.unit;
    let steps = [
        1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0,
    ];
    let step = steps.iter().copied().find(|step| *step >= wanted);
    // Beyond that in whole days, so that there are never more marks than can be read.
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

/// Hours, minutes and seconds, as short as they are exact.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, seconds) {
        (0, _) => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// One row for all downloads.
fn downloads(report: &Report, scale: &Scale) -> String {
    let spans = || report.spans.iter().filter(|span| span.kind == "download");
    if spans().next().is_none() {
        return String::new();
    }
    let mut text = format!(
        "<g class=\"row\"><text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">{} downloads</text>\n",
        LABELS - 8.0,
        TOP + ROW / 2.0,
        spans().count()
    );
    for span in spans() {
        let (x, width) = (scale.x(span.start), (span.seconds * scale.unit).max(1.0));
        text.push_str(&format!(
            "<rect class=\"download{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BAR}\"><title>{}: {}{}</title></rect>\n",
            if span.failed { " failed" } else { "" },
            TOP + (ROW - BAR) / 2.0,
            escape(&span.label),
            if span.failed { "failed after " } else { "" },
            size::seconds(span.seconds)
        ));
    }
    text.push_str("</g>\n");
    text
}

fn bar(span: &Span, scale: &Scale, top: f64) -> String {
    let label = escape(&span.label);
    let (x, width) = (scale.x(span.start), (span.seconds * scale.unit).max(1.5));
    let y = top + (ROW - BAR) / 2.0;
    let took = size::seconds(span.seconds);
    let took = match span.failed {
        true => format!("failed after {took}"),
        false => format!("{took} wall, {} CPU", size::seconds(span.processor_seconds)),
    };
    // Class, what is before the name, and what is said of it.
    let (class, mark, critical) = match (span.failed, span.critical) {
        (true, _) => (" failed", "\u{2717} ", ""),
        (false, true) => (" critical", "\u{25c6} ", ", on the critical path"),
        (false, false) => ("", "", ""),
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
        // What is thinner than a hair is not seen.
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

/// How many cores were busy, as an area.
fn processor(report: &Report, scale: &Scale, top: f64) -> String {
    let cores = report.cores.max(1) as f64;
    let bottom = top + PROCESSOR;
    let (use_by_column, measured) = columns(report, scale);
    let mut area = format!("M{LABELS:.1} {bottom:.1}");
    for (column, busy) in use_by_column.iter().enumerate() {
        let x = LABELS + column as f64 / COLUMNS as f64 * WIDTH;
        let next = LABELS + (column + 1) as f64 / COLUMNS as f64 * WIDTH;
        let y = bottom - (busy / cores).min(1.0) * PROCESSOR;
        area.push_str(&format!("L{x:.1} {y:.1}L{next:.1} {y:.1}"));
    }
    let how = match measured {
        true => "the whole machine, measured",
        false => "of builds, evenly over each",
    };
    format!(
        "<text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">CPU, {cores} core{}</text>\
         <path class=\"frame\" d=\"M{LABELS} {top:.1}H{:.1}M{LABELS} {bottom:.1}H{:.1}\"/>\
         <path class=\"processor\" d=\"{area}L{:.1} {bottom:.1}Z\"><title>Busy cores: {how}</title></path>\n\
         <text class=\"axis start\" x=\"{LABELS}\" y=\"{:.1}\">busy cores: {how}</text>\n",
        LABELS - 8.0,
        top + PROCESSOR / 2.0,
        if report.cores == 1 { "" } else { "s" },
        LABELS + WIDTH,
        LABELS + WIDTH,
        LABELS + WIDTH,
        bottom + 16.0,
    )
}

/// Busy cores in each column, and whether that was measured.
fn columns(report: &Report, scale: &Scale) -> (Vec<f64>, bool) {
    let column = |x: f64| {
        let column = (x - LABELS) / WIDTH * COLUMNS as f64;
        (column.max(0.0) as usize).min(COLUMNS - 1)
    };
    // Where only a part was measured, the rest would look idle.
    let measured = report.samples.len() >= 3
        && report.samples.first().map(|(time, _)| *time).unwrap_or(0.0)
            < report.spans.first().map(|span| span.start).unwrap_or(0.0) + 2.0 * PAUSE;
    let mut columns = vec![0.0; COLUMNS];
    if measured {
        let mut sums = vec![(0.0, 0usize); COLUMNS];
        for (time, busy) in &report.samples {
            let sum = &mut sums[column(scale.x(*time))];
            *sum = (sum.0 + busy, sum.1 + 1);
        }
        let mut last = 0.0;
        for (column, (sum, count)) in columns.iter_mut().zip(sums) {
            if count > 0 {
                last = sum / count as f64;
            }
            *column = last;
        }
    } else {
        let width = WIDTH / COLUMNS as f64;
        for span in report.spans.iter().filter(|span| span.seconds > 0.0) {
            let busy = span.processor_seconds / span.seconds;
            let (from, to) = (scale.x(span.start), scale.x(span.end()));
            let touched = column(from)..=column(to);
            for (number, column) in columns.iter_mut().enumerate() {
                if touched.contains(&number) {
                    let left = LABELS + number as f64 * width;
                    let covered = (to.min(left + width) - from.max(left)).max(0.0) / width;
                    *column += busy * covered;
                }
            }
        }
    }
    (columns, measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(label: &str, start: f64, seconds: f64) -> Span {
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
        }
    }

    fn report(spans: Vec<Span>) -> Report {
        Report {
            version: "0",
            system: "x86_64-linux".into(),
            seed: "seed".into(),
            made: 0,
            cores: 2,
            items: Vec::new(),
            edges: Vec::new(),
            files: Vec::new(),
            seeds: Vec::new(),
            spans,
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
        // A moment in the pause is at its beginning.
        assert_eq!(scale.x(50_000.0), scale.x(1140.0));
        let text = svg(&report(spans)).unwrap();
        assert!(text.contains("nothing ran for 24 h 41 min 00 s"), "{text}");
    }

    #[test]
    fn a_bar_has_its_phases_and_says_what_it_is_in_words() {
        let text = svg(&report(vec![span("a", 0.0, 40.0), span("b", 40.0, 80.0)])).unwrap();
        assert!(text.contains("class=\"phase configure\""));
        assert!(text.contains("class=\"phase other\""));
        assert!(text.contains("odd&lt;phase&gt; 40.0 s"), "{text}");
        assert_eq!(text.matches("class=\"row critical\"").count(), 1);
        assert!(text.contains("b: 1 min 20 s wall, 2 min 00 s CPU, on the critical path"));
    }

    #[test]
    fn what_failed_is_marked_and_says_after_how_long() {
        let mut spans = vec![span("failed", 0.0, 40.0), span("failed", 50.0, 2.0)];
        spans[1].kind = "download";
        let text = svg(&report(spans)).unwrap();
        assert!(text.contains("failed: failed after 40.0 s; "), "{text}");
        assert!(text.contains(">\u{2717} failed</text>"), "{text}");
        assert_eq!(text.matches("class=\"row failed\"").count(), 1);
        assert!(text.contains("<title>failed: failed after 2.0 s</title>"));
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
    fn processor_use_is_measured_or_else_worked_out() {
        let mut report = report(vec![span("a", 0.0, 100.0)]);
        let scale = Scale::new(&report.spans);
        let (columns_of, measured) = columns(&report, &scale);
        assert!(!measured);
        assert!((columns_of[100] - 1.5).abs() < 1e-6);
        report.samples = (0..50)
            .map(|number| (f64::from(number) * 2.0, 0.5))
            .collect();
        let (columns_of, measured) = columns(&report, &scale);
        assert!(measured);
        assert_eq!(columns_of[100], 0.5);
    }

    #[test]
    fn nothing_on_record_is_no_picture() {
        assert!(svg(&report(Vec::new())).is_none());
    }
}
