//! Image of the confusion matrix.

use image::{Rgb, RgbImage};
use lookout_schema::Rect;

use crate::chart::{Chart, GROUND, INK, LETTERS};

/// Side of a cell in pixels: `LARGE` for up to `FEW` classes, so that a number can be read in it, otherwise `SMALL`.
const LARGE: u32 = 48;
const SMALL: u32 = 12;
const FEW: usize = 40;

const GAP: u32 = 8;
/// Maximum number of characters of a class name.
const MAX_NAME: usize = 24;

const RIGHT: [u8; 3] = [30, 100, 190];
const WRONG: [u8; 3] = [200, 60, 40];

/// Draws a confusion matrix with one row per true class and one column per predicted class. `rows` has one count per
/// predicted class for each true class, both in the order of `names`. Correct predictions are blue, wrong ones red. A
/// cell is darker the larger its fraction of the row.
pub fn confusion_matrix(names: &[String], rows: &[Vec<usize>]) -> RgbImage {
    let classes = names.len();
    let are_few = classes <= FEW;
    let side = if are_few { LARGE } else { SMALL };
    let labels: Vec<String> = names.iter().enumerate().map(|(at, name)| label(at, name)).collect();
    let measure = Chart::new([1, 1]);
    let width_of = |text: &str| measure.width_of(text);
    let widest = labels.iter().map(|label| width_of(label)).max().unwrap_or(0);
    let left = if are_few { widest + 2 * GAP } else { GAP };
    let top = 2 * LETTERS + 4 * GAP;
    let all = side * classes as u32;
    let title = "rows: true class, columns: predicted class";
    let width = (left + all).max(GAP + width_of(title)) + GAP;
    let mut chart = Chart::new([width, top + all + GAP]);
    chart.write(title, [GAP, GAP], INK);
    for (y, (row, label)) in rows.iter().zip(&labels).enumerate() {
        let start = top + side * y as u32;
        if are_few {
            chart.write(label, [GAP, start + (side - LETTERS) / 2], INK);
            let number = y.to_string();
            let x = left + side * y as u32 + side.saturating_sub(width_of(&number)) / 2;
            chart.write(&number, [x, top - LETTERS - GAP], INK);
        }
        let there = row.iter().sum::<usize>().max(1);
        for (x, count) in row.iter().enumerate() {
            let part = *count as f32 / there as f32;
            let at = left + side * x as u32;
            let color = shade(if x == y { RIGHT } else { WRONG }, part);
            chart.fill(Rect { x: at, y: start, width: side - 1, height: side - 1 }, color);
            if are_few && *count > 0 {
                let text = count.to_string();
                let x = at + side.saturating_sub(width_of(&text)) / 2;
                let ink = if part > 0.5 { GROUND } else { INK };
                chart.write(&text, [x, start + (side - LETTERS) / 2], ink);
            }
        }
    }
    chart.into_image()
}

fn label(at: usize, name: &str) -> String {
    let cut: String = name.chars().take(MAX_NAME).collect();
    format!("{at} {cut}")
}

/// Mixes `color` with a light gray. At 0 the cell is gray, so that it remains visible.
fn shade(color: [u8; 3], part: f32) -> Rgb<u8> {
    const LIGHT: f32 = 244.0;
    // The square root makes small fractions visible.
    let part = part.sqrt();
    Rgb(color.map(|channel| (LIGHT + (f32::from(channel) - LIGHT) * part) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correct_cells_are_blue_and_wrong_cells_red() {
        for (classes, side) in [(3, LARGE), (60, SMALL)] {
            let names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
            let mut rows = vec![vec![0; names.len()]; names.len()];
            (rows[0][0], rows[1][2]) = (1, 1);
            let image = confusion_matrix(&names, &rows);
            let count = |color| image.pixels().filter(|pixel| pixel.0 == color).count() as u32;
            let square = (side - 1) * (side - 1);
            // The number covers a part of the cell.
            assert!((square / 2..=square).contains(&count(RIGHT)), "{}", count(RIGHT));
            assert!((square / 2..=square).contains(&count(WRONG)), "{}", count(WRONG));
            assert!(image.width() >= side * classes && image.height() >= side * classes);
        }
    }
}
