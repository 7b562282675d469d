//! The shapes of actors.

use std::f64::consts::TAU;

use super::solid::{Block, Decal, Frame, Layer, Polygon, Side};
use crate::{Actor, Kind, View, camera::sub, random::Random};

const PAINTS: [[u8; 3]; 10] = [
    [188, 34, 34],
    [32, 62, 140],
    [225, 225, 222],
    [38, 38, 42],
    [150, 154, 160],
    [206, 160, 40],
    [44, 106, 66],
    [110, 74, 48],
    [90, 140, 190],
    [214, 110, 46],
];
const CLOTHES: [[u8; 3]; 9] = [
    [36, 40, 52],
    [70, 84, 120],
    [180, 40, 48],
    [222, 218, 208],
    [60, 110, 70],
    [228, 176, 40],
    [120, 60, 120],
    [110, 100, 90],
    [40, 130, 150],
];
const SKINS: [[u8; 3]; 4] = [[232, 190, 160], [200, 150, 115], [150, 100, 70], [96, 62, 44]];
const GLASS: [u8; 3] = [48, 58, 68];
const TIRE: [u8; 3] = [26, 26, 28];

/// Returns an actor's polygons, the farthest of its parts first.
pub(super) fn polygons(actor: &Actor, view: &View) -> Vec<Polygon> {
    let frame = Frame { at: [actor.at[0], actor.at[1], 0.0], heading: actor.heading };
    let mut blocks = match actor.kind {
        Kind::Car => car(actor),
        Kind::Truck => truck(actor),
        Kind::Person => person(actor),
        Kind::Bicycle => cyclist(actor),
    };
    let far = |block: &Block| {
        let [x, y, z] = sub(frame.world(block.middle()), view.position());
        x * x + y * y + z * z
    };
    blocks.sort_by(|a, b| far(b).total_cmp(&far(a)));
    blocks.iter().flat_map(|block| block.polygons(frame)).collect()
}

/// Returns the dark area of the ground under an actor.
pub(super) fn footprint(actor: &Actor, grown: f64, opacity: f32) -> Polygon {
    let frame = Frame { at: [actor.at[0], actor.at[1], 0.01], heading: actor.heading };
    let half = [actor.size[1] / 2.0 * grown, actor.size[0] / 2.0 * grown];
    let corner = |i: u32| {
        let (sin, cos) = (f64::from(i) * TAU / 16.0).sin_cos();
        // A superellipse, between a disc and a rectangle.
        let round = |part: f64| part.signum() * part.abs().powf(0.5);
        frame.world([half[0] * round(sin), half[1] * round(cos), 0.0])
    };
    Polygon { opacity, ..Polygon::flat((0..16).map(corner).collect(), [10, 10, 12]) }
}

/// Returns the distance from the camera to an actor's nearest corner along the viewing direction, and the rate at which
/// it decreases.
pub(super) fn distance(actor: &Actor, view: &View, own: [f64; 2]) -> (f64, f64) {
    let frame = Frame { at: [actor.at[0], actor.at[1], 0.0], heading: actor.heading };
    let (half_length, half_width) = (actor.size[0] / 2.0, actor.size[1] / 2.0);
    let corners = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
    let depth =
        |[x, y]: [f64; 2]| view.local(frame.world([x * half_width, y * half_length, actor.size[2] / 2.0]))[2];
    let nearest = corners.into_iter().map(depth).fold(f64::MAX, f64::min);
    let relative = [actor.velocity[0] - own[0], actor.velocity[1] - own[1], 0.0];
    let eye = view.position();
    let moved = [eye[0] + relative[0], eye[1] + relative[1], eye[2]];
    (nearest, -view.local(moved)[2])
}

fn paint(look: Random, what: &str, colors: &[[u8; 3]]) -> [u8; 3] {
    let [r, g, b] = look.one_of(what, colors).unwrap_or([128; 3]);
    let shade = look.of(what, 1).between("shade", 0.8, 1.15);
    [r, g, b].map(|level| (f64::from(level) * shade).clamp(0.0, 255.0) as u8)
}

fn wheels(length: f64, height: f64, radius: f64, axles: &[f64]) -> Vec<Decal> {
    let mut decals = Vec::new();
    for axle in axles {
        for (side, u) in [(Side::Right, *axle), (Side::Left, 1.0 - axle)] {
            let (half_u, half_v) = (radius / length, radius / height);
            decals.push(Decal::disc(side, [u, 0.02], [half_u, half_v], TIRE));
            decals.push(Decal::disc(side, [u, 0.02], [half_u * 0.5, half_v * 0.5], [120, 122, 126]));
        }
    }
    decals
}

