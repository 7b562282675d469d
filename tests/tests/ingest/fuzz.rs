//! Reads mutated files of every container in one process with a good camera: each file ends, the good camera
//! loses no frame, and no thread is left behind.
//!
//! Each container is mutated LOOKOUT_FUZZ times (default 1) with the seed LOOKOUT_FUZZ_SEED (default 1);
//! `make fuzz` starts a long run. LOOKOUT_FUZZ_FILES=FOLDER reads the files of a folder without mutations
//! instead.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use lookout_stage::SourceEnd;
use lookout_tests::{
    isolation::{lock_module, own_process},
    source::{RunningSource, Take, camera, deliver},
    video::{CLIP_FRAMES, clip, write, write_gif},
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

/// Each container with the encoder and muxer that write 12 frames of 96x64.
const CONTAINERS: [(&str, &str); 18] = [
    ("h264.mp4", "x264enc speed-preset=ultrafast key-int-max=4 ! h264parse ! mp4mux"),
    ("fragmented.mp4", "x264enc speed-preset=ultrafast ! h264parse ! mp4mux fragment-duration=100"),
    ("h264.mkv", "x264enc speed-preset=ultrafast key-int-max=4 ! h264parse ! matroskamux"),
    ("h264.ts", "x264enc speed-preset=ultrafast key-int-max=4 ! h264parse ! mpegtsmux"),
    ("h264.flv", "x264enc speed-preset=ultrafast ! h264parse ! flvmux"),
    ("raw.h264", "x264enc speed-preset=ultrafast key-int-max=4 ! video/x-h264,stream-format=byte-stream"),
    ("h265.mkv", "x265enc speed-preset=ultrafast ! h265parse ! matroskamux"),
    ("mpeg4.avi", "avenc_mpeg4 ! avimux"),
    ("jpeg.avi", "jpegenc ! avimux"),
    ("mpeg2.mpg", "mpeg2enc"),
    ("vp8.webm", "vp8enc deadline=1 ! webmmux"),
    ("vp9.webm", "vp9enc deadline=1 cpu-used=8 ! webmmux"),
    ("theora.ogv", "theoraenc ! oggmux"),
    ("ffv1.mkv", "avenc_ffv1 ! matroskamux"),
    ("wmv.asf", "avenc_wmv2 ! asfmux"),
    ("raw.avi", "video/x-raw,format=YUY2 ! avimux"),
    ("still.png", "pngenc snapshot=true"),
    ("still.jpg", "jpegenc snapshot=true"),
];

/// Marsaglia's xorshift64 random number generator.
struct Numbers(u64);

impl Numbers {
    /// Returns a number below `end`, which must be positive.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Damages `bytes` in one of several ways, and returns its name.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) -> &'static str {
    let length = bytes.len();
    let overwrite = |bytes: &mut Vec<u8>, count: usize, end: usize, numbers: &mut Numbers| {
        for _ in 0..count {
            let at = numbers.below(end);
            bytes[at] = numbers.below(256) as u8;
        }
    };
    match numbers.below(6) {
        0 => {
            let count = 1 + numbers.below(12);
            overwrite(bytes, count, length.min(3000), numbers);
            "head"
        }
        1 => {
            let count = 5 + numbers.below(200);
            overwrite(bytes, count, length, numbers);
            "body"
        }
        2 => {
            overwrite(bytes, 6, length.min(3000), numbers);
            overwrite(bytes, 40, length, numbers);
            "both"
        }
        3 => {
            let from = numbers.below(length);
            let to = (from + 1 + numbers.below(5000)).min(length);
            bytes.drain(from..to);
            "cut"
        }
        4 => {
            let from = numbers.below(length);
            let to = (from + 1 + numbers.below(3000)).min(length);
            let again = bytes[from..to].to_vec();
            bytes.splice(from..from, again);
            "duplicated"
        }
        _ => {
            let from = numbers.below(length);
            let to = (from + 1 + numbers.below(4000)).min(length);
            bytes[from..to].fill(0);
            "zeros"
        }
    }
}

/// The clip, read in a loop; every frame of it is consumed.
struct GoodCamera {
    taken: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl GoodCamera {
    fn start() -> Self {
        let uri = clip().display().to_string();
        let source =
            RunningSource::start(camera(&format!("uri = {uri:?}\nloop = true")).unwrap(), Take::default());
        let source = source.unwrap();
        let (taken, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, until) = (Arc::clone(&taken), Arc::clone(&done));
        let thread = thread::spawn(move || {
            let (mut session, mut expected) = (None, 0);
            while !until.load(Relaxed) {
                let frame = source.frame(PATIENCE).expect("the good camera delivers no frame");
                if session.replace(frame.header.session) != Some(frame.header.session) {
                    assert!(expected == 0 || expected == CLIP_FRAMES, "a pass ended after {expected} frames");
                    expected = 0;
                }
                assert_eq!(frame.header.seq, expected, "the good camera lost a frame");
                expected += 1;
                deliver(frame);
                counted.fetch_add(1, Relaxed);
                // Leaves more CPU time to the other cameras.
                thread::sleep(Duration::from_millis(2));
            }
            let (end, _, counts) = source.stop().unwrap();
            assert_eq!(end, SourceEnd::Stopped);
            assert!(counts.dropped.values().sum::<u64>() < 100, "{counts:?}");
        });
        Self { taken, done, thread }
    }

    /// Waits until the camera has delivered another frame.
    fn wait_for_frame(&self) {
        let (before, since) = (self.taken.load(Relaxed), Instant::now());
        while self.taken.load(Relaxed) == before && !self.thread.is_finished() {
            assert!(since.elapsed() < PATIENCE, "the good camera has stopped delivering");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(self) {
        self.done.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Reads the file as a camera until it ends or fails.
#[expect(clippy::print_stdout, reason = "a long run shows its progress")]
fn read(path: &Path, what: &str) {
    let uri = path.display().to_string();
    let lines = format!("uri = {uri:?}\nconnect_timeout_ms = 3000\nstall_timeout_ms = 3000");
    let source = RunningSource::start(camera(&lines).unwrap(), Take::default()).unwrap();
    let started = Instant::now();
    let (end, counts) = source.run_out(PATIENCE, |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let took = started.elapsed().as_millis();
    println!("{what}: {} frames in {took} ms, {end:?}", counts.received);
    assert!(!matches!(end, SourceEnd::Stopped), "{what}");
}

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).ok().map_or(otherwise, |text| text.parse().expect(variable))
}

/// Returns the files to read, each with a description of its origin.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    if let Some(folder) = env::var_os("LOOKOUT_FUZZ_FILES") {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        return paths.into_iter().map(|path| (path.display().to_string(), path)).collect();
    }
    let (count, seed) = (number("LOOKOUT_FUZZ", 1), number("LOOKOUT_FUZZ_SEED", 1));
    let mut files = Vec::new();
    for (i, (name, description)) in (0..).zip(CONTAINERS.into_iter().chain([("clip.gif", "")])) {
        let whole = folder.join(name);
        if description.is_empty() {
            write_gif(&whole, 96, 64, 12).unwrap();
        } else {
            let location = whole.display();
            write(&format!(
                "videotestsrc num-buffers=12 ! video/x-raw,width=96,height=64,framerate=25/1 ! videoconvert \
                 ! {description} ! filesink location={location}"
            ))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let bytes = fs::read(&whole).unwrap();
        for mutation in 0..count {
            // Seeds that are far apart in the sequence, and never 0.
            let mut numbers =
                Numbers((seed * 1_000_003 + i * 1009 + mutation + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut bytes = bytes.clone();
            let how = mutate(&mut bytes, &mut numbers);
            let path = folder.join(format!("{mutation}_{how}_{name}"));
            fs::write(&path, bytes).unwrap();
            files.push((format!("seed {seed}, mutation {mutation} ({how}) of {name}"), path));
        }
    }
    files
}

#[test]
fn mutated_files_end_and_do_not_affect_a_good_camera() {
    let _module = lock_module(module_path!());
    if !own_process(module_path!(), "mutated_files_end_and_do_not_affect_a_good_camera").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let good = GoodCamera::start();
    good.wait_for_frame();
    let before = threads();
    for (what, path) in &files {
        read(path, what);
        good.wait_for_frame();
    }
    // Pipelines that are shutting down keep threads for a while, and the good camera's number of threads
    // varies.
    let since = Instant::now();
    while threads() > before + 8 {
        assert!(since.elapsed() < PATIENCE, "{} threads were left behind", threads() - before);
        thread::sleep(Duration::from_millis(10));
    }
    good.stop();
}
