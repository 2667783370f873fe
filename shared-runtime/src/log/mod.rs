//! The log: producing with an acknowledgement, and reading lanes.

mod args;
mod kafka_producer;
pub mod producer;

pub use args::KafkaArgs;
pub use kafka_producer::KafkaProducer;
