//! The road from a moving vehicle. Periodically, a vehicle ahead in the same lane comes nearer at a constant speed
//! until it is close, and then drives away.

use std::f64::consts::TAU;

use super::{Actor, id, road};
use crate::{Camera, random::Random};

/// Duration of one approach with the departure after it, in seconds.
const CYCLE_S: f64 = 14.0;
/// Time to collision at the start of an approach, and at its end.
const FROM_TTC_S: f64 = 9.0;
const TO_TTC_S: f64 = 1.3;
/// The lane in which the camera's vehicle drives.
const LANE: f64 = 1.75;

pub(super) fn speed(chance: Random, at_s: f64) -> f64 {
    let cruise = chance.between("cruise", 11.0, 17.0);
    cruise * (1.0 + 0.1 * (TAU * at_s / 23.0).cos())
}

/// Returns the distance traveled since the start: the integral of the speed.
pub(super) fn traveled(chance: Random, at_s: f64) -> f64 {
    let cruise = chance.between("cruise", 11.0, 17.0);
    cruise * (at_s + 0.1 * 23.0 / TAU * (TAU * at_s / 23.0).sin())
}

pub(super) fn camera(chance: Random, at_s: f64) -> Camera {
    Camera {
        at: [LANE, 0.0, chance.between("height", 1.2, 1.6)],
        yaw_deg: 0.4 * (0.7 * at_s).sin(),
        pitch_deg: chance.between("pitch", 0.5, 3.5) + 0.15 * (5.0 * at_s).sin(),
        hfov_deg: chance.between("fov", 50.0, 66.0),
    }
}

/// Returns the actors relative to the vehicle, which stays at the origin.
pub(super) fn actors(chance: Random, at_s: f64) -> Vec<Actor> {
    let (own, way) = (speed(chance, at_s), traveled(chance, at_s));
    let mut actors: Vec<Actor> = road::actors(chance, at_s, &[-5.25, -1.75, 5.25])
        .into_iter()
        .map(|actor| {
            let along = (actor.at[1] - way).rem_euclid(road::LENGTH);
            let y = if along > road::LENGTH / 2.0 { along - road::LENGTH } else { along };
            let round = ((actor.at[1] - way - y) / road::LENGTH).round() as i64;
            // An actor that reappears when the road repeats is a different one.
            Actor { at: [actor.at[0], y], id: actor.id ^ ((round as u64 & 0xff) << 40), ..actor }
        })
        .collect();
    actors.push(ahead(chance, at_s, own));
    actors
}

/// Returns the vehicle ahead.
fn ahead(chance: Random, at_s: f64, own: f64) -> Actor {
    let cycle = (at_s / CYCLE_S).floor();
    let since = at_s - cycle * CYCLE_S;
    let look = chance.of("ahead", cycle as i64);
    let closing = look.between("closing", 3.0, 9.0);
    let vehicle = road::vehicle(look);
    let from = closing * FROM_TTC_S;
    let nearest_s = FROM_TTC_S - TO_TTC_S;
    // Distance from the camera to its rear.
    let (gap, closing_now) = if since <= nearest_s {
        (from - closing * since, closing)
    } else {
        let after = since - nearest_s;
        let away = closing + 3.0;
        (closing * TO_TTC_S - closing * after + away * after * after / 2.0, closing - away * after)
    };
    Actor {
        id: id(60, cycle as i64, 0),
        at: [LANE + look.between("off", -0.25, 0.25), gap.max(2.5) + vehicle.size[0] / 2.0],
        velocity: [0.0, own - closing_now],
        heading: 0.0,
        ..vehicle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vehicle_ahead_approaches_at_a_constant_speed() {
        let chance = Random::new(3);
        let gap = |at_s: f64| ahead(chance, at_s, 10.0).at[1] - ahead(chance, at_s, 10.0).size[0] / 2.0;
        let speeds: Vec<f64> = (0..7).map(|s| gap(f64::from(s)) - gap(f64::from(s) + 1.0)).collect();
        assert!(speeds.iter().all(|speed| (speed - speeds[0]).abs() < 1e-9), "{speeds:?}");
        assert!((gap(0.0) / speeds[0] - FROM_TTC_S).abs() < 1e-9);
    }
}
