// SPDX-License-Identifier: GPL-3.0-or-later
//! The table of packages.

use crate::road::recipe::Stage;
use crate::show::graph::svg::escape;
use crate::show::progress::size;
use crate::show::report::page::is_valid;
use crate::show::report::{ReportData, ReportItem, ReportRebuild};

/// The section with the table.
pub(super) fn packages(report: &ReportData) -> String {
    let columns = [
        ("Package", ""),
        ("Version", ""),
        ("Stage", ""),
        ("Time", "number"),
        ("CPU", "number"),
        ("Size", "number"),
        ("NAR SHA-256", ""),
        ("Reproducible", ""),
        ("Tests", ""),
    ];
    let mut text = String::from(
        "<section id=\"packages\"><h2>Packages</h2>\n<p class=\"tools\"><label>Search <input type=\"search\" id=\"filter\" \
         autocomplete=\"off\"></label> <span id=\"count\" role=\"status\" aria-live=\"polite\"></span></p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of packages\"><table id=\"table\"><thead><tr>",
    );
    for (name, class) in columns {
        text.push_str(&format!(
            "<th scope=\"col\" class=\"{class}\" aria-sort=\"none\"><button type=\"button\">{name}</button></th>"
        ));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (number, item) in report.items.iter().enumerate() {
        let Some(stage) = item.stage else { continue };
        let rank = Stage::from_name(stage).map_or(0, |stage| stage as usize);
        let sizes = item
            .outputs
            .iter()
            .map(|output| Some(output.valid.as_ref()?.size));
        let size: Option<u64> = sizes.sum();
        let missing = match item.failure {
            Some(_) => "failed",
            None => "not built",
        };
        let time = |seconds: Option<f64>| match seconds {
            Some(seconds) => format!(
                "<td class=\"number\" data-value=\"{seconds:.3}\">{}</td>",
                size::seconds(seconds)
            ),
            None => "<td class=\"number\" data-value=\"-1\">\u{2013}</td>".to_owned(),
        };
        text.push_str(&format!(
            "<tr data-node=\"{number}\"><th scope=\"row\"><button type=\"button\" class=\"name\">{}</button></th><td>{}</td>\
             <td data-value=\"{rank}\"><span class=\"stage {stage}\">{stage}</span></td>{}{}<td class=\"number\" data-value=\"{}\">{}</td>\
             {}{}{}</tr>\n",
            escape(&item.label),
            escape(&item.version),
            time(item.seconds),
            time(item.processor_seconds),
            size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
            size.map_or_else(|| missing.to_owned(), size::bytes),
            hashes(item),
            rebuilt(item.rebuilt.as_ref()),
            tested(item),
        ));
    }
    text.push_str("</tbody></table></div></section>\n");
    text
}

/// The cell with the hash of each output; the first has no name.
fn hashes(item: &ReportItem) -> String {
    let outputs = item.outputs.iter().enumerate();
    let hashes = outputs.filter_map(|(number, output)| {
        let valid = output.valid.as_ref()?;
        Some(match number {
            0 => escape(&valid.sha256),
            _ => format!("{} {}", escape(&output.name), escape(&valid.sha256)),
        })
    });
    let hashes: Vec<String> = hashes.collect();
    format!(
        "<td class=\"hash\" title=\"{}\">{}</td>",
        hashes.join(", "),
        hashes.join("<br>")
    )
}

/// The cell about the tests: whether they were run, for packages that were built here; whether they are skipped, for
/// all. The reason is in the title and for screen readers; the details show it as text.
fn tested(item: &ReportItem) -> String {
    let reason = item.tests_reason.as_ref().map(|reason| escape(reason));
    match (item.tests, reason) {
        (Some(true), _) if item.seconds.is_some() => "<td>run</td>".to_owned(),
        // From a substitute server or an import.
        (Some(true), _) if is_valid(item) => "<td>not run here</td>".to_owned(),
        (Some(true), _) => "<td>\u{2013}</td>".to_owned(),
        (Some(false), Some(reason)) => {
            format!("<td title=\"{reason}\">not run*<span class=\"hidden\">: {reason}</span></td>")
        }
        (Some(false), None) => "<td>not run</td>".to_owned(),
        (None, _) => "<td>\u{2013}</td>".to_owned(),
    }
}

/// The cell about second builds.
fn rebuilt(rebuilt: Option<&ReportRebuild>) -> String {
    let Some(rebuilt) = rebuilt else {
        return "<td>not tried</td>".to_owned();
    };
    let varied: Vec<&str> = rebuilt.varied.iter().map(String::as_str).collect();
    let what = match varied.as_slice() {
        [] => "only the time varied".to_owned(),
        varied => format!("varied: {}", varied.join(", ")),
    };
    format!(
        "<td title=\"built again {}; {}\">{}</td>",
        size::counted(rebuilt.rounds as usize, "time"),
        escape(&what),
        match (rebuilt.same, varied.is_empty()) {
            (true, true) => "yes",
            (true, false) => "yes, varied",
            (false, _) => "no",
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::report::{FailureShown, OutputShown, ValidShown};

    fn item() -> ReportItem {
        ReportItem {
            label: "libc".into(),
            kind: "build",
            stage: Some("libc"),
            version: "1.0".into(),
            synopsis: String::new(),
            derivation: "/gnu/store/x.drv".into(),
            log: None,
            files: Vec::new(),
            outputs: ["out", "static"]
                .map(|name| OutputShown {
                    name: name.into(),
                    path: format!("/gnu/store/x-{name}"),
                    valid: Some(ValidShown {
                        sha256: name.repeat(2),
                        size: 1 << 20,
                        references: Vec::new(),
                    }),
                })
                .into(),
            wanted: true,
            tests: Some(false),
            tests_reason: Some("they need \"quotes\"".into()),
            rebuilt: None,
            seconds: Some(61.0),
            processor_seconds: None,
            failure: None,
            critical: false,
        }
    }

    fn table(item: ReportItem) -> String {
        packages(&ReportData {
            version: "0",
            program: "bootstrap".into(),
            system: "x86_64-linux".into(),
            seed: "seed".into(),
            made: 0,
            cores: 2,
            items: vec![item],
            edges: Vec::new(),
            files: Vec::new(),
            seeds: Vec::new(),
            spans: Vec::new(),
            others: Vec::new(),
            samples: Vec::new(),
        })
    }

    #[test]
    fn every_output_has_its_hash_in_the_table() {
        let table = table(item());
        let cell = "<td class=\"hash\" title=\"outout, static staticstatic\">outout<br>static staticstatic</td>";
        assert!(table.contains(cell), "{table}");
        assert!(table.contains(">2.0 MiB</td>"), "{table}");
    }

    #[test]
    fn the_reason_for_skipped_tests_is_text_as_well_as_a_title() {
        let reason = "they need &quot;quotes&quot;";
        let cell =
            format!("<td title=\"{reason}\">not run*<span class=\"hidden\">: {reason}</span></td>");
        assert!(table(item()).contains(&cell));
    }

    #[test]
    fn tests_were_run_only_of_what_was_built_here() {
        let mut item = item();
        item.tests = Some(true);
        assert_eq!(tested(&item), "<td>run</td>");
        // From a substitute server.
        item.seconds = None;
        assert_eq!(tested(&item), "<td>not run here</td>");
        item.outputs[0].valid = None;
        assert_eq!(tested(&item), "<td>\u{2013}</td>");
    }

    #[test]
    fn failed_items_are_marked_as_failed() {
        let mut item = item();
        item.outputs[1].valid = None;
        assert!(table(item.clone()).contains(">not built</td>"));
        item.failure = Some(FailureShown {
            message: "exit 1".into(),
            hint: None,
            likely_cause: None,
            last_lines: Vec::new(),
            log: None,
        });
        let table = table(item);
        assert!(table.contains(">failed</td>"), "{table}");
        assert!(!table.contains(">not built</td>"), "{table}");
    }

    #[test]
    fn second_builds_and_variations_are_shown() {
        let same = ReportRebuild {
            same: true,
            rounds: 2,
            varied: ["cores".to_owned()].into(),
        };
        let cell = "<td title=\"built again 2 times; varied: cores\">yes, varied</td>";
        assert_eq!(rebuilt(Some(&same)), cell);
        let different = ReportRebuild {
            rounds: 1,
            ..ReportRebuild::default()
        };
        assert!(rebuilt(Some(&different)).ends_with(">no</td>"));
        assert_eq!(rebuilt(None), "<td>not tried</td>");
    }
}
