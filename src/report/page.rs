//! The page itself.

use super::timeline::{self, PHASES};
use super::{Item, Rebuilt, Report};
use crate::picture::svg::{self, GRAPH_STYLE, escape};
use crate::picture::{Picture, PictureNode};
use crate::progress::size;
use crate::recipe::Stage;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// `report` as one HTML file that needs nothing else.
pub fn html(report: &Report) -> String {
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
    text.push_str(&packages(report));
    text.push_str(&graph(report));
    text.push_str(&seeds(report));
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

/// What the script knows: `report`'s items, with nothing that could end the element it is in.
fn data(report: &Report) -> String {
    #[derive(serde::Serialize)]
    struct Data<'r> {
        items: &'r [Item],
        edges: &'r [(usize, usize)],
    }
    let data = Data {
        items: &report.items,
        edges: &report.edges,
    };
    // Plain data: it cannot fail to be written.
    let json =
        serde_json::to_string(&data).unwrap_or_else(|_| "{\"items\":[],\"edges\":[]}".into());
    json.replace('<', "\\u003c")
}

fn is_valid(item: &Item) -> bool {
    item.outputs.iter().all(|output| output.valid.is_some())
}

fn header(report: &Report) -> String {
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
    format!(
        "<a class=\"skip\" href=\"#packages\">Skip to the packages</a>\n<header>\n<h1>bootstrap <small>{} from {}</small></h1>\n\
         <nav aria-label=\"Sections\"><a href=\"#time\">Time line</a><a href=\"#packages\">Packages</a><a href=\"#dependencies\">Graph</a><a \
         href=\"#seed\">Seed and sources</a><button type=\"button\" id=\"theme\" aria-label=\"Colours: as the system has them\">Colours: auto</button></nav>\n\
         <dl class=\"facts\">{facts}</dl>\n<p class=\"made\">Made <time data-epoch=\"{}\">{}</time></p>\n</header>\n",
        escape(&report.system),
        escape(&report.seed),
        report.made,
        utc(report.made)
    )
}

/// `epoch` as a date and time in UTC.
fn utc(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86400, epoch % 86400);
    // Days since 0000-03-01, in eras of 400 years: Howard Hinnant's algorithm `civil_from_days`.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn failures(report: &Report) -> String {
    let mut text = String::new();
    for item in &report.items {
        if let Some(failure) = &item.failure {
            text.push_str(&format!(
                "<section class=\"failure\" aria-label=\"Failed: {0}\"><h2>{0} failed</h2><p>{1}</p><pre tabindex=\"0\">{2}</pre></section>\n",
                escape(&item.label),
                escape(&failure.message),
                escape(&failure.last_lines.join("\n"))
            ));
        }
    }
    text
}

fn time_line(report: &Report) -> String {
    let Some(svg) = timeline::svg(report) else {
        return "<section id=\"time\"><h2>Time line</h2><p>Nothing was built yet: run <code>bootstrap all</code>.</p></section>\n"
            .to_owned();
    };
    let legend: String = PHASES
        .iter()
        .chain(&["other"])
        .map(|phase| format!("<li><span class=\"key {phase}\"></span>{phase}</li>"))
        .collect();
    format!(
        "<section id=\"time\"><h2>Time line</h2>\n<ul class=\"legend\">{legend}<li>\u{25c6} critical path</li></ul>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Time line\">{svg}</div></section>\n"
    )
}

fn packages(report: &Report) -> String {
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
        let first = item
            .outputs
            .first()
            .and_then(|output| output.valid.as_ref());
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
             <td class=\"hash\" title=\"{hash}\">{hash}</td>{}<td{}>{}</td></tr>\n",
            escape(&item.label),
            escape(&item.version),
            time(item.seconds),
            time(item.processor_seconds),
            size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
            size.map_or_else(|| "not built".to_owned(), size::bytes),
            rebuilt(item.rebuilt.as_ref()),
            item.tests_reason.as_ref().map_or_else(String::new, |reason| format!(" title=\"{}\"", escape(reason))),
            match (item.tests, &item.tests_reason) {
                (Some(true), _) => "run",
                (Some(false), Some(_)) => "not run*",
                (Some(false), None) => "not run",
                (None, _) => "\u{2013}",
            },
            hash = first.map_or("", |valid| &valid.sha256),
        ));
    }
    text.push_str("</tbody></table></div></section>\n");
    text
}

/// The cell that says what came of building something again.
fn rebuilt(rebuilt: Option<&Rebuilt>) -> String {
    let Some(rebuilt) = rebuilt else {
        return "<td>not tried</td>".to_owned();
    };
    let plural = if rebuilt.rounds == 1 { "" } else { "s" };
    let varied: Vec<&str> = rebuilt.varied.iter().map(String::as_str).collect();
    let what = match varied.as_slice() {
        [] => "nothing varied but the time".to_owned(),
        varied => format!("varied: {}", varied.join(", ")),
    };
    format!(
        "<td title=\"built again {} time{plural}; {}\">{}</td>",
        rebuilt.rounds,
        escape(&what),
        match (rebuilt.same, varied.is_empty()) {
            (true, true) => "yes",
            (true, false) => "yes, varied",
            (false, _) => "no",
        }
    )
}

