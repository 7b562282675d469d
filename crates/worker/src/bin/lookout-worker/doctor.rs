//! The command `lookout doctor`.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Result;
use lookout_args::DoctorArgs;
use lookout_broker::{BrokerCheck, diagnose};
use lookout_config::{
    Brokers, CameraSettings, Device, KafkaSettings, PipelineSettings, Precision, SourceUri, read,
};
use lookout_ingest::{Decoder, decoders, is_pipe, probe};
use lookout_model::{Loaded, ModelError, Streams, Target, load_stream};

/// Exit code for wrong input; nothing was started.
const WRONG_INPUT: u8 = 2;

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let settings = match args.pipeline.as_deref().map(read).transpose() {
        Ok(settings) => settings,
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    let mut sheet = Report::default();
    sheet.note(&decoding())?;
    match settings {
        Some(settings) => look_at(&settings, Duration::from_secs(args.timeout), &mut sheet)?,
        None => sheet.note(&device())?,
    }
    Ok(if sheet.all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look_at(settings: &PipelineSettings, patience: Duration, sheet: &mut Report) -> Result<()> {
    sheet.note(&network(settings))?;
    for finding in brokers(&settings.kafka, patience) {
        sheet.note(&finding)?;
    }
    // All cameras are probed at the same time, as a worker would open them. Each probe ends within `patience`.
    thread::scope(|scope| {
        let probes: Vec<_> =
            settings.cameras.iter().map(|camera| scope.spawn(move || look(camera, patience))).collect();
        for (probe, camera) in probes.into_iter().zip(&settings.cameras) {
            let panicked = |_| Finding::bad(subject(camera), "the probe of this camera panicked".into());
            sheet.note(&probe.join().unwrap_or_else(panicked))?;
        }
        Ok(())
    })
}

/// One line of the report.
struct Finding {
    subject: String,
    well: bool,
    what: String,
}

impl Finding {
    fn good(subject: impl Into<String>, what: String) -> Self {
        Self { subject: subject.into(), well: true, what }
    }

    fn bad(subject: impl Into<String>, what: String) -> Self {
        Self { subject: subject.into(), well: false, what }
    }
}

/// The report, which is printed line by line.
struct Report {
    all_well: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self { all_well: true }
    }
}

impl Report {
    fn note(&mut self, finding: &Finding) -> io::Result<()> {
        let mark = if finding.well { "ok " } else { "BAD" };
        self.all_well &= finding.well;
        writeln!(io::stdout(), "{mark}  {}: {}", finding.subject, finding.what)
    }
}

fn decoding() -> Finding {
    match decoders() {
        Ok(decoders) if decoders.iter().any(|decoder| decoder.codec == "H.264") => {
            let list: Vec<_> = decoders.iter().map(Decoder::to_string).collect();
            Finding::good("decoders", list.join(", "))
        }
        Ok(_) => Finding::bad("decoders", "no decoder for H.264; install GStreamer's plugin libav".into()),
        Err(fault) => Finding::bad("decoders", fault.to_string()),
    }
}

fn device() -> Finding {
    match Target::choose(Device::Auto, Precision::Auto) {
        Ok(target) => Finding::good("device", format!("{target}, {}", target.precision().as_str())),
        Err(error) => Finding::bad("device", error.to_string()),
    }
}

fn loaded(settings: &PipelineSettings) -> Result<Loaded, ModelError> {
    let target = Target::choose(settings.model.device, settings.model.precision)?;
    load_stream(&settings.model, settings.classify.as_ref(), &Streams::new(&settings.model, target))
}

fn network(settings: &PipelineSettings) -> Finding {
    match loaded(settings) {
        Ok(network) => {
            let (info, input) = (&network.info, network.input);
            let behind = network.classifier.map(|second| {
                format!("; secondary classifier {} with weights {}", second.arch, second.weights)
            });
            let what = format!(
                "{} with weights {} on {} in {}, input {}x{}{}",
                info.arch,
                info.weights,
                network.target,
                info.precision,
                input.width,
                input.height,
                behind.unwrap_or_default()
            );
            Finding::good("network", what)
        }
        Err(error) => Finding::bad("network", format!("{:#}", anyhow::Error::from(error))),
    }
}

fn brokers(settings: &KafkaSettings, patience: Duration) -> Vec<Finding> {
    if settings.brokers == Brokers::Embedded {
        return vec![Finding::good("brokers", "embedded broker, which runs in the worker".into())];
    }
    match diagnose(settings, patience) {
        Ok(found) => reached(&found),
        Err(error) => vec![Finding::bad("brokers", error.to_string())],
    }
}

fn reached(found: &BrokerCheck) -> Vec<Finding> {
    if let Some(problem) = &found.problem {
        return vec![Finding::bad("brokers", format!("{}; {}", problem.what, problem.advice))];
    }
    let topics = found.topics.iter().map(|topic| {
        let subject = format!("topic {}", topic.name);
        match (&topic.problem, topic.partitions) {
            (Some(problem), _) => Finding::bad(subject, format!("{}; {}", problem.what, problem.advice)),
            (None, Some(partitions)) => Finding::good(subject, format!("{partitions} partitions")),
            (None, None) => Finding::good(subject, "does not exist yet, the first run creates it".into()),
        }
    });
    let unreached =
        found.unreached.iter().map(|it| Finding::bad("brokers", format!("{}; {}", it.what, it.advice)));
    [Finding::good("brokers", found.brokers.join(", "))].into_iter().chain(unreached).chain(topics).collect()
}

fn subject(camera: &CameraSettings) -> String {
    format!("camera {}", camera.id)
}

fn look(camera: &CameraSettings, patience: Duration) -> Finding {
    if let SourceUri::File(path) = &camera.uri
        && is_pipe(path)
    {
        let what = format!("{}: a named pipe; not opened, because its data would be lost", path.display());
        return Finding::good(subject(camera), what);
    }
    match probe(camera, patience) {
        Ok(seen) => {
            let fps = seen.fps.map(|fps| format!(", {fps:.1} frames/s")).unwrap_or_default();
            let (codec, width, height) = (seen.codec, seen.size.width, seen.size.height);
            Finding::good(subject(camera), format!("{codec}, {width}x{height}{fps}"))
        }
        Err(fault) => Finding::bad(subject(camera), fault.to_string()),
    }
}
