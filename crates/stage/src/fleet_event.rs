//! Events of a fleet's consumer group.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::RegistryRecord;

use crate::Ownership;

/// A change of a partition's ownership or of its cameras.
#[derive(Debug)]
pub enum FleetEvent {
    /// This worker now owns the partition, with these cameras by key.
    Gained {
        /// The partition of the registry.
        partition: i32,
        /// The ownership term of its cameras.
        ownership: Arc<Ownership>,
        /// The records of its cameras, by camera id.
        records: BTreeMap<String, RegistryRecord>,
    },
    /// A camera of an owned partition has changed.
    Changed {
        /// The partition of the registry.
        partition: i32,
        /// The camera's id.
        key: String,
        /// Its new record.
        record: RegistryRecord,
    },
    /// The partition was revoked. The worker has to drain its cameras, then release the partition. Its ownership term ends soon in any case.
    Leaving {
        /// The partition of the registry.
        partition: i32,
    },
    /// Another worker owns the partition, or may own it. The worker has to stop its cameras at once.
    Lost {
        /// The partition of the registry.
        partition: i32,
    },
    /// This worker can no longer be a member of the fleet.
    Failed {
        /// The reason.
        reason: String,
    },
}
