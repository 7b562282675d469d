//! MOTChallenge: `seqinfo.ini`, `det/det.txt` and `gt/gt.txt` (<https://motchallenge.net/instructions/>), with the
//! rules of TrackEval for MOT15, MOT16, MOT17 and MOT20.

use lookout_schema::{BBox, Size};

use super::{
    Fields, InvalidSequence, ObjectRole, SequenceDetection, SequenceFrame, SequenceObject, TrackingSequence,
};

/// The maximum number of frames of a sequence, which bounds the memory for a file with a wrong frame number.
const MAX_FRAMES: u64 = 1_000_000;

/// The classes of MOT16, MOT17 and MOT20. Tracks on a distractor are ignored.
const PEDESTRIAN: u64 = 1;
const NON_MOT_VEHICLE: u64 = 6;
const DISTRACTORS: [u64; 4] = [2, 7, 8, 12];

/// The texts of a sequence's files.
#[derive(Debug, Clone, Copy)]
pub struct MotFiles<'a> {
    /// Name of the sequence's folder.
    pub name: &'a str,
    pub seqinfo: &'a str,
    pub det: &'a str,
    pub gt: &'a str,
}

/// The file of a sequence that is invalid.
type Invalid = (&'static str, InvalidSequence);

/// Reads a sequence. Lines of `gt.txt` with 10 fields are of MOT15, which has no classes; its objects with the mark 0
/// are removed. In the later benchmarks, lines have a class and a visibility, and tracks that match a distractor (a
/// person on a vehicle, a static person, a reflection) are ignored.
///
/// # Errors
/// Returns the name of the invalid file, and the line.
pub fn read_mot_challenge(files: MotFiles<'_>) -> Result<TrackingSequence, Invalid> {
    let entry = |key: &'static str| {
        let of_line = |(line, text): (usize, &str)| {
            let (name, value) = text.split_once('=')?;
            (name.trim() == key).then(|| (line, value.trim().parse::<f64>().ok()))
        };
        let found = (1..).zip(files.seqinfo.lines()).find_map(of_line);
        let (line, number) = found.unwrap_or((1, None));
        number.filter(|number| *number > 0.0 && *number <= 1e6).ok_or_else(|| {
            ("seqinfo.ini", InvalidSequence { line, reason: format!("`{key}` is missing or not a number") })
        })
    };
    let source = Size { width: entry("imWidth")? as u32, height: entry("imHeight")? as u32 };
    let mut sequence = TrackingSequence {
        name: files.name.to_owned(),
        fps: entry("frameRate")?,
        source,
        frames: vec![SequenceFrame::default(); entry("seqLength")? as usize],
        ignored_height: 0.0,
    };
    detections(&mut sequence, files.det).map_err(|error| ("det/det.txt", error))?;
    truth(&mut sequence, files.gt).map_err(|error| ("gt/gt.txt", error))?;
    Ok(sequence)
}

fn detections(sequence: &mut TrackingSequence, text: &str) -> Result<(), InvalidSequence> {
    for fields in Fields::all(text, |line| line.split(',').collect()) {
        let detection = SequenceDetection { bbox: bbox(&fields)?, score: fields.number(6)? };
        frame(sequence, &fields)?.detections.push(detection);
    }
    Ok(())
}

fn truth(sequence: &mut TrackingSequence, text: &str) -> Result<(), InvalidSequence> {
    let is_mot20 = sequence.name.starts_with("MOT20");
    for fields in Fields::all(text, |line| line.split(',').collect()) {
        let is_marked = fields.number(6)? != 0.0;
        let has_class = fields.fields.len() <= 9;
        let class = if has_class { fields.whole(7)? } else { PEDESTRIAN };
        let is_distractor = DISTRACTORS.contains(&class) || is_mot20 && class == NON_MOT_VEHICLE;
        let role = match class {
            PEDESTRIAN if is_marked => ObjectRole::Evaluated,
            _ if is_distractor => ObjectRole::Distractor,
            _ => ObjectRole::Removed,
        };
        let object = SequenceObject { id: fields.whole(1)?, bbox: bbox(&fields)?, role };
        frame(sequence, &fields)?.objects.push(object);
    }
    Ok(())
}

/// Returns the frame of a line. Frames are counted from 1.
fn frame<'a>(
    sequence: &'a mut TrackingSequence,
    fields: &Fields<'_>,
) -> Result<&'a mut SequenceFrame, InvalidSequence> {
    let number = fields.whole(0)?;
    let index = number.checked_sub(1).filter(|_| number <= MAX_FRAMES);
    let index = index.ok_or_else(|| fields.error(format!("{number} is not a valid frame number")))? as usize;
    Ok(sequence.frame_mut(index))
}

fn bbox(fields: &Fields<'_>) -> Result<BBox, InvalidSequence> {
    let [x, y, width, height] = [fields.number(2)?, fields.number(3)?, fields.number(4)?, fields.number(5)?];
    Ok(BBox { x1: x, y1: y, x2: x + width, y2: y + height })
}
