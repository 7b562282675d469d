//! The whole crate against librdkafka's own cluster, in one process: no server, and faults to order.

#[cfg(test)]
mod common;
mod consumers;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forwarder;
mod group;
#[cfg(test)]
mod recording;
mod refusals;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod snapshots;
