//! The tracking benchmark of KITTI (Geiger et al. 2012, <https://www.cvlibs.net/datasets/kitti/eval_tracking.php>),
//! with the rules of TrackEval.

use lookout_schema::{BBox, Size};

use super::{
    Fields, InvalidSequence, ObjectRole, SequenceDetection, SequenceFrame, SequenceObject, TrackingSequence,
};

const MAX_FRAMES: u64 = 1_000_000;
const FPS: f64 = 10.0;
/// The size of most images; a few are some pixels smaller.
const SOURCE: Size = Size { width: 1242, height: 375 };
/// Height in pixels up to which unmatched tracks are ignored.
const IGNORED_HEIGHT: f32 = 25.0;
/// Objects that are more occluded or truncated than this are ignored.
const MAX_OCCLUSION: f32 = 2.0;
const MAX_TRUNCATION: f32 = 0.0;

/// The classes that KITTI evaluates, each with the class that is ignored for it.
const CLASSES: [(&str, &str); 2] = [("car", "van"), ("pedestrian", "person")];

/// Reads a sequence of KITTI: `label_02/NAME.txt` and `det_02/NAME.txt`, which has the same columns with a score in the
/// 18th. Returns one sequence for each class that has detections or ground truth, because KITTI evaluates the classes
/// separately.
///
/// # Errors
/// Returns the name of the invalid file's folder, and the line.
pub fn read_kitti(
    name: &str,
    labels: &str,
    detections: &str,
) -> Result<Vec<TrackingSequence>, (&'static str, InvalidSequence)> {
    let mut sequences = Vec::new();
    for (class, distractor) in CLASSES {
        let mut sequence = TrackingSequence {
            name: format!("{name}-{class}"),
            fps: FPS,
            source: SOURCE,
            frames: Vec::new(),
            ignored_height: IGNORED_HEIGHT,
        };
        truth(&mut sequence, labels, [class, distractor]).map_err(|error| ("label_02", error))?;
        found(&mut sequence, detections, class).map_err(|error| ("det_02", error))?;
        let is_empty = |frame: &SequenceFrame| frame.detections.is_empty() && frame.objects.is_empty();
        if !sequence.frames.iter().all(is_empty) {
            sequences.push(sequence);
        }
    }
    Ok(sequences)
}

fn truth(
    sequence: &mut TrackingSequence,
    text: &str,
    [class, distractor]: [&str; 2],
) -> Result<(), InvalidSequence> {
    for fields in Fields::all(text, |line| line.split_whitespace().collect()) {
        let (kind, bbox) = (fields.text(2)?.to_lowercase(), bbox(&fields)?);
        let (truncated, occluded) = (fields.number(3)?, fields.number(4)?);
        let frame = frame(sequence, &fields)?;
        if kind == "dontcare" {
            frame.ignored.push(bbox);
        } else if kind == class || kind == distractor {
            let is_hard = kind == distractor || truncated > MAX_TRUNCATION || occluded > MAX_OCCLUSION;
            let role = if is_hard { ObjectRole::Distractor } else { ObjectRole::Evaluated };
            frame.objects.push(SequenceObject { id: fields.whole(1)?, bbox, role });
        }
    }
    Ok(())
}

fn found(sequence: &mut TrackingSequence, text: &str, class: &str) -> Result<(), InvalidSequence> {
    for fields in Fields::all(text, |line| line.split_whitespace().collect()) {
        if fields.text(2)?.eq_ignore_ascii_case(class) {
            let detection = SequenceDetection { bbox: bbox(&fields)?, score: fields.number(17)? };
            frame(sequence, &fields)?.detections.push(detection);
        }
    }
    Ok(())
}

/// Returns the frame of a line. Frames are counted from 0.
fn frame<'a>(
    sequence: &'a mut TrackingSequence,
    fields: &Fields<'_>,
) -> Result<&'a mut SequenceFrame, InvalidSequence> {
    let number = fields.whole(0)?;
    if number >= MAX_FRAMES {
        return Err(fields.error(format!("{number} is not a valid frame number")));
    }
    Ok(sequence.frame_mut(number as usize))
}

fn bbox(fields: &Fields<'_>) -> Result<BBox, InvalidSequence> {
    Ok(BBox::from([fields.number(6)?, fields.number(7)?, fields.number(8)?, fields.number(9)?]))
}
