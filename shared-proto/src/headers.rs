//! Kafka header names. Values are ASCII text.

/// Schema version of the record, so that tools can filter without decoding.
pub const SCHEMA_VERSION: &str = "schema-version";
/// Event id, decimal.
pub const EVENT_ID: &str = "event-id";
/// Id of the HTTP request that made the record.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C trace context, version 00; only where there is one.
pub const TRACEPARENT: &str = "traceparent";
/// Dead letters: topic the record was read from.
pub const DLT_TOPIC: &str = "dlt-topic";
/// Dead letters: partition the record was read from, decimal.
pub const DLT_PARTITION: &str = "dlt-partition";
/// Dead letters: offset the record was read from, decimal.
pub const DLT_OFFSET: &str = "dlt-offset";
/// Dead letters: why it is here.
pub const DLT_REASON: &str = "dlt-reason";
