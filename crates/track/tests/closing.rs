//! The time to collision over a grid of conditions: constant closing speed, normal jitter of 2 pixels at each
//! side of a box, 10 frames/s, ground-truth times of 2 to 6 s.

use lookout_schema::BBox;
use lookout_track::{TtcEstimate, TtcEstimator};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const RUNS: usize = 60;

/// Returns a jittered box of `width` by `height` pixels.
fn seen([width, height]: [f64; 2], random: &mut StdRng) -> BBox {
    let mut jitter = || 2.0 * ((0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0);
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    let sides = [500.0 - half_width, 500.0 - half_height, 500.0 + half_width, 500.0 + half_height];
    BBox::from(sides.map(|side| (side + jitter()) as f32))
}

/// An approach of an object to the camera.
#[derive(Clone, Copy)]
struct Approach {
    /// The width in pixels when the object is 4 s away, and the height as a multiple of the width.
    size_at_4_s: f64,
    height: f64,
    /// For how long the object is observed before it is 6 s away.
    observed_s: f64,
    /// The relative fluctuation of the interval between frames.
    fluctuates: f64,
}

/// Returns the estimates of all runs with the ground-truth time left, which is from 2 to 6 s.
fn estimates(approach: Approach, random: &mut StdRng) -> Vec<(f64, Option<TtcEstimate>)> {
    let Approach { size_at_4_s, height, observed_s, fluctuates } = approach;
    let mut estimates = Vec::new();
    for _ in 0..RUNS {
        let mut estimate = TtcEstimator::default();
        let mut left = 6.0 + observed_s;
        let mut at_s = 100.0;
        while left >= 2.0 {
            let width = size_at_4_s * 4.0 / left;
            let closing = estimate.step(at_s, seen([width, height * width], random));
            if left <= 6.0 {
                estimates.push((left, closing));
            }
            let interval = 0.1 * (1.0 + fluctuates * random.random_range(-1.0..1.0));
            left -= interval;
            at_s += interval;
        }
    }
    estimates
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn median_error(estimates: &[(f64, Option<TtcEstimate>)], from: f64, to: f64) -> f64 {
    let of_cell = estimates.iter().filter(|(left, _)| (from..to).contains(left));
    let error = |(left, closing): &(f64, Option<TtcEstimate>)| {
        let ttc_s = closing.and_then(|closing| closing.ttc_s).unwrap_or(f64::INFINITY);
        (ttc_s - left).abs() / left
    };
    median(of_cell.map(error).collect())
}

#[test]
fn median_error_is_below_ten_percent_for_large_enough_objects() {
    let mut random = StdRng::seed_from_u64(3);
    println!("median error by size at 4 s (rows), and by time left (columns: 2-3, 3-4, 4-5, 5-6 s; all)");
    let (mut within, mut of) = (0, 0);
    for fluctuates in [0.0, 0.5] {
        for observed_s in [1.0, 3.0] {
            println!("observed for {observed_s} s before; the frame interval fluctuates by {fluctuates}");
            for size_at_4_s in [20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 200.0] {
                let estimates =
                    estimates(Approach { size_at_4_s, height: 0.8, observed_s, fluctuates }, &mut random);
                let cells = [2.0, 3.0, 4.0, 5.0].map(|from| median_error(&estimates, from, from + 1.0));
                let all = median_error(&estimates, 2.0, 6.1);
                let cells_text = cells.map(|cell| format!("{:5.1} %", cell * 100.0)).join(" ");
                let known: Vec<&(f64, Option<TtcEstimate>)> =
                    estimates.iter().filter(|(_, c)| c.is_some()).collect();
                let honest = |(left, closing): &&&(f64, Option<TtcEstimate>)| {
                    closing.is_some_and(|c| (c.rate - 1.0 / left).abs() <= 2.0 * c.rate_std)
                };
                let honest = known.iter().filter(honest).count();
                let part = 100.0 * honest as f64 / known.len() as f64;
                println!("{size_at_4_s:5} px {cells_text}; {:5.1} %; within 2 std {part:.0} %", all * 100.0);
                // Objects that are large enough and were observed for long enough must pass in each cell,
                // others over all cells.
                assert!(size_at_4_s < 40.0 || all < 0.1, "{size_at_4_s} px: {all}");
                let longer = observed_s >= 3.0 && size_at_4_s >= 60.0;
                let worst = cells.into_iter().fold(0.0, f64::max);
                assert!(!longer || worst < 0.1, "{size_at_4_s} px: {cells:?}");
                assert!(part > 88.0, "{size_at_4_s} px: {part} %");
                within += honest;
                of += known.len();
            }
        }
    }
    let part = 100.0 * within as f64 / of as f64;
    println!("within 2 std {part:.1} %");
    assert!(part > 94.0);
}

/// A pedestrian is tall and narrow. The height alone would give almost the same precision.
#[test]
fn narrow_boxes_are_as_precise_as_their_longer_side() {
    let mut random = StdRng::seed_from_u64(5);
    let approach = Approach { size_at_4_s: 16.0, height: 2.5, observed_s: 3.0, fluctuates: 0.0 };
    let error = median_error(&estimates(approach, &mut random), 2.0, 6.1);
    println!("16 px by 40 px at 4 s: {:.1} %", error * 100.0);
    assert!(error < 0.1, "{error}");
}

/// An object that does not approach is never certainly, and rarely possibly, close in time.
#[test]
fn objects_that_recede_or_keep_their_distance_are_never_certainly_close() {
    let mut random = StdRng::seed_from_u64(4);
    for size in [20.0, 40.0, 80.0, 200.0] {
        for recedes_s in [2.0, 4.0, 8.0, 1e9] {
            let (mut sure, mut close, mut of) = (0, 0, 0);
            for _ in 0..RUNS {
                let mut estimate = TtcEstimator::default();
                for frame in 0..60 {
                    let at_s = f64::from(frame) / 10.0;
                    let size = size / (1.0 + at_s / recedes_s);
                    let closing = estimate.step(at_s, seen([size, 0.8 * size], &mut random));
                    let Some(closing) = closing.filter(|closing| closing.observed_s >= 1.0) else { continue };
                    of += 1;
                    close += usize::from(closing.ttc_s.is_some_and(|ttc_s| ttc_s <= 6.0));
                    sure += usize::from(closing.latest_s(2.0).is_some_and(|latest_s| latest_s <= 6.0));
                }
            }
            println!(
                "{size} px, doubles its distance in {recedes_s} s: ttc <= 6 s in {close}, certainly in {sure} of {of}"
            );
            assert_eq!(sure, 0);
        }
    }
}
