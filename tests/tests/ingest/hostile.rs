//! Limits of the memory and time that one camera's data can take in a process with many cameras.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write as _,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lookout_ingest::Wanted;
use lookout_schema::{RetryReason, Size};
use lookout_stage::{ResizeMode, SourceEnd};
use lookout_tests::{
    isolation::{lock_module, own_process},
    source::{RunningSource, Take, camera, deliver},
    video::{CLIP_FRAMES, clip, write, write_gif},
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

fn start(path: &Path, take: Take) -> RunningSource {
    let uri = path.display().to_string();
    RunningSource::start(camera(&format!("uri = {uri:?}")).unwrap(), take).unwrap()
}

fn failure(path: &Path) -> String {
    let (end, _) = start(path, Take::default()).run_out(PATIENCE, |_| ()).unwrap();
    match end {
        SourceEnd::Failed { reason: RetryReason::Undecodable, detail } => {
            assert!(detail.contains(&path.display().to_string()), "{detail}");
            detail
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// Returns the peak resident memory of this process in MiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Writes a JPEG of 64x64 pixels whose header claims `width` and `height`.
fn jpeg_bomb(path: &Path, width: u16, height: u16, progressive: bool) {
    write(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=64,height=64 ! jpegenc ! filesink location={}",
        path.display()
    ))
    .unwrap();
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    if progressive {
        bytes[at + 1] = 0xc2;
    }
    bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn frames_of_extreme_shapes_are_delivered_with_little_memory() {
    let _module = lock_module(module_path!());
    if !own_process(module_path!(), "frames_of_extreme_shapes_are_delivered_with_little_memory").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = [
        (16_384, 1, "GRAY8", "avenc_ffv1"),
        (8192, 2, "GRAY8", "avenc_ffv1"),
        (16, 8192, "BGRx", "avenc_ffv1"),
        (16_384, 16, "Y42B", "avenc_ffv1"),
        (16_384, 16, "I422_10LE", "x264enc speed-preset=ultrafast"),
        (16, 16_384, "I420", "x264enc speed-preset=ultrafast"),
    ];
    for (i, (width, height, format, encoder)) in shapes.iter().enumerate() {
        write(&format!(
            "videotestsrc pattern=white num-buffers=3 ! video/x-raw,format={format},width={width},height={height} \
             ! {encoder} ! matroskamux ! filesink location={}/{i}.mkv",
            folder.path().display()
        ))
        .unwrap();
    }
    let before = peak_memory();
    for (i, (width, height, format, _)) in shapes.into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.mkv"));
        for (fit, side) in [
            (ResizeMode::CenterCrop { short_side: 256 }, 224),
            (ResizeMode::CenterCrop { short_side: 1024 }, 1024),
            (ResizeMode::Letterbox, 640),
        ] {
            let input = Size { width: side, height: side };
            let wanted = Wanted { input, fit, every: NonZeroU32::MIN, snapshots: None };
            let source = start(&path, Take { wanted, permits: 8 });
            let (end, counts) = source
                .run_out(PATIENCE, |frame| {
                    assert_eq!(frame.header.source, Size { width, height });
                    let placement = frame.header.placement;
                    let y = (placement.offset_y + placement.scale_y * height as f32 / 2.0) as u32;
                    let x = (placement.offset_x + placement.scale_x * width as f32 / 2.0) as u32;
                    let middle = (y * side + x) as usize * 3;
                    // videotestsrc does not fill frames with very few rows.
                    let white = frame.pixels.rgb()[middle..][..3].iter().all(|byte| *byte > 230);
                    assert!(white || height < 3, "{width}x{height} {format}");
                })
                .unwrap();
            assert_eq!((end, counts.delivered), (SourceEnd::Ended, 3), "{width}x{height} {format} {fit:?}");
        }
    }
    // Resizing the whole frame before the crop took 790 MB for the second shape.
    let grown = peak_memory() - before;
    assert!(grown < 400, "{grown} MiB");
}

#[test]
fn images_with_huge_claimed_sizes_fail_before_they_are_decoded() {
    let _module = lock_module(module_path!());
    if !own_process(module_path!(), "images_with_huge_claimed_sizes_fail_before_they_are_decoded").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [baseline, progressive, video] =
        ["baseline.jpg", "progressive.jpg", "video.mkv"].map(|name| folder.path().join(name));
    jpeg_bomb(&baseline, 65_500, 65_500, false);
    jpeg_bomb(&progressive, 30_000, 30_000, true);
    write(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,format=GRAY8,width=640,height=300 ! avenc_ffv1 ! matroskamux \
         ! filesink location={}",
        video.display()
    ))
    .unwrap();
    // Changes PixelWidth and PixelHeight, two bytes each, to 16384.
    let mut bytes = fs::read(&video).unwrap();
    for element in [[0xb0, 0x82, 640u16.to_be_bytes()[0], 128], [0xba, 0x82, 300u16.to_be_bytes()[0], 44]] {
        let at = bytes.windows(4).position(|window| window == element).unwrap();
        bytes[at + 2..at + 4].copy_from_slice(&16_384u16.to_be_bytes());
    }
    fs::write(&video, bytes).unwrap();
    let before = peak_memory();
    for (path, size) in [(baseline, "65500x65500"), (progressive, "30000x30000"), (video, "16384x16384")] {
        let detail = failure(&path);
        assert!(detail.contains(&format!("{size} pixels")), "{detail}");
    }
    let grown = peak_memory() - before;
    assert!(grown < 400, "{grown} MiB");
}

#[test]
fn a_container_with_too_many_tracks_fails() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tracks.mkv");
    let mut description = format!("matroskamux name=mux ! filesink location={}", path.display());
    description += " videotestsrc num-buffers=5 ! video/x-raw,width=64,height=64 ! jpegenc ! mux.";
    for _ in 0..100 {
        description += " audiotestsrc num-buffers=5 ! audio/x-raw,format=S16LE,rate=8000,channels=1 ! mux.";
    }
    write(&description).unwrap();
    let detail = failure(&path);
    assert!(detail.contains("more than 64 tracks"), "{detail}");
}

#[test]
fn unsupported_formats_fail_with_advice() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let svg = b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30000\" height=\"30000\"/>";
    let playlist =
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n";
    let nut = [b"nut/multimedia container\0NM\x7a\x56\x1f\x5f\x04\xad".as_slice(), &[0; 400]].concat();
    for (path, expected) in [
        (file("drawing.svg", svg), "drawings are not decoded"),
        (file("list.m3u8", playlist), "connect to any address"),
        (file("clip.nut", &nut), "blocks all other cameras"),
    ] {
        let detail = failure(&path);
        assert!(detail.contains(expected) && detail.contains("ffmpeg"), "{detail}");
    }
}

