//! The graph in Graphviz' language: stages as clusters, a shape for each kind, a colour for each stage.

use super::{BANDS, Picture};

const COLORS: [&str; 5] = [
    "white",
    "lightyellow",
    "lightpink",
    "lightblue",
    "lightgreen",
];

/// The graph for `dot -Tsvg`.
pub fn dot(picture: &Picture<'_>) -> String {
    let mut text = String::from(
        "digraph bootstrap {\n  rankdir = LR;\n  node [style = filled, fillcolor = white];\n",
    );
    for (band, name) in BANDS.iter().enumerate() {
        let members: Vec<_> = picture
            .nodes
            .iter()
            .filter(|node| node.band() == band)
            .collect();
        if members.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "  subgraph \"cluster_{name}\" {{\n    label = \"{name}\";\n"
        ));
        for node in members {
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
        text.push_str("  }\n");
    }
    for (user, used) in &picture.edges {
        let (user, used) = (picture.nodes[*user].label, picture.nodes[*used].label);
        text.push_str(&format!("  {} -> {};\n", quoted(user), quoted(used)));
    }
    text.push_str("}\n");
    text
}

/// `label` as a quoted identifier, in which only the quote has to be escaped.
fn quoted(label: &str) -> String {
    format!("\"{}\"", label.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_clusters_and_labels_are_quoted() {
        let text = dot(&super::super::tests::picture());
        assert!(text.contains("  subgraph \"cluster_stage0\" {\n    label = \"stage0\";\n"));
        assert!(text.contains("    \"seed/base\" [shape = cylinder, fillcolor = white];\n"));
        assert!(text.contains("  \"a<b>\\\"&\" -> \"sed\";\n"), "{text}");
    }
}
