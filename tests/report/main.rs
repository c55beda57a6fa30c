// SPDX-License-Identifier: GPL-3.0-or-later
//! The report in a real browser: it renders, sorts, searches, zooms, and has the expected layout.
//!
//! Needs chromium and chromedriver (tools/prepare.sh installs them). Without them the test says so and passes, unless
//! `BOOTSTRAP_BROWSER_REQUIRED` is set, as `tests/run.sh` does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod graph;
mod sample;
mod screenshot;
mod webdriver;

use serde_json::json;
use webdriver::Browser;

fn browser() -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("BOOTSTRAP_BROWSER_REQUIRED").is_none(),
                "chromedriver is missing: run tools/prepare.sh test"
            );
            eprintln!("chromedriver is missing: the report is not tested in a browser");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_report_works_in_a_browser() {
    let Some(mut browser) = browser() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    std::fs::write(
        &file,
        bootstrap::show::report::page::html(&sample::report()),
    )
    .unwrap();
    let address = format!("file://{}", file.display());
    graph::labels_are_legible_at_once(&mut browser, &address);
    browser.resize(1200, 900);
    browser.open(&address);

    it_renders(&mut browser);
    it_has_the_expected_layout(&mut browser);
    the_time_line_shows_the_critical_path_and_the_processor(&mut browser);
    every_column_sorts_both_ways(&mut browser);
    the_table_sorts(&mut browser);
    the_table_is_searched(&mut browser);
    graph::it_says_why(&mut browser);
    graph::it_is_explored(&mut browser);
    graph::a_choice_is_undone(&mut browser);
    graph::it_works_with_the_mouse(&mut browser);
    graph::focused_nodes_are_in_view(&mut browser);
    the_seed_and_the_sources_have_their_hashes(&mut browser);
    access::every_control_has_a_name(&mut browser);
    access::the_graph_can_be_skipped(&mut browser);
    access::contrast_is_sufficient(&mut browser);
    it_is_dark_on_request(&mut browser);
    it_fits_a_narrow_window(&mut browser);
    a_link_to_a_missing_node_works(&mut browser, &file);

    let errors: Vec<String> = browser
        .log()
        .into_iter()
        .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING")
        .map(|entry| entry.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

fn it_renders(browser: &mut Browser) {
    assert_eq!(
        browser.run("return document.title"),
        json!("bootstrap: x86_64-linux from debian-13-amd64")
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('#table tbody tr').length"),
        json!(sample::PACKAGES)
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('#timeline .row[data-item]').length"),
        json!(sample::PACKAGES)
    );
    let bar = "return [...document.querySelectorAll('#timeline .phase.build')].map((bar) => bar.getBoundingClientRect())\
               .some((box) => box.width > 10 && box.height > 5)";
    assert_eq!(browser.run(bar), json!(true));
    // Nothing was loaded: the page is one file.
    assert_eq!(
        browser.run("return performance.getEntriesByType('resource').length"),
        json!(0)
    );
}

fn the_time_line_shows_the_critical_path_and_the_processor(browser: &mut Browser) {
    let marked = "return [...document.querySelectorAll('#timeline .row.critical')].map((row) => \
        [row.dataset.item, row.querySelector('.name').textContent, getComputedStyle(row.querySelector('.frame')).stroke])";
    let expected: Vec<_> = ["stage0/p0", "stage0/p10", "stage0/p20", "p30", "p40", "p50"]
        .iter()
        .map(|label| json!([label, format!("\u{25c6} {label}"), "rgb(194, 65, 12)"]))
        .collect();
    assert_eq!(browser.run(marked), json!(expected));
    let others = "return [...document.querySelectorAll('#timeline .row[data-item]:not(.critical)')]\
        .filter((row) => getComputedStyle(row.querySelector('.frame')).stroke === 'rgb(194, 65, 12)' || row.textContent.includes('\u{25c6}')).length";
    assert_eq!(browser.run(others), json!(0));
    let area = "const area = document.querySelector('#timeline .processor'); const box = area.getBoundingClientRect();\
        return [box.width > 400, box.height > 5, area.textContent.startsWith('Busy cores: ')]";
    assert_eq!(browser.run(area), json!([true, true, true]));
    let below = "return document.querySelector('#timeline .processor').getBoundingClientRect().top >= \
        Math.max(...[...document.querySelectorAll('#timeline .row .frame')].map((bar) => bar.getBoundingClientRect().bottom))";
    assert_eq!(browser.run(below), json!(true));
}

fn every_column_sorts_both_ways(browser: &mut Browser) {
    let columns = browser.run("return document.querySelectorAll('#table thead th').length");
    let columns = columns.as_u64().unwrap();
    assert!(columns >= 9, "{columns}");
    // Rows out of order after one more click on the heading, whose ariaSort gives the order.
    let wrong = "const column = arguments[0]; const heads = [...document.querySelectorAll('#table thead th')];\
        heads[column].querySelector('button').click();\
        const up = heads[column].ariaSort === 'ascending' ? 1 : -1;\
        const value = (row) => { const cell = row.cells[column];\
            return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value); };\
        const compare = (one, other) => typeof one === 'number' ? one - other : one.localeCompare(other, undefined, {numeric: true});\
        const values = [...document.querySelectorAll('#table tbody tr')].map(value);\
        return [heads.map((head) => head.ariaSort), values.length, values[0] === values[values.length - 1],\
            values.filter((one, at) => at > 0 && compare(values[at - 1], one) * up > 0)]";
    for column in 0..columns {
        for order in ["ascending", "descending"] {
            let seen = browser.run_with(wrong, json!([column]));
            let heads: Vec<_> = (0..columns)
                .map(|other| if other == column { order } else { "none" })
                .collect();
            assert_eq!(seen[0], json!(heads));
            assert_eq!(seen[1], json!(sample::PACKAGES));
            // All have the same version.
            assert_eq!(seen[2], json!(column == 1), "column {column}");
            assert_eq!(seen[3], json!([]), "column {column}, {order}");
        }
    }
}

fn the_table_sorts(browser: &mut Browser) {
    let first = "return document.querySelector('#table tbody tr th').textContent";
    let press = "document.querySelectorAll('#table thead button')[arguments[0]].click()";
    let time = 3;
    browser.run_with(press, json!([time]));
    assert_eq!(browser.run(first), json!("stage0/p0"));
    browser.run_with(press, json!([time]));
    assert_eq!(browser.run(first), json!(sample::slowest()));
    let sorted = "return document.querySelectorAll('#table thead th')[arguments[0]].ariaSort";
    assert_eq!(browser.run_with(sorted, json!([time])), json!("descending"));
    // Numbers in text sort by value: p9 before p10.
    browser.run_with(press, json!([0]));
    let names = "return [...document.querySelectorAll('#table tbody tr th')].slice(0, 3).map((cell) => cell.textContent)";
    assert_eq!(browser.run(names), json!(["p30", "p31", "p32"]));
}

fn the_table_is_searched(browser: &mut Browser) {
    let field = browser.find("#filter");
    browser.type_into(&field, "stage0/p7 number");
    let shown = "return [...document.querySelectorAll('#table tbody tr')].filter((row) => !row.hidden).length";
    assert_eq!(browser.run(shown), json!(1));
    assert_eq!(
        browser.run("return document.getElementById('count').textContent"),
        json!(format!("1 of {} packages", sample::PACKAGES))
    );
    browser.run("const field = document.getElementById('filter'); field.value = ''; field.dispatchEvent(new Event('input'))");
    assert_eq!(browser.run(shown), json!(sample::PACKAGES));
}

fn the_seed_and_the_sources_have_their_hashes(browser: &mut Browser) {
    let seed = browser.run("return document.querySelector('#seed li').textContent");
    let digest = "d".repeat(64);
    assert_eq!(
        seed,
        json!(format!(
            "debian-13-amd64: 91 archives, 180 MiB, SHA-256 {digest}"
        ))
    );
    let row = "return [...document.querySelectorAll('#seed details[open] tbody tr *')].map((cell) => cell.textContent)";
    assert_eq!(
        browser.run(row),
        json!([
            "p1-1.0.tar.gz",
            "12 KiB",
            "c".repeat(64),
            "mirror://gnu/p/p1-1.0.tar.gz"
        ])
    );
    let cut = "return [...document.querySelectorAll('#seed td.digest')].filter((cell) => cell.scrollWidth > cell.clientWidth).length";
    assert_eq!(browser.run(cut), json!(0));
    let summaries = "return [...document.querySelectorAll('#seed summary')].map((summary) => summary.textContent)";
    assert_eq!(
        browser.run(summaries),
        json!(["Sources (1)", "Archives of seeds (0)"])
    );
    let place = browser.middle("#seed details:not([open]) summary");
    browser.click_at(place);
    assert_eq!(
        browser.run("return document.querySelectorAll('#seed details[open]').length"),
        json!(2)
    );
}

fn it_is_dark_on_request(browser: &mut Browser) {
    let ground = "return getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.run(ground), json!("rgb(255, 255, 255)"));
    browser.prefer_dark();
    assert_eq!(browser.run(ground), json!("rgb(20, 24, 30)"));
    access::contrast_is_sufficient(browser);
    browser.run("document.getElementById('theme').click()");
    assert_eq!(browser.run(ground), json!("rgb(255, 255, 255)"));
}

fn it_fits_a_narrow_window(browser: &mut Browser) {
    for width in [1200, 500] {
        browser.resize(width, 900);
        let beyond =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(beyond), json!(0), "{width}");
    }
}

/// Copied addresses may be cut off.
fn a_link_to_a_missing_node_works(browser: &mut Browser, file: &std::path::Path) {
    browser.open(&format!("file://{}?again#node=100%", file.display()));
    assert_eq!(
        browser.run(
            "return [location.hash, document.getElementById('details').textContent.slice(0, 6)]"
        ),
        json!(["#node=100%", "Choose"])
    );
}

/// The first screen against the one in `layout.txt`, coarsely: fonts differ between machines.
fn it_has_the_expected_layout(browser: &mut Browser) {
    let seen = screenshot::coarse(&browser.screenshot());
    let (path, mut expected) = screenshot::expected();
    if std::env::var_os("BOOTSTRAP_UPDATE_LAYOUT").is_some() {
        std::fs::write(&path, &seen).unwrap();
        expected.clone_from(&seen);
    }
    let different = screenshot::difference(&expected, &seen);
    assert!(
        different < screenshot::LIMIT,
        "{:.1} % of what is drawn on the screen looks different; seen:\n{seen}\nexpected:\n{expected}\n\
         If that is meant: BOOTSTRAP_UPDATE_LAYOUT=1 cargo test --test report",
        different * 100.0
    );
}