/// Writes a GIF of 4 frames of 64x48 pixels, 200 ms each.
fn gif(folder: &Path) -> PathBuf {
    let path = folder.join("clip.gif");
    write_gif(&path, 64, 48, 4).unwrap();
    path
}

#[test]
fn an_animated_gif_is_read_with_its_frame_times() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let mut frames = Vec::new();
    let source = start(&gif(folder.path()), Take::default());
    let (end, counts) = source
        .run_out(PATIENCE, |frame| {
            frames.push((frame.header.source, frame.header.pts_ns.unwrap() / 1_000_000));
        })
        .unwrap();
    let size = Size { width: 64, height: 48 };
    assert_eq!((end, counts.delivered), (SourceEnd::Ended, 4));
    assert_eq!(frames, [(size, 0), (size, 200), (size, 400), (size, 600)]);
}

#[test]
fn damaged_and_incomplete_gifs_do_not_block_other_cameras() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(gif(folder.path())).unwrap();
    let damaged = folder.path().join("damaged.gif");
    let middle = bytes.len() / 2;
    fs::write(&damaged, [&bytes[..middle], &vec![0; 4000]].concat()).unwrap();
    // The writer of this pipe sends a part of the image and then waits.
    let pipe = folder.path().join("pipe.gif");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let waiting = start(&pipe, Take::default());
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(&bytes[..middle]).unwrap();
    let broken = start(&damaged, Take::default());
    // Each of these cameras starts a decoder and the file's demuxer while the others are being read.
    for _ in 0..3 {
        let (end, counts) = start(&clip(), Take::default()).run_out(PATIENCE, |_| ()).unwrap();
        assert_eq!((end, counts.delivered), (SourceEnd::Ended, CLIP_FRAMES));
    }
    assert!(!matches!(broken.run_out(PATIENCE, |_| ()).unwrap().0, SourceEnd::Stopped));
    // On a slow machine, the camera has given up by now.
    let _ = writer.write_all(&bytes[middle..]);
    drop(writer);
    while let Some(frame) = waiting.next(PATIENCE).unwrap() {
        deliver(frame);
    }
    waiting.stop().unwrap();
}
