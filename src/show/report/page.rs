// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes the page.

use super::timeline::{self, PHASES};
use super::{FailureShown, ReportData, ReportItem};
use crate::formats::calendar::DateTime;
use crate::road::recipe::Stage;
use crate::show::graph::svg::{self, GRAPH_STYLE, escape};
use crate::show::graph::{DrawnNode, GraphDrawing};
use crate::show::progress::size;

mod other_builds;
mod sources;
mod table;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// `report` as one HTML file that loads nothing.
pub fn html(report: &ReportData) -> String {
    let title = format!("bootstrap: {} from {}", report.system, report.seed);
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}{GRAPH_STYLE}</style>\n</head>\n<body>\n",
        escape(&title)
    );
    text.push_str(&header(report));
    text.push_str("<main>\n");
    text.push_str(&failures(report));
    text.push_str(&time_line(report));
    text.push_str(&table::packages(report));
    text.push_str(&graph(report));
    text.push_str(&other_builds::other_builds(report));
    text.push_str(&sources::sources(report));
    text.push_str("</main>\n");
    text.push_str(&format!(
        "<footer>Made by bootstrap {} from the records under its state directory.</footer>\n",
        escape(report.version)
    ));
    text.push_str(&format!(
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        data(report)
    ));
    text
}

/// The data of the script: the program with its options, the items, and the names and hashes of the files, with nothing
/// that could end its element. The script takes everything else from the page.
fn data(report: &ReportData) -> String {
    #[derive(serde::Serialize)]
    struct Data<'r> {
        program: &'r str,
        items: &'r [ReportItem],
        edges: &'r [(usize, usize)],
        files: Vec<(&'r str, &'r str)>,
    }
    let data = Data {
        program: &report.program,
        items: &report.items,
        edges: &report.edges,
        files: report
            .files
            .iter()
            .map(|file| (file.label.as_str(), file.sha256.as_str()))
            .collect(),
    };
    // Plain data: serialising it cannot fail.
    let json = serde_json::to_string(&data)
        .unwrap_or_else(|_| "{\"program\":\"\",\"items\":[],\"edges\":[],\"files\":[]}".into());
    json.replace('<', "\\u003c")
}

/// Whether all outputs of `item` are in the store.
fn is_valid(item: &ReportItem) -> bool {
    item.outputs.iter().all(|output| output.valid.is_some())
}

fn header(report: &ReportData) -> String {
    let packages = || report.items.iter().filter(|item| item.stage.is_some());
    let built = packages().filter(|item| is_valid(item)).count();
    let processor: f64 = report.spans.iter().map(|span| span.processor_seconds).sum();
    let critical = report.spans.iter().filter(|span| span.critical);
    let critical: f64 = critical.map(|span| span.seconds).sum();
    let size: u64 = report
        .items
        .iter()
        .filter(|item| item.stage.is_some())
        .flat_map(|item| &item.outputs)
        .filter_map(|output| Some(output.valid.as_ref()?.size))
        .sum();
    let facts = [
        (
            "Packages built",
            format!("{built} of {}", packages().count()),
        ),
        ("Critical path", size::seconds(critical)),
        ("CPU time", size::seconds(processor)),
        ("Size of packages", size::bytes(size)),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(value)))
        .collect();
    let impure: String = report
        .seeds
        .iter()
        .filter_map(|seed| Some((&seed.name, seed.impure.as_ref()?)))
        .map(|(name, reason)| {
            format!(
                "<p class=\"impure\"><strong>Impure:</strong> others cannot build the same from the seed {}, because {}.</p>\n",
                escape(name),
                escape(reason)
            )
        })
        .collect();
    format!(
        "<a class=\"skip\" href=\"#packages\">Skip to the packages</a>\n<header>\n<h1>bootstrap <small>{} from {}</small></h1>\n\
         <nav aria-label=\"Sections\"><a href=\"#time\">Time line</a><a href=\"#packages\">Packages</a><a href=\"#dependencies\">Graph</a><a \
         href=\"#seed\">Seed and sources</a><button type=\"button\" id=\"theme\">Colours: auto</button></nav>\n\
         <dl class=\"facts\">{facts}</dl>\n<p class=\"made\">Made <time data-epoch=\"{}\">{}</time></p>\n{impure}</header>\n",
        escape(&report.system),
        escape(&report.seed),
        report.made,
        utc(report.made)
    )
}

