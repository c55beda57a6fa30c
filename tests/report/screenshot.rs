// SPDX-License-Identifier: GPL-3.0-or-later
//! Screenshots reduced to their layout: coarse cells of grey.

const COLUMNS: usize = 60;
const ROWS: usize = 36;
/// A blank cell.
const BLANK: i32 = 15;
/// Drawn cells count as different if they differ by more than this many of sixteen steps.
const STEPS: i32 = 1;
/// The largest share of different cells that another font explains.
pub const LIMIT: f64 = 0.1;

/// A PNG as lines of hexadecimal digits, one per cell: 0 is black, f is white.
pub fn coarse(png: &[u8]) -> String {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let channels = info.color_type.samples();
    let (width, height) = (info.width as usize, info.height as usize);
    let mut text = String::new();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let (mut sum, mut count) = (0usize, 0usize);
            for y in row * height / ROWS..(row + 1) * height / ROWS {
                for x in column * width / COLUMNS..(column + 1) * width / COLUMNS {
                    let at = y * info.line_size + x * channels;
                    sum += pixels[at..at + 3]
                        .iter()
                        .map(|part| usize::from(*part))
                        .sum::<usize>();
                    count += 3;
                }
            }
            let step = sum * 15 / (count * 255).max(1);
            text.push(char::from_digit(step as u32, 16).unwrap());
        }
        text.push('\n');
    }
    text
}

/// The share of different cells among those that are drawn on either side. Blank cells are most of a page, and would
/// hide a missing part.
pub fn difference(one: &str, other: &str) -> f64 {
    let cells = |text: &str| -> Vec<i32> {
        text.chars()
            .filter_map(|digit| Some(digit.to_digit(16)? as i32))
            .collect()
    };
    let (one, other) = (cells(one), cells(other));
    if one.len() != other.len() {
        return 1.0;
    }
    let drawn: Vec<(i32, i32)> = one
        .into_iter()
        .zip(other)
        .filter(|cells| *cells != (BLANK, BLANK))
        .collect();
    let different = drawn.iter().filter(|(one, other)| {
        (*one == BLANK) != (*other == BLANK) || (*one - *other).abs() > STEPS
    });
    different.count() as f64 / drawn.len().max(1) as f64
}

/// The expected first screen of the report, and its file.
pub fn expected() -> (std::path::PathBuf, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/layout.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn a_moved_block_is_seen() {
    let before = "fff0000f\n".repeat(4);
    assert_eq!(difference(&before, &before), 0.0);
    assert_eq!(difference(&before, &"f0000fff\n".repeat(4)), 2.0 / 3.0);
    assert_eq!(difference(&before, ""), 1.0);
    let blank = "ffffffff\n".repeat(4);
    assert_eq!(difference(&blank, &blank), 0.0);
}

#[test]
fn a_page_that_lacks_a_part_is_far_from_the_one_expected() {
    let (_, expected) = expected();
    assert_eq!(difference(&expected, &expected), 0.0);
    // The first `rows` lines, and the first `columns` cells of the others.
    let cut = |rows: usize, columns: usize| -> String {
        let lines = expected.lines().enumerate();
        let lines = lines.map(|(row, line)| match row < rows {
            true => format!("{line}\n"),
            false => format!("{:f<COLUMNS$}\n", &line[..columns]),
        });
        lines.collect()
    };
    let of = |digit: &str| format!("{}\n", digit.repeat(COLUMNS)).repeat(ROWS);
    for (name, seen) in [
        ("a blank page", of("f")),
        ("a light grey page", of("e")),
        ("a grey page", of("d")),
        ("a black page", of("0")),
        ("a blank right half", cut(0, COLUMNS / 2)),
        (
            "a time line whose right half is blank",
            cut(10, COLUMNS / 2),
        ),
        ("a time line without bars", cut(10, 8)),
    ] {
        let different = difference(&expected, &seen);
        assert!(different > 2.0 * LIMIT, "{name}: {different}");
    }
    // Letters of another font cover slightly more or less.
    let pairs = [("a", "b"), ("c", "d")];
    let font = pairs.iter().fold(expected.clone(), |text, (one, other)| {
        text.replace(one, other)
    });
    assert_ne!(font, expected);
    assert!(difference(&expected, &font) < LIMIT);
}
