// SPDX-License-Identifier: GPL-3.0-or-later
//! The seeds and everything that is downloaded, with their hashes.

use crate::show::graph::svg::escape;
use crate::show::progress::size;
use crate::show::report::ReportData;

/// The section with the seeds and the tables of files.
pub(super) fn sources(report: &ReportData) -> String {
    let mut text = String::from("<section id=\"seed\"><h2>Seed and sources</h2>\n<ul>");
    for seed in &report.seeds {
        text.push_str(&format!(
            "<li><strong>{}</strong>: {}, {}, SHA-256 <span class=\"digest\">{}</span>",
            escape(&seed.name),
            size::counted(seed.archives, "archive"),
            size::bytes(seed.size),
            escape(&seed.sha256)
        ));
        if !seed.changes.is_empty() {
            let changes: Vec<String> = seed.changes.iter().map(|change| escape(change)).collect();
            text.push_str(&format!("; differs from its lock: {}", changes.join("; ")));
        }
        if let Some(reason) = &seed.impure {
            text.push_str(&format!("; impure: {}", escape(reason)));
        }
        text.push_str("</li>");
    }
    text.push_str("</ul>\n");
    for (class, name) in [("source/", "Sources"), ("seed/", "Archives of seeds")] {
        let files: Vec<_> = report
            .files
            .iter()
            .filter(|file| file.label.starts_with(class))
            .collect();
        text.push_str(&format!(
            "<details{}><summary>{name} ({})</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table><thead><tr><th \
             scope=\"col\">File</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\">SHA-256</th><th scope=\"col\">From</th></tr></thead><tbody>\n",
            if class == "source/" { " open" } else { "" },
            files.len()
        ));
        for file in files {
            text.push_str(&format!(
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"digest\">{}</td><td>{}</td></tr>\n",
                escape(file.label.trim_start_matches(class)),
                file.size.map_or_else(|| "\u{2013}".to_owned(), size::bytes),
                escape(&file.sha256),
                escape(file.urls.first().map(String::as_str).unwrap_or_default()),
            ));
        }
        text.push_str("</tbody></table></div></details>\n");
    }
    text.push_str("</section>\n");
    text
}
