//! From what was typed to a Kafka.

use lookout_args::ClusterArgs;
use lookout_config::{Brokers, FleetSettings, KafkaSettings};

use crate::reach::{go_to, plain};

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
        None => (plain(&args.topic_prefix)?, FleetSettings::default()),
    };
    go_to(&mut kafka, args.brokers.as_deref())?;
    if kafka.brokers == Brokers::Embedded {
        return Err(
            "a fleet needs a Kafka cluster that its workers share: pass its address with `--brokers`, or a \
                    pipeline file that sets `brokers` with `--pipeline`"
                .into(),
        );
    }
    Ok(Cluster { kafka, fleet })
}
