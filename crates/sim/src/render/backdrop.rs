//! The parts of the image that are not annotated: sky, ground, houses, trees, masts.

use super::{
    Canvas,
    solid::{Block, Decal, Frame, Polygon, Side},
};
use crate::{
    Place, Scene, View,
    random::Random,
    scene::{drive_way, road, yard},
};

const ASPHALT: [u8; 3] = [92, 92, 96];
const PAVEMENT: [u8; 3] = [150, 146, 140];
const GRASS: [u8; 3] = [96, 116, 74];
const WHITE: [u8; 3] = [216, 216, 210];

pub(super) fn draw(scene: &Scene, view: &View, at_s: f64, canvas: &mut Canvas) {
    sky(view, canvas);
    let way = drive_way(scene, at_s);
    match scene.place {
        Place::Road | Place::Drive => ground_of_road(view, way, canvas),
        Place::Yard => ground_of_yard(scene.chance, view, canvas),
    }
}

fn sky(view: &View, canvas: &mut Canvas) {
    let (width, height) = (view.size.width as f32, view.size.height as f32);
    let [r, g, b] = canvas.light.air;
    canvas.paint(&[[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]], [r, g, b], 1.0);
    // The sky gets bluer toward the top.
    let horizon = view.horizon();
    for band in 0..8 {
        let part = band as f32 / 8.0;
        let y = horizon * (1.0 - part);
        let blue = |level: u8, less: f32| (f32::from(level) * (1.0 - less * part)) as u8;
        let color = [blue(r, 0.35), blue(g, 0.22), blue(b, 0.05)];
        if y > 0.0 {
            canvas.paint(&[[0.0, 0.0], [width, 0.0], [width, y], [0.0, y]], color, 1.0);
        }
    }
}

fn rect(x: [f64; 2], y: [f64; 2], z: f64, color: [u8; 3]) -> Polygon {
    Polygon::flat(vec![[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]], color)
}

/// Draws a strip of ground in pieces, so that fog is computed for the distance of each piece.
fn strip(x: [f64; 2], color: [u8; 3], view: &View, canvas: &mut Canvas) {
    for piece in -8..8 {
        let y = f64::from(piece) * 25.0;
        canvas.fill(&rect(x, [y - 0.2, y + 25.2], 0.0, color), view, 0);
    }
}

fn ground_of_road(view: &View, way: f64, canvas: &mut Canvas) {
    strip([-220.0, 220.0], GRASS, view, canvas);
    strip([-road::PAVEMENT_EDGE, road::PAVEMENT_EDGE], PAVEMENT, view, canvas);
    strip([-road::CYCLE_EDGE, road::CYCLE_EDGE], [122, 84, 74], view, canvas);
    strip([-road::KERB, road::KERB], ASPHALT, view, canvas);
    let mut line = |x: f64, y: [f64; 2]| {
        canvas.fill(&rect([x - 0.07, x + 0.07], y, 0.005, WHITE), view, 0);
    };
    for piece in -16..16 {
        let y = f64::from(piece) * 10.0;
        for x in [-0.12, 0.12, -road::KERB + 0.15, road::KERB - 0.15] {
            line(x, [y, y + 10.05]);
        }
        let dash = y - way.rem_euclid(10.0);
        for x in [-road::LANE_WIDTH, road::LANE_WIDTH] {
            line(x, [dash, dash + 4.0]);
        }
    }
}

fn ground_of_yard(chance: Random, view: &View, canvas: &mut Canvas) {
    strip([-220.0, 220.0], GRASS, view, canvas);
    let half = yard::HALF;
    let shade = chance.between("yard shade", 0.85, 1.15);
    let color = [128.0, 126.0, 122.0].map(|level: f64| (level * shade) as u8);
    for row in -8..8 {
        for column in -8..8 {
            let (x, y) = (f64::from(column) * half / 8.0, f64::from(row) * half / 8.0);
            let tile = chance.of("tile", i64::from(row * 64 + column));
            let color = color.map(|level| (f64::from(level) * tile.between("shade", 0.95, 1.05)) as u8);
            let to = half / 8.0 + 0.02;
            canvas.fill(&rect([x, x + to], [y, y + to], 0.0, color), view, 0);
        }
    }
    for x in [-11.0, -7.0, 7.0, 11.0] {
        canvas.fill(&rect([x - 0.08, x + 0.08], [-half, half], 0.005, [206, 178, 60]), view, 0);
    }
    for row in 0..6 {
        for side in [-1.0, 1.0] {
            let y = -19.5 + f64::from(row) * 7.0;
            let x = [side * (half - 9.0), side * (half - 2.0)];
            canvas.fill(&rect([x[0].min(x[1]), x[0].max(x[1])], [y - 0.06, y + 0.06], 0.005, WHITE), view, 0);
        }
    }
}

/// Returns the solid objects, each with its position on the ground.
pub(super) fn fixtures(scene: &Scene, at_s: f64) -> Vec<([f64; 2], Vec<Polygon>)> {
    let way = drive_way(scene, at_s);
    match scene.place {
        Place::Road | Place::Drive => along_the_road(scene.chance.of("fixtures", 0), way),
        Place::Yard => round_the_yard(scene.chance.of("fixtures", 0)),
    }
}

