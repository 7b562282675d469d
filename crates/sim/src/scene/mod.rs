//! Who is where when.

mod approach;
pub(crate) mod road;
pub(crate) mod yard;

use crate::{Camera, chance::Chance};

/// What an actor is. The names are COCO's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Person,
    /// With the one who rides it.
    Bicycle,
    Car,
    Truck,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Person, Self::Bicycle, Self::Car, Self::Truck];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Bicycle => "bicycle",
            Self::Car => "car",
            Self::Truck => "truck",
        }
    }

    /// From 1; 0 is the background.
    pub const fn class_id(self) -> u32 {
        match self {
            Self::Person => 1,
            Self::Bicycle => 2,
            Self::Car => 3,
            Self::Truck => 4,
        }
    }
}

/// Someone or something that moves, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Actor {
    /// Names it in its scene for as long as it is there.
    pub id: u64,
    pub kind: Kind,
    /// Of the middle of its footprint, in meters.
    pub at: [f64; 2],
    /// Meters a second.
    pub velocity: [f64; 2],
    /// Where it faces: 0 along y, positive to the right, in radians.
    pub heading: f64,
    /// Length, width, height in meters.
    pub size: [f64; 3],
    /// Decides its colors and its build.
    pub(crate) look: Chance,
    /// How far it is in its step, in radians.
    pub(crate) gait: f64,
}

/// Where a scene is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A road of four lanes with cycle lanes and pavements.
    Road,
    /// A paved yard of a plant, with people in all directions and vehicles on its lanes.
    Yard,
    /// The road from a vehicle on it, to which others come near at known speeds.
    Drive,
}

impl Place {
    pub const ALL: [Self; 3] = [Self::Road, Self::Yard, Self::Drive];
}

/// A piece of the world that goes on for ever.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub place: Place,
    pub(crate) chance: Chance,
}

impl Scene {
    pub fn new(place: Place, seed: u64) -> Self {
        Self { place, chance: Chance::new(seed) }
    }

    /// All that is there at `at_s` seconds, in no order.
    pub fn actors(&self, at_s: f64) -> Vec<Actor> {
        match self.place {
            Place::Road => road::actors(self.chance, at_s, road::ALL_LANES),
            Place::Yard => yard::actors(self.chance, at_s),
            Place::Drive => approach::actors(self.chance, at_s),
        }
    }

    /// The scene's `n`th camera at `at_s` seconds.
    pub fn camera(&self, n: usize, at_s: f64) -> Camera {
        let chance = self.chance.of("camera", n as i64);
        match self.place {
            Place::Road => road::camera(chance),
            Place::Yard => yard::camera(chance),
            Place::Drive => approach::camera(chance, at_s),
        }
    }

    /// How fast the `n`th camera moves at `at_s` seconds, in meters a second.
    pub fn camera_velocity(&self, at_s: f64) -> [f64; 2] {
        match self.place {
            Place::Road | Place::Yard => [0.0, 0.0],
            Place::Drive => [0.0, approach::speed(self.chance, at_s)],
        }
    }
}

/// One of many that follow each other on a way that begins again at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follower {
    /// How far it is along the way, from its middle.
    pub(crate) along: f64,
    /// How often it has begun anew: each time it is another one.
    pub(crate) round: i64,
}

/// Where the `n`th of those who are `spacing` apart is, after the way of `traveled` that all of them have made, on a way
/// of `length`.
pub(crate) fn follower(n: i64, spacing: f64, traveled: f64, length: f64) -> Follower {
    let way = n as f64 * spacing + traveled;
    let round = (way / length).floor();
    Follower { along: way - round * length - length / 2.0, round: round as i64 }
}

/// A number for what is named by several.
pub(crate) fn id(group: u64, n: i64, round: i64) -> u64 {
    group << 48 | (n as u64 & 0xffff) << 32 | (round as u64 & 0xffff_ffff)
}

/// How far the vehicle that carries the camera has come.
pub(crate) fn drive_way(scene: &Scene, at_s: f64) -> f64 {
    match scene.place {
        Place::Road | Place::Yard => 0.0,
        Place::Drive => approach::traveled(scene.chance, at_s),
    }
}
