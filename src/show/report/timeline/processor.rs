// SPDX-License-Identifier: GPL-3.0-or-later
//! Draws processor use below the bars of the time line.

use super::{LABELS, ReportData, Scale, WIDTH};
use crate::show::progress::size;

/// The height of the area.
pub(super) const HEIGHT: f64 = 70.0;
/// The number of columns in which use is averaged.
const COLUMNS: usize = 300;
/// A sample covers the time since the one before, up to this many seconds: longer pauses were not measured.
const SAMPLE_MAX: f64 = 10.0;
/// The seconds that a sample after such a pause covers: its start is unknown.
const SAMPLE: f64 = 2.0;

/// The number of busy cores as an area.
pub(super) fn area(report: &ReportData, scale: &Scale, top: f64) -> String {
    let cores = report.cores.max(1) as f64;
    let bottom = top + HEIGHT;
    let (use_by_column, measured) = columns(report, scale);
    let edge = |column: usize| LABELS + column as f64 / COLUMNS as f64 * WIDTH;
    let mut area = String::new();
    // Neighbouring columns with a value are one area.
    for side_by_side in use_by_column.chunk_by(|(column, _), (next, _)| column + 1 == *next) {
        let columns = side_by_side.first().zip(side_by_side.last());
        let Some(((first, _), (last, _))) = columns else {
            continue;
        };
        area.push_str(&format!("M{:.1} {bottom:.1}", edge(*first)));
        for (column, busy) in side_by_side {
            let y = bottom - (busy / cores).min(1.0) * HEIGHT;
            let (x, next) = (edge(*column), edge(column + 1));
            area.push_str(&format!("L{x:.1} {y:.1}L{next:.1} {y:.1}"));
        }
        area.push_str(&format!("L{:.1} {bottom:.1}Z", edge(last + 1)));
    }
    let how = match measured {
        true => "the whole machine, as far as it was measured",
        false => "of builds, evenly over each",
    };
    format!(
        "<text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">CPU, {}</text>\
         <path class=\"frame\" d=\"M{LABELS} {top:.1}H{:.1}M{LABELS} {bottom:.1}H{:.1}\"/>\
         <path class=\"processor\" d=\"{area}\"><title>Busy cores: {how}</title></path>\n\
         <text class=\"axis start\" x=\"{LABELS}\" y=\"{:.1}\">busy cores: {how}</text>\n",
        LABELS - 8.0,
        top + HEIGHT / 2.0,
        size::counted(report.cores, "core"),
        LABELS + WIDTH,
        LABELS + WIDTH,
        bottom + 16.0,
    )
}

/// Each column and its busy cores, and whether that was measured. If it was, columns without samples are left out.
fn columns(report: &ReportData, scale: &Scale) -> (Vec<(usize, f64)>, bool) {
    let measured = measured(report, scale);
    // With few samples, the processor time of builds says more.
    if 2 * measured.len() >= COLUMNS {
        return (measured, true);
    }
    let mut columns: Vec<(usize, f64)> = (0..COLUMNS).map(|column| (column, 0.0)).collect();
    for span in report.spans.iter().filter(|span| span.seconds > 0.0) {
        let busy = span.processor_seconds / span.seconds;
        for (column, covered) in covered(scale.x(span.start), scale.x(span.end())) {
            columns[column].1 += busy * covered;
        }
    }
    (columns, false)
}

/// Each measured column and its busy cores.
fn measured(report: &ReportData, scale: &Scale) -> Vec<(usize, f64)> {
    let mut sums = vec![(0.0, 0.0); COLUMNS];
    let mut before = f64::NEG_INFINITY;
    for (time, busy) in &report.samples {
        let since = match (0.0..=SAMPLE_MAX).contains(&(time - before)) {
            true => before,
            false => time - SAMPLE,
        };
        before = *time;
        for (column, covered) in covered(scale.x(since), scale.x(*time)) {
            let sum = &mut sums[column];
            *sum = (sum.0 + busy * covered, sum.1 + covered);
        }
    }
    let sums = sums.into_iter().enumerate();
    sums.filter(|(_, (_, covered))| *covered > 0.0)
        .map(|(column, (busy, covered))| (column, busy / covered))
        .collect()
}

/// The columns between the places `from` and `to`, and the covered part of each.
fn covered(from: f64, to: f64) -> impl Iterator<Item = (usize, f64)> {
    let width = WIDTH / COLUMNS as f64;
    let column = |x: f64| (((x - LABELS) / width).max(0.0) as usize).min(COLUMNS - 1);
    (column(from)..=column(to)).map(move |column| {
        let left = LABELS + column as f64 * width;
        let covered = to.min(left + width) - from.max(left);
        (column, covered.max(0.0) / width)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, span};
    use super::*;

    #[test]
    fn processor_use_is_measured_or_else_computed() {
        let mut report = report(vec![span("a", 0.0, 100.0)]);
        let scale = Scale::new(&report.spans);
        let (columns_of, measured) = columns(&report, &scale);
        assert!(!measured);
        assert_eq!(columns_of[100].0, 100);
        assert!((columns_of[100].1 - 1.5).abs() < 1e-6);
        report.samples = (0..50)
            .map(|number| (f64::from(number) * 2.0, 0.5))
            .collect();
        let (columns_of, measured) = columns(&report, &scale);
        assert!(measured);
        assert_eq!(columns_of[100].0, 100);
        assert!((columns_of[100].1 - 0.5).abs() < 1e-6);
    }

    #[test]
    fn unmeasured_time_is_a_gap_or_computed_if_it_is_most() {
        let mut report = report(vec![span("a", 0.0, 1000.0)]);
        let scale = Scale::new(&report.spans);
        let sampled = |from: u32, to: u32| (from..=to).map(|number| (f64::from(number), 0.5));
        report.samples = sampled(0, 498).chain(sampled(801, 999)).collect();
        let (columns_of, measured) = columns(&report, &scale);
        assert!(measured);
        let known: Vec<usize> = columns_of.iter().map(|(column, _)| *column).collect();
        // The time of a sample after the pause began before it.
        assert_eq!(known, (0..150).chain(239..300).collect::<Vec<_>>());
        let text = area(&report, &scale, 0.0);
        let area = text.split("class=\"processor\" d=\"").nth(1).unwrap();
        let area = area.split('"').next().unwrap();
        assert_eq!(
            (area.matches('M').count(), area.matches('Z').count()),
            (2, 2)
        );
        report.samples = sampled(0, 400).collect();
        assert!(!columns(&report, &scale).1);
    }
}
