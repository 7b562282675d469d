//! The components of a worker with GStreamer, libtorch and Kafka.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lookout_broker::{Embedded, FleetMember, KafkaSink};
use lookout_config::{Brokers, ClassifySettings, KafkaSettings, ModelSettings, PipelineSettings};
use lookout_infer::{ReloadError, ReloadModel};
use lookout_ingest::{CameraSource, Wanted};
use lookout_model::{
    LoadStep, ModelError, Replicas, Streams, Target, gpu_scaler, load_replicas, load_stream, planned_input,
};
use lookout_schema::RecordKind;
use lookout_stage::InputSize;
use lookout_worker::{
    Components, DecoderFallbacks, FleetComponents, Inputs, Loading, MakeSource, Network, worker_id,
};

/// The components of a worker, ready to run.
pub(crate) struct Ready {
    pub(crate) components: Components,
    /// The embedded cluster, if the pipeline uses one; it has to outlive the worker.
    pub(crate) embedded: Option<Embedded>,
}

impl Ready {
    /// Starts the embedded cluster if the pipeline uses one, and the sink. The worker loads the network while the
    /// cameras connect.
    ///
    /// # Errors
    /// Returns an error if a component of the pipeline is missing or cannot be used; nothing keeps running in that
    /// case.
    pub(crate) fn new(settings: &PipelineSettings) -> Result<Self> {
        lookout_ingest::init()?;
        let target = Target::choose(settings.model.device, settings.model.precision)?;
        let networks = Networks {
            model: settings.model.clone(),
            classify: settings.classify.clone(),
            max_batch: settings.batch.largest(target.is_gpu()),
            streams: Streams::new(&settings.model, target),
        };
        let embedded = match settings.kafka.brokers {
            Brokers::Embedded => Some(Embedded::start(&settings.kafka)?),
            Brokers::Servers(_) => None,
        };
        let kafka: &KafkaSettings = embedded.as_ref().map_or(&settings.kafka, Embedded::settings);
        let mut kinds = vec![RecordKind::Frame, RecordKind::Status];
        kinds.extend(settings.snapshots.map(|_| RecordKind::Snapshot));
        let sink = KafkaSink::start_for(kafka, &kinds).context("[kafka]")?;

        let (input, fit) = planned_input(&settings.model);
        let current = InputSize::new(input);
        let wanted = Wanted { input, fit, every: settings.infer.interval, snapshots: settings.snapshots };
        let follows = current.clone();
        let decoder_fallbacks = DecoderFallbacks::default();
        let fallbacks = decoder_fallbacks.clone();
        let gpu = gpu_scaler(target)?;
        let make_source: MakeSource = Arc::new(move |camera| {
            let fallbacks = fallbacks.clone();
            let source = CameraSource::new(camera.clone(), wanted).following(follows.clone());
            Box::new(source.with_gpu(gpu.clone(), move |camera| fallbacks.count(camera)))
        });
        let sizes = [input].into_iter().chain(settings.model.smaller_inputs.iter().copied()).collect();
        let inputs = Inputs { network: settings.model.arch.clone(), sizes, current };

        let reload: ReloadModel = {
            let networks = networks.clone();
            Arc::new(move || {
                target.check().map_err(ReloadError::DeviceLost)?;
                networks.load_one().map_err(|error| ReloadError::Failed(error.to_string()))
            })
        };
        let (settings, kafka) = (settings.clone(), kafka.clone());
        let load = move |loading: &Loading| load(&settings, &kafka, &networks, loading);
        let components = Components {
            sink: Arc::new(sink),
            make_source,
            load: Box::new(load),
            reload,
            device: target.to_string(),
            prefetch: target.is_gpu(),
            inputs,
            decoder_fallbacks,
        };
        Ok(Self { components, embedded })
    }
}

/// Loads the network, and joins the fleet once it is loaded.
fn load(
    settings: &PipelineSettings,
    kafka: &KafkaSettings,
    networks: &Networks,
    loading: &Loading,
) -> Result<Network> {
    let Replicas { detectors, info, classifier, labels, first_pass } = networks.load(loading)?;
    for camera in &settings.cameras {
        if let Some(class) = camera.classes.iter().find(|class| !labels.has(class)) {
            bail!("camera {}: `classes` names `{class}`, which is not a class of the network", camera.id);
        }
    }
    let fleet = match &settings.fleet {
        Some(fleet) => {
            let worker = worker_id(settings.worker.id.as_ref());
            let (member, events) = FleetMember::start(kafka, fleet, &worker).context("[fleet]")?;
            Some(FleetComponents { membership: Box::new(member), events })
        }
        None => None,
    };
    Ok(Network {
        detectors,
        first_pass: Some(first_pass),
        model: info,
        classifier,
        knows_class: Arc::new(move |class| labels.has(class)),
        fleet,
    })
}

/// The settings from which a worker's networks are loaded.
#[derive(Clone)]
struct Networks {
    model: ModelSettings,
    classify: Option<ClassifySettings>,
    max_batch: usize,
    streams: Streams,
}

impl Networks {
    /// Loads a network for each stream.
    fn load(&self, loading: &Loading) -> Result<Replicas, ModelError> {
        let start_step = |step: LoadStep| loading.start_step(step);
        load_replicas(&self.model, self.classify.as_ref(), &self.streams, self.max_batch, &start_step)
    }

    /// Loads a network for a stream whose own has failed. It shares no weights with the others, since the shared
    /// weights may be the cause.
    fn load_one(&self) -> Result<Box<dyn lookout_stage::Detect>, ModelError> {
        let mut network = load_stream(&self.model, self.classify.as_ref(), &self.streams)?;
        network.warm_up(1)?;
        Ok(network.detector)
    }
}
