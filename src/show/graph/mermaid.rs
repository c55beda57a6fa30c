//! The graph in Mermaid's language, which code forges draw inside Markdown.

use super::{BANDS, Picture};

/// Mermaid's `maxEdges`, as it is by default.
const EDGES: usize = 500;
/// Mermaid's `maxTextSize`, as it is by default.
const CHARACTERS: usize = 50_000;

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

/// `label` with Mermaid's entities for what it would read as its own or as HTML. An entity is written with the number sign,
/// so that one has to be written so, too.
fn escaped(label: &str) -> String {
    let mut escaped = String::with_capacity(label.len());
    for character in label.chars() {
        match character {
            '#' => escaped.push_str("#35;"),
            '&' => escaped.push_str("#amp;"),
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            character => escaped.push(character),
        }
    }
    escaped
}

/// How the flow chart `text` of `picture` exceeds what Mermaid draws by default, if it does. Forges and editors leave that so, and
/// a chart cannot change it. The limits are `maxEdges` and `maxTextSize` of Mermaid's configuration.
pub fn too_large(picture: &Picture<'_>, text: &str) -> Option<String> {
    let (edges, characters) = (picture.edges.len(), text.chars().count());
    if edges > EDGES {
        Some(format!("{EDGES} edges at most, and these are {edges}"))
    } else if characters > CHARACTERS {
        Some(format!(
            "{CHARACTERS} characters at most, and these are {characters}"
        ))
    } else {
        None
    }
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
    #[test]
    fn a_label_cannot_hold_an_entity() {
        assert_eq!(escaped("a#lt;b"), "a#35;lt;b");
    }

    #[test]
    fn it_is_known_what_mermaid_does_not_draw() {
        let mut picture = super::super::tests::picture();
        picture.edges = vec![(3, 0); EDGES];
        let text = mermaid(&picture);
        assert_eq!(too_large(&picture, &text), None);
        picture.edges.push((3, 1));
        let told = too_large(&picture, &text);
        assert_eq!(told.unwrap(), "500 edges at most, and these are 501");
        picture.edges.clear();
        let told = too_large(&picture, &"x".repeat(CHARACTERS + 1));
        assert_eq!(
            told.unwrap(),
            "50000 characters at most, and these are 50001"
        );
    }
}
