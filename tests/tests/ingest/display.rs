//! Frames are delivered as they are meant to be displayed: rotated, with square pixels, and in the right
//! colors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{num::NonZeroU32, path::Path, time::Duration};

use lookout_ingest::Wanted;
use lookout_schema::Size;
use lookout_stage::{Frame, ResizeMode, SourceEnd};
use lookout_tests::{
    isolation::lock_module,
    source::{RunningSource, Take, camera},
    video::write,
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

const INPUT: Size = Size { width: 160, height: 160 };

/// Returns the size of a file's first frame, and the RGB values of the displayed frame at these positions, in
/// fractions of its sides.
fn first_frame(path: &Path, places: &[(f32, f32)]) -> (Size, Vec<[u8; 3]>) {
    let settings = camera(&format!("uri = {:?}", path.display().to_string())).unwrap();
    let wanted = Wanted { input: INPUT, fit: ResizeMode::Letterbox, every: NonZeroU32::MIN, snapshots: None };
    let source = RunningSource::start(settings, Take { wanted, permits: 64 }).unwrap();
    let mut first = None;
    let (end, counts) = source
        .run_out(PATIENCE, |frame: &Frame| {
            let (size, placement) = (frame.header.source, frame.header.placement);
            let at = |(x, y): &(f32, f32)| {
                let x = (x * size.width as f32 * placement.scale_x + placement.offset_x) as usize;
                let y = (y * size.height as f32 * placement.scale_y + placement.offset_y) as usize;
                let rgb = &frame.pixels.rgb()[(y * INPUT.width as usize + x) * 3..][..3];
                [rgb[0], rgb[1], rgb[2]]
            };
            first.get_or_insert_with(|| (size, places.iter().map(at).collect()));
        })
        .unwrap();
    assert_eq!(end, SourceEnd::Ended, "{} {counts:?}", path.display());
    first.unwrap()
}

/// Returns the colors of the quarters as letters: upper left, upper right, lower left, lower right.
fn quarters(path: &Path) -> (Size, String) {
    let places = [(0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7)];
    let (size, colors) = first_frame(path, &places);
    let letter = |rgb: &[u8; 3]| match rgb {
        [180..=255, 0..=70, 0..=70] => 'r',
        [0..=70, 180..=255, 0..=70] => 'g',
        [0..=70, 0..=70, 180..=255] => 'b',
        [180..=255, 180..=255, 180..=255] => 'w',
        _ => '?',
    };
    (size, colors.iter().map(letter).collect())
}

/// Returns the start of a pipeline that generates 320x180 frames with quarters of red and green above blue
/// and white.
fn mixed(behind: &str) -> String {
    let mut description = format!(
        "compositor name=mix sink_1::xpos=160 sink_2::ypos=90 sink_3::xpos=160 sink_3::ypos=90 \
         ! video/x-raw,format=RGBx,width=320,height=180 ! videoconvert ! {behind}"
    );
    for (i, color) in ["ff0000", "00ff00", "0000ff", "ffffff"].iter().enumerate() {
        description += &format!(
            " videotestsrc pattern=solid-color foreground-color=0xff{color} num-buffers=5 \
             ! video/x-raw,format=RGBx,width=160,height=90,framerate=25/1 ! mix.sink_{i}"
        );
    }
    description
}

/// Writes the transformation matrix of a file's track header (ISO/IEC 14496-12, section 8.3.2).
fn set_matrix(path: &Path, [a, b, c, d]: [i32; 4]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|kind| kind == b"tkhd").unwrap() + 44;
    for (place, value) in [(0, a), (1, b), (3, c), (4, d)] {
        bytes[at + place * 4..][..4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn applies_a_rotation_from_the_container() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    for (matrix, width, height, colors) in [
        ([1, 0, 0, 1], 320, 180, "rgbw"),
        ([0, 1, -1, 0], 180, 320, "brwg"),
        ([-1, 0, 0, -1], 320, 180, "wbgr"),
        ([0, -1, 1, 0], 180, 320, "gwrb"),
        ([-1, 0, 0, 1], 320, 180, "grwb"),
    ] {
        for (muxer, name) in [("mp4mux", "turned.mp4"), ("qtmux", "turned.mov")] {
            let path = folder.path().join(name);
            write(&mixed(&format!(
                "video/x-raw,format=I420 ! x264enc speed-preset=ultrafast ! h264parse ! {muxer} ! filesink location={}",
                path.display()
            )))
            .unwrap();
            set_matrix(&path, matrix);
            assert_eq!(quarters(&path), (Size { width, height }, colors.to_owned()), "{matrix:?} {muxer}");
        }
    }
}

#[test]
fn applies_the_exif_orientation_of_a_jpeg() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.jpg");
    for (turn, width, height, colors) in [("rotate-90", 180, 320, "brwg"), ("rotate-180", 320, 180, "wbgr")] {
        write(&mixed(&format!(
            "jpegenc quality=95 snapshot=true ! taginject tags=image-orientation={turn} ! jifmux ! filesink location={}",
            path.display()
        )))
        .unwrap();
        assert_eq!(quarters(&path), (Size { width, height }, colors.to_owned()), "{turn}");
    }
}

/// Inserts the display orientation SEI message with this anticlockwise turn before each key frame of a byte stream.
fn insert_sei(bytes: &[u8], turn: u16) -> Vec<u8> {
    // Not canceled, not flipped, the rotation, repeated until the next message, no extension, stop bit.
    let bits = u32::from(turn) << 5 | 0b0101 << 1;
    let [_, a, b, c] = bits.to_be_bytes();
    let sei = [0, 0, 0, 1, 6, 47, 3, a, b, c, 0x80];
    let mut out = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let key_frame =
            bytes[at..].starts_with(&[0, 0, 1, 0x65]) || bytes[at..].starts_with(&[0, 0, 1, 0x25]);
        if key_frame {
            // The start code before the key frame has four bytes.
            if out.last() == Some(&0) {
                out.pop();
            }
            out.extend(sei);
            out.push(0);
        }
        out.push(*byte);
    }
    out
}

