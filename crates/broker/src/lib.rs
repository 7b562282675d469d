//! Kafka: producer, consumer, topics, and the embedded cluster.
