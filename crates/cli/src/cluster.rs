//! From what was typed to a Kafka.

use std::num::NonZeroUsize;

use lookout_args::ClusterArgs;
use lookout_config::{Brokers, FleetSettings, KafkaSettings};
use lookout_schema::{RecordFormat, Topics};

/// A Kafka, and what a pipeline file says of the fleet on it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kafka: KafkaSettings,
    pub(crate) fleet: FleetSettings,
}

/// The cluster that `args` name; what is wrong with them otherwise.
pub(crate) fn cluster(args: &ClusterArgs) -> Result<Cluster, String> {
    let pipeline = args.pipeline.as_deref().map(lookout_config::read).transpose();
    let pipeline = pipeline.map_err(|error| error.to_string())?;
    let (mut kafka, fleet) = match pipeline {
        Some(pipeline) => (pipeline.kafka, pipeline.fleet.unwrap_or_default()),
        None => {
            let topics =
                Topics::new(&args.topic_prefix).map_err(|error| format!("--topic-prefix: {error}"))?;
            let kafka = KafkaSettings {
                brokers: Brokers::Embedded,
                topics,
                format: RecordFormat::default(),
                partitions: 0,
                replication: 0,
                buffer_records: NonZeroUsize::MIN,
                client: Vec::new(),
            };
            (kafka, FleetSettings::default())
        }
    };
    if let Some(servers) = &args.brokers {
        kafka.brokers = Brokers::servers(servers).map_err(|what| format!("--brokers: {what}"))?;
    }
    if kafka.brokers == Brokers::Embedded {
        return Err(
            "a fleet needs a Kafka that its workers share: give its address with `--brokers`, or a pipeline \
                    file that does with `--pipeline`"
                .into(),
        );
    }
    Ok(Cluster { kafka, fleet })
}