fn graph(report: &Report) -> String {
    let node = |item: &'_ Item| (item.kind, item.stage.and_then(Stage::from_name));
    let picture = Picture {
        nodes: report
            .items
            .iter()
            .map(|item| {
                let (kind, stage) = node(item);
                PictureNode {
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
         aria-label=\"Zoom out\">\u{2212}</button> <button type=\"button\" id=\"fit\">Fit</button> <span class=\"hint\">Edges that follow from others are \
         not drawn.</span></p>\n<datalist id=\"labels\">{}</datalist>\n<div class=\"split\"><div class=\"canvas\" id=\"canvas\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Graph: arrow keys move it, plus and minus zoom\">{}</div>\n<aside id=\"details\" aria-live=\"polite\"><p>Choose a node, a bar or a package to see its inputs, \
         references, log, and why it is built.</p></aside></div></section>\n",
        report
            .items
            .iter()
            .map(|item| format!("<option value=\"{}\">", escape(&item.label)))
            .collect::<String>(),
        svg::inline(&picture.reduced())
    )
}

fn seeds(report: &Report) -> String {
    let mut text = String::from("<section id=\"seed\"><h2>Seed and sources</h2>\n<ul>");
    for seed in &report.seeds {
        let plural = if seed.archives == 1 { "" } else { "s" };
        text.push_str(&format!(
            "<li><strong>{}</strong>: {} archive{plural}, {}, SHA-256 <span class=\"digest\">{}</span>",
            escape(&seed.name),
            seed.archives,
            size::bytes(seed.size),
            escape(&seed.sha256)
        ));
        if !seed.changes.is_empty() {
            let changes: Vec<String> = seed.changes.iter().map(|change| escape(change)).collect();
            text.push_str(&format!("; differs from its lock: {}", changes.join("; ")));
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
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"hash\" title=\"{hash}\">{hash}</td><td>{}</td></tr>\n",
                escape(file.label.trim_start_matches(class)),
                file.size.map_or_else(|| "\u{2013}".to_owned(), size::bytes),
                escape(file.urls.first().map(String::as_str).unwrap_or_default()),
                hash = escape(&file.sha256),
            ));
        }
        text.push_str("</tbody></table></div></details>\n");
    }
    text.push_str("</section>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FailureShown, OutputShown, SeedShown, ValidShown};

    fn report() -> Report {
        let item = |label: &str, stage| Item {
            label: label.into(),
            kind: "build",
            stage,
            version: "1.0".into(),
            synopsis: "</script><b>".into(),
            derivation: "/gnu/store/x.drv".into(),
            log: None,
            outputs: vec![OutputShown {
                name: "out".into(),
                path: "/gnu/store/x".into(),
                valid: Some(ValidShown {
                    sha256: "ab".repeat(32),
                    size: 2048,
                    references: Vec::new(),
                }),
            }],
            wanted: true,
            tests: Some(false),
            tests_reason: Some("they need \"quotes\"".into()),
            rebuilt: Some(Rebuilt {
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
            last_lines: vec!["oh & no".into()],
        });
        Report {
            version: "0.1",
            system: "x86_64-linux".into(),
            seed: "debian".into(),
            made: 1_795_407_124,
            cores: 2,
            items,
            edges: vec![(1, 0)],
            files: Vec::new(),
            seeds: vec![SeedShown {
                name: "debian-12".into(),
                sha256: "cd".repeat(32),
                archives: 2,
                size: 3 << 20,
                changes: vec!["dash is newer".into()],
            }],
            spans: Vec::new(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn nothing_of_the_data_can_become_markup() {
        let page = html(&report());
        assert!(!page.contains("</script><b>"));
        assert!(!page.contains("<sed>"));
        assert!(page.contains("exit &lt;1&gt;"));
        assert_eq!(page.matches("</script>").count(), 2);
    }

    #[test]
    fn how_often_a_package_was_built_again_and_what_was_varied_is_shown() {
        let page = html(&report());
        let cell = "<td title=\"built again 2 times; varied: cores\">yes, varied</td>";
        assert!(page.contains(cell), "{page}");
        let different = Rebuilt {
            rounds: 1,
            ..Rebuilt::default()
        };
        assert!(rebuilt(Some(&different)).ends_with(">no</td>"));
        assert_eq!(rebuilt(None), "<td>not tried</td>");
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&report());
        for loading in ["src=", "@import", "url(", "fetch(", "XMLHttpRequest"] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    #[test]
    fn the_seed_is_there_with_its_hash() {
        let page = html(&report());
        let digest = "cd".repeat(32);
        let shown = format!(
            "<li><strong>debian-12</strong>: 2 archives, 3.0 MiB, SHA-256 <span class=\"digest\">{digest}</span>; differs from its lock: dash is newer</li>"
        );
        assert!(page.contains(&shown), "{page}");
    }

    #[test]
    fn days_are_counted_right() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_407_124), "2026-11-23 04:12 UTC");
    }
}
