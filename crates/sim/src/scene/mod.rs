//! Scenes: the positions of all actors as a function of time.

mod approach;
pub(crate) mod road;
pub(crate) mod yard;

use crate::{Camera, random::Random};

/// The class of an actor. The names are COCO's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Person,
    /// A bicycle with its rider.
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

    /// Returns the class id, which starts at 1; 0 is the background.
    pub const fn class_id(self) -> u32 {
        match self {
            Self::Person => 1,
            Self::Bicycle => 2,
            Self::Car => 3,
            Self::Truck => 4,
        }
    }
}

/// A person or vehicle at one point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Actor {
    /// Unique in the scene while the actor exists.
    pub id: u64,
    pub kind: Kind,
    /// The center of its footprint, in meters.
    pub at: [f64; 2],
    /// In meters per second.
    pub velocity: [f64; 2],
    /// Heading in radians: 0 is along y, positive is to the right.
    pub heading: f64,
    /// Length, width and height in meters.
    pub size: [f64; 3],
    /// Determines its colors and build.
    pub(crate) look: Random,
    /// Phase of its steps, in radians.
    pub(crate) gait: f64,
}

/// The kind of place that a scene shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A road of four lanes with cycle lanes and sidewalks.
    Road,
    /// A paved factory yard, with people walking in all directions and vehicles on its lanes.
    Yard,
    /// The road from a moving vehicle, with other vehicles that approach at known speeds.
    Drive,
}

impl Place {
    pub const ALL: [Self; 3] = [Self::Road, Self::Yard, Self::Drive];
}

/// A place with its actors, for any time.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub place: Place,
    pub(crate) chance: Random,
}

impl Scene {
    pub fn new(place: Place, seed: u64) -> Self {
        Self { place, chance: Random::new(seed) }
    }

    /// Returns all actors at `at_s` seconds, in no particular order.
    pub fn actors(&self, at_s: f64) -> Vec<Actor> {
        match self.place {
            Place::Road => road::actors(self.chance, at_s, road::ALL_LANES),
            Place::Yard => yard::actors(self.chance, at_s),
            Place::Drive => approach::actors(self.chance, at_s),
        }
    }

    /// Returns the scene's `n`th camera at `at_s` seconds.
    pub fn camera(&self, n: usize, at_s: f64) -> Camera {
        let chance = self.chance.of("camera", n as i64);
        match self.place {
            Place::Road => road::camera(chance),
            Place::Yard => yard::camera(chance),
            Place::Drive => approach::camera(chance, at_s),
        }
    }

    /// Returns the velocity of the scene's cameras at `at_s` seconds, in meters per second.
    pub fn camera_velocity(&self, at_s: f64) -> [f64; 2] {
        match self.place {
            Place::Road | Place::Yard => [0.0, 0.0],
            Place::Drive => [0.0, approach::speed(self.chance, at_s)],
        }
    }
}

/// One of several actors that follow each other on a path and start over at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follower {
    /// Its position along the path, in meters from the middle.
    pub(crate) along: f64,
    /// How often it has started over. Each time, it is a different actor.
    pub(crate) round: i64,
}

/// Returns the position of the `n`th actor of a row with a distance of `spacing`, after all have traveled a distance of
/// `traveled`, on a path of length `length`.
pub(crate) fn follower(n: i64, spacing: f64, traveled: f64, length: f64) -> Follower {
    let way = n as f64 * spacing + traveled;
    let round = (way / length).floor();
    Follower { along: way - round * length - length / 2.0, round: round as i64 }
}

/// Combines several numbers into one id.
pub(crate) fn id(group: u64, n: i64, round: i64) -> u64 {
    group << 48 | (n as u64 & 0xffff) << 32 | (round as u64 & 0xffff_ffff)
}

/// Returns the distance that the vehicle with the camera has traveled, in meters.
pub(crate) fn drive_way(scene: &Scene, at_s: f64) -> f64 {
    match scene.place {
        Place::Road | Place::Yard => 0.0,
        Place::Drive => approach::traveled(scene.chance, at_s),
    }
}
