//! A straight road along y: two lanes per direction, and a cycle lane and a sidewalk on either side.

use std::f64::consts::{PI, TAU};

use super::{Actor, Kind, follower, id};
use crate::{Camera, random::Random};

/// Length of the road in meters, after which it repeats; its ends are out of sight.
pub(crate) const LENGTH: f64 = 320.0;

pub(crate) const LANE_WIDTH: f64 = 3.5;
/// The edges of the roadway, of the cycle lane and of the sidewalk.
pub(crate) const KERB: f64 = 7.0;
pub(crate) const CYCLE_EDGE: f64 = 8.8;
pub(crate) const PAVEMENT_EDGE: f64 = 12.5;

/// The centers of the lanes. Traffic to the right of the center line drives along y.
pub(super) const ALL_LANES: &[f64] = &[-5.25, -1.75, 1.75, 5.25];

pub(super) fn actors(chance: Random, at_s: f64, lanes: &[f64]) -> Vec<Actor> {
    let mut actors = Vec::new();
    for (n, x) in lanes.iter().enumerate() {
        vehicles(chance.of("lane", n as i64), (n as u64, *x), at_s, &mut actors);
    }
    for (n, side) in [-1.0, 1.0].into_iter().enumerate() {
        cyclists(chance.of("cycle lane", n as i64), (8 + n as u64, side), at_s, &mut actors);
        walkers(chance.of("pavement", n as i64), (16 + n as u64, side), at_s, &mut actors);
    }
    actors
}

/// Returns a random vehicle without a position.
pub(super) fn vehicle(look: Random) -> Actor {
    let kind = if look.is("truck", 0.22) { Kind::Truck } else { Kind::Car };
    let size = match kind {
        Kind::Truck => [
            look.between("length", 6.5, 10.5),
            look.between("width", 2.2, 2.5),
            look.between("height", 2.7, 3.6),
        ],
        _ => [
            look.between("length", 3.7, 4.9),
            look.between("width", 1.65, 1.95),
            look.between("height", 1.4, 1.85),
        ],
    };
    Actor { id: 0, kind, at: [0.0; 2], velocity: [0.0; 2], heading: 0.0, size, look, gait: 0.0 }
}

fn vehicles(chance: Random, (group, x): (u64, f64), at_s: f64, actors: &mut Vec<Actor>) {
    let spacing = chance.between("spacing", 17.0, 40.0);
    let count = (LENGTH / spacing) as i64;
    let spacing = LENGTH / count as f64;
    let way = if x > 0.0 { 1.0 } else { -1.0 };
    let speed = chance.between("speed", 6.0, 15.0);
    // All vehicles of a lane slow down and accelerate together, so that they do not collide.
    let (wave, period) = (chance.between("wave", 0.0, 0.95), chance.between("period", 18.0, 40.0));
    let phase = chance.between("phase", 0.0, TAU);
    let turn = TAU * at_s / period + phase;
    let traveled = speed * (at_s - wave * period / TAU * turn.sin());
    let now = speed * (1.0 - wave * turn.cos());
    for n in 0..count {
        let place = follower(n, spacing, traveled, LENGTH);
        let look = chance.of("vehicle", n).of("round", place.round);
        if look.is("gap", 0.25) {
            continue;
        }
        let sway = 0.25 * (0.4 * at_s + look.between("sway", 0.0, TAU)).sin();
        actors.push(Actor {
            id: id(group, n, place.round),
            at: [x + look.between("off", -0.3, 0.3) + sway, way * place.along],
            velocity: [0.0, way * now],
            heading: if way > 0.0 { 0.0 } else { PI },
            ..vehicle(look)
        });
    }
}

/// Returns a bicycle with its rider.
pub(super) fn cyclist(look: Random) -> Actor {
    let size = [
        look.between("length", 1.65, 1.85),
        look.between("width", 0.5, 0.65),
        look.between("height", 1.6, 1.85),
    ];
    Actor {
        id: 0,
        kind: Kind::Bicycle,
        at: [0.0; 2],
        velocity: [0.0; 2],
        heading: 0.0,
        size,
        look,
        gait: 0.0,
    }
}

fn cyclists(chance: Random, (group, side): (u64, f64), at_s: f64, actors: &mut Vec<Actor>) {
    let count = 9;
    let speed = chance.between("speed", 3.5, 6.5);
    for n in 0..count {
        let place = follower(n, LENGTH / count as f64, speed * at_s, LENGTH);
        let look = chance.of("cyclist", n).of("round", place.round);
        if look.is("gap", 0.3) {
            continue;
        }
        let ahead = look.between("ahead", -8.0, 8.0);
        let x = side * (KERB + look.between("x", 0.5, 1.4));
        actors.push(Actor {
            id: id(group, n, place.round),
            at: [x, side * (place.along + ahead)],
            velocity: [0.0, side * speed],
            heading: if side > 0.0 { 0.0 } else { PI },
            gait: at_s * 5.0 + look.between("gait", 0.0, TAU),
            ..cyclist(look)
        });
    }
}

/// Returns a pedestrian.
pub(super) fn walker(look: Random) -> Actor {
    let height = if look.is("child", 0.1) {
        look.between("height", 1.1, 1.4)
    } else {
        look.between("height", 1.55, 1.95)
    };
    let size = [0.35, look.between("width", 0.42, 0.6), height];
    Actor { id: 0, kind: Kind::Person, at: [0.0; 2], velocity: [0.0; 2], heading: 0.0, size, look, gait: 0.0 }
}

fn walkers(chance: Random, (group, side): (u64, f64), at_s: f64, actors: &mut Vec<Actor>) {
    let length = 160.0;
    let count = 26;
    for n in 0..count {
        let of = chance.of("walker", n);
        let speed = of.between("speed", 0.9, 1.6);
        let place = follower(n, length / count as f64, speed * at_s, length);
        let look = of.of("round", place.round);
        if look.is("gap", 0.45) {
            continue;
        }
        let way = if of.is("way", 0.5) { 1.0 } else { -1.0 };
        let x = side * look.between("x", CYCLE_EDGE + 0.4, PAVEMENT_EDGE - 0.4);
        let sway = 0.2 * (0.3 * at_s + look.between("sway", 0.0, TAU)).sin();
        actors.push(Actor {
            id: id(group, n, place.round),
            at: [x + sway, way * place.along],
            velocity: [0.0, way * speed],
            heading: if way > 0.0 { 0.0 } else { PI },
            gait: at_s * speed * 4.2 + look.between("gait", 0.0, TAU),
            ..walker(look)
        });
    }
}

/// Returns a camera on a mast beside the road, which looks along or across it.
pub(super) fn camera(chance: Random) -> Camera {
    let side = if chance.is("side", 0.5) { 1.0 } else { -1.0 };
    let across = chance.is("across", 0.35);
    let (x, yaw_deg) = if across {
        (side * chance.between("x", 13.0, 14.8), -side * chance.between("yaw", 50.0, 90.0))
    } else {
        (side * chance.between("x", 3.0, 13.5), -side * chance.between("yaw", 2.0, 38.0))
    };
    let turned = if chance.is("back", 0.5) { 180.0 } else { 0.0 };
    let yaw_deg = if across { yaw_deg } else { turned + if turned > 0.0 { -yaw_deg } else { yaw_deg } };
    Camera {
        at: [x, chance.between("y", -15.0, 15.0), chance.between("height", 4.0, 8.5)],
        yaw_deg,
        pitch_deg: chance.between("pitch", 9.0, 20.0),
        hfov_deg: chance.between("fov", 55.0, 80.0),
    }
}