/// `epoch` as a date and time in UTC.
fn utc(epoch: u64) -> String {
    let DateTime {
        year,
        month,
        day,
        hour,
        minute,
        ..
    } = DateTime::from_epoch(epoch);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn failures(report: &ReportData) -> String {
    let files = report.files.iter();
    let files = files.filter_map(|file| Some((&file.label, file.failure.as_ref()?)));
    let items = report.items.iter();
    let items = items.filter_map(|item| Some((&item.label, item.failure.as_ref()?)));
    files
        .chain(items)
        .map(|(label, failure)| failed(&escape(label), failure, &escape(&report.program)))
        .collect()
}

/// The section about the failure of `label`; it and `program` are escaped already.
fn failed(label: &str, failure: &FailureShown, program: &str) -> String {
    let mut text = format!(
        "<section class=\"failure\" aria-label=\"Failed: {label}\"><h2>{label} failed</h2><p>{}</p>",
        escape(&failure.message)
    );
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("<p>Hint: {}</p>", escape(hint)));
    }
    if let Some(cause) = &failure.likely_cause {
        text.push_str(&format!(
            "<p>Likely cause: <code>{}</code></p>",
            escape(cause)
        ));
    }
    if !failure.last_lines.is_empty() {
        text.push_str(&format!(
            "<pre tabindex=\"0\" role=\"region\" aria-label=\"The end of its output\">{}</pre>",
            escape(&failure.last_lines.join("\n"))
        ));
    }
    if let Some(log) = &failure.log {
        text.push_str(&format!(
            "<p>Whole log: <code>{program} log {label}</code>, in {}</p>",
            escape(log)
        ));
    }
    text.push_str("</section>\n");
    text
}

fn time_line(report: &ReportData) -> String {
    let Some(svg) = timeline::svg(report) else {
        return format!(
            "<section id=\"time\"><h2>Time line</h2><p>Nothing was built yet: run <code>{} all</code>.</p></section>\n",
            escape(&report.program)
        );
    };
    let legend: String = PHASES
        .iter()
        .chain(&["other"])
        .map(|phase| format!("<li><span class=\"key {phase}\"></span>{phase}</li>"))
        .collect();
    let marks = [
        (
            "\u{2717} failed",
            report.spans.iter().any(|span| span.failed),
        ),
        (
            "\u{2026} not finished",
            report.spans.iter().any(|span| span.unfinished),
        ),
    ];
    let marks = marks.iter().filter(|(_, there)| *there);
    let marks: String = marks.map(|(mark, _)| format!("<li>{mark}</li>")).collect();
    format!(
        "<section id=\"time\"><h2>Time line</h2>\n<ul class=\"legend\">{legend}<li>\u{25c6} critical path</li>{marks}</ul>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Time line\">{svg}</div></section>\n"
    )
}

