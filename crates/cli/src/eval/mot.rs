//! `lookout eval --mot`: the tracker on sequences in the layout of MOTChallenge or KITTI.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use lookout_args::{EvalArgs, EvalTracksArgs};
use lookout_measure::{
    MotFiles, Tracked, TrackingEvaluation, TrackingSequence, TrackingSummary, read_kitti, read_mot_challenge,
};
use lookout_track::{Frame, Observation, TrackerSettings, tracker};
use serde_json::{Value, json};

use crate::check::WRONG_INPUT;

/// The class of all detections: the sequences have one class each.
const CLASS_ID: u32 = 1;

pub(super) fn run(folder: &Path, args: &EvalArgs) -> ExitCode {
    let sequences = match read(folder) {
        Ok(sequences) => sequences,
        Err(error) => return failed(&error, ExitCode::from(WRONG_INPUT)),
    };
    match evaluate(&sequences, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "lookout eval: {error:#}");
    code
}

fn evaluate(sequences: &[TrackingSequence], args: &EvalArgs) -> anyhow::Result<()> {
    let mut overall = TrackingEvaluation::default();
    let mut rows: Vec<(String, TrackingSummary)> = Vec::new();
    for (number, sequence) in (0..).zip(sequences) {
        let mut evaluation = TrackingEvaluation::default();
        let lines = follow(sequence, &args.tracks, |truth, found| {
            evaluation.frame(truth, found);
            overall.frame(&unique(truth, number), &unique(found, number));
        });
        if let Some(folder) = &args.tracks.write {
            let file = folder.join(format!("{}.txt", sequence.name));
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, lines))
                .with_context(|| format!("cannot write the tracks to {}", file.display()))?;
        }
        rows.push((sequence.name.clone(), evaluation.summary()));
    }
    rows.push(("overall".into(), overall.summary()));
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", json(&rows, &args.tracks))?,
        false => write!(out, "{}", table(&rows))?,
    }
    Ok(())
}

/// Runs the tracker on a sequence. Calls `each` with the ground truth and the tracks of each frame, and returns the
/// tracks in the format of MOTChallenge.
fn follow(
    sequence: &TrackingSequence,
    args: &EvalTracksArgs,
    mut each: impl FnMut(&[Tracked], &[Tracked]),
) -> String {
    let settings = TrackerSettings { algorithm: args.tracker, ..TrackerSettings::default() };
    let mut tracker = tracker(settings, 0);
    let mut lines = String::new();
    for (index, frame) in sequence.frames.iter().enumerate().step_by(args.every as usize) {
        let observation = |detection: &lookout_measure::SequenceDetection| Observation {
            bbox: detection.bbox,
            class_id: CLASS_ID,
            score: detection.score,
        };
        let observations: Vec<Observation> = frame.detections.iter().map(observation).collect();
        let (at_s, source) = (index as f64 / sequence.fps, sequence.source);
        let output = tracker.update(&Frame { at_s, source, observations: &observations });
        for track in &output.tracks {
            let b = track.bbox;
            let (width, height) = (b.x2 - b.x1, b.y2 - b.y1);
            let (id, score) = (track.id.0, track.score);
            let number = index + 1;
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{number},{id},{},{},{width},{height},{score},-1,-1,-1", b.x1, b.y1);
        }
        let found: Vec<Tracked> =
            output.tracks.iter().map(|track| Tracked { id: track.id.0, bbox: track.bbox }).collect();
        let (truth, found) = sequence.evaluated(frame, &found);
        each(&truth, &found);
    }
    lines
}

/// Returns objects or tracks with ids that are unique over all sequences.
fn unique(of: &[Tracked], sequence: u64) -> Vec<Tracked> {
    of.iter().map(|one| Tracked { id: (sequence << 40) + one.id, bbox: one.bbox }).collect()
}

fn json(rows: &[(String, TrackingSummary)], args: &EvalTracksArgs) -> Value {
    let mut sequences = serde_json::Map::new();
    for (name, summary) in rows {
        sequences.insert(name.clone(), json!(summary));
    }
    let overall = sequences.remove("overall");
    json!({
        "tracker": args.tracker.as_str(),
        "every": args.every,
        "sequences": sequences,
        "overall": overall,
    })
}

