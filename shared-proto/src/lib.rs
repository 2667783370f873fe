//! What crosses process boundaries through Kafka: record types, topics, headers and the lane rule.
//!
//! Source: DESIGN sections 4 and 5. Nothing here decides an outcome; that is `shared-domain`.

mod headers;
mod lane;
mod record;
mod topic;

/// Types generated from `proto/log_record.proto`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/event.v1.rs"));
}

pub use headers::{
    DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TOPIC, EVENT_ID, REQUEST_ID, SCHEMA_VERSION, TRACEPARENT,
};
pub use lane::{Lane, lane_of_member};
pub use record::{DecodeError, SUPPORTED_SCHEMA_VERSION, decode, encode};
pub use topic::{Topic, TopicNames, dead_letter_name};
