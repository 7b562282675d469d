//! A paved yard: people and cyclists cross it in all directions, vehicles drive on its lanes, and some are parked.

use std::f64::consts::{FRAC_PI_2, TAU};

use super::{Actor, follower, id, road};
use crate::{Camera, random::Random};

/// Half the side of the yard, in meters.
pub(crate) const HALF: f64 = 32.0;

pub(super) fn actors(chance: Random, at_s: f64) -> Vec<Actor> {
    let mut actors = Vec::new();
    walkers(chance.of("walkers", 0), at_s, &mut actors);
    cyclists(chance.of("cyclists", 0), at_s, &mut actors);
    vehicles(chance.of("vehicles", 0), at_s, &mut actors);
    parked(chance.of("parked", 0), &mut actors);
    actors
}

/// A straight path across the yard, at a distance from its center.
#[derive(Debug, Clone, Copy)]
struct Way {
    heading: f64,
    beside: f64,
}

impl Way {
    /// Places `actor` on the path, at `along` meters from the point that is nearest to the center.
    fn take(self, actor: Actor, along: f64, speed: f64) -> Actor {
        let (sin, cos) = self.heading.sin_cos();
        Actor {
            at: [sin * along + cos * self.beside, cos * along - sin * self.beside],
            velocity: [sin * speed, cos * speed],
            heading: self.heading,
            ..actor
        }
    }
}

/// Each walks straight across in a random direction; at the end, a different one starts.
fn walkers(chance: Random, at_s: f64, actors: &mut Vec<Actor>) {
    for n in 0..34 {
        let of = chance.of("walker", n);
        let speed = of.between("speed", 0.8, 1.7);
        let place = follower(n, 11.0, speed * at_s, 2.0 * HALF);
        let look = of.of("round", place.round);
        if look.is("gap", 0.25) {
            continue;
        }
        let way = Way {
            heading: look.between("heading", 0.0, TAU),
            beside: look.between("beside", -0.8 * HALF, 0.8 * HALF),
        };
        actors.push(Actor {
            id: id(32, n, place.round),
            gait: at_s * speed * 4.2 + look.between("gait", 0.0, TAU),
            ..way.take(road::walker(look), place.along, speed)
        });
    }
}

fn cyclists(chance: Random, at_s: f64, actors: &mut Vec<Actor>) {
    for n in 0..6 {
        let of = chance.of("cyclist", n);
        let speed = of.between("speed", 2.5, 5.0);
        let place = follower(n, 13.0, speed * at_s, 2.0 * HALF);
        let look = of.of("round", place.round);
        let way = Way {
            heading: look.between("heading", 0.0, TAU),
            beside: look.between("beside", -0.7 * HALF, 0.7 * HALF),
        };
        actors.push(Actor {
            id: id(33, n, place.round),
            gait: at_s * 4.0,
            ..way.take(road::cyclist(look), place.along, speed)
        });
    }
}

/// On three straight lanes across the yard: two parallel ones in opposite directions, and one at a right angle to them.
fn vehicles(chance: Random, at_s: f64, actors: &mut Vec<Actor>) {
    for (lane, (beside, heading)) in
        [(-9.0, 0.0), (9.0, std::f64::consts::PI), (14.0, FRAC_PI_2)].into_iter().enumerate()
    {
        let of = chance.of("lane", lane as i64);
        let speed = of.between("speed", 2.0, 4.5);
        for n in 0..3 {
            let place = follower(n, 40.0, speed * at_s, 120.0);
            let look = of.of("vehicle", n).of("round", place.round);
            let way = Way { heading, beside };
            actors.push(Actor {
                id: id(40 + lane as u64, n, place.round),
                ..way.take(road::vehicle(look), place.along, speed)
            });
        }
    }
}

fn parked(chance: Random, actors: &mut Vec<Actor>) {
    for n in 0..10 {
        let look = chance.of("vehicle", n);
        if look.is("gap", 0.4) {
            continue;
        }
        let (side, row) = (if n % 2 == 0 { -1.0 } else { 1.0 }, (n / 2) as f64);
        let heading =
            look.between("turn", -0.1, 0.1) + if look.is("back", 0.5) { FRAC_PI_2 } else { -FRAC_PI_2 };
        actors.push(Actor {
            id: id(48, n, 0),
            at: [side * (HALF - 5.5), -16.0 + row * 7.0],
            heading,
            ..road::vehicle(look)
        });
    }
}

pub(super) fn camera(chance: Random) -> Camera {
    let corner = chance.between("corner", 0.0, TAU);
    let (sin, cos) = corner.sin_cos();
    let far = chance.between("far", 17.0, 26.0);
    let at = [sin * far, cos * far, chance.between("height", 3.5, 7.5)];
    let towards = corner.to_degrees() + 180.0;
    Camera {
        at,
        yaw_deg: towards + chance.between("aside", -18.0, 18.0),
        pitch_deg: chance.between("pitch", 9.0, 20.0),
        hfov_deg: chance.between("fov", 58.0, 85.0),
    }
}
