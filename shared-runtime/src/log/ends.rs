//! Where lanes end now: for backlogs, and for knowing when a restored database has caught up.

use std::time::Duration;

use futures::future::BoxFuture;
use rdkafka::producer::Producer as _;
use shared_proto::Lane;

use super::kafka_producer::KafkaProducer;
use super::producer::Producer;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Knows where lanes end.
pub trait LogEnds: Send + Sync + 'static {
    /// Identity of the log.
    fn log_id(&self) -> &str;

    /// The offset behind the last record of each lane, in their order. Errors: the log's own words.
    fn ends(&self, lanes: Vec<Lane>) -> BoxFuture<'static, Result<Vec<i64>, String>>;
}

impl LogEnds for KafkaProducer {
    fn log_id(&self) -> &str {
        Producer::log_id(self)
    }

    fn ends(&self, lanes: Vec<Lane>) -> BoxFuture<'static, Result<Vec<i64>, String>> {
        let client = self.inner.clone();
        Box::pin(async move {
            let ask = move || {
                let end = |lane: &Lane| {
                    client
                        .client()
                        .fetch_watermarks(&lane.topic, lane.partition, CALL_TIMEOUT)
                        .map(|(_, end)| end)
                };
                lanes.iter().map(end).collect::<Result<Vec<_>, _>>()
            };
            let asked = tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?;
            asked.map_err(|error| error.to_string())
        })
    }
}
