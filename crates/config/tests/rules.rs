//! Pipeline files: one invalid file per rule. Each error has its line, its key and a message with a remedy.

use std::path::Path;

use lookout_config::{ConfigError, PipelineSettings, parse};

const GOOD: &str = r#"name = "gate"

[model]
arch = "resnet50"
weights = "random:0"

[batch]
max_size = 8

[kafka]
brokers = "embedded"

[worker]
http = "127.0.0.1:9600"

[[camera]]
id = "north"
uri = "rtsp://me:${PASSWORD}@camera/stream"

[[camera]]
id = "clip"
uri = "clip.avi"
"#;

fn read(text: &str) -> Result<PipelineSettings, ConfigError> {
    parse(Path::new("gate.toml"), text, &|name| (name == "PASSWORD").then(|| "p@ss".into()))
}

/// `(text in the valid file, replacement, line of the error, key of the error, part of the message)`
const RULES: &[(&str, &str, usize, &str, &str)] = &[
    ("name = \"gate\"", "name = ", 1, "", "invalid TOML"),
    ("name = \"gate\"", "", 1, "name", "is required"),
    ("name = \"gate\"", "name = \"\"", 1, "name", "is empty"),
    ("name = \"gate\"", "name = 3", 1, "name", "expected a string in quotes"),
    ("name = \"gate\"", "nmae = \"x\"\nname = \"gate\"", 1, "nmae", "did you mean `name`?"),
    ("[model]", "[modle]", 3, "modle", "did you mean `model`?"),
    ("[model]", "model = 1\n[model2]", 3, "model", "expected a table"),
    ("arch = \"resnet50\"\n", "", 3, "model.arch", "is required"),
    ("\"resnet50\"", "\"resnet51\"", 4, "model.arch", "did you mean `resnet50`?"),
    ("\"resnet50\"", "\"yolo\"", 4, "model.arch", "valid values are `resnet18`"),
    ("weights = \"random:0\"\n", "", 3, "model.weights", "is required"),
    ("\"random:0\"", "\"random:x\"", 5, "model.weights", "is not a valid seed"),
    ("\"random:0\"", "\"resnet50\"", 5, "model.weights", "nor a file that ends in"),
    ("\"random:0\"", "\"random:0\"\ndevice = \"gpu\"", 6, "model.device", "is not a valid device"),
    ("\"random:0\"", "\"random:0\"\nprecision = \"int4\"", 6, "model.precision", "valid values are `auto`"),
    (
        "\"random:0\"",
        "\"random:0\"\ndevice = \"cpu\"\nprecision = \"fp16\"",
        7,
        "model.precision",
        "GPUs only",
    ),
    ("\"random:0\"", "\"random:0\"\ninput = \"224\"", 6, "model.input", "WIDTHxHEIGHT"),
    ("\"random:0\"", "\"random:0\"\ninput = \"8x8\"", 6, "model.input", "32 to 4096"),
    (
        "\"random:0\"",
        "\"random:0\"\ninput = \"224x224\"\nsmaller_inputs = [\"128x128\"]",
        7,
        "model.smaller_inputs",
        "only built-in detectors",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\nsmaller_inputs = [\"320x192\"]",
        6,
        "model.smaller_inputs",
        "smaller than `input`",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nsmaller_inputs = [\"640x384\"]",
        7,
        "model.smaller_inputs",
        "is not smaller than the input before it",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nsmaller_inputs = [\"320\"]",
        7,
        "model.smaller_inputs",
        "WIDTHxHEIGHT",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nresize_mode = \"center-crop\"\nsmaller_inputs = [\"320x192\"]",
        8,
        "model.smaller_inputs",
        "use `letterbox`",
    ),
    ("\"random:0\"", "\"random:0\"\nresize_mode = \"crop\"", 6, "model.resize_mode", "center-crop"),
    (
        "\"random:0\"",
        "\"random:0\"\nresize_mode = \"torchvision\"",
        6,
        "model.resize_mode",
        "all frames of a batch",
    ),
    ("\"random:0\"", "\"random:0\"\nresize_mode = 1", 6, "model.resize_mode", "a string in quotes"),
    ("\"random:0\"", "\"random:0\"\nscore_threshold = 1.5", 6, "model.score_threshold", "between 0 and 1"),
    ("\"random:0\"", "\"random:0\"\nnms_iou = -0.1", 6, "model.nms_iou", "between 0 and 1"),
    ("\"random:0\"", "\"random:0\"\nmax_detections = 0", 6, "model.max_detections", "between 1 and 100000"),
    (
        "\"random:0\"",
        "\"random:0\"\ncandidates_per_level = 0",
        6,
        "model.candidates_per_level",
        "between 1 and 100000",
    ),
    ("\"random:0\"", "\"random:0\"\ntop_k = 0", 6, "model.top_k", "between 1 and 1000"),
    ("\"random:0\"", "\"random:0\"\nthreads = -1", 6, "model.threads", "between 1 and 1024"),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"",
        3,
        "model.output",
        "is required for a TorchScript module",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"torchvision\"\noutput = \"logits\"",
        5,
        "model.weights",
        "end in .pt, .ts or .pth",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"boxes\"",
        6,
        "model.output",
        "`boxes_scores_labels`",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\nprecision = \"bf16\"",
        7,
        "model.precision",
        "gets fp32 input",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\nnms_iou = 0.5",
        7,
        "model.nms_iou",
        "does its own NMS",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\ncandidates_per_level = 5",
        7,
        "model.candidates_per_level",
        "remove `candidates_per_level`",
    ),
    ("\"random:0\"", "\"random:0\"\noutput = \"logits\"", 6, "model.output", "`arch = \"torchscript\"` only"),
    ("\"random:0\"", "\"m.ts\"", 5, "model.weights", "set `arch = \"torchscript\"`"),
    ("max_size = 8", "max_size = 0", 8, "batch.max_size", "between 1 and 1024"),
    ("max_size = 8", "max_size = \"8\"", 8, "batch.max_size", "expected a whole number"),
    ("max_size = 8", "max_wait = 8", 8, "batch.max_wait", "did you mean `max_wait_ms`?"),
    ("max_size = 8", "max_wait_ms = 10001", 8, "batch.max_wait_ms", "between 0 and 10000"),
    ("max_size = 8", "max_age_ms = 0", 8, "batch.max_age_ms", "between 1 and"),
    ("\"embedded\"", "\"kafka\"", 11, "kafka.brokers", "`kafka` is not a valid `host:port`"),
    ("\"embedded\"", "\"a:1,:2\"", 11, "kafka.brokers", "`:2` is not a valid `host:port`"),
    (
        "\"embedded\"",
        "\"embedded\"\ntopic_prefix = \"a b\"",
        12,
        "kafka.topic_prefix",
        "not a valid topic prefix",
    ),
    ("\"embedded\"", "\"embedded\"\nformat = \"avro\"", 12, "kafka.format", "`json`, `protobuf`"),
    ("\"embedded\"", "\"embedded\"\npartitions = 10001", 12, "kafka.partitions", "between 0 and 10000"),
    ("\"embedded\"", "\"embedded\"\nreplication = 101", 12, "kafka.replication", "between 0 and 100"),
    ("\"embedded\"", "\"embedded\"\nbuffer_records = 0", 12, "kafka.buffer_records", "between 1 and"),
    ("\"embedded\"", "\"embedded\"\nclient = { acks = 1 }", 12, "kafka.client.acks", "it is always `all`"),
    (
        "\"embedded\"",
        "\"embedded\"\npassword_file = \"password\"",
        12,
        "kafka.password_file",
        "set `sasl.username`",
    ),
    (
        "\"embedded\"",
        "\"embedded\"\npassword_file = \"password\"\nclient = { \"sasl.username\" = \"me\", \"sasl.password\" = \"x\" }",
        12,
        "kafka.password_file",
        "remove `sasl.password`",
    ),
    (
        "\"embedded\"",
        "\"embedded\"\nclient = { \"ssl.ca.location\" = [] }",
        12,
        "kafka.client.ssl.ca.location",
        "a string, a number, true or false",
    ),
    ("127.0.0.1:9600", "localhost", 14, "worker.http", "use IP:PORT"),
    ("http = \"127.0.0.1:9600\"", "drain_s = 4000", 14, "worker.drain_s", "between 0 and 3600"),
    ("http = \"127.0.0.1:9600\"", "id = \"a b\"", 14, "worker.id", "is not a valid worker id"),
    (
        "http = \"127.0.0.1:9600\"",
        "status_interval_ms = 1",
        14,
        "worker.status_interval_ms",
        "between 100 and",
    ),
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
    ("http = \"127.0.0.1:9600\"", "latency_budget_ms = 0", 14, "worker.latency_budget_ms", "between 1 and"),
    ("name = \"gate\"", "name = \"gate\"\ncameras = \"all\"", 2, "cameras", "valid values are `registry`"),
    ("[worker]", "[fleet]\n[worker]", 13, "fleet", "for `cameras = \"registry\"` only"),
    ("max_size = 8", "max_size = 8\n[infer]\ninterval = 0", 10, "infer.interval", "between 1 and"),
    ("name = \"gate\"", "name = \"gate\"\nsnapshots = true", 2, "snapshots", "expected a table"),
    ("[worker]", "[snapshots]\ninterval_ms = 99\n[worker]", 14, "snapshots.interval_ms", "between 100 and"),
    ("[worker]", "[snapshots]\nwidth = 32\n[worker]", 14, "snapshots.width", "between 64 and 1920"),
    ("[worker]", "[snapshots]\nquality = 0\n[worker]", 14, "snapshots.quality", "between 1 and 100"),
    ("[worker]", "[snapshots]\nheight = 1\n[worker]", 14, "snapshots.height", "valid keys are `interval_ms`"),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"resnet18\"\nweights = \"random:0\"",
        9,
        "classify",
        "finds no boxes",
    ),
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

/// The same for a pipeline whose network is a detector.
const OF_DETECTORS: &[(&str, &str, usize, &str, &str)] = &[
    ("\"clip.avi\"", "\"clip.avi\"\nclasses = [\"a\", 1]", 23, "camera[1].classes[1]", "an array of strings"),
    ("max_size = 8", "max_size = 8\n[classify]\nweights = \"random:0\"", 9, "classify.arch", "is required"),
    ("max_size = 8", "max_size = 8\n[classify]\narch = \"resnet18\"", 9, "classify.weights", "is required"),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"",
        10,
        "classify.arch",
        "valid values are `resnet18`",
    ),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"resnet18\"\nweights = \"random:0\"\nmargin = -1",
        12,
        "classify.margin",
        "between 0 and 4",
    ),
];