fn lights() -> [Decal; 6] {
    let lamp = |side, u: f64, color| Decal::rect(side, [u, u + 0.17], [0.45, 0.7], color);
    [
        lamp(Side::Front, 0.05, [244, 240, 214]),
        lamp(Side::Front, 0.78, [244, 240, 214]),
        lamp(Side::Back, 0.04, [190, 24, 24]),
        lamp(Side::Back, 0.79, [190, 24, 24]),
        Decal::rect(Side::Back, [0.36, 0.64], [0.25, 0.5], [214, 214, 206]),
        Decal::rect(Side::Front, [0.3, 0.7], [0.2, 0.45], [34, 36, 40]),
    ]
}

fn car(actor: &Actor) -> Vec<Block> {
    let [length, width, height] = actor.size;
    let color = paint(actor.look, "paint", &PAINTS);
    let (x, y) = ([-width / 2.0, width / 2.0], [-length / 2.0, length / 2.0]);
    let belt = height * 0.56;
    let body = Block::new(x, y, [0.22, belt], color)
        .with(wheels(length, belt - 0.22, 0.32, &[0.19, 0.81]))
        .with(lights());
    let estate = actor.look.is("estate", 0.4);
    let back = if estate { [0.02, 0.06] } else { [0.12, 0.24] };
    let low =
        Layer { x: [x[0] + 0.05, x[1] - 0.05], y: [y[0] + length * back[0], y[1] - length * 0.26], z: belt };
    let high =
        Layer { x: [x[0] + 0.2, x[1] - 0.2], y: [y[0] + length * back[1], y[1] - length * 0.42], z: height };
    let window = |side, u: [f64; 2]| Decal::rect(side, u, [0.12, 0.86], GLASS);
    let cabin = Block { low, high, color, decals: Vec::new() }.with([
        window(Side::Front, [0.06, 0.94]),
        window(Side::Back, [0.08, 0.92]),
        window(Side::Left, [0.06, 0.48]),
        window(Side::Left, [0.53, 0.94]),
        window(Side::Right, [0.06, 0.48]),
        window(Side::Right, [0.53, 0.94]),
    ]);
    vec![body, cabin]
}

fn truck(actor: &Actor) -> Vec<Block> {
    let [length, width, height] = actor.size;
    let color = paint(actor.look, "paint", &PAINTS);
    let load = paint(
        actor.look,
        "load",
        &[[232, 232, 228], [180, 184, 190], [70, 90, 140], [190, 60, 46], [84, 124, 92]],
    );
    let x = [-width / 2.0, width / 2.0];
    let (back, front) = (-length / 2.0, length / 2.0);
    let cab = 1.9;
    let chassis = Block::new([x[0] + 0.15, x[1] - 0.15], [back, front], [0.4, 0.95], [50, 50, 54])
        .with(wheels(length, 0.55, 0.48, &[0.12, 0.26, 0.86]));
    let cabin = Block::new(x, [front - cab, front], [0.5, height * 0.85], color).with([
        Decal::rect(Side::Front, [0.07, 0.93], [0.52, 0.88], GLASS),
        Decal::rect(Side::Left, [0.25, 0.8], [0.52, 0.86], GLASS),
        Decal::rect(Side::Right, [0.2, 0.75], [0.52, 0.86], GLASS),
        Decal::rect(Side::Front, [0.04, 0.2], [0.08, 0.2], [244, 240, 214]),
        Decal::rect(Side::Front, [0.8, 0.96], [0.08, 0.2], [244, 240, 214]),
    ]);
    let stripe = paint(actor.look, "stripe", &PAINTS);
    let open = actor.look.is("open", 0.2);
    let top = if open { height * 0.55 } else { height };
    let cargo = Block::new(x, [back, front - cab - 0.15], [0.95, top], load).with([
        Decal::rect(Side::Left, [0.05, 0.95], [0.3, 0.55], stripe),
        Decal::rect(Side::Right, [0.05, 0.95], [0.3, 0.55], stripe),
        Decal::rect(Side::Back, [0.48, 0.52], [0.02, 0.98], [60, 60, 64]),
        Decal::rect(Side::Back, [0.02, 0.14], [0.0, 0.08], [190, 24, 24]),
        Decal::rect(Side::Back, [0.86, 0.98], [0.0, 0.08], [190, 24, 24]),
    ]);
    vec![chassis, cabin, cargo]
}

/// Returns a thin block between two points of the same x, such as a leg: `from` is the lower one, `to` the upper one.
fn limb(x: [f64; 2], from: [f64; 2], to: [f64; 2], thick: f64, color: [u8; 3]) -> Block {
    let layer = |[y, z]: [f64; 2]| Layer { x, y: [y - thick / 2.0, y + thick / 2.0], z };
    Block { low: layer(from), high: layer(to), color, decals: Vec::new() }
}

