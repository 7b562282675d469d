//! Line plots.

use image::{Rgb, RgbImage};
use lookout_schema::Rect;

use crate::chart::{Chart, INK, LETTERS};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 320;
/// The left margin, which holds the labels of the y axis, and the other margins, in pixels.
const LEFT: u32 = 90;
const MARGIN: u32 = 36;

/// A line of a plot.
#[derive(Debug, Clone)]
pub struct Series<'s> {
    /// The name in the legend.
    pub name: &'s str,
    /// Points `(x, y)` from left to right. Points with values that are not finite are skipped.
    pub points: &'s [(f64, f64)],
    /// The color of the line and of its name.
    pub color: Rgb<u8>,
}

/// A plot with one or more lines and their names.
#[derive(Debug, Clone)]
pub struct Plot<'s> {
    /// The label at the right end of the x axis, such as `1000 steps`.
    pub right: String,
    /// Range of the x axis; if `None`, the range of the points.
    pub x: Option<[f64; 2]>,
    /// Range of the y axis; if `None`, the range of the points.
    pub y: Option<[f64; 2]>,
    /// The lines. A series without points is a heading in the legend.
    pub series: Vec<Series<'s>>,
}

impl Plot<'_> {
    /// Draws the plots below one another.
    pub fn all(plots: &[Plot<'_>]) -> RgbImage {
        let mut chart = Chart::new([WIDTH, HEIGHT * plots.len() as u32]);
        for (plot, row) in plots.iter().zip(0..) {
            plot.draw(&mut chart, row * HEIGHT);
        }
        chart.into_image()
    }

    fn draw(&self, chart: &mut Chart, start: u32) {
        let (top, bottom, right) = (start + MARGIN, start + HEIGHT - MARGIN, WIDTH - MARGIN);
        chart.fill(Rect { x: LEFT, y: top, width: 1, height: bottom - top }, INK);
        chart.fill(Rect { x: LEFT, y: bottom, width: right - LEFT, height: 1 }, INK);
        let mut at = LEFT;
        for series in &self.series {
            chart.write(series.name, [at, start + MARGIN / 2], series.color);
            at += chart.width_of(series.name) + LETTERS;
        }
        let width = chart.width_of(&self.right);
        chart.write(&self.right, [right.saturating_sub(width), bottom + 6], INK);
        let finite = || {
            self.series
                .iter()
                .flat_map(|series| series.points)
                .filter(|(x, y)| x.is_finite() && y.is_finite())
        };
        let span = |of: fn(&(f64, f64)) -> f64| {
            finite()
                .map(of)
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], n| [low.min(n), high.max(n)])
        };
        let [x, y] = [
            self.x.unwrap_or_else(|| span(|point| point.0)),
            self.y.unwrap_or_else(|| span(|point| point.1)),
        ];
        if finite().next().is_none() {
            chart.write("no data yet", [LEFT + 20, (top + bottom) / 2], INK);
            return;
        }
        chart.write(&number(y[1]), [4, top], INK);
        chart.write(&number(y[0]), [4, bottom - LETTERS], INK);
        let part =
            |value: f64, [low, high]: [f64; 2]| if high > low { (value - low) / (high - low) } else { 0.0 };
        for series in &self.series {
            let place = |point: &(f64, f64)| {
                [
                    f64::from(LEFT) + part(point.0, x) * f64::from(right - LEFT),
                    f64::from(bottom) - part(point.1, y) * f64::from(bottom - top),
                ]
            };
            let places: Vec<[f64; 2]> =
                series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).map(place).collect();
            places.windows(2).for_each(|pair| chart.line(pair[0], pair[1], series.color));
            // Also draws each point, since a single point has no line.
            places.iter().for_each(|at| chart.line(*at, *at, series.color));
        }
    }
}

/// Formats a number so that it fits into the left margin.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        format!("{value:.1e}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([200, 60, 40]);

    fn colored(points: &[(f64, f64)]) -> usize {
        let series = vec![Series { name: "", points, color: RED }];
        let image = Plot::all(&[Plot { right: "10 steps".into(), x: Some([0.0, 10.0]), y: None, series }]);
        image.pixels().filter(|pixel| **pixel == RED).count()
    }

    #[test]
    fn draws_lines_through_finite_points_only() {
        assert_eq!(colored(&[]), 0);
        assert_eq!(colored(&[(1.0, f64::NAN)]), 0);
        assert!((1..5).contains(&colored(&[(1.0, 3.0)])));
        assert!(colored(&[(1.0, 3.0), (5.0, f64::NAN), (10.0, 1.0)]) > 700);
    }
}
