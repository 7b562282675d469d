//! Prints the size of a frame record in each format, and the time to encode and decode it:
//! `cargo bench -p lookout-wire --bench sizes`.

use std::{
    error::Error,
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use lookout_schema::{FrameRecord, RecordFormat};
use lookout_wire::{decode, encode};

const TIMES: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut frame: FrameRecord =
        serde_json::from_str(include_str!("../../schema/tests/golden/frame.1.json"))?;
    frame.classes.clear();
    let detection = frame.detections[0].clone();
    let mut out = io::stdout().lock();
    for detections in [0, 1, 10, 100] {
        frame.detections = vec![detection.clone(); detections];
        for format in RecordFormat::ALL {
            let bytes = encode(&frame, format)?;
            let started = Instant::now();
            for _ in 0..TIMES {
                black_box(encode(black_box(&frame), format)?);
            }
            let written = started.elapsed() / TIMES;
            let started = Instant::now();
            for _ in 0..TIMES / 10 {
                black_box(decode::<FrameRecord>(black_box(&bytes))?);
            }
            let read = started.elapsed() / (TIMES / 10);
            let (name, size) = (format.as_str(), bytes.len());
            writeln!(
                out,
                "{detections:>3} detections, {name:>8}: {size:>6} bytes, encoded in {written:>8.2?}, decoded in {read:>8.2?}"
            )?;
        }
    }
    Ok(())
}
