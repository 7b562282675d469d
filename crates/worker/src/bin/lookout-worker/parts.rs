//! The real parts of a worker.

use std::sync::Arc;

use anyhow::{Context, Result};
use lookout_broker::{Embedded, KafkaSink};
use lookout_config::{Brokers, KafkaSettings, ModelSettings, PipelineSettings};
use lookout_infer::Rebuild;
use lookout_ingest::{CameraSource, Wanted};
use lookout_model::{Loaded, ModelError, load};
use lookout_worker::{MakeSource, Parts};

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
        let max_batch = settings.batch.max_size;
        let network = loaded(&settings.model, max_batch)?;
        let embedded = match settings.kafka.brokers {
            Brokers::Embedded => Some(Embedded::start(&settings.kafka)?),
            Brokers::Servers(_) => None,
        };
        let kafka: &KafkaSettings = embedded.as_ref().map_or(&settings.kafka, Embedded::settings);
        let sink = KafkaSink::start(kafka).context("[kafka]")?;
        let wanted = Wanted { input: network.input, fit: network.fit, every: settings.infer.every };
        let make_source: MakeSource =
            Arc::new(move |camera| Box::new(CameraSource::new(camera.clone(), wanted)));
        let model = settings.model.clone();
        let rebuild: Rebuild = Box::new(move || {
            loaded(&model, max_batch).map(|network| network.detector).map_err(|error| error.to_string())
        });
        let parts = Parts {
            sink: Arc::new(sink),
            make_source,
            rebuild,
            model: network.info,
            device: network.target.to_string(),
            prefetch: network.target.is_gpu(),
            detector: network.detector,
        };
        Ok(Self { parts, embedded })
    }
}

/// A network that has seen every batch size.
fn loaded(settings: &ModelSettings, max_batch: usize) -> Result<Loaded, ModelError> {
    let mut network = load(settings)?;
    network.warm_up(max_batch)?;
    Ok(network)
}
