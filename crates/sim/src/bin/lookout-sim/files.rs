//! The commands `lookout sim dataset` and `lookout sim video`.

use indicatif::ProgressBar;
use lookout_args::{SimDatasetArgs, SimVideoArgs};
use lookout_sim::{ClipSettings, DatasetSettings, Scene, write_crops, write_dataset, write_video};

use crate::{Problem, fps, kbit_s, place, size, weather};

const JPEG_QUALITY: u8 = 88;

pub(crate) fn dataset(args: &SimDatasetArgs) -> Result<(), Problem> {
    let settings = DatasetSettings {
        first_seed: args.seed,
        scenes: args.scenes,
        images_per_scene: args.images,
        size: size(&args.size)?,
        quality: JPEG_QUALITY,
    };
    let bar = ProgressBar::new(args.scenes.saturating_mul(args.images));
    let progress = |n| bar.set_position(n);
    let (written, what) = match args.crops {
        Some(side) => (write_crops(&args.folder, &settings, side, progress)?, "crops"),
        None => (write_dataset(&args.folder, &settings, progress)?, "images"),
    };
    bar.finish_and_clear();
    say(&format!("{written} {what} in {}", args.folder.display()));
    Ok(())
}

pub(crate) fn video(args: &SimVideoArgs) -> Result<(), Problem> {
    let truth = args.file.with_extension("jsonl");
    if truth == args.file {
        return Err(Problem::Input(format!(
            "`{}`: a file that ends in .jsonl would be overwritten by the ground truth; use .mp4",
            args.file.display()
        )));
    }
    let (size, fps) = (size(&args.camera.size)?, fps(args.camera.fps)?);
    let settings = ClipSettings {
        scene: Scene::new(place(&args.camera.scene)?, args.camera.seed),
        camera: args.camera_number,
        weather: weather(&args.camera.weather, args.camera.seed)?,
        size,
        fps,
        frames: args.seconds * u64::from(fps),
        kbit_s: kbit_s(size, fps),
    };
    let bar = ProgressBar::new(settings.frames);
    write_video(&args.file, &truth, settings, |n| bar.set_position(n))?;
    bar.finish_and_clear();
    say(&format!(
        "{} frames in {}, ground truth in {}",
        settings.frames,
        args.file.display(),
        truth.display()
    ));
    Ok(())
}

fn say(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{what}");
}