fn head(look: Random, y: f64, chin: f64, size: f64) -> [Block; 2] {
    let (skin, hair) = (
        paint(look, "skin", &SKINS),
        paint(look, "hair", &[[30, 24, 20], [90, 60, 34], [180, 150, 96], [120, 120, 122]]),
    );
    let half = size * 0.42;
    let at = [y - half, y + half];
    [
        Block::new([-half, half], at, [chin, chin + size * 0.72], skin).with([Decal::rect(
            Side::Back,
            [0.0, 1.0],
            [0.2, 1.0],
            hair,
        )]),
        Block::new([-half, half], at, [chin + size * 0.72, chin + size], hair),
    ]
}

fn person(actor: &Actor) -> Vec<Block> {
    let [_, width, height] = actor.size;
    let look = actor.look;
    let (top, legs) = (paint(look, "top", &CLOTHES), paint(look, "legs", &CLOTHES));
    let (hip, shoulder) = (height * 0.49, height * 0.83);
    let moves = actor.velocity[0].hypot(actor.velocity[1]) > 0.2;
    let swing = if moves { 0.2 * height * actor.gait.sin() } else { 0.02 };
    let half = width / 2.0;
    let shoe = [40, 34, 32];
    let mut blocks = vec![
        limb([-half * 0.62, -half * 0.08], [swing, 0.06], [0.0, hip], 0.17, legs),
        limb([half * 0.08, half * 0.62], [-swing, 0.06], [0.0, hip], 0.17, legs),
        limb([-half * 0.62, -half * 0.08], [swing + 0.05, 0.0], [swing + 0.05, 0.07], 0.25, shoe),
        limb([half * 0.08, half * 0.62], [-swing + 0.05, 0.0], [-swing + 0.05, 0.07], 0.25, shoe),
        limb([-half, -half * 0.72], [-swing * 0.7, hip - 0.02], [0.0, shoulder - 0.03], 0.12, top),
        limb([half * 0.72, half], [swing * 0.7, hip - 0.02], [0.0, shoulder - 0.03], 0.12, top),
        Block {
            low: Layer { x: [-half * 0.62, half * 0.62], y: [-0.12, 0.12], z: hip },
            high: Layer { x: [-half * 0.8, half * 0.8], y: [-0.13, 0.13], z: shoulder },
            color: top,
            decals: Vec::new(),
        },
    ];
    if look.is("bag", 0.3) {
        let bag = paint(look, "bag", &CLOTHES);
        blocks.push(Block::new([-half * 0.5, half * 0.5], [-0.32, -0.13], [hip + 0.1, shoulder - 0.02], bag));
    }
    blocks.extend(head(look, 0.0, height * 0.86, height * 0.14));
    blocks
}

fn cyclist(actor: &Actor) -> Vec<Block> {
    let [length, width, height] = actor.size;
    let look = actor.look;
    let (top, legs) = (paint(look, "top", &CLOTHES), paint(look, "legs", &CLOTHES));
    let frame = paint(look, "frame", &PAINTS);
    let (half, radius) = (width / 2.0, 0.34);
    let axle = length / 2.0 - radius;
    let wheel = |y: f64| {
        let decal = |side, size: f64, color| Decal::disc(side, [0.5, 0.5], [size, size], color);
        let both = [Side::Left, Side::Right].into_iter();
        // A block too thin to be visible, on which the wheel is painted.
        Block::new([-0.02, 0.02], [y - radius, y + radius], [0.0, 2.0 * radius], TIRE)
            .with(both.flat_map(|side| [decal(side, 0.5, TIRE), decal(side, 0.41, [150, 152, 154])]))
    };
    let pedal = actor.gait.sin() * 0.17;
    let seat = height * 0.53;
    let mut blocks = vec![
        wheel(axle),
        wheel(-axle),
        limb([-0.03, 0.03], [-0.05, radius], [-0.2, seat], 0.06, frame),
        limb([-0.03, 0.03], [axle - 0.08, 0.62], [axle - 0.12, height * 0.6], 0.06, frame),
        Block::new([-0.03, 0.03], [-0.2, axle - 0.1], [0.6, 0.67], frame),
        Block::new([-half, half], [axle - 0.18, axle - 0.12], [height * 0.58, height * 0.6], TIRE),
        limb([-half * 0.55, -half * 0.15], [0.05, 0.3 + pedal], [-0.15, seat], 0.14, legs),
        limb([half * 0.15, half * 0.55], [0.05, 0.3 - pedal], [-0.15, seat], 0.14, legs),
        Block {
            low: Layer { x: [-half * 0.5, half * 0.5], y: [-0.28, -0.04], z: seat },
            high: Layer { x: [-half * 0.7, half * 0.7], y: [0.02, 0.24], z: height * 0.84 },
            color: top,
            decals: Vec::new(),
        },
        limb([-half, -half * 0.7], [axle - 0.16, height * 0.6], [0.14, height * 0.8], 0.1, top),
        limb([half * 0.7, half], [axle - 0.16, height * 0.6], [0.14, height * 0.8], 0.1, top),
    ];
    blocks.extend(head(look, 0.17, height * 0.85, height * 0.15));
    blocks
}
