//! Ground truth of the simulated cameras.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use lookout_measure::ObjectTarget;
use lookout_schema::{BBox, Timestamp};
use serde::Deserialize;

/// The classes of the simulated cameras. Class ids start at 1.
pub(super) const CLASSES: [&str; 4] = ["person", "bicycle", "car", "truck"];

/// Ground truth of one frame: one line of the file that `lookout sim serve` writes.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ShownFrame {
    camera: String,
    pub(super) at: Timestamp,
    pub(super) objects: Vec<ShownObject>,
}

/// Ground truth of one object.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ShownObject {
    pub(super) track: u64,
    class_id: u32,
    #[serde(rename = "box")]
    pub(super) bbox: BBox,
    pub(super) ignore: bool,
    pub(super) ttc_s: Option<f64>,
}

impl ShownObject {
    pub(super) fn target(&self) -> ObjectTarget {
        let b = self.bbox;
        ObjectTarget {
            class_id: self.class_id,
            bbox: b,
            ignore: self.ignore,
            area: (b.x2 - b.x1) * (b.y2 - b.y1),
        }
    }
}

/// Ground truth of all frames, by camera and sorted by time.
#[derive(Debug)]
pub(super) struct ShownFrames {
    cameras: BTreeMap<String, Vec<ShownFrame>>,
    /// Half the time between two frames of a camera.
    half_frame_ms: i64,
}

impl ShownFrames {
    pub(super) fn read(path: &Path, fps: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).context("cannot read the ground truth of the cameras")?;
        let mut cameras: BTreeMap<String, Vec<ShownFrame>> = BTreeMap::new();
        // The last line may be incomplete.
        for frame in text.lines().map_while(|line| serde_json::from_str::<ShownFrame>(line).ok()) {
            cameras.entry(frame.camera.clone()).or_default().push(frame);
        }
        Ok(Self { cameras, half_frame_ms: 500 / i64::from(fps.max(1)) })
    }

    /// Returns the frame that a camera sent at a time, within half a frame's duration.
    pub(super) fn at(&self, camera: &str, at: Timestamp) -> Option<&ShownFrame> {
        let frames = self.cameras.get(camera)?;
        let after = frames.partition_point(|frame| frame.at < at);
        let near = frames[after.saturating_sub(1)..(after + 1).min(frames.len())].iter();
        let nearest = near.min_by_key(|frame| frame.at.ms_since(at).abs())?;
        (nearest.at.ms_since(at).abs() < self.half_frame_ms).then_some(nearest)
    }

    /// Returns the number of frames that a camera sent from `from` to `to`, inclusive.
    pub(super) fn count(&self, camera: &str, [from, to]: [Timestamp; 2]) -> usize {
        let slack = |at: Timestamp, by: i64| Timestamp::from_unix_us(at.as_unix_us() + by * 1000);
        let [from, to] = [slack(from, -self.half_frame_ms), slack(to, self.half_frame_ms)];
        self.cameras
            .get(camera)
            .map_or(0, |frames| frames.iter().filter(|frame| from < frame.at && frame.at < to).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_us(1_700_000_000_000_000 + ms * 1000)
    }

    #[test]
    fn finds_the_frame_that_was_sent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let line = |n: i64| {
            format!(
                r#"{{"camera":"c","at":"{}","frame":{n},"objects":[{{"track":{n},"class_id":1,"label":"person","box":[0,0,2,3],"ignore":false}}]}}"#,
                at(n * 100)
            )
        };
        let text: String = (0..5).map(|n| line(n) + "\n").collect();
        fs::write(&path, text + &line(6)[..40]).unwrap();
        let shown = ShownFrames::read(&path, 10).unwrap();
        let track = |ms: i64| shown.at("c", at(ms)).map(|frame| frame.objects[0].track);
        assert_eq!(
            [-60, -40, 40, 60, 249, 430, 470].map(track),
            [None, Some(0), Some(0), Some(1), Some(2), Some(4), None]
        );
        assert!(shown.at("d", at(0)).is_none());
        assert_eq!(shown.count("c", [at(100), at(300)]), 3);
        assert_eq!(shown.at("c", at(0)).unwrap().objects[0].target().area, 6.0);
    }
}
