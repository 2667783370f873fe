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
/// Peers hear by their next heartbeat that lanes are free, so this bounds how long a hand-over waits. librdkafka looks at it when
/// it wakes for something else, every 500 ms in an idle member.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long a member that leaves waits to be let go.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A member of a consumer group.
pub struct KafkaLaneLog {
    /// Before the client, so that a rebalance while it is dropped finds nobody and is answered: without, a loop that panics would
    /// wait for ever.
    events: mpsc::UnboundedReceiver<LogEvent>,
    consumer: Arc<StreamConsumer<Forwarding>>,
    log_id: String,
    membership: Membership,
    /// Whether headers are looked at.
    traced: bool,
}

/// Who this is in its group.
struct Membership {
    group: String,
    /// Its own, of no other process.
    client_id: String,
    /// Its name, which outlives the process (static membership).
    instance_id: Option<String>,
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
        let revoked = matches!(event, LogEvent::Revoked { .. });
        if !self.closing.load(Ordering::Acquire) && self.events.send(event).is_ok() {
            return;
        }
        // Nobody will answer any more, and librdkafka waits for the answer before it leaves or closes.
        if revoked {
            report(consumer.incremental_unassign(&begun(consumer, list)), "unassign while closing");
        } else {
            report(consumer.incremental_assign(&TopicPartitionList::new()), "assign while closing");
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
            .set(
                "heartbeat.interval.ms",
                HEARTBEAT.min(args.kafka_session_timeout / 4).as_millis().to_string(),
            )
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
        if let Some(name) = &args.kafka_group_instance_id {
            config.set("group.instance.id", name);
        }
        let membership = Membership {
            group: group.to_owned(),
            client_id: config.get("client.id").unwrap_or_default().to_owned(),
            instance_id: args.kafka_group_instance_id.clone(),
        };
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
        Ok(Self { consumer, events, log_id, membership, traced: traces::is_on() })
    }

    /// Why this client can do nothing more, if that is so.
    fn broken(&self) -> Option<String> {
        let (code, text) = self.consumer.client().fatal_error()?;
        Some(match &self.membership {
            Membership { group, instance_id: Some(name), .. }
                if code == RDKafkaErrorCode::FencedInstanceId =>
            {
                format!(
                    "KAFKA_GROUP_INSTANCE_ID: another process has joined {group} as {name}, and has the lanes of this one now"
                )
            }
            _ => text,
        })
    }
}

impl Membership {
    /// Waits until the group does not know this process any more. librdkafka leaves in the background; what is closed before that
    /// may never leave (a static member does not at all, KIP-345), and its lanes would lie idle until its session ends.
    async fn let_go(self, consumer: Arc<StreamConsumer<Forwarding>>) {
        let deadline = tokio::time::Instant::now() + LEAVE_TIMEOUT;
        let member = Arc::new(self);
        loop {
            let (asking, client) = (member.clone(), consumer.clone());
            let known = tokio::task::spawn_blocking(move || {
                let groups = client.fetch_group_list(Some(&asking.group), LEAVE_TIMEOUT / 3)?;
                let mut members = groups.groups().iter().flat_map(|group| group.members());
                KafkaResult::Ok(members.any(|m| m.client_id() == asking.client_id))
            })
            .await;
            match known {
                Ok(Ok(false)) => return,
                // The mock log has no such request; its groups end with the process.
                Ok(Err(error))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnsupportedFeature) =>
                {
                    return;
                }
                _ if tokio::time::Instant::now() < deadline => {
                    // Polled, so that a rebalance that is under way can end.
                    drop(tokio::time::timeout(Duration::from_millis(20), consumer.recv()).await);
                }
                _ => {
                    let group = &member.group;
                    tracing::warn!(
                        group,
                        "the group still knows this member: its lanes wait for the end of its session"
                    );
                    return;
                }
            }
        }
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
                        if let Some(why) = self.broken() {
                            return LogEvent::Broken(why);
                        }
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
                    .map(|lane| match ends(&consumer, &lane) {
                        Ok((low, high)) => Ok((lane, low, high)),
                        Err(error) => Err(error.to_string()),
                    })
                    .collect()
            })
            .await
            .map_err(|e| e.to_string())?
        }
    }

    fn accept(&mut self) {
        // Without a lane: one that begins at a placeholder such as the log's end may be moved there later. librdkafka asks again
        // for an end whose answer came too late, whatever offset the lane has been given since.
        report(self.consumer.incremental_assign(&TopicPartitionList::new()), "accept an assignment");
    }

    fn stop(&mut self, lanes: &[Lane]) {
        let begun = begun(&*self.consumer, &list_of(lanes));
        report(self.consumer.incremental_unassign(&begun), "unassign");
    }

    fn pause(&mut self, lane: &Lane) {
        report(self.consumer.pause(&list_of(std::slice::from_ref(lane))), "pause");
    }

    fn read_from(&mut self, lane: &Lane, offset: i64) {
        // Not `seek`: it races with fetches in flight. Assigning anew starts at the offset, unpaused.
        let one = list_of(std::slice::from_ref(lane));
        if begun(&*self.consumer, &one).count() > 0 {
            report(self.consumer.incremental_unassign(&one), "unassign");
        }
        let mut at = TopicPartitionList::new();
        let offset = Offset::Offset(offset);
        report(at.add_partition_offset(&lane.topic, lane.partition, offset), "naming an offset");
        report(self.consumer.incremental_assign(&at), "assign");
        report(self.consumer.resume(&one), "resume");
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

    async fn close(mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        // What came before that is still to be answered, or the client never gets as far as leaving.
        while let Ok(event) = self.events.try_recv() {
            match event {
                LogEvent::Assigned(_) => self.accept(),
                LogEvent::Revoked { lanes, .. } => self.stop(&lanes),
                _ => {}
            }
        }
        if self.broken().is_none() {
            self.membership.let_go(self.consumer.clone()).await;
        }
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

/// The first offset of a lane, and the one behind its last.
fn ends(consumer: &StreamConsumer<Forwarding>, lane: &Lane) -> KafkaResult<(i64, i64)> {
    let ask = || consumer.fetch_watermarks(&lane.topic, lane.partition, CALL_TIMEOUT);
    let (low, high) = ask()?;
    if low < high {
        return Ok((low, high));
    }
    // librdkafka asks for the two ends apart. Of an error in one and an answer to the other it may make what an empty lane answers,
    // one offset twice, which would look like a gap or a shorter log. Neither end ever falls.
    let (low_again, high_again) = ask()?;
    Ok((low.min(low_again), high.max(high_again)))
}

/// Those of these lanes that were given an offset: others the client does not let go, for it does not have them.
fn begun(consumer: &impl Consumer<Forwarding>, lanes: &TopicPartitionList) -> TopicPartitionList {
    let assigned = consumer.assignment().unwrap_or_default();
    let mut begun = TopicPartitionList::new();
    for lane in lanes.elements() {
        if assigned.find_partition(lane.topic(), lane.partition()).is_some() {
            begun.add_partition(lane.topic(), lane.partition());
        }
    }
    begun
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
