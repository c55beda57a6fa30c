// SPDX-License-Identifier: GPL-3.0-or-later
//! Places the nodes of a graph in columns, inputs left of their users.
//!
//! This is the usual method for layered drawings. The column of a node is its longest chain within its band; bands
//! follow each other. A few sweeps in both directions then sort each column by the mean place of its nodes' neighbours,
//! which removes most crossings. A sweep is linear in nodes and edges.

/// The height of a node's box.
pub const HEIGHT: f64 = 26.0;
/// The approximate width of a character of a label.
const CHARACTER: f64 = 7.4;
/// The space left and right of a label.
const PADDING: f64 = 12.0;
/// The space between the boxes of a column.
const ROW_GAP: f64 = 10.0;
/// The space between columns, in which edges bend.
const COLUMN_GAP: f64 = 64.0;
/// The space around the drawing; the header has the names of the bands.
const MARGIN: f64 = 24.0;
const HEADER: f64 = 28.0;
const SWEEPS: usize = 12;

/// The box of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeBox {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
}

/// The place of a band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Its index.
    pub band: usize,
    /// The left edge.
    pub x: f64,
    /// The width.
    pub width: f64,
}

/// The places of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphLayout {
    /// The place of each node.
    pub places: Vec<NodeBox>,
    /// The bands that have nodes, from left to right.
    pub bands: Vec<Band>,
    /// The width of the drawing.
    pub width: f64,
    /// The height of the drawing.
    pub height: f64,
}

/// Lays out nodes. `labels` has the band of each and the length of its label in characters. An edge goes from a user to
/// its input, which comes earlier in `labels`.
pub fn layout(labels: &[(usize, usize)], edges: &[(usize, usize)]) -> GraphLayout {
    let columns = columns(labels, edges);
    let count = columns.iter().map(|column| column + 1).max().unwrap_or(0);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (node, column) in columns.iter().enumerate() {
        order[*column].push(node);
    }
    untangle(&mut order, labels.len(), edges);

    let width_of = |node: usize| labels[node].1 as f64 * CHARACTER + 2.0 * PADDING;
    let tallest = order.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let height = tallest * (HEIGHT + ROW_GAP) - ROW_GAP;
    let mut places = vec![
        NodeBox {
            x: 0.0,
            y: 0.0,
            width: 0.0
        };
        labels.len()
    ];
    let mut bands: Vec<Band> = Vec::new();
    let mut x = MARGIN;
    for column in &order {
        let width = column
            .iter()
            .map(|node| width_of(*node))
            .fold(0.0, f64::max);
        let own = column.len() as f64 * (HEIGHT + ROW_GAP) - ROW_GAP;
        let mut y = MARGIN + HEADER + (height - own) / 2.0;
        for node in column {
            places[*node] = NodeBox { x, y, width };
            y += HEIGHT + ROW_GAP;
        }
        if let Some(band) = column.first().map(|node| labels[*node].0) {
            match bands.last_mut() {
                Some(last) if last.band == band => last.width = x + width - last.x,
                _ => bands.push(Band { band, x, width }),
            }
        }
        x += width + COLUMN_GAP;
    }
    GraphLayout {
        places,
        bands,
        width: (x - COLUMN_GAP + MARGIN).max(2.0 * MARGIN),
        height: (height.max(0.0)) + HEADER + 2.0 * MARGIN,
    }
}

/// The column of each node: after its inputs, and each band after those before it.
fn columns(labels: &[(usize, usize)], edges: &[(usize, usize)]) -> Vec<usize> {
    let mut depth = vec![0usize; labels.len()];
    let mut used: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
    for (user, input) in edges {
        used[*user].push(*input);
    }
    for node in 0..labels.len() {
        // Columns are counted within a band.
        let inside = used[node]
            .iter()
            .filter(|input| labels[**input].0 == labels[node].0);
        depth[node] = inside.map(|input| depth[*input] + 1).max().unwrap_or(0);
    }
    let bands = labels.iter().map(|(band, _)| band + 1).max().unwrap_or(0);
    let mut first = vec![0usize; bands + 1];
    for band in 0..bands {
        let members = labels
            .iter()
            .zip(&depth)
            .filter(|((own, _), _)| *own == band);
        let columns = members.map(|(_, depth)| depth + 1).max().unwrap_or(0);
        first[band + 1] = first[band] + columns;
    }
    labels
        .iter()
        .zip(&depth)
        .map(|((band, _), depth)| first[*band] + depth)
        .collect()
}

