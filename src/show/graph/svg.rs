// SPDX-License-Identifier: GPL-3.0-or-later
//! Draws the graph as SVG. The output needs no font, style sheet or program from elsewhere.

use super::layout::{GraphLayout, HEIGHT, NodeBox, layout};
use super::{BANDS, GraphDrawing};
use crate::formats::visible::visible_lines;

/// Light or dark colours, as the viewer prefers.
pub(crate) const STYLE: &str = "\
:root{--ground:#fff;--ink:#1c2430;--line:#7f8c9c;--band:#f3f5f8;--before:#fff;--stage0:#fff3c4;--libc:#ffd9e0;--final:#d4e7ff;--package:#d6f2d8}
@media(prefers-color-scheme:dark){:root{--ground:#14181e;--ink:#e6ebf2;--line:#7c8a9c;--band:#1c222b;--before:#232b36;--stage0:#4b3f12;--libc:#54252f;--final:#1d3d63;--package:#1f4a29}}
";

/// The style of nodes, edges and bands. The variables come from the page. Viewers without support for variables use the
/// light colour named before each.
pub const GRAPH_STYLE: &str = "\
.band{fill:#f3f5f8;fill:var(--band)}.band-name{font:600 13px sans-serif;fill:#1c2430;fill:var(--ink)}
.node rect{stroke:#7f8c9c;stroke:var(--line);fill:#fff;fill:var(--before)}
.node text{font:12px ui-monospace,monospace;fill:#1c2430;fill:var(--ink);text-anchor:middle;dominant-baseline:central}
.node.stage0 rect{fill:#fff3c4;fill:var(--stage0)}.node.libc rect{fill:#ffd9e0;fill:var(--libc)}
.node.final rect{fill:#d4e7ff;fill:var(--final)}.node.package rect{fill:#d6f2d8;fill:var(--package)}
.node.download rect{stroke-dasharray:3 2}.node.seed rect{stroke-width:2.5}
.edge{fill:none;stroke:#7f8c9c;stroke:var(--line)}
";

/// The drawing as a complete SVG file.
pub fn file(drawing: &GraphDrawing<'_>) -> String {
    let layout = lay_out(drawing);
    let (width, height) = (layout.width, layout.height);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"Graph of derivations\">\n<style>\n{STYLE}.ground{{fill:#fff;fill:var(--ground)}}\n\
         {GRAPH_STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
        elements(drawing, &layout, false)
    )
}

/// The drawing as part of an HTML page, at its natural size. Its nodes can be focused and chosen with the keyboard.
pub fn inline(drawing: &GraphDrawing<'_>) -> String {
    let layout = lay_out(drawing);
    let (width, height) = (layout.width, layout.height);
    format!(
        "<svg id=\"graph\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"group\" aria-label=\"Graph of derivations\">\n<g id=\"scene\">\n{}</g></svg>\n",
        elements(drawing, &layout, true)
    )
}

fn lay_out(drawing: &GraphDrawing<'_>) -> GraphLayout {
    let labels: Vec<(usize, usize)> = drawing
        .nodes
        .iter()
        .map(|node| (node.band(), node.label.chars().count()))
        .collect();
    layout(&labels, &drawing.edges)
}

fn elements(drawing: &GraphDrawing<'_>, layout: &GraphLayout, interactive: bool) -> String {
    let mut text = String::new();
    for band in &layout.bands {
        let (x, width) = (band.x - 14.0, band.width + 28.0);
        text.push_str(&format!(
            "<rect class=\"band\" x=\"{x:.1}\" y=\"4\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"8\"/>\
             <text class=\"band-name\" x=\"{:.1}\" y=\"26\">{}</text>\n",
            layout.height - 8.0,
            band.x,
            BANDS[band.band]
        ));
    }
    for (user, used) in &drawing.edges {
        let path = curve(layout.places[*used], layout.places[*user]);
        text.push_str(&format!(
            "<path class=\"edge\" data-user=\"{user}\" data-used=\"{used}\" d=\"{path}\"/>\n"
        ));
    }
    for (number, node) in drawing.nodes.iter().enumerate() {
        let NodeBox { x, y, width } = layout.places[number];
        let label = escape(node.label);
        let reach = match interactive {
            true => format!(
                " data-node=\"{number}\" tabindex=\"0\" role=\"button\" aria-label=\"{label}\""
            ),
            false => String::new(),
        };
        text.push_str(&format!(
            "<g class=\"node {} {}\"{reach}><title>{label}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{HEIGHT}\" rx=\"5\"/><text x=\"{:.1}\" y=\"{:.1}\">{label}</text></g>\n",
            BANDS[node.band()],
            node.kind,
            x + width / 2.0,
            y + HEIGHT / 2.0
        ));
    }
    text
}

/// A curve from the right of `from` to the left of `to`.
fn curve(from: NodeBox, to: NodeBox) -> String {
    let (x1, y1) = (from.x + from.width, from.y + HEIGHT / 2.0);
    let (x2, y2) = (to.x, to.y + HEIGHT / 2.0);
    let bend = ((x2 - x1) / 2.0).clamp(20.0, 120.0);
    format!(
        "M{x1:.1} {y1:.1}C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}",
        x1 + bend,
        x2 - bend
    )
}

/// `text` as the content or a quoted attribute of an element, with invisible characters made visible.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible_lines(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_stands_alone_and_every_label_is_in_it_escaped() {
        let text = file(&super::super::tests::drawing());
        assert!(text.starts_with("<svg xmlns="));
        assert!(text.ends_with("</svg>\n"));
        assert_eq!(text.matches("<g class=\"node ").count(), 7);
        assert_eq!(text.matches("<path class=\"edge\"").count(), 11);
        assert!(
            text.contains("<title>a&lt;b&gt;&quot;&amp;</title>"),
            "{text}"
        );
        assert!(!text.contains("href"));
    }

    #[test]
    fn viewers_without_variables_use_the_light_colours() {
        let text = file(&super::super::tests::drawing());
        let light = STYLE.split('\n').next().unwrap();
        let mut uses = 0;
        for (place, _) in text.match_indices("var(--") {
            let name = text[place + 6..].split(')').next().unwrap();
            let (_, after) = light.split_once(&format!("--{name}:")).unwrap();
            let colour = after.split([';', '}']).next().unwrap();
            let property = text[..place].rsplit([';', '{']).next().unwrap();
            assert!(
                text[..place].ends_with(&format!("{property}{colour};{property}")),
                "{property}{name}"
            );
            uses += 1;
        }
        assert!(uses >= 11, "{uses}");
        assert!(!text.contains("=\"var("), "{text}");
    }

    #[test]
    fn in_a_page_nodes_are_reached_with_the_keyboard() {
        let text = inline(&super::super::tests::drawing());
        assert_eq!(text.matches("tabindex=\"0\" role=\"button\"").count(), 7);
        // Without the page's script it is as large as a file of its own, and scrolls.
        let size = |text: &str| {
            text.split_once(" width=\"")
                .unwrap()
                .1
                .split_once('"')
                .unwrap()
                .0
                .to_owned()
        };
        assert_eq!(size(&text), size(&file(&super::super::tests::drawing())));
    }
}
