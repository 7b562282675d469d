//! What became of the loss and the score, as a picture.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};

use super::{FitError, Told};
use crate::drawing::{Drawing, INK, LETTERS};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 320;
/// Left of a plot, where its numbers are, and elsewhere.
const LEFT: u32 = 90;
const MARGIN: u32 = 36;

const LOSS: Rgb<u8> = Rgb([200, 60, 40]);
const SCORE: Rgb<u8> = Rgb([30, 100, 190]);

/// Draws what `metrics.jsonl` in a run's folder tells into `curves.png` beside it.
///
/// # Errors
/// Files that cannot be read or written.
pub fn write_curves(folder: &Path) -> Result<(), FitError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FitError::Write { path, source }
    };
    let metrics = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).map_err(failed(&metrics))?;
    let told: Vec<Told> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let path = folder.join("curves.png");
    drawn(&told).save(&path).map_err(|error| failed(&path)(std::io::Error::other(error)))
}

/// The losses above, the scores below.
fn drawn(told: &[Told]) -> RgbImage {
    let (mut losses, mut scores) = (Vec::new(), Vec::new());
    for told in told {
        match told {
            Told::Step(told) => losses.push((told.step as f64, told.loss)),
            Told::Evaluation(told) => scores.push((told.step as f64, told.score)),
        }
    }
    let mut drawing = Drawing::new([WIDTH, 2 * HEIGHT]);
    let last = losses.iter().chain(&scores).map(|(step, _)| *step).fold(1.0, f64::max);
    for (row, name, points, colour) in [(0, "loss", &losses, LOSS), (1, "score", &scores, SCORE)] {
        Plot { drawing: &mut drawing, top: row * HEIGHT, last }.draw(name, points, colour);
    }
    drawing.picture
}

/// A rectangle with numbers beside it and a line in it.
struct Plot<'p> {
    drawing: &'p mut Drawing,
    top: u32,
    /// The step at the right border.
    last: f64,
}

impl Plot<'_> {
    fn draw(self, name: &str, points: &[(f64, f64)], colour: Rgb<u8>) {
        let (top, bottom) = (self.top + MARGIN, self.top + HEIGHT - MARGIN);
        let right = WIDTH - MARGIN;
        for y in top..=bottom {
            self.drawing.picture.put_pixel(LEFT, y, INK);
        }
        for x in LEFT..=right {
            self.drawing.picture.put_pixel(x, bottom, INK);
        }
        let finite = points.iter().filter(|(_, value)| value.is_finite());
        let (low, high) =
            finite.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| {
                (low.min(*value), high.max(*value))
            });
        self.drawing.write(name, [LEFT, self.top + MARGIN / 2]);
        self.drawing.write(&format!("{:.0} steps", self.last), [right - 90, bottom + 6]);
        if low > high {
            self.drawing.write("nothing yet", [LEFT + 20, (top + bottom) / 2]);
            return;
        }
        self.drawing.write(&number(high), [4, top]);
        self.drawing.write(&number(low), [4, bottom - LETTERS as u32]);
        let span = if high > low { high - low } else { 1.0 };
        let place = |(step, value): &(f64, f64)| {
            let x = f64::from(LEFT) + step / self.last * f64::from(right - LEFT);
            let y = f64::from(bottom) - (value - low) / span * f64::from(bottom - top);
            [x, y]
        };
        let places: Vec<[f64; 2]> = finite.map(place).collect();
        for pair in places.windows(2) {
            self.drawing.line(pair[0], pair[1], colour);
        }
        for at in &places {
            self.drawing.line(*at, *at, colour);
        }
    }
}

/// With as many digits as there is room for.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        format!("{value:.1e}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{EvaluationTold, StepTold};

    fn coloured(picture: &RgbImage, colour: Rgb<u8>) -> usize {
        picture.pixels().filter(|pixel| **pixel == colour).count()
    }

    #[test]
    fn lines_are_drawn_of_what_there_is() {
        let step = |step: u64, loss| {
            Told::Step(StepTold {
                epoch: 1,
                step,
                steps: 10,
                lr: 0.1,
                loss,
                parts: BTreeMap::new(),
                gradient_norm: 1.0,
                images_per_s: 1.0,
                elapsed_s: 1.0,
                eta_s: 1.0,
            })
        };
        let evaluation = Told::Evaluation(EvaluationTold {
            epoch: 1,
            step: 10,
            score: 0.5,
            best: true,
            metrics: BTreeMap::new(),
            elapsed_s: 1.0,
        });
        let none = drawn(&[]);
        assert_eq!((coloured(&none, LOSS), coloured(&none, SCORE)), (0, 0));
        let some = drawn(&[step(1, 3.0), step(5, f64::NAN), step(10, 1.0), evaluation]);
        assert!(coloured(&some, LOSS) > 700 && coloured(&some, SCORE) > 0);
    }
}
