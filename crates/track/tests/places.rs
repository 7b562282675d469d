//! Zones, lines and time to collision with simulated objects.

use std::collections::BTreeMap;

use lookout_schema::{BBox, LineDirection, Region, Size};
use lookout_track::{Line, Track, TrackId, TtcEstimator, Zone};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const SOURCE: Size = Size { width: 1000, height: 1000 };

/// Returns a track whose foot is at `(x, y)` thousandths of the image.
fn at(x: f32, y: f32) -> Track {
    Track {
        id: TrackId(1),
        class_id: 3,
        bbox: BBox::from([x - 20.0, y - 80.0, x + 20.0, y]),
        velocity: [0.0; 2],
        score: 0.9,
        seen: Some(0),
        first_s: 0.0,
        last_s: 0.0,
        hits: 2,
        is_new: false,
    }
}

#[test]
fn dwell_lasts_from_the_first_to_the_last_step_inside() {
    let left = Region::new(vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]).unwrap();
    let mut zone = Zone::new(left, 1.0);
    let mut over = Vec::new();
    // Outside for less than a second around 2 s, and for good from 4 s on.
    for (second, x) in [(0.0, 600.0), (1.0, 400.0), (2.0, 510.0), (2.9, 400.0), (4.0, 600.0), (5.0, 600.0)] {
        over.extend(zone.step(second, SOURCE, &[at(x, 500.0)]));
        if second == 2.9 {
            assert_eq!(zone.counts(), BTreeMap::from([(3, 1)]));
        }
    }
    assert_eq!(over.len(), 1);
    assert!((over[0].dwell_s() - 1.9).abs() < 1e-9, "{over:?}");
    assert_eq!(zone.inside().count(), 0);
}

#[test]
fn counts_one_crossing_per_direction_despite_jitter() {
    // The line runs from bottom to top, so its right side is the right side of the image.
    let mut line = Line::new([[0.5, 0.9], [0.5, 0.1]], 0.01);
    let walk = [480.0, 497.0, 503.0, 498.0, 502.0, 530.0, 560.0, 505.0, 470.0];
    let mut crossings = Vec::new();
    for (i, x) in walk.into_iter().enumerate() {
        crossings.extend(line.step(i as f64, SOURCE, &[at(x, 500.0)]));
    }
    let directions: Vec<LineDirection> = crossings.iter().map(|crossing| crossing.direction).collect();
    assert_eq!(directions, [LineDirection::LeftToRight, LineDirection::RightToLeft]);
    // Beyond its ends the line is not crossed.
    for (i, x) in [480.0, 530.0].into_iter().enumerate() {
        assert!(line.step(100.0 + i as f64, SOURCE, &[at(x, 950.0)]).is_empty());
    }
}

/// Returns the box of an object of 1.8 m by 1.5 m at `meters`, with normal jitter of 2 pixels at each side.
fn seen_at(meters: f64, random: &mut StdRng) -> BBox {
    let mut jitter = || 2.0 * ((0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0);
    let (width, height) = (1000.0 * 1.8 / meters, 1000.0 * 1.5 / meters);
    let sides = [500.0 - width / 2.0, 500.0 - height / 2.0, 500.0 + width / 2.0, 500.0 + height / 2.0];
    BBox::from(sides.map(|side| (side + jitter()) as f32))
}

#[test]
fn time_to_collision_is_within_ten_percent() {
    let mut random = StdRng::seed_from_u64(1);
    let mut errors = Vec::new();
    let mut within = 0;
    for speed in [6.0, 9.0, 12.0, 15.0] {
        for _ in 0..10 {
            let mut estimate = TtcEstimator::default();
            // Observed from 8 s before the collision, at 10 frames/s; evaluated from 6 s to 2 s.
            for frame in 0..=60 {
                let left = 8.0 - f64::from(frame) / 10.0;
                let closing = estimate.step(f64::from(frame) / 10.0, seen_at(speed * left, &mut random));
                if let (true, Some(closing)) = ((2.0..=6.0).contains(&left), closing) {
                    errors.push((closing.ttc_s.unwrap_or(f64::INFINITY) - left).abs() / left);
                    let sooner = closing.soonest_s(2.0).is_some_and(|soonest| soonest <= left);
                    within +=
                        usize::from(sooner && closing.latest_s(2.0).is_none_or(|latest| latest >= left));
                }
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    assert!(median < 0.1, "median error {median}");
    // The estimated standard deviation matches the error.
    assert!(within * 10 > errors.len() * 8, "{within} of {}", errors.len());
}

#[test]
fn objects_that_recede_or_keep_their_distance_have_no_short_time_to_collision() {
    let mut random = StdRng::seed_from_u64(2);
    for speed in [-8.0, -3.0, 0.0] {
        let mut estimate = TtcEstimator::default();
        let last = (0..60).filter_map(|frame| {
            let seconds = f64::from(frame) / 10.0;
            estimate.step(seconds, seen_at(30.0 - speed * seconds, &mut random))
        });
        let closing = last.last();
        // Not below the thresholds of any warning, even at two standard deviations.
        let soonest = closing.and_then(|closing| closing.soonest_s(2.0));
        assert!(soonest.is_none_or(|soonest| soonest > 8.0), "{speed}: {closing:?}");
    }
}
