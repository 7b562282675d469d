//! How many records a second a core follows: 500 cameras in turn with 10 objects per record, and 20 cameras with 100, of
//! which a tenth is missed, each record through the tracker, a zone and a line, as a consumer does.
//!
//! `cargo bench -p lookout-track --bench throughput`

#![expect(clippy::print_stdout, reason = "the benchmark prints a measurement")]

use std::{fs, time::Instant};

use lookout_schema::{BBox, InvalidRegion, Region, Size};
use lookout_track::{Frame, Line, Observation, Tracker, TrackerSettings, Zone, tracker};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const SOURCE: Size = Size { width: 1280, height: 720 };
/// Objects per record, and cameras.
const LOADS: [(usize, usize); 2] = [(10, 500), (100, 20)];
const FRAMES: usize = 400;
const FPS: f64 = 10.0;
/// Of /proc/self/stat, on all that Linux runs on.
const TICKS_A_SECOND: f64 = 100.0;

struct Camera {
    tracker: Box<dyn Tracker>,
    zone: Zone,
    line: Line,
}

fn camera() -> Result<Camera, InvalidRegion> {
    let region = Region::new(vec![[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])?;
    Ok(Camera {
        tracker: tracker(TrackerSettings::default(), 0),
        zone: Zone::new(region, 1.0),
        line: Line::new([[0.5, 0.1], [0.5, 0.9]], 0.01),
    })
}

/// What a camera sees; made before the clock runs.
fn records(objects: usize, random: &mut StdRng) -> Vec<Vec<Observation>> {
    let mut things: Vec<[f32; 4]> = (0..objects)
        .map(|_| {
            let velocity = [0, 1].map(|_| random.random_range(-120.0..120.0));
            [random.random_range(100.0..1180.0), random.random_range(100.0..620.0), velocity[0], velocity[1]]
        })
        .collect();
    let mut frame = |random: &mut StdRng| {
        let mut seen = Vec::new();
        for thing in &mut things {
            for (axis, border) in [(0, 1220.0), (1, 640.0)] {
                thing[axis] += thing[axis + 2] / FPS as f32;
                if !(60.0..=border).contains(&thing[axis]) {
                    thing[axis] = thing[axis].clamp(60.0, border);
                    thing[axis + 2] = -thing[axis + 2];
                }
            }
            if random.random_bool(0.9) {
                let sides = [thing[0] - 25.0, thing[1] - 50.0, thing[0] + 25.0, thing[1] + 50.0];
                let bbox = BBox::from(sides.map(|side| side + random.random_range(-3.0..3.0)));
                seen.push(Observation { bbox, class_id: 0, score: random.random_range(0.5..1.0) });
            }
        }
        seen
    };
    (0..FRAMES).map(|_| frame(random)).collect()
}

/// Seconds of this process on a core, which other processes do not lengthen; none where the system does not say.
fn user_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').nth(11)?.parse::<f64>().ok()? / TICKS_A_SECOND)
}

fn main() -> Result<(), InvalidRegion> {
    LOADS.into_iter().try_for_each(|(objects, cameras)| measure(objects, cameras))
}

fn measure(objects: usize, cameras: usize) -> Result<(), InvalidRegion> {
    let mut random = StdRng::seed_from_u64(1);
    // Fewer scenes than cameras keep the example's memory small.
    let scenes: Vec<Vec<Vec<Observation>>> = (0..20).map(|_| records(objects, &mut random)).collect();
    let records = cameras * FRAMES;
    let mut cameras = (0..cameras).map(|_| camera()).collect::<Result<Vec<_>, _>>()?;
    let (mut tracks, mut events) = (0, 0);
    let (wall, user) = (Instant::now(), user_s());
    for frame in 0..FRAMES {
        let at_s = frame as f64 / FPS;
        for (camera, scene) in cameras.iter_mut().zip(scenes.iter().cycle()) {
            let frame = Frame { at_s, source: SOURCE, observations: &scene[frame] };
            let step = camera.tracker.update(&frame);
            tracks += step.tracks.len();
            events += camera.zone.step(at_s, SOURCE, &step.tracks).len();
            events += camera.line.step(at_s, SOURCE, &step.tracks).len();
        }
    }
    let wall_s = wall.elapsed().as_secs_f64();
    let user_s = user.zip(user_s()).map_or(wall_s, |(before, after)| after - before);
    println!("{records} records of {objects} objects: {tracks} boxes output, {events} events");
    println!(
        "{:.0} records/s per core ({user_s:.2} s of CPU time, {wall_s:.2} s of wall time)",
        records as f64 / user_s
    );
    Ok(())
}
