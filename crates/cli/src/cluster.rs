//! The Kafka cluster of a command for the registry or the fleet.

use lookout_args::ClusterArgs;
use lookout_config::{Brokers, FleetSettings, KafkaSettings};

use crate::reach::{go_to, plain};

/// A Kafka cluster, and the `[fleet]` settings of the pipeline file or their defaults.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kafka: KafkaSettings,
    pub(crate) fleet: FleetSettings,
}

/// Returns the cluster that `args` select.
///
/// # Errors
/// Returns an error message if the arguments or the pipeline file are invalid.
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
