//! Lanes of Kafka topics, with our own rebalance: the callback only forwards, the loop reads the database and assigns
//! once with explicit offsets (DESIGN section 5, "Assignment").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use shared_proto::{Lane, TRACEPARENT};
use tokio::sync::mpsc;

use super::args::KafkaArgs;
use super::reader::{LaneLog, LogEvent, Record};
use crate::config::StartError;
use crate::traces::{self, SpanContext};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A member of a consumer group.
pub struct KafkaLaneLog {
    consumer: Arc<StreamConsumer<Forwarding>>,
    events: mpsc::UnboundedReceiver<LogEvent>,
    log_id: String,
    /// Whether headers are looked at.
    traced: bool,
}

struct Forwarding {
    events: mpsc::UnboundedSender<LogEvent>,
    closing: AtomicBool,
}

impl ClientContext for Forwarding {}

impl ConsumerContext for Forwarding {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // Runs inside `recv()` on the loop's own task: only report.
        let lanes: Vec<Lane> = list.elements().iter().map(|e| Lane::new(e.topic(), e.partition())).collect();
        let event = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => LogEvent::Assigned(lanes),
            _ => LogEvent::Revoked { lanes, lost: consumer.assignment_lost() },
        };
        let closing = self.closing.load(Ordering::Acquire);
        if closing && matches!(event, LogEvent::Revoked { .. }) {
            // Nobody will answer any more, and librdkafka waits for the answer before it closes.
            report(consumer.incremental_unassign(list), "unassign while closing");
        }
        if self.events.send(event).is_err() && !closing {
            tracing::error!("a rebalance arrived after the loop had ended");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            metrics::counter!("event_offset_commit_errors_total").increment(1);
            tracing::debug!(%error, "mirroring the offsets failed");
        }
    }
}

impl KafkaLaneLog {
    /// Joins `group` on these topics.
    pub async fn join(args: &KafkaArgs, topics: &[String], group: &str) -> Result<Self, StartError> {
        let unreachable = |problem: String| StartError::unreachable("KAFKA_BROKERS", problem);
        let mut config = args.client()?;
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", args.kafka_session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (args.kafka_session_timeout.as_millis() / 4).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // The database is the offset authority: an offset outside the log is an alarm, never a reset.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.message.max.bytes", "1048576")
            // The default waits a second once the queue is full; far behind, the worker would idle in between.
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "8192");
        let (sender, events) = mpsc::unbounded_channel();
        let context = Forwarding { events: sender, closing: AtomicBool::new(false) };
        let consumer: StreamConsumer<Forwarding> =
            config.create_with_context(context).map_err(|e| unreachable(e.to_string()))?;
        let consumer = Arc::new(consumer);
        let client = consumer.clone();
        let log_id = tokio::task::spawn_blocking(move || client.client().fetch_cluster_id(CALL_TIMEOUT * 2))
            .await
            .ok()
            .flatten()
            .ok_or_else(|| unreachable("no broker answers".to_owned()))?;
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| unreachable(e.to_string()))?;
        Ok(Self { consumer, events, log_id, traced: traces::is_on() })
    }
}

impl LaneLog for KafkaLaneLog {
    fn log_id(&self) -> String {
        self.log_id.clone()
    }

    async fn next(&mut self) -> LogEvent {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return event,
                message = self.consumer.recv() => match message {
                    Ok(message) => return LogEvent::Record(Record {
                        lane: Lane::new(message.topic(), message.partition()),
                        offset: message.offset(),
                        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                        timestamp: message.timestamp().to_millis(),
                        trace: if self.traced { trace_of(&message) } else { None },
                    }),
                    Err(KafkaError::MessageConsumption(
                        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                    )) => return LogEvent::OffsetLost,
                    Err(error) => {
                        metrics::counter!("event_consumer_errors_total").increment(1);
                        tracing::warn!(%error, "reading the log failed; the client goes on by itself");
                    }
                },
            }
        }
    }

    fn watermarks(
        &self,
        lanes: Vec<Lane>,
    ) -> impl Future<Output = Result<Vec<(Lane, i64, i64)>, String>> + Send + 'static {
        let consumer = self.consumer.clone();
        async move {
            tokio::task::spawn_blocking(move || {
                lanes
                    .into_iter()
                    .map(|lane| {
                        consumer
                            .fetch_watermarks(&lane.topic, lane.partition, CALL_TIMEOUT)
                            .map(|(low, high)| (lane, low, high))
                            .map_err(|e| e.to_string())
                    })
                    .collect()
            })
            .await
            .map_err(|e| e.to_string())?
        }
    }

    fn start(&mut self, lanes: &[(Lane, Option<i64>)]) {
        let mut list = TopicPartitionList::new();
        let mut paused = TopicPartitionList::new();
        for (lane, offset) in lanes {
            let offset = offset.map_or(Offset::End, Offset::Offset);
            report(list.add_partition_offset(&lane.topic, lane.partition, offset), "naming an offset");
            if offset == Offset::End {
                paused.add_partition(&lane.topic, lane.partition);
            }
        }
        report(self.consumer.incremental_assign(&list), "assign");
        if paused.count() > 0 {
            report(self.consumer.pause(&paused), "pause");
        }
    }

    fn stop(&mut self, lanes: &[Lane]) {
        report(self.consumer.incremental_unassign(&list_of(lanes)), "unassign");
    }

    fn pause(&mut self, lane: &Lane) {
        report(self.consumer.pause(&list_of(std::slice::from_ref(lane))), "pause");
    }

    fn resume_at(&mut self, lane: &Lane, offset: i64) {
        // Not `seek`: it races with fetches in flight. Assigning anew starts at the offset, unpaused.
        let one = std::slice::from_ref(lane);
        report(self.consumer.incremental_unassign(&list_of(one)), "unassign");
        self.start(&[(lane.clone(), Some(offset))]);
        report(self.consumer.resume(&list_of(one)), "resume");
    }

    fn resume(&mut self, lane: &Lane) {
        report(self.consumer.resume(&list_of(std::slice::from_ref(lane))), "resume");
    }

    fn commit(&mut self, cursors: &[(Lane, i64)]) {
        let mut list = TopicPartitionList::new();
        for (lane, next) in cursors {
            report(
                list.add_partition_offset(&lane.topic, lane.partition, Offset::Offset(*next)),
                "naming an offset",
            );
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "mirroring the offsets failed");
        }
    }

    fn leave(&mut self) {
        self.consumer.unsubscribe();
    }

    async fn close(self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        // Closing polls until the group has let go of us; bounded, because a broker may be gone.
        let closed =
            tokio::time::timeout(CALL_TIMEOUT, tokio::task::spawn_blocking(move || drop(self.consumer)))
                .await;
        if closed.is_err() {
            tracing::warn!("the consumer did not close in time");
        }
    }
}

/// The span that made a record, if its trace is recorded.
fn trace_of(message: &impl Message) -> Option<Box<SpanContext>> {
    let header = message.headers()?.iter().find(|header| header.key == TRACEPARENT)?;
    traces::sampled(header.value?)
}

fn list_of(lanes: &[Lane]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for lane in lanes {
        list.add_partition(&lane.topic, lane.partition);
    }
    list
}

fn report(result: KafkaResult<()>, what: &'static str) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "the consumer refused a call");
    }
}
