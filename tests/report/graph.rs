// SPDX-License-Identifier: GPL-3.0-or-later
//! The graph, with the mouse and with the keyboard.

use serde_json::json;

use crate::webdriver::{ARROW_LEFT, Browser, ENTER, ESCAPE, TAB};

/// The shortest chain from an item that `bootstrap all` builds to the chosen one; otherwise why there is none.
pub fn it_says_why(browser: &mut Browser) {
    let choose = "document.querySelector(`#table tbody tr[data-node=\"${arguments[0]}\"] button.name`).click()";
    let why = "const heading = [...document.querySelectorAll('#details h4')].find((part) => part.textContent.startsWith('Why'));\
        const reason = heading.nextElementSibling; const steps = [...reason.querySelectorAll('li')].map((step) => step.textContent);\
        return [heading.textContent, steps.length ? steps : reason.textContent]";
    let wanted = json!(["Why", "built by bootstrap all"]);
    // Each package needs the one with half its number; the last nine are built for themselves.
    for (number, reason) in [
        (
            3,
            json!([
                "Why: needed, step by step, by",
                ["p51", "stage0/p25", "stage0/p12", "stage0/p6"]
            ]),
        ),
        (29, json!(["Why: needed, step by step, by", ["p58"]])),
        (31, json!(["Why", "not needed by bootstrap all"])),
        (51, wanted.clone()),
    ] {
        browser.run_with(choose, json!([number]));
        assert_eq!(browser.run(why), reason, "{number}");
    }
    // A step leads to itself.
    browser.run_with(choose, json!([3]));
    browser.run("document.querySelector('#details .go').click()");
    assert_eq!(
        browser.run("return document.querySelector('#details h3').textContent"),
        json!("p51 1.0")
    );
    assert_eq!(browser.run(why), wanted);
}

/// The smallest font size of the labels on the screen, in pixels.
const LETTERS: &str = "const scale = document.getElementById('graph').getScreenCTM().a;\
    return Math.min(...[...document.querySelectorAll('#graph .node text')].map((text) => parseFloat(getComputedStyle(text).fontSize))) * scale";

/// Labels can be read without zooming, in windows of all widths.
pub fn labels_are_legible_at_once(browser: &mut Browser, address: &str) {
    for width in [1280, 800, 1920] {
        browser.resize(width, 900);
        browser.open(address);
        let letters = browser.run(LETTERS).as_f64().unwrap();
        assert!(letters >= 11.0, "{width}: {letters}");
        let seen = "const canvas = document.getElementById('canvas').getBoundingClientRect();\
            return [...document.querySelectorAll('#graph .node')].filter((node) => { const box = node.getBoundingClientRect();\
            return box.left >= canvas.left && box.right <= canvas.right && box.top >= canvas.top && box.bottom <= canvas.bottom; }).length";
        let seen = browser.run(seen).as_u64().unwrap();
        assert!(seen >= 5, "{width}: {seen}");
    }
    // And after the window was made smaller.
    browser.resize(1000, 900);
    let later = format!(
        "return new Promise((done) => setTimeout(() => done((() => {{ {LETTERS} }})()), 300))"
    );
    let letters = browser.run(&later).as_f64().unwrap();
    assert!(letters >= 11.0, "{letters}");
    browser.run("document.getElementById('fit').click()");
    assert!(
        browser.run(LETTERS).as_f64().unwrap() < 11.0,
        "the sample's graph fits any window: it tests nothing"
    );
}

