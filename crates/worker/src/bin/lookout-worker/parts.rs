//! The real parts of a worker.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lookout_broker::{Embedded, FleetMember, KafkaSink};
use lookout_config::{Brokers, ClassifySettings, KafkaSettings, ModelSettings, PipelineSettings};
use lookout_infer::Rebuild;
use lookout_ingest::{CameraSource, Wanted};
use lookout_model::{Loaded, ModelError, Streams, Target, load_stream};
use lookout_schema::RecordKind;
use lookout_worker::{FleetParts, MakeSource, Parts, worker_id};

/// The parts of a worker, made ready.
pub(crate) struct Ready {
    pub(crate) parts: Parts,
    /// The cluster that was asked for; it has to outlive the worker.
    pub(crate) embedded: Option<Embedded>,
}

impl Ready {
    /// Loads the network, starts the embedded cluster where it is asked for, and the sink.
    ///
    /// # Errors
    /// Something that the pipeline names is not there, or cannot be used; nothing is left running.
    pub(crate) fn new(settings: &PipelineSettings) -> Result<Self> {
        lookout_ingest::init()?;
        let networks = Networks {
            model: settings.model.clone(),
            classify: settings.classify.clone(),
            max_batch: settings.batch.max_size,
        };
        let target = Target::choose(settings.model.device, settings.model.precision)?;
        let streams = Streams::new(&settings.model, target);
        let network = networks.load(&streams)?;
        for camera in &settings.cameras {
            if let Some(class) = camera.classes.iter().find(|class| !network.labels.has(class)) {
                bail!("camera {}: `classes` names `{class}`, which is no class of the network", camera.id);
            }
        }
        let wanted = Wanted {
            input: network.input,
            fit: network.fit,
            every: settings.infer.every,
            snapshots: settings.snapshots,
        };
        let (model, classifier) = (network.info, network.classifier);
        let (device, prefetch) = (network.target.to_string(), network.target.is_gpu());
        let labels = network.labels.clone();
        let mut detectors = vec![network.detector];
        while detectors.len() < streams.count().get() {
            detectors.push(networks.load(&streams)?.detector);
        }
        let embedded = match settings.kafka.brokers {
            Brokers::Embedded => Some(Embedded::start(&settings.kafka)?),
            Brokers::Servers(_) => None,
        };
        let kafka: &KafkaSettings = embedded.as_ref().map_or(&settings.kafka, Embedded::settings);
        let mut kinds = vec![RecordKind::Frame, RecordKind::Status];
        kinds.extend(settings.snapshots.map(|_| RecordKind::Snapshot));
        let sink = KafkaSink::start_for(kafka, &kinds).context("[kafka]")?;
        let fleet = match &settings.fleet {
            Some(fleet) => {
                let worker = worker_id(settings.worker.id.as_ref());
                let (member, events) = FleetMember::start(kafka, fleet, &worker).context("[fleet]")?;
                Some(FleetParts { seat: Box::new(member), events })
            }
            None => None,
        };
        let make_source: MakeSource =
            Arc::new(move |camera| Box::new(CameraSource::new(camera.clone(), wanted)));
        let rebuild: Rebuild = Arc::new(move || {
            let network = networks.load(&streams).map_err(|error| error.to_string())?;
            Ok(network.detector)
        });
        let parts = Parts {
            sink: Arc::new(sink),
            make_source,
            rebuild,
            model,
            classifier,
            device,
            prefetch,
            detectors,
            knows_class: Arc::new(move |class| labels.has(class)),
            fleet,
        };
        Ok(Self { parts, embedded })
    }
}

/// What the networks of a worker are made of.
struct Networks {
    model: ModelSettings,
    classify: Option<ClassifySettings>,
    max_batch: usize,
}

impl Networks {
    /// A network that has seen every batch size.
    fn load(&self, streams: &Streams) -> Result<Loaded, ModelError> {
        let mut network = load_stream(&self.model, self.classify.as_ref(), streams)?;
        network.warm_up(self.max_batch)?;
        Ok(network)
    }
}