fn graph(report: &ReportData) -> String {
    let node = |item: &'_ ReportItem| (item.kind, item.stage.and_then(Stage::from_name));
    let drawing = GraphDrawing {
        nodes: report
            .items
            .iter()
            .map(|item| {
                let (kind, stage) = node(item);
                DrawnNode {
                    label: &item.label,
                    kind,
                    stage,
                }
            })
            .collect(),
        edges: report.edges.clone(),
    };
    format!(
        "<section id=\"dependencies\"><h2>Graph</h2>\n<p class=\"tools\"><label>Find <input type=\"search\" id=\"find\" autocomplete=\"off\" \
         list=\"labels\"></label> <button type=\"button\" id=\"in\" aria-label=\"Zoom in\">+</button> <button type=\"button\" id=\"out\" \
         aria-label=\"Zoom out\">\u{2212}</button> <button type=\"button\" id=\"fit\">Fit</button> <span id=\"matches\" role=\"status\"></span> \
         <span class=\"hint\">Redundant edges are left out. Drag to move; the wheel zooms with Ctrl, or after a click; Fit shows everything.</span> \
         <a class=\"skip here\" href=\"#details\">Skip the graph</a></p>\n<datalist id=\"labels\">{}</datalist>\n<div class=\"split\"><div class=\"canvas\" id=\"canvas\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Graph: arrow keys move it, plus and minus zoom, Escape undoes a choice\">{}</div>\n<aside id=\"details\" aria-label=\"Details\" tabindex=\"-1\"><p>Choose a node, a bar or a package \
         to see its sources, inputs, references, log, and why it is built.</p></aside></div></section>\n",
        report
            .items
            .iter()
            .map(|item| format!("<option value=\"{}\">", escape(&item.label)))
            .collect::<String>(),
        svg::inline(&drawing.reduced())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::report::{OutputShown, ReportFile, ReportRebuild, SeedShown, ValidShown};

    fn report() -> ReportData {
        let item = |label: &str, stage| ReportItem {
            label: label.into(),
            kind: "build",
            stage,
            version: "1.0".into(),
            synopsis: "</script><b>".into(),
            derivation: "/gnu/store/x.drv".into(),
            log: None,
            files: vec![0],
            outputs: ["out", "static"]
                .map(|name| OutputShown {
                    name: name.into(),
                    path: format!("/gnu/store/x-{name}"),
                    valid: Some(ValidShown {
                        sha256: name.repeat(4),
                        size: 2048,
                        references: Vec::new(),
                    }),
                })
                .into(),
            wanted: true,
            tests: Some(false),
            tests_reason: Some("they need \"quotes\"".into()),
            rebuilt: Some(ReportRebuild {
                same: true,
                rounds: 2,
                varied: ["cores".to_owned()].into(),
            }),
            seconds: Some(61.0),
            processor_seconds: None,
            failure: None,
            critical: true,
        };
        let mut items = vec![
            item("stage0/sed", Some("stage0")),
            item("<sed>", Some("final")),
        ];
        items[1].failure = Some(FailureShown {
            message: "exit <1>".into(),
            hint: Some("try <this>".into()),
            likely_cause: Some("<error>: oh".into()),
            last_lines: vec!["oh & no".into()],
            log: Some("/var/log/x&y.gz".into()),
        });
        ReportData {
            version: "0.1",
            program: "bootstrap --root '/my <root>'".into(),
            system: "x86_64-linux".into(),
            seed: "debian".into(),
            made: 1_795_407_124,
            cores: 2,
            items,
            edges: vec![(1, 0)],
            files: vec![ReportFile {
                label: "source/<sed>.tar".into(),
                sha256: "ef".repeat(32),
                size: None,
                urls: vec!["mirror://gnu/sed.tar".into()],
                valid: false,
                failure: None,
            }],
            seeds: vec![SeedShown {
                name: "debian-12".into(),
                sha256: "cd".repeat(32),
                archives: 2,
                size: 3 << 20,
                changes: vec!["dash is newer".into()],
                impure: None,
            }],
            spans: Vec::new(),
            others: Vec::new(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn data_cannot_become_markup() {
        let page = html(&report());
        assert!(!page.contains("</script><b>"));
        assert!(!page.contains("<sed>"));
        assert!(page.contains("exit &lt;1&gt;"));
        assert!(page.contains("source/\\u003csed>.tar"));
        assert_eq!(page.matches("</script>").count(), 2);
    }

    #[test]
    fn a_failure_is_shown_with_its_likely_cause_and_log() {
        let mut report = report();
        let page = html(&report);
        for part in [
            "<h2>&lt;sed&gt; failed</h2><p>exit &lt;1&gt;</p><p>Hint: try &lt;this&gt;</p><p>Likely cause: <code>&lt;error&gt;: oh</code></p>",
            ">oh &amp; no</pre><p>Whole log: <code>bootstrap --root &#39;/my &lt;root&gt;&#39; log &lt;sed&gt;</code>, in /var/log/x&amp;y.gz</p></section>",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        // Downloads have neither output nor log.
        report.files[0].failure = Some(FailureShown {
            message: "no such host".into(),
            hint: None,
            likely_cause: None,
            last_lines: Vec::new(),
            log: None,
        });
        let failed = "<h2>source/&lt;sed&gt;.tar failed</h2><p>no such host</p></section>";
        assert!(html(&report).contains(failed));
    }

    #[test]
    fn commands_are_for_the_store_of_the_page() {
        let page = html(&report());
        let typed = "bootstrap --root &#39;/my &lt;root&gt;&#39;";
        let all = format!("Nothing was built yet: run <code>{typed} all</code>");
        assert!(page.contains(&all), "{page}");
        // For the script.
        let data = "{\"program\":\"bootstrap --root '/my \\u003croot>'\",\"items\":[";
        assert!(page.contains(data), "{page}");
    }

    #[test]
    fn an_impure_seed_is_marked_at_the_top_and_in_the_list() {
        let mut report = report();
        assert!(!html(&report).to_lowercase().contains("impure:"));
        report.seeds[0].impure = Some("it is <mine>".into());
        let page = html(&report);
        let top = "Impure:</strong> others cannot build the same from the seed debian-12, because it is &lt;mine&gt;.</p>\n</header>";
        assert!(page.contains(top), "{page}");
        assert!(page.contains("; impure: it is &lt;mine&gt;</li>"), "{page}");
    }

    #[test]
    fn a_page_and_a_drawing_have_the_same_colours() {
        let themes = |style: &str| -> Vec<String> {
            let roots = style.match_indices("--ground:");
            let themes = roots.filter_map(|(at, _)| style[at..].split('}').next());
            themes.map(ToOwned::to_owned).collect()
        };
        let (page, drawing) = (themes(STYLE), themes(svg::STYLE));
        assert_eq!((page.len(), drawing.len()), (3, 2));
        // The dark theme is there twice: for the setting of the system, and for the button.
        assert_eq!(page[1], page[2]);
        for (page, drawing) in page.iter().zip(&drawing) {
            for colour in drawing.split(';') {
                assert!(page.contains(&format!("{colour};")), "{colour}: {page}");
            }
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&report());
        for loading in ["src=", "@import", "url(", "fetch(", "XMLHttpRequest"] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    #[test]
    fn the_seed_is_listed_with_its_hash() {
        let page = html(&report());
        let digest = "cd".repeat(32);
        let shown = format!(
            "<li><strong>debian-12</strong>: 2 archives, 3.0 MiB, SHA-256 <span class=\"digest\">{digest}</span>; differs from its lock: dash is newer</li>"
        );
        assert!(page.contains(&shown), "{page}");
    }

    #[test]
    fn dates_are_right() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_407_124), "2026-11-23 04:12 UTC");
    }
}
