//! Tests of the whole crate against librdkafka's mock cluster, in one process: without a server, and with
//! injected faults.

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
