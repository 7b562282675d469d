//! Lookout and consumers that users write on a real Apache Kafka.

mod broker;
mod cluster;
#[cfg(test)]
#[path = "../../../crates/broker/tests/cluster/common.rs"]
mod common;
mod consumers;
mod faults;
mod fleet;
#[cfg(test)]
#[path = "../../../crates/broker/tests/cluster/forwarder.rs"]
mod forwarder;
mod machines;
mod run;
mod tls;
