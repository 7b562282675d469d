//! Plots of the loss and the score of training runs.

use std::{
    fs, iter,
    path::{Path, PathBuf},
};

use image::{ImageFormat, Rgb, RgbImage};
use lookout_draw::{INK, Plot, Series, of_class};

use super::{FitError, TrainingEvent};

const LOSS: Rgb<u8> = Rgb([200, 60, 40]);
const SCORE: Rgb<u8> = Rgb([30, 100, 190]);

/// Plots the loss and the score from `metrics.jsonl` in a run's folder into `curves.png` in the same folder.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
pub fn write_curves(folder: &Path) -> Result<(), FitError> {
    let curves = Curves::of(&read(folder)?);
    let series = |name, points, color| vec![Series { name, points, color }];
    let loss = series("loss", &curves.losses, LOSS);
    let score = series("score", &curves.scores, SCORE);
    save(&drawn(loss, score), &folder.join("curves.png"))
}

/// Plots the curves of several runs over each other into a PNG at `image`. Each run is named after its folder.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
pub fn write_comparison(folders: &[PathBuf], image: &Path) -> Result<(), FitError> {
    let runs = folders.iter().map(|folder| {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok((name, Curves::of(&read(folder)?)))
    });
    let runs: Vec<(String, Curves)> = runs.collect::<Result<_, FitError>>()?;
    let series = |what, of: fn(&Curves) -> &[(f64, f64)]| {
        // A series without points is a heading in the legend, before the names of the runs.
        let heading = Series { name: what, points: &[], color: INK };
        let runs = runs.iter().zip(0..).map(|((name, curves), n)| Series {
            name,
            points: of(curves),
            color: of_class(n),
        });
        iter::once(heading).chain(runs).collect()
    };
    let losses = series("loss", |curves| &curves.losses);
    save(&drawn(losses, series("score", |curves| &curves.scores)), image)
}

/// Reads the lines of a run's `metrics.jsonl`, and skips the lines that cannot be parsed.
fn read(folder: &Path) -> Result<Vec<TrainingEvent>, FitError> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(|source| FitError::Read { path, source })?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn save(image: &RgbImage, path: &Path) -> Result<(), FitError> {
    let failed = |error| FitError::Write { path: path.to_owned(), source: std::io::Error::other(error) };
    image.save_with_format(path, ImageFormat::Png).map_err(failed)
}

/// The curves of a run, as `(step, value)`.
#[derive(Debug)]
struct Curves {
    losses: Vec<(f64, f64)>,
    scores: Vec<(f64, f64)>,
}

impl Curves {
    fn of(events: &[TrainingEvent]) -> Self {
        let (mut losses, mut scores) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                TrainingEvent::Step(metrics) => losses.push((metrics.step as f64, metrics.loss)),
                TrainingEvent::Evaluation(metrics) => scores.push((metrics.step as f64, metrics.score)),
            }
        }
        Self { losses, scores }
    }
}

/// Draws the losses above the scores.
fn drawn(losses: Vec<Series<'_>>, scores: Vec<Series<'_>>) -> RgbImage {
    let points = losses.iter().chain(&scores).flat_map(|series| series.points);
    let last = points.map(|(step, _)| *step).fold(1.0, f64::max);
    let plot = |series| Plot { right: format!("{last:.0} steps"), x: Some([0.0, last]), y: None, series };
    Plot::all(&[plot(losses), plot(scores)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{EvaluationMetrics, StepMetrics};

    fn colored(image: &Path, color: Rgb<u8>) -> usize {
        image::open(image).unwrap().to_rgb8().pixels().filter(|pixel| **pixel == color).count()
    }

    fn step(step: u64, loss: f64) -> TrainingEvent {
        TrainingEvent::Step(StepMetrics {
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
    }

    /// Writes the metrics of a run into `folder`.
    fn run(folder: &Path, events: &[TrainingEvent]) {
        let lines = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n");
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    }

    #[test]
    fn curves_are_drawn_from_available_metrics() {
        let evaluation = TrainingEvent::Evaluation(EvaluationMetrics {
            epoch: 1,
            step: 10,
            score: 0.5,
            best: true,
            metrics: BTreeMap::new(),
            elapsed_s: 1.0,
        });
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("curves.png");
        run(folder.path(), &[]);
        write_curves(folder.path()).unwrap();
        // Without points, only the names of the series are drawn in their colors.
        let none = [LOSS, SCORE].map(|color| colored(&image, color));
        assert!(none.iter().all(|pixels| *pixels < 20), "{none:?}");
        run(folder.path(), &[step(1, 3.0), step(5, f64::NAN), step(10, 1.0), evaluation]);
        write_curves(folder.path()).unwrap();
        assert!(colored(&image, LOSS) > 700 && colored(&image, SCORE) > none[1]);
    }

    #[test]
    fn compared_runs_have_different_colors() {
        let folder = tempfile::tempdir().unwrap();
        let [short, long, none] = ["short", "long", "none"].map(|name| folder.path().join(name));
        run(&short, &[step(1, 3.0), step(5, 2.0)]);
        run(&long, &[step(1, 3.5), step(10, 1.0)]);
        let image = folder.path().join("both.png");
        write_comparison(&[short.clone(), long], &image).unwrap();
        let of = |n| colored(&image, of_class(n));
        assert!(of(0) > 300 && of(1) > of(0) && of(2) == 0, "{} {} {}", of(0), of(1), of(2));
        let error = write_comparison(&[short, none], &image).unwrap_err().to_string();
        assert!(error.contains("none/metrics.jsonl cannot be read"), "{error}");
    }
}