pub fn it_is_explored(browser: &mut Browser) {
    let heading = "return document.querySelector('#details h3').textContent";
    // With the mouse, from the table.
    browser.run("document.querySelector('#table tbody tr[data-node=\"31\"] button.name').click()");
    assert_eq!(browser.run(heading), json!("p31 1.0"));
    let details = "return document.getElementById('details').textContent";
    let text = browser.run(details).as_str().unwrap().to_owned();
    for part in [
        "Why",
        "Inputs (2)",
        "References (1)",
        "bootstrap --root /srv/root log p31",
        "NAR sha256 ",
        "Sources (1)source/p1-1.0.tar.gzsha256 cccc",
        " wall, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The focused element may be gone: the focus moves to the details.
    let focused = "return document.activeElement === document.querySelector('#details h3')";
    assert_eq!(browser.run(focused), json!(true));
    browser.run("document.querySelector('#details .go').focus()");
    browser.press(ENTER);
    assert_ne!(browser.run(heading), json!("p31 1.0"));
    assert_eq!(browser.run(focused), json!(true));
    // With the keyboard, from the graph.
    browser.run("document.querySelectorAll('#graph .node')[4].focus()");
    browser.press(ENTER);
    assert_eq!(browser.run(heading), json!("stage0/p4 1.0"));
    assert_eq!(
        browser.run("return location.hash"),
        json!("#node=stage0%2Fp4")
    );
    let view = "return document.getElementById('graph').getAttribute('viewBox')";
    let before = browser.run(view);
    browser.run("document.getElementById('in').click()");
    let closer = browser.run(view);
    assert_ne!(before, closer);
    browser.run("document.getElementById('canvas').focus()");
    browser.press(ARROW_LEFT);
    assert_ne!(browser.run(view), closer);
    // By name.
    let field = browser.find("#find");
    browser.type_into(&field, "p41");
    assert_eq!(browser.run(heading), json!("p41 1.0"));
    assert_eq!(
        browser.run("return document.querySelectorAll('#graph .found').length"),
        json!(1)
    );
    let matches = "return document.getElementById('matches').textContent";
    assert_eq!(browser.run(matches), json!("1 found"));
    // All found nodes are as visible as the chosen one, after the transition.
    let search = "const field = document.getElementById('find'); field.value = arguments[0]; field.dispatchEvent(new Event('input'));";
    browser.run_with(search, json!(["p3"]));
    assert_eq!(browser.run(matches), json!("11 found"));
    let faint = "const found = [...document.querySelectorAll('#graph .found')];\
        return new Promise((done) => setTimeout(() => done([found.some((node) => node.classList.contains('dim')),\
            found.filter((node) => getComputedStyle(node).opacity !== '1').length]), 500))";
    assert_eq!(browser.run(faint), json!([true, 0]));
    let marked = "return getComputedStyle(document.querySelector('#graph .found:not(.chosen):not(:focus) rect')).stroke";
    assert_eq!(browser.run(marked), json!("rgb(21, 88, 192)"));
    browser.run_with(search, json!([""]));
    assert_eq!(browser.run(matches), json!(""));
}

pub fn it_works_with_the_mouse(browser: &mut Browser) {
    browser.run("document.getElementById('fit').click()");
    let heading = "return document.querySelector('#details h3').textContent";
    let view =
        "return document.getElementById('graph').getAttribute('viewBox').split(' ').map(Number)";
    let numbers = |view: serde_json::Value| -> Vec<f64> {
        let numbers = view.as_array().unwrap().iter();
        numbers.map(|number| number.as_f64().unwrap()).collect()
    };
    browser.run("document.querySelectorAll('#graph .node')[7].id = 'seventh'");
    let place = browser.middle("#seventh rect");
    // The wheel scrolls the page until the graph has the focus.
    browser.run("document.activeElement.blur()");
    let before = numbers(browser.run(view));
    let scrolled = browser.run("return scrollY");
    browser.turn_wheel_at(place, -100);
    assert_eq!(numbers(browser.run(view)), before);
    let settled = "return new Promise((done) => setTimeout(() => done(scrollY), 500))";
    assert_ne!(browser.run(settled), scrolled);
    let place = browser.middle("#seventh rect");
    browser.click_at(place);
    assert_eq!(browser.run(heading), json!("stage0/p7 1.0"));
    let chosen = "return [...document.querySelectorAll('#graph .chosen')].map((node) => [node.id, node.ariaPressed])";
    assert_eq!(browser.run(chosen), json!([["seventh", "true"]]));
    // Then it zooms at the pointer, and does not scroll the page.
    let before = numbers(browser.run(view));
    let scrolled = browser.run("return scrollY");
    browser.turn_wheel_at(place, -300);
    let closer = numbers(browser.run(view));
    assert!(closer[2] < before[2] * 0.8, "{before:?} {closer:?}");
    assert_eq!(browser.run("return scrollY"), scrolled);
    let under = "return document.elementFromPoint(...arguments[0]).closest('.node')?.id";
    assert_eq!(
        browser.run_with(under, json!([[place.0, place.1]])),
        json!("seventh")
    );
    browser.turn_wheel_at(place, 300);
    let back = numbers(browser.run(view));
    assert!(
        (back[2] - before[2]).abs() < before[2] * 0.01,
        "{before:?} {back:?}"
    );
    // Dragging moves the view, and chooses nothing, even if it starts on a node.
    browser.run("document.querySelectorAll('#graph .node')[9].id = 'ninth'");
    let place = browser.middle("#ninth rect");
    browser.drag(place, (60, 40));
    let moved = numbers(browser.run(view));
    assert!(
        moved[0] < back[0] && moved[1] < back[1],
        "{back:?} {moved:?}"
    );
    assert_eq!(browser.run(heading), json!("stage0/p7 1.0"));
    // A drag that is released outside the graph ends.
    let before = numbers(browser.run(view));
    let middle = browser.middle("#canvas");
    browser.drag(middle, (0, -330));
    let moved = numbers(browser.run(view));
    assert!(moved[1] > before[1], "{before:?} {moved:?}");
    browser.run("document.querySelector('#timeline [data-item=\"stage0/p3\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))");
    assert_eq!(browser.run(heading), json!("stage0/p3 1.0"));
}

pub fn a_choice_is_undone(browser: &mut Browser) {
    let choose = "document.querySelector('#table tbody tr[data-node=\"31\"] button.name').click()";
    let state = "return [document.querySelectorAll('#graph .chosen, #graph .dim, #graph .on').length,\
        document.querySelectorAll('#graph [aria-pressed=true]').length,\
        document.getElementById('details').textContent.slice(0, 13), location.hash, document.activeElement.id]";
    browser.run(choose);
    browser.press(ESCAPE);
    let undone = json!([0, 0, "Choose a node", "", "canvas"]);
    assert_eq!(browser.run(state), undone);
    browser.run(choose);
    assert_ne!(browser.run(state), undone);
    browser.run("document.getElementById('fit').click()");
    assert_eq!(browser.run(state), undone);
}

pub fn focused_nodes_are_in_view(browser: &mut Browser) {
    browser.run(
        "document.getElementById('fit').click();\
         for (let times = 0; times < 5; times += 1) document.getElementById('in').click();",
    );
    let seen = "const box = document.activeElement.getBoundingClientRect();\
        const canvas = document.getElementById('canvas').getBoundingClientRect();\
        return [document.activeElement.dataset.node, box.left >= canvas.left && box.right <= canvas.right && box.top >= canvas.top &&\
            box.bottom <= canvas.bottom && canvas.top >= 0 && canvas.bottom <= innerHeight]";
    browser.run("document.querySelectorAll('#graph .node')[58].focus({preventScroll: true})");
    browser.press(TAB);
    // The page is moved with the next frame.
    browser.run(
        "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
    );
    assert_eq!(browser.run(seen), json!(["59", true]));
}
