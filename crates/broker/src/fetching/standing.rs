//! The state of each partition, derived from librdkafka's statistics.

use std::{collections::BTreeMap, fmt};

use rdkafka::{
    Statistics,
    statistics::{Broker, Partition},
};

/// The state of an assigned partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The last fetch was answered, and the next one is under way.
    Fetched,
    /// It has not been fetched yet.
    Pending,
    /// The last fetch was answered by an error.
    Refused,
    /// The brokers do not know the partition, or do not show it to this user.
    Unknown,
    NoLeader,
    Unreachable {
        broker: String,
    },
    Silent {
        broker: String,
    },
}

/// The state of the client's group membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Joined,
    Joining,
}

/// The content of one statistics report.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) partitions: BTreeMap<(String, i32), Standing>,
    /// `None` for a client without a group.
    pub(super) group: Option<Group>,
}

impl Snapshot {
    /// Creates a snapshot. `silent_us` is how long a broker's answer may be outstanding, in microseconds.
    pub(super) fn of(statistics: &Statistics, silent_us: i64) -> Self {
        let group = statistics.cgrp.as_ref().map(|group| {
            let joined = group.state == "up" && group.join_state == "steady";
            if joined { Group::Joined } else { Group::Joining }
        });
        let mut partitions = BTreeMap::new();
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values().filter(|partition| partition.partition >= 0) {
                let place = (topic.topic.clone(), partition.partition);
                partitions.insert(place, Standing::of(statistics, partition, silent_us));
            }
        }
        Self { partitions, group }
    }
}

impl Standing {
    fn of(statistics: &Statistics, partition: &Partition, silent_us: i64) -> Self {
        if partition.unknown {
            return Self::Unknown;
        }
        if partition.leader < 0 {
            return Self::NoLeader;
        }
        // Fetches may also go to a follower.
        let id = if partition.broker >= 0 { partition.broker } else { partition.leader };
        let is_it = |broker: &&Broker| broker.nodeid == id && broker.source != "logical";
        let Some(broker) = statistics.brokers.values().find(is_it) else {
            return Self::Unreachable { broker: id.to_string() };
        };
        if broker.state != "UP" {
            return Self::Unreachable { broker: broker.name.clone() };
        }
        if broker.waitresp_cnt > 0 && broker.rxidle > silent_us {
            return Self::Silent { broker: broker.name.clone() };
        }
        match (partition.fetch_state.as_str(), partition.hi_offset) {
            ("active", 0..) => Self::Fetched,
            // The state after brokers denied a fetch.
            ("active", -1) => Self::Refused,
            _ => Self::Pending,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched => f.write_str("is read"),
            Self::Pending => f.write_str("has not been read yet"),
            Self::Refused => f.write_str("cannot be read, its broker returned an error"),
            Self::Unknown => f.write_str("does not exist, or this user has no access to it"),
            Self::NoLeader => f.write_str("has no leader"),
            Self::Unreachable { broker } => write!(f, "is on broker {broker}, which cannot be reached"),
            Self::Silent { broker } => write!(f, "is on broker {broker}, which does not answer"),
        }
    }
}

/// Returns statistics of one partition, partition 0 of the topic `t`.
#[cfg(test)]
pub(super) fn statistics(state: &str, leader: i32, hi_offset: i64) -> Statistics {
    use rdkafka::statistics::Topic;
    let broker = Broker { nodeid: 0, name: "b:1/0".into(), state: state.into(), ..Broker::default() };
    let partition = Partition {
        partition: 0,
        leader,
        broker: leader,
        fetch_state: "active".into(),
        hi_offset,
        ..Partition::default()
    };
    let topic = Topic { topic: "t".into(), partitions: [(0, partition)].into(), ..Topic::default() };
    Statistics {
        brokers: [("b".into(), broker)].into(),
        topics: [("t".into(), topic)].into(),
        ..Statistics::default()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::ConsumerGroup;

    use super::*;

    const SILENT_US: i64 = 2_000_000;

    fn standing(statistics: &Statistics) -> Standing {
        Snapshot::of(statistics, SILENT_US).partitions[&("t".to_owned(), 0)].clone()
    }

    #[test]
    fn a_partition_is_fetched_only_if_its_broker_answers() {
        assert_eq!(standing(&statistics("UP", 0, 5)), Standing::Fetched);
        assert_eq!(standing(&statistics("UP", 0, -1)), Standing::Refused);
        assert_eq!(standing(&statistics("UP", 0, -1001)), Standing::Pending);
        assert_eq!(standing(&statistics("UP", -1, 5)), Standing::NoLeader);
        assert_eq!(
            standing(&statistics("TRY_CONNECT", 0, 5)),
            Standing::Unreachable { broker: "b:1/0".into() }
        );
        // The bootstrap address answers, and the partition's broker has moved.
        assert_eq!(standing(&statistics("UP", 1, 5)), Standing::Unreachable { broker: "1".into() });
    }

    #[test]
    fn a_broker_with_an_overdue_answer_is_silent() {
        let mut statistics = statistics("UP", 0, 5);
        let broker = statistics.brokers.get_mut("b").unwrap_or_else(|| unreachable!());
        broker.rxidle = SILENT_US + 1;
        assert_eq!(standing(&statistics), Standing::Fetched);
        let broker = statistics.brokers.get_mut("b").unwrap_or_else(|| unreachable!());
        broker.waitresp_cnt = 1;
        assert_eq!(standing(&statistics), Standing::Silent { broker: "b:1/0".into() });
    }

    #[test]
    fn a_group_is_joined_in_the_steady_state() {
        let group = |state: &str, join: &str| {
            let cgrp =
                ConsumerGroup { state: state.into(), join_state: join.into(), ..ConsumerGroup::default() };
            Snapshot::of(&Statistics { cgrp: Some(cgrp), ..Statistics::default() }, SILENT_US).group
        };
        assert_eq!(group("up", "steady"), Some(Group::Joined));
        assert_eq!(group("up", "wait-sync"), Some(Group::Joining));
        assert_eq!(group("query-coord", "init"), Some(Group::Joining));
    }
}