#[test]
fn applies_the_display_orientation_of_an_h264_stream() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.h264");
    write(&mixed(&format!(
        "video/x-raw,format=I420 ! x264enc speed-preset=ultrafast ! video/x-h264,stream-format=byte-stream \
         ! filesink location={}",
        path.display()
    )))
    .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, insert_sei(&bytes, 0xc000)).unwrap();
    assert_eq!(quarters(&path), (Size { width: 180, height: 320 }, "brwg".into()));
}

#[test]
fn scales_frames_to_square_pixels() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    for (par, encoder, name, width) in [
        ("2/1", "x264enc speed-preset=ultrafast ! h264parse ! mp4mux", "wide.mp4", 640),
        ("64/45", "x264enc speed-preset=ultrafast ! h264parse ! matroskamux", "wide.mkv", 455),
        ("64/45", "x264enc speed-preset=ultrafast ! h264parse ! mpegtsmux", "wide.ts", 455),
        ("1/2", "vp8enc ! webmmux", "narrow.webm", 160),
    ] {
        let path = folder.path().join(name);
        write(&format!(
            "videotestsrc pattern=smpte100 num-buffers=5 \
             ! video/x-raw,format=I420,width=320,height=180,framerate=25/1,pixel-aspect-ratio={par} \
             ! {encoder} ! filesink location={}",
            path.display()
        ))
        .unwrap();
        // The third and the fifth of seven bars: cyan and magenta.
        let (size, colors) = first_frame(&path, &[(0.36, 0.3), (0.64, 0.3)]);
        assert_eq!(size, Size { width, height: 180 }, "{par} {encoder}");
        let bars = [[0..=70, 180..=255, 180..=255], [180..=255, 0..=70, 180..=255]];
        for (color, bar) in colors.iter().zip(&bars) {
            assert!(
                color.iter().zip(bar).all(|(byte, range)| range.contains(byte)),
                "{par} {encoder}: {colors:?}"
            );
        }
    }
}

#[test]
fn decodes_the_encoded_colors() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    for (colorimetry, encoder, name) in [
        ("bt601", "x264enc qp-min=4 quantizer=4 pass=qual ! h264parse ! mp4mux", "sd.mp4"),
        ("bt709", "x264enc quantizer=4 pass=qual ! h264parse ! mp4mux", "hd.mp4"),
        // Full range, in a `colr` box of MP4 and in the color element of Matroska.
        ("1:4:16:4", "x264enc quantizer=4 pass=qual ! h264parse ! mp4mux", "full601.mp4"),
        ("1:3:5:1", "x264enc quantizer=4 pass=qual ! h264parse ! mp4mux", "full709.mp4"),
        ("1:3:5:1", "x264enc quantizer=4 pass=qual ! h264parse ! matroskamux", "full709.mkv"),
        ("1:3:5:1", "x264enc quantizer=4 pass=qual ! h264parse ! mpegtsmux", "full709.ts"),
        ("bt709", "vp9enc deadline=1 cpu-used=8 target-bitrate=4000000 ! webmmux", "vp9.webm"),
        // Only the container specifies the colorimetry.
        ("bt709", "avenc_ffv1 ! matroskamux", "ffv1.mkv"),
        ("1:4:7:1", "jpegenc quality=98 ! qtmux", "jpeg.mov"),
    ] {
        let path = folder.path().join(name);
        write(&format!(
            "videotestsrc pattern=solid-color foreground-color=0xffc83c5a num-buffers=5 \
             ! video/x-raw,format=RGB,width=320,height=180,framerate=25/1 ! videoconvert \
             ! video/x-raw,format=I420,colorimetry={colorimetry} ! {encoder} ! filesink location={}",
            path.display()
        ))
        .unwrap();
        let (_, colors) = first_frame(&path, &[(0.5, 0.5)]);
        let far = colors[0].iter().zip([200, 60, 90]).map(|(a, b): (&u8, u8)| a.abs_diff(b)).max();
        assert!(far <= Some(5), "{name} {colorimetry}: {colors:?}");
    }
}
