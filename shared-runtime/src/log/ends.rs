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

    /// Every lane that a topic has now, by partition. Errors: the log's own words.
    fn lanes(&self, topic: String) -> BoxFuture<'static, Result<Vec<Lane>, String>>;

    /// The offset behind the last record of each lane, in their order. Errors: the log's own words.
    fn ends(&self, lanes: Vec<Lane>) -> BoxFuture<'static, Result<Vec<i64>, String>>;
}

impl LogEnds for KafkaProducer {
    fn log_id(&self) -> &str {
        Producer::log_id(self)
    }

    fn lanes(&self, topic: String) -> BoxFuture<'static, Result<Vec<Lane>, String>> {
        let client = self.inner.clone();
        Box::pin(async move {
            let ask = move || {
                let known = client.client().fetch_metadata(Some(&topic), CALL_TIMEOUT);
                let known = known.map_err(|error| error.to_string())?;
                let partitions = known.topics().iter().find(|t| t.name() == topic).map(|t| t.partitions());
                let mut lanes: Vec<Lane> = partitions
                    .unwrap_or_default()
                    .iter()
                    .map(|partition| Lane::new(topic.clone(), partition.id()))
                    .collect();
                lanes.sort_unstable();
                if lanes.is_empty() { Err(format!("{topic} has no partitions")) } else { Ok(lanes) }
            };
            tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?
        })
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