#[test]
fn accepts_a_valid_file() {
    let settings = read(GOOD).unwrap();
    assert_eq!(settings.cameras.len(), 2);
    assert_eq!(settings.cameras[0].uri.to_string(), "rtsp://***@camera/stream");
}

#[test]
fn reports_each_mistake_at_its_line_and_key() {
    hold(GOOD, RULES);
    hold(&GOOD.replace("resnet50", "fcos_resnet50_fpn"), OF_DETECTORS);
}

fn hold(good: &str, rules: &[(&str, &str, usize, &str, &str)]) {
    for (from, to, line, key, part) in rules {
        assert_eq!(good.matches(from).count(), 1, "{from}");
        let Err(error) = read(&good.replace(from, to)) else { panic!("{to}") };
        let found =
            error.diagnostics.iter().any(|m| m.line == *line && m.key == *key && m.what.contains(part));
        assert!(found, "{to}: expected {line}: {key}: {part}\n{error}");
        let one = error.diagnostics.len() == 1 || to.starts_with("[modle]") || to.starts_with("model = 1");
        assert!(one, "{to}: expected one diagnostic only\n{error}");
        assert!(!error.to_string().contains("p@ss"), "{error}");
    }
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

#[test]
fn rejects_a_file_without_cameras() {
    let text = GOOD.split("[[camera]]").next().unwrap();
    let error = read(text).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1);
    assert!(error.diagnostics[0].what.contains("there is no camera"), "{error}");
}

