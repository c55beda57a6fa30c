//! Screenshots, made so coarse that only their layout is left.

const COLUMNS: usize = 60;
const ROWS: usize = 36;
/// Cells that differ by more of the sixteen steps look different.
const STEPS: i32 = 1;

/// A PNG as lines of hexadecimal digits, one for each cell: 0 is black, f white.
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

/// Which part of the cells looks different.
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
    let different = one
        .iter()
        .zip(&other)
        .filter(|(one, other)| (*one - *other).abs() > STEPS);
    different.count() as f64 / one.len() as f64
}

#[test]
fn a_moved_block_is_seen() {
    let before = "fff0000f\n".repeat(4);
    assert_eq!(difference(&before, &before), 0.0);
    assert_eq!(difference(&before, &"f0000fff\n".repeat(4)), 0.5);
    assert_eq!(difference(&before, ""), 1.0);
}
