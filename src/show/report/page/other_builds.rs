// SPDX-License-Identifier: GPL-3.0-or-later
//! The table of builds of derivations that the plan does not have.

use super::utc;
use crate::show::graph::svg::escape;
use crate::show::progress::size;
use crate::show::report::ReportData;

/// The section with the table; empty where there are no such builds.
pub(super) fn other_builds(report: &ReportData) -> String {
    if report.others.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "<section id=\"others\"><h2>Other derivations</h2>\n<p>The last build of each derivation that Guix's clients or <code>build FILE.drv</code> asked \
         for.</p>\n<details open><summary>Builds ({})</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Other \
         derivations\"><table><thead><tr><th scope=\"col\">Derivation</th><th scope=\"col\">Begun</th><th scope=\"col\" \
         class=\"number\">Time</th><th scope=\"col\" class=\"number\">CPU</th><th scope=\"col\">Result</th></tr></thead><tbody>\n",
        report.others.len()
    );
    for build in report.others.iter().rev() {
        let result = match &build.failure {
            None => "made".to_owned(),
            Some(failure) => format!("failed: {}", failure.message),
        };
        let processor = build.processor_seconds;
        text.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
            escape(&build.derivation),
            utc(build.started),
            size::seconds(build.seconds),
            processor.map_or_else(|| "\u{2013}".to_owned(), size::seconds),
            escape(&result),
        ));
    }
    text.push_str("</tbody></table></div></details></section>\n");
    text
}