#[test]
fn reports_all_mistakes_sorted_by_line() {
    let text = GOOD
        .replace("resnet50", "resnet51")
        .replace("max_size = 8", "max_size = 0\nmax = 1")
        .replace("clip.avi", "ftp://x");
    let error = read(&text).unwrap_err();
    let keys: Vec<&str> = error.diagnostics.iter().map(|m| m.key.as_str()).collect();
    assert_eq!(keys, ["model.arch", "batch.max_size", "batch.max", "camera[1].uri"]);
    assert!(error.to_string().starts_with("gate.toml:4: model.arch: unknown value `resnet51`"), "{error}");
}

#[test]
fn rejects_an_empty_list_of_cameras() {
    let text = format!("camera = []\n{}", GOOD.split("[[camera]]").next().unwrap());
    assert!(read(&text).unwrap_err().to_string().contains("there is no camera"));
}

const OF_A_FLEET: &str = r#"name = "gate"
cameras = "registry"

[model]
arch = "resnet50"
weights = "random:0"

[kafka]
brokers = "kafka:9092"

[fleet]
partitions = 6
secrets = "secrets"
"#;

#[test]
fn reads_a_file_with_the_cameras_of_the_registry() {
    let settings = read(OF_A_FLEET).unwrap();
    let fleet = settings.fleet.unwrap();
    assert!(settings.cameras.is_empty());
    assert_eq!((fleet.partitions, fleet.session_timeout.as_secs()), (6, 6));
    assert_eq!(fleet.secrets.unwrap(), Path::new("secrets"));
    assert!(read(GOOD).unwrap().fleet.is_none());
    for (from, to, line, key, part) in [
        ("secrets = ", "[[camera]]\nid = \"a\"\nuri = ", 13, "camera", "no cameras of its own"),
        ("kafka:9092", "embedded", 2, "cameras", "set `brokers` in [kafka]"),
        ("partitions = 6", "static_member = true", 11, "fleet", "needs an `id` in [worker]"),
        ("partitions = 6", "partitions = 0", 12, "fleet.partitions", "between 1 and 10000"),
        ("partitions = 6", "session_timeout_ms = 10", 12, "fleet.session_timeout_ms", "between 1000 and"),
        ("partitions = 6", "max_cameras = 0", 12, "fleet.max_cameras", "between 1 and"),
    ] {
        let error = read(&OF_A_FLEET.replace(from, to)).expect_err(to);
        let found = error.diagnostics.iter().any(|m| m.line == line && m.key == key && m.what.contains(part));
        assert!(found && error.diagnostics.len() == 1, "{to}: expected {line}: {key}: {part}\n{error}");
    }
}

#[test]
fn rejects_an_array_instead_of_a_table() {
    let error = read(&GOOD.replace("[batch]", "[[batch]]")).unwrap_err();
    assert!(error.to_string().contains("batch: expected a table"), "{error}");
}
