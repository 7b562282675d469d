//! The rules of `[[camera]]`.

use super::{GOOD, Rule, hold, read};

const RULES: &[Rule] = &[
    ("id = \"north\"", "", 16, "camera[0].id", "is required"),
    ("id = \"north\"", "id = \"north gate\"", 17, "camera[0].id", "is not a valid camera id"),
    ("id = \"clip\"", "id = \"north\"", 21, "camera[1].id", "`camera[0]` has the same id `north`"),
    ("uri = \"clip.avi\"", "", 20, "camera[1].uri", "is required"),
    ("\"clip.avi\"", "\"\"", 22, "camera[1].uri", "the path is empty"),
    ("\"clip.avi\"", "\"http://x/y\"", 22, "camera[1].uri", "unknown scheme `http`"),
    ("\"clip.avi\"", "\"file://x\"", 22, "camera[1].uri", "must start with `/`"),
    ("\"clip.avi\"", "\"test://ball?fps=0\"", 22, "camera[1].uri", "invalid parameter `fps=0`"),
    ("\"clip.avi\"", "\"rtsp://a:1/b@c/d\"", 22, "camera[1].uri", "percent-encode"),
    ("${PASSWORD}", "${MISSING}", 18, "camera[0].uri", "MISSING is not set"),
    ("${PASSWORD}", "${PASSWORD", 18, "camera[0].uri", "no closing `}`"),
    ("${PASSWORD}", "${A B}", 18, "camera[0].uri", "is not a valid name of an environment variable"),
    ("\"clip.avi\"", "\"clip.avi\"\nfps = 0", 23, "camera[1].fps", "between 0.01 and 1000"),
    ("\"clip.avi\"", "\"clip.avi\"\nloop = 1", 23, "camera[1].loop", "true or false"),
    ("\"clip.avi\"", "\"test://ball\"\nloop = true", 23, "camera[1].loop", "for files only"),
    ("\"clip.avi\"", "\"test://ball\"\nfile_fps = 5", 23, "camera[1].file_fps", "for files only"),
    ("\"clip.avi\"", "\"clip.avi\"\nfile_fps = 0", 23, "camera[1].file_fps", "between 0.01 and 1000"),
    ("\"clip.avi\"", "\"clip.avi\"\ndecoder = \"nvdec\"", 23, "camera[1].decoder", "`auto`"),
    ("\"clip.avi\"", "\"test://ball\"\ndecoder = \"gpu\"", 23, "camera[1].decoder", "v4l2 devices only"),
    ("\"clip.avi\"", "\"clip.avi\"\ntransport = \"tcp\"", 23, "camera[1].transport", "for RTSP cameras only"),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\njitter_buffer_ms = 1",
        23,
        "camera[1].jitter_buffer_ms",
        "for RTSP cameras only",
    ),
    (
        "me:${PASSWORD}@camera/stream\"",
        "camera/x\"\ntls_verify = false",
        19,
        "camera[0].tls_verify",
        "rtsps:// cameras only",
    ),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nretry_attempts = 1",
        23,
        "camera[1].retry_attempts",
        "for live cameras only",
    ),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nstall_timeout_ms = 1",
        23,
        "camera[1].stall_timeout_ms",
        "between 100 and",
    ),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nconnect_timeout_ms = 1",
        23,
        "camera[1].connect_timeout_ms",
        "between 100",
    ),
    ("\"clip.avi\"", "\"clip.avi\"\nretry_first_ms = 1", 23, "camera[1].retry_first_ms", "between 10 and"),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nretry_first_ms = 200\nretry_max_ms = 100",
        24,
        "camera[1].retry_max_ms",
        "less than `retry_first_ms`",
    ),
    (
        "rtsp://me:${PASSWORD}@camera/stream\"",
        "rtsps://camera/x\"\ntransport = \"udp\"",
        19,
        "camera[0].transport",
        "would not be encrypted",
    ),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nretry_login_ms = 60000",
        23,
        "camera[1].retry_login_ms",
        "for RTSP cameras only",
    ),
    ("\"clip.avi\"", "\"clip.avi\"\nqueue = 0", 23, "camera[1].queue", "between 1 and 1024"),
    ("\"clip.avi\"", "\"clip.avi\"\npriority = 101", 23, "camera[1].priority", "between 0 and 100"),
    ("\"clip.avi\"", "\"clip.avi\"\nclasses = [\"cat\"]", 23, "camera[1].classes", "filters detections"),
    ("\"clip.avi\"", "\"clip.avi\"\nclasses = \"person\"", 23, "camera[1].classes", "an array of strings"),
    ("\"clip.avi\"", "\"clip.avi\"\nregions = [[0, 0]]", 23, "camera[1].regions[0]", "expected a polygon"),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nregions = [[[0, 0], [1, 1]]]",
        23,
        "camera[1].regions[0]",
        "at least three corners",
    ),
    (
        "\"clip.avi\"",
        "\"clip.avi\"\nregions = [[[0, 0], [1, 0], [1, 1.5]]]",
        23,
        "camera[1].regions[0]",
        "outside of the image",
    ),
    ("\"clip.avi\"", "\"clip.avi\"\nmax_in_flight = 0", 23, "camera[1].max_in_flight", "between 1 and"),
];

/// The rule for a pipeline whose network is a detector.
const OF_DETECTORS: &[Rule] = &[(
    "\"clip.avi\"",
    "\"clip.avi\"\nclasses = [\"a\", 1]",
    23,
    "camera[1].classes[1]",
    "an array of strings",
)];

#[test]
fn reports_each_mistake_in_a_camera_at_its_line_and_key() {
    hold(GOOD, RULES);
    hold(&GOOD.replace("resnet50", "fcos_resnet50_fpn"), OF_DETECTORS);
}

#[test]
fn reads_regions_and_classes() {
    let text = GOOD.replace(
        "\"clip.avi\"",
        "\"clip.avi\"\nregions = [[[0, 0], [0.5, 0], [0.5, 1]]]\nclasses = [\"person\", \"${PASSWORD}\"]",
    );
    let camera = &read(&text.replace("resnet50", "fcos_resnet50_fpn")).unwrap().cameras[1];
    assert_eq!(camera.regions[0].corners(), [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]);
    assert_eq!(camera.classes, ["person", "p@ss"]);
}
