//! What became of the loss and the score, as a picture.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};
use lookout_draw::{Plot, Series};

use super::{FitError, Told};

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
    let last = losses.iter().chain(&scores).map(|(step, _)| *step).fold(1.0, f64::max);
    let plot = |name, points, colour| Plot {
        right: format!("{last:.0} steps"),
        x: Some([0.0, last]),
        y: None,
        series: vec![Series { name, points, colour }],
    };
    Plot::all(&[plot("loss", &losses, LOSS), plot("score", &scores, SCORE)])
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