fn along_the_road(chance: Random, way: f64) -> Vec<([f64; 2], Vec<Polygon>)> {
    let mut things = Vec::new();
    let spacing = 16.0;
    let first = ((way - 150.0) / spacing).floor() as i64;
    for n in first..first + 20 {
        let y = n as f64 * spacing - way;
        for (which, side) in [-1.0, 1.0].into_iter().enumerate() {
            let of = chance.of("lot", n * 2 + which as i64);
            let x = side * (of.between("back", 15.5, 19.0) + 5.0);
            if of.is("house", 0.55) {
                things.push(house(of, [x, y + 8.0], [10.0, of.between("wide", 10.0, 15.0)]));
            } else {
                things.push(tree(
                    of,
                    [side * of.between("tree", 15.6, 19.0), y + of.between("along", 2.0, 14.0)],
                ));
            }
            if of.is("mast", 0.5) {
                things.push(mast([side * 9.0, y + 3.0]));
            }
        }
    }
    things
}

fn round_the_yard(chance: Random) -> Vec<([f64; 2], Vec<Polygon>)> {
    let mut things = Vec::new();
    for n in 0..20 {
        let of = chance.of("wall", n);
        let along = -yard::HALF + 6.4 + (n % 5) as f64 * 12.8;
        let out = yard::HALF + 6.0;
        let at = match n / 5 {
            0 => [along, out],
            1 => [along, -out],
            2 => [out, along],
            _ => [-out, along],
        };
        if of.is("house", 0.6) {
            things.push(house(of, at, [9.5, 12.5]));
        } else {
            things.push(tree(of, at));
        }
    }
    for n in 0..7 {
        let of = chance.of("stack", n);
        let at = [of.between("x", -22.0, 22.0), of.between("y", -22.0, 22.0)];
        if of.is("mast", 0.4) { things.push(mast(at)) } else { things.push(crates(of, at)) }
    }
    things
}

fn solid(at: [f64; 2], blocks: &[Block]) -> ([f64; 2], Vec<Polygon>) {
    let frame = Frame { at: [at[0], at[1], 0.0], heading: 0.0 };
    (at, blocks.iter().flat_map(|block| block.polygons(frame)).collect())
}

fn house(of: Random, at: [f64; 2], [deep, wide]: [f64; 2]) -> ([f64; 2], Vec<Polygon>) {
    let height = of.between("height", 5.0, 13.0);
    let wall = of
        .one_of("wall", &[[176, 150, 128], [196, 190, 178], [150, 96, 80], [140, 146, 150], [206, 184, 140]])
        .unwrap_or([170; 3]);
    let (floors, columns) = ((height / 2.9) as i32, (wide / 2.6) as i32);
    let mut block = Block::new([-deep / 2.0, deep / 2.0], [-wide / 2.0, wide / 2.0], [0.0, height], wall);
    for side in [Side::Front, Side::Back, Side::Left, Side::Right] {
        for floor in 0..floors {
            for column in 0..columns {
                let (u, v) = (f64::from(column) / f64::from(columns), f64::from(floor) / f64::from(floors));
                let (du, dv) = (1.0 / f64::from(columns), 1.0 / f64::from(floors));
                let pane = [u + du * 0.25, u + du * 0.75];
                block.decals.push(Decal::rect(side, pane, [v + dv * 0.3, v + dv * 0.8], [64, 74, 86]));
            }
        }
    }
    solid(at, &[block])
}

fn tree(of: Random, at: [f64; 2]) -> ([f64; 2], Vec<Polygon>) {
    let height = of.between("height", 4.5, 8.0);
    let wide = of.between("crown", 1.1, 1.9);
    let shade = of.between("shade", 0.75, 1.2);
    let green = [62.0, 94.0, 48.0].map(|level: f64| (level * shade) as u8);
    let light = [80.0, 116.0, 60.0].map(|level: f64| (level * shade) as u8);
    let crown = |scale: f64, low: f64, high: f64, color| {
        let half = wide * scale;
        Block::new([-half, half], [-half, half], [height * low, height * high], color)
    };
    let trunk = Block::new([-0.15, 0.15], [-0.15, 0.15], [0.0, height * 0.45], [84, 66, 50]);
    solid(
        at,
        &[trunk, crown(0.8, 0.34, 0.5, green), crown(1.0, 0.5, 0.75, green), crown(0.7, 0.75, 1.0, light)],
    )
}

fn mast(at: [f64; 2]) -> ([f64; 2], Vec<Polygon>) {
    solid(at, &[Block::new([-0.09, 0.09], [-0.09, 0.09], [0.0, 6.5], [110, 114, 118])])
}

fn crates(of: Random, at: [f64; 2]) -> ([f64; 2], Vec<Polygon>) {
    let color = of.one_of("color", &[[150, 112, 70], [70, 100, 140], [120, 124, 128]]).unwrap_or([130; 3]);
    let (half, height) = (of.between("half", 0.6, 1.4), of.between("height", 0.9, 2.2));
    let lines = [Side::Front, Side::Back, Side::Left, Side::Right]
        .map(|side| Decal::rect(side, [0.0, 1.0], [0.47, 0.53], [70, 56, 40]));
    solid(at, &[Block::new([-half, half], [-half, half], [0.0, height], color).with(lines)])
}
