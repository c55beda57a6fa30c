// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes the graph in DOT, Graphviz' language: stages as ranks and clusters, a shape per kind, a colour per stage.
//!
//! The order of stages alone decides the order of ranks. Edges within a stage, or against the order (`stage0/gcc` needs
//! `libc`), do not constrain it.

use super::{BANDS, DrawnNode, GraphDrawing};
use crate::formats::visible::visible;

const COLORS: [&str; 5] = [
    "white",
    "lightyellow",
    "lightpink",
    "lightblue",
    "lightgreen",
];

/// The graph for `dot -Tsvg`.
pub fn dot(drawing: &GraphDrawing<'_>) -> String {
    // Without `newrank`, Graphviz ranks each cluster separately and the order of stages is lost.
    let mut text = String::from(
        "digraph bootstrap {\n  rankdir = LR;\n  newrank = true;\n  node [style = filled, fillcolor = white];\n",
    );
    let mut before: Option<&DrawnNode<'_>> = None;
    for (band, name) in BANDS.iter().enumerate() {
        let members: Vec<_> = drawing
            .nodes
            .iter()
            .filter(|node| node.band() == band)
            .collect();
        let Some(first) = members.first() else {
            continue;
        };
        text.push_str(&format!(
            "  subgraph \"cluster_{name}\" {{\n    label = \"{name}\";\n"
        ));
        for node in &members {
            let shape = match node.kind {
                "download" => "note",
                "seed" => "cylinder",
                "regenerate" => "component",
                _ => "box",
            };
            let color = COLORS[band];
            let label = quoted(node.label);
            text.push_str(&format!(
                "    {label} [shape = {shape}, fillcolor = {color}];\n"
            ));
        }
        let labels: Vec<String> = members.iter().map(|node| quoted(node.label)).collect();
        text.push_str(&format!(
            "    {{ rank = same; {}; }}\n  }}\n",
            labels.join("; ")
        ));
        if let Some(before) = before.replace(first) {
            let (later, earlier) = (quoted(first.label), quoted(before.label));
            text.push_str(&format!("  {later} -> {earlier} [style = invis];\n"));
        }
    }
    for (user, used) in &drawing.edges {
        let (user, used) = (&drawing.nodes[*user], &drawing.nodes[*used]);
        let constraint = match user.band() > used.band() {
            true => "",
            false => " [constraint = false]",
        };
        let (user, used) = (quoted(user.label), quoted(used.label));
        text.push_str(&format!("  {user} -> {used}{constraint};\n"));
    }
    text.push_str("}\n");
    text
}

/// `label` as a quoted identifier. Quotes and backslashes are escaped: a backslash would escape the quote after it.
fn quoted(label: &str) -> String {
    let escaped = visible(label).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn stages_are_clusters_and_labels_are_quoted() {
        let text = dot(&super::super::tests::drawing());
        assert!(text.contains("  subgraph \"cluster_stage0\" {\n    label = \"stage0\";\n"));
        assert!(text.contains("    \"seed/base\" [shape = cylinder, fillcolor = white];\n"));
        assert!(text.contains("  \"a<b>\\\"&\" -> \"sed\";\n"), "{text}");
    }

    #[test]
    fn a_backslash_escapes_nothing() {
        assert_eq!(quoted("a\\"), "\"a\\\\\"");
        assert_eq!(quoted("\\\""), "\"\\\\\\\"\"");
        let mut drawing = super::super::tests::drawing();
        drawing.nodes[6].label = "backslash\\";
        // Graphviz, where it is installed, must read the whole text.
        if let Some(places) = laid_out(&dot(&drawing)) {
            assert_eq!(places.len(), drawing.nodes.len());
        }
    }

    #[test]
    fn stages_are_ranks_one_after_the_other() {
        let text = dot(&super::super::tests::drawing());
        assert!(
            text.contains("    { rank = same; \"stage0/make\"; \"stage0/sed\"; }\n"),
            "{text}"
        );
        for chained in [
            "  \"stage0/make\" -> \"source/sed.tar.xz\" [style = invis];\n",
            "  \"libc\" -> \"stage0/make\" [style = invis];\n",
            "  \"sed\" -> \"libc\" [style = invis];\n",
        ] {
            assert!(text.contains(chained), "{text}");
        }
        assert!(
            text.contains("  \"stage0/sed\" -> \"stage0/make\" [constraint = false];\n"),
            "{text}"
        );
    }

    /// The place of each node according to Graphviz: its label without quotes, and its distance from the left. `None`
    /// without Graphviz, which `tests/run.sh` requires.
    fn laid_out(text: &str) -> Option<Vec<(String, f64)>> {
        let started = Command::new("dot")
            .arg("-Tplain")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut dot = match started {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(
                    std::env::var_os("BOOTSTRAP_PROGRAMS_REQUIRED").is_none(),
                    "dot is missing; on Debian: apt-get install graphviz"
                );
                eprintln!("dot is missing: its layout of the graph is not tested");
                return None;
            }
            started => started.unwrap(),
        };
        let mut input = dot.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = dot.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && errors.is_empty(),
            "{errors}\n{text}"
        );
        let plain = String::from_utf8(output.stdout).unwrap();
        let nodes = plain.lines().filter_map(|line| {
            let mut words = line.strip_prefix("node ")?.split(' ');
            let label = words.next()?.trim_matches('"').replace("\\\"", "\"");
            Some((label, words.next()?.parse().ok()?))
        });
        Some(nodes.collect())
    }

    #[test]
    fn graphviz_draws_each_stage_beside_the_next() {
        let mut drawing = super::super::tests::drawing();
        // An edge against the order of stages, as from the compiler of stage0 to the C library.
        drawing.edges.push((3, 4));
        let Some(places) = laid_out(&dot(&drawing)) else {
            return;
        };
        assert_eq!(places.len(), drawing.nodes.len());
        let mut bands = vec![Vec::new(); BANDS.len()];
        for node in &drawing.nodes {
            let found = places.iter().find(|(label, _)| label == node.label);
            bands[node.band()].push(found.unwrap().1);
        }
        for (band, places) in bands.iter().enumerate() {
            assert!(
                places.iter().all(|place| *place == places[0]),
                "{band}: {places:?}"
            );
        }
        // Users are to the left of what they use.
        let order: Vec<f64> = bands.iter().rev().map(|places| places[0]).collect();
        assert!(order.is_sorted_by(|one, other| one < other), "{order:?}");
    }
}
