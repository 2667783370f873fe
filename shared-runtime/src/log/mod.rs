//! The log: producing with an acknowledgement, and reading lanes.

mod args;
mod ends;
mod kafka_producer;
mod kafka_reader;
mod lane_queue;
mod outcomes;
pub mod producer;
pub mod reader;
mod scan;
mod security;
mod topics;

pub use args::KafkaArgs;
pub use ends::LogEnds;
pub use kafka_producer::KafkaProducer;
pub use kafka_reader::KafkaLaneLog;
pub use scan::{Block, Reading, StartAt, scan, stream, stretches};
pub use security::{KafkaSecurityArgs, SaslMechanism, SecurityProtocol};
pub use topics::{
    TopicState, check_topics, create_topics, inspect_topics, longest_life, partitions_of, shortest_retention,
};