fn table(rows: &[(String, TrackingSummary)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "{:width$} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}\n",
        "sequence", "HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW", "FP", "FN", "Frag"
    );
    let part = |part: Option<f64>| part.map_or("-".into(), |part| format!("{part:.3}"));
    for (name, s) in rows {
        let ratios = [s.hota, s.det_a, s.ass_a, s.idf1, s.mota].map(|ratio| format!("{:>6}", part(ratio)));
        let counts =
            [s.switches, s.false_positives, s.misses, s.fragmentations].map(|count| format!("{count:>6}"));
        text += &format!("{name:width$} {} {}\n", ratios.join(" "), counts.join(" "));
    }
    text
}

/// Reads the sequences in a folder.
fn read(folder: &Path) -> anyhow::Result<Vec<TrackingSequence>> {
    let mut sequences = Vec::new();
    if folder.join("label_02").is_dir() {
        for labels in entries(&folder.join("label_02"))? {
            let name = labels.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let detections = folder.join("det_02").join(format!("{name}.txt"));
            let (label_text, detection_text) = (text(&labels)?, text(&detections)?);
            let read = read_kitti(&name, &label_text, &detection_text);
            sequences.extend(read.map_err(|(file, error)| anyhow::anyhow!("{file}/{name}.txt: {error}"))?);
        }
    } else {
        let folders =
            if folder.join("seqinfo.ini").is_file() { vec![folder.into()] } else { entries(folder)? };
        for folder in folders.into_iter().filter(|folder| folder.join("seqinfo.ini").is_file()) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let [seqinfo, det, gt] =
                ["seqinfo.ini", "det/det.txt", "gt/gt.txt"].map(|f| text(&folder.join(f)));
            let files = MotFiles { name: &name, seqinfo: &seqinfo?, det: &det?, gt: &gt? };
            let sequence = read_mot_challenge(files)
                .map_err(|(file, error)| anyhow::anyhow!("{}: {error}", folder.join(file).display()))?;
            sequences.push(sequence);
        }
    }
    if sequences.is_empty() {
        bail!(
            "{} contains no sequences; expected NAME/seqinfo.ini, NAME/det/det.txt and NAME/gt/gt.txt as in \
             MOTChallenge, or label_02/NAME.txt and det_02/NAME.txt as in KITTI",
            folder.display()
        );
    }
    Ok(sequences)
}

/// Returns the entries of a folder, sorted by name.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
    let mut entries = read().with_context(|| format!("cannot read the folder {}", folder.display()))?;
    entries.sort();
    Ok(entries)
}

fn text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_folder_of_sequences_and_writes_tracks() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("contains no sequences"));
        let sequence = folder.path().join("MOT17-00");
        for (file, text) in [
            ("seqinfo.ini", "[Sequence]\nframeRate=10\nseqLength=6\nimWidth=640\nimHeight=480\n".to_owned()),
            (
                "det/det.txt",
                (1..=6).map(|n| format!("{n},-1,{},50,40,100,0.99,-1,-1,-1\n", 10 * n)).collect(),
            ),
            ("gt/gt.txt", (1..=6).map(|n| format!("{n},7,{},50,40,100,1,1,1\n", 10 * n)).collect()),
        ] {
            let path = sequence.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sequences = read(folder.path()).unwrap();
        let args = EvalTracksArgs { tracker: Default::default(), every: 1, write: None };
        let mut evaluation = TrackingEvaluation::default();
        let lines = follow(&sequences[0], &args, |truth, found| evaluation.frame(truth, found));
        let summary = evaluation.summary();
        // The track is confirmed by its second detection.
        assert_eq!((summary.misses, summary.false_positives, summary.switches), (1, 0, 0));
        assert_eq!(lines.lines().count(), 5);
        assert!(lines.starts_with("2,1,"), "{lines}");
        fs::write(sequence.join("gt/gt.txt"), "1,7,x,50,40,100,1,1,1\n").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("gt/gt.txt: line 1: field 3 is `x`, not a number"), "{error}");
    }
}
