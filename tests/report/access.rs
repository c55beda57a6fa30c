// SPDX-License-Identifier: GPL-3.0-or-later
//! Accessibility: keyboard, screen readers, contrast.

use serde_json::{Value, json};

use crate::webdriver::{Browser, ENTER};

/// Every control has a name for screen readers.
pub fn every_control_has_a_name(browser: &mut Browser) {
    let nameless = "return [...document.querySelectorAll('button, input, [role=button], [role=region], section > [tabindex]')]\
        .filter((thing) => !(thing.getAttribute('aria-label') || thing.labels?.length || thing.textContent.trim()))\
        .map((thing) => thing.outerHTML)";
    assert_eq!(browser.run(nameless), json!([]));
    assert_eq!(
        browser.run("return document.documentElement.lang"),
        json!("en")
    );
    let levels = "return [...document.querySelectorAll('h1, h2, h3, h4')].map((head) => Number(head.tagName[1]))";
    let levels = browser.run(levels);
    let levels: Vec<i64> = levels
        .as_array()
        .unwrap()
        .iter()
        .map(|level| level.as_i64().unwrap())
        .collect();
    assert_eq!(levels[0], 1);
    assert!(
        levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "{levels:?}"
    );
    // Voice control uses the visible text.
    let differently = "return [...document.querySelectorAll('button[aria-label]')].filter((button) => /\\p{L}/u.test(button.textContent)\
        && !button.ariaLabel.includes(button.textContent.trim())).map((button) => button.outerHTML)";
    assert_eq!(browser.run(differently), json!([]));
}

pub fn the_graph_can_be_skipped(browser: &mut Browser) {
    browser.run("document.querySelector('#dependencies .skip').focus()");
    let seen = "return document.activeElement.getBoundingClientRect().left >= 0";
    assert_eq!(browser.run(seen), json!(true));
    browser.press(ENTER);
    let focused = "return document.activeElement.id";
    assert_eq!(browser.run(focused), json!("details"));
    let ahead = "return [...document.querySelectorAll('[tabindex=\"0\"]')].filter((thing) => thing.closest('#canvas') &&\
        document.activeElement.compareDocumentPosition(thing) & Node.DOCUMENT_POSITION_FOLLOWING).length";
    assert_eq!(browser.run(ahead), json!(0));
}

/// Text has a contrast of at least 4.5, other necessary parts of at least 3 (WCAG 2.2, 1.4.3 and 1.4.11).
pub fn contrast_is_sufficient(browser: &mut Browser) {
    let ground = ["body", "backgroundColor"];
    let facts = [".facts div", "backgroundColor"];
    let band = ["#graph .band", "fill"];
    let node = "#graph .node:not(.chosen):not(.found)";
    let things = json!([
        [["body", "color"], ground, 4.5],
        [["dt", "color"], facts, 4.5],
        [[".hint", "color"], ground, 4.5],
        [["nav a", "color"], ground, 4.5],
        [["tbody .name", "color"], ground, 4.5],
        [["button", "color"], ["button", "backgroundColor"], 4.5],
        [[".stage", "color"], [".stage", "backgroundColor"], 4.5],
        [["#timeline .name", "fill"], ground, 4.5],
        [["#timeline .axis", "fill"], ground, 4.5],
        [["#timeline .critical .name", "fill"], ground, 4.5],
        [
            [format!("{node} text"), "fill"],
            [format!("{node} rect"), "fill"],
            4.5
        ],
        [["#filter", "borderTopColor"], ground, 3.0],
        [[".key", "borderTopColor"], ground, 3.0],
        [["#timeline .row .frame", "stroke"], ground, 3.0],
        [["#timeline .critical .frame", "stroke"], ground, 3.0],
        [["#timeline .processor", "stroke"], ground, 3.0],
        [[format!("{node} rect"), "stroke"], band, 3.0],
        [["#graph .edge:not(.on)", "stroke"], band, 3.0],
        [["#graph .edge:not(.on)", "stroke"], ground, 3.0],
    ]);
    let ratios = "const style = ([selector]) => getComputedStyle(document.querySelector(selector));\
        const colour = (thing) => style(thing)[thing[1]].match(/[\\d.]+/g).slice(0, 3).map(Number);\
        const over = (thing, ground) => { const opacity = thing[1] === 'stroke' ? Number(style(thing).strokeOpacity) : 1;\
            return colour(thing).map((part, at) => part * opacity + ground[at] * (1 - opacity)); };\
        const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;\
        const luminance = ([red, green, blue]) => 0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);\
        return arguments[0].map(([thing, ground]) => {\
            const [one, other] = [luminance(over(thing, colour(ground))), luminance(colour(ground))];\
            return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05); })";
    let ratios = browser.run_with(ratios, json!([things]));
    let seen = things.as_array().unwrap().iter();
    let seen = seen.zip(ratios.as_array().unwrap());
    let bad: Vec<(&Value, &Value)> = seen
        .filter(|(thing, ratio)| ratio.as_f64().unwrap() < thing[2].as_f64().unwrap())
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}