/// Sorts each column so that fewer edges cross.
fn untangle(order: &mut [Vec<usize>], count: usize, edges: &[(usize, usize)]) {
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (user, input) in edges {
        neighbours[*user].push(*input);
        neighbours[*input].push(*user);
    }
    // The row of each node, relative to the middle of its column.
    let mut down = vec![0.0f64; count];
    let settle = |column: &[usize], down: &mut [f64]| {
        let middle = (column.len() as f64 - 1.0) / 2.0;
        for (row, node) in column.iter().enumerate() {
            down[*node] = row as f64 - middle;
        }
    };
    for column in order.iter() {
        settle(column, &mut down);
    }
    for sweep in 0..SWEEPS {
        let forth: Box<dyn Iterator<Item = &mut Vec<usize>>> = match sweep % 2 {
            0 => Box::new(order.iter_mut()),
            _ => Box::new(order.iter_mut().rev()),
        };
        for column in forth {
            let mut wishes: Vec<(f64, usize)> = column
                .iter()
                .map(|node| {
                    let around = &neighbours[*node];
                    let sum: f64 = around.iter().map(|other| down[*other]).sum();
                    let wish = match around.len() {
                        0 => down[*node],
                        count => sum / count as f64,
                    };
                    (wish, *node)
                })
                .collect();
            // A stable sort: the same graph is always drawn the same way.
            wishes.sort_by(|one, other| one.0.total_cmp(&other.0));
            for (place, (_, node)) in column.iter_mut().zip(&wishes) {
                *place = *node;
            }
            settle(column, &mut down);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_left_of_their_users_and_bands_do_not_mix() {
        let labels = [(0, 5), (0, 9), (1, 4), (1, 4), (3, 4)];
        let edges = [(1, 0), (2, 1), (3, 2), (4, 3), (4, 0)];
        let layout = layout(&labels, &edges);
        for (user, used) in edges {
            let (user, used) = (layout.places[user], layout.places[used]);
            assert!(used.x + used.width < user.x);
        }
        let bands: Vec<usize> = layout.bands.iter().map(|band| band.band).collect();
        assert_eq!(bands, [0, 1, 3]);
        for pair in layout.bands.windows(2) {
            assert!(pair[0].x + pair[0].width < pair[1].x);
        }
    }

    #[test]
    fn boxes_do_not_overlap_and_are_inside() {
        let labels: Vec<(usize, usize)> = (0..40).map(|node| (node % 3, node % 7 + 3)).collect();
        let mut labels = labels;
        labels.sort();
        let edges: Vec<(usize, usize)> = (1..40).map(|node| (node, node / 2)).collect();
        let layout = layout(&labels, &edges);
        for (number, one) in layout.places.iter().enumerate() {
            assert!(one.x >= 0.0 && one.x + one.width <= layout.width);
            assert!(one.y >= 0.0 && one.y + HEIGHT <= layout.height);
            for other in &layout.places[..number] {
                let beside = one.x >= other.x + other.width || other.x >= one.x + one.width;
                let below = one.y >= other.y + HEIGHT || other.y >= one.y + HEIGHT;
                assert!(beside || below, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn two_parallel_chains_do_not_cross() {
        // a→c and b→d, with c and d in the opposite order at first.
        let labels = [(0, 1), (0, 1), (1, 1), (1, 1)];
        let layout = layout(&labels, &[(2, 1), (3, 0)]);
        let above = |one: usize, other: usize| layout.places[one].y < layout.places[other].y;
        assert_eq!(above(0, 1), above(3, 2));
    }

    #[test]
    fn an_empty_graph_is_drawn_small() {
        let layout = layout(&[], &[]);
        assert!(layout.width > 0.0 && layout.height > 0.0);
        assert!(layout.bands.is_empty());
    }
}
