//! The command `lookout sim serve`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lookout_args::SimServeArgs;
use lookout_schema::{Size, Timestamp};
use lookout_sim::{
    Clip, ClipSettings, Fault, FaultKind, FrameTruth, GroundTruthSink, Place, RtspServer, RtspServerSettings,
    Scene, write_frames,
};
use serde::Serialize;

use crate::{Problem, fps, kbit_s, place, size, weather};

/// A line of the ground-truth file.
#[derive(Serialize)]
struct Line<'a> {
    camera: String,
    /// When the frame was sent, which its record calls `captured_at`.
    at: Timestamp,
    #[serde(flatten)]
    truth: &'a FrameTruth,
}

pub(crate) fn run(args: &SimServeArgs) -> Result<(), Problem> {
    let faults: Vec<Fault> = args
        .fault
        .iter()
        .map(|text| text.parse().map_err(|error| Problem::Input(format!("--fault: {error}"))))
        .collect::<Result<_, _>>()?;
    if let Some(fault) = faults.iter().find(|fault| fault.camera > args.cameras) {
        let what = format!("--fault: camera {} does not exist, --cameras is {}", fault.camera, args.cameras);
        return Err(Problem::Input(what));
    }
    if args.cameras == 0 || args.clips == 0 || args.seconds == 0 {
        return Err(Problem::Input("--cameras, --clips and --seconds must be at least 1".into()));
    }
    let truth = args.truth.as_deref().map(truth_file).transpose()?;
    let clips = clips(args)?;
    if let Some(folder) = &args.frames {
        let cameras: Vec<_> = (1..).zip(clips.iter().map(|clip| clip.settings)).collect();
        write_frames(folder, &cameras)?;
    }
    let resized = faults.iter().any(|fault| fault.kind == FaultKind::Resolution);
    let of = |clips: &[Arc<Clip>]| {
        (0..args.cameras).map(|n| Arc::clone(&clips[n % clips.len()])).collect::<Vec<_>>()
    };
    let settings = RtspServerSettings {
        cameras: of(&clips),
        resized: if resized { of(&self::resized(&clips)?) } else { Vec::new() },
        faults,
        truth,
    };
    let farm = RtspServer::start(args.listen, settings)?;
    let mut out = io::stdout().lock();
    for n in 1..=args.cameras {
        writeln!(out, "{}", farm.uri(n))?;
    }
    out.flush()?;
    drop(out);
    wait(args.stop_after)?;
    Ok(())
}

fn clips(args: &SimServeArgs) -> Result<Vec<Arc<Clip>>, Problem> {
    let (size, fps, first) = (size(&args.camera.size)?, fps(args.camera.fps)?, place(&args.camera.place)?);
    let count = args.clips.min(args.cameras);
    let mut clips = Vec::new();
    for n in 0..count {
        // Fixed cameras of one scene and one moving camera, so that both kinds of consumers have input.
        let drives = first == Place::Road && count > 1 && n + 1 == count;
        let settings = ClipSettings {
            scene: Scene::new(if drives { Place::Drive } else { first }, args.camera.seed),
            camera: n,
            weather: weather(&args.camera.weather, args.camera.seed)?,
            size,
            fps,
            frames: args.seconds * u64::from(fps),
            kbit_s: kbit_s(size, fps),
        };
        let _ = writeln!(io::stderr(), "rendering clip {} of {count}", n + 1);
        clips.push(Arc::new(Clip::make(settings)?));
    }
    Ok(clips)
}

fn resized(clips: &[Arc<Clip>]) -> Result<Vec<Arc<Clip>>, Problem> {
    let half = |side: u32| (side / 2 / 4 * 4).max(64);
    let make = |clip: &Arc<Clip>| {
        let Size { width, height } = clip.settings.size;
        let size = Size { width: half(width), height: half(height) };
        Ok(Arc::new(Clip::make(ClipSettings { size, ..clip.settings })?))
    };
    clips.iter().map(make).collect()
}

fn truth_file(path: &std::path::Path) -> Result<GroundTruthSink, Problem> {
    let file = File::create(path)
        .map_err(|error| Problem::Input(format!("--truth: cannot create `{}`: {error}", path.display())))?;
    let file = Mutex::new(BufWriter::new(file));
    Ok(GroundTruthSink(Arc::new(move |camera, at, truth| {
        let line = Line { camera: format!("camera-{camera}"), at, truth };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // Each line is flushed, so that readers see whole lines. A full disk shows as a truncated file.
        let _ = serde_json::to_writer(&mut *file, &line);
        let _ = file.write_all(b"\n").and_then(|()| file.flush());
    })))
}

fn wait(stop_after: Option<u64>) -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let ends = async {
            match stop_after {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = tokio::signal::ctrl_c() => done?,
            _ = terminate.recv() => {}
            () = ends => {}
        }
        Ok(())
    })
}
