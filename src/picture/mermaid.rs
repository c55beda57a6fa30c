//! The graph in Mermaid's language, which code forges draw inside Markdown.

use super::{BANDS, Picture};

/// The graph as a Mermaid flow chart from left to right.
pub fn mermaid(picture: &Picture<'_>) -> String {
    let mut text = String::from("flowchart LR\n");
    for (band, name) in BANDS.iter().enumerate() {
        let members: Vec<(usize, _)> = picture
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.band() == band)
            .collect();
        if members.is_empty() {
            continue;
        }
        text.push_str(&format!("  subgraph {name}\n"));
        for (number, node) in members {
            let label = escaped(node.label);
            let shape = match node.kind {
                "download" => format!("[/\"{label}\"/]"),
                "seed" => format!("[(\"{label}\")]"),
                "regenerate" => format!("[[\"{label}\"]]"),
                _ => format!("[\"{label}\"]"),
            };
            text.push_str(&format!("    n{number}{shape}\n"));
        }
        text.push_str("  end\n");
    }
    for (user, used) in &picture.edges {
        text.push_str(&format!("  n{user} --> n{used}\n"));
    }
    text
}

/// `label` with Mermaid's entities for what it would read as its own or as HTML.
fn escaped(label: &str) -> String {
    label
        .replace('&', "#amp;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('>', "#gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_subgraphs_and_labels_are_escaped() {
        let text = mermaid(&super::super::tests::picture());
        assert!(
            text.starts_with("flowchart LR\n  subgraph before\n    n0[/\"source/sed.tar.xz\"/]\n")
        );
        assert!(
            text.contains("    n6[\"a#lt;b#gt;#quot;#amp;\"]\n"),
            "{text}"
        );
        assert!(text.ends_with("  n6 --> n5\n  n6 --> n4\n"), "{text}");
    }
}
