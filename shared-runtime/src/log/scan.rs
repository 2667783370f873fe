//! Reading a stretch of lanes once, beside any group; and where a stretch begins.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use shared_proto::Lane;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::args::KafkaArgs;
use crate::config::StartError;

/// Without a record or an end of a lane for so long, the log counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// What `pick` makes of the records of each lane between the offsets given for it. Errors: the log does not answer.
pub async fn scan<T: Send + 'static>(
    args: &KafkaArgs,
    stretches: BTreeMap<Lane, Range<i64>>,
    mut pick: impl FnMut(&Lane, i64, &[u8]) -> Option<T> + Send + 'static,
) -> Result<Vec<(Lane, T)>, StartError> {
    let config = client(args)?;
    let work = move || {
        let mut picked = Vec::new();
        read(&config, stretches, |lane, offset, payload| {
            picked.extend(pick(lane, offset, payload).map(|found| (lane.clone(), found)));
            true
        })?;
        Ok(picked)
    };
    blocking(work).await
}

/// Records of one lane in a row, by offset.
pub type Block = (Lane, Vec<(i64, Bytes)>);

/// Blocks as they come, and the end of reading.
pub type Reading = (mpsc::Receiver<Block>, JoinHandle<Result<(), StartError>>);

/// The records of each lane between the offsets given for it, in blocks of at most `most`, as they come; and the end of
/// reading, which is to be awaited behind the last block. Errors: the log does not answer.
pub fn stream(
    args: &KafkaArgs,
    stretches: BTreeMap<Lane, Range<i64>>,
    most: usize,
) -> Result<Reading, StartError> {
    let config = client(args)?;
    let (to, blocks) = mpsc::channel(2);
    let work = move || {
        let mut open: BTreeMap<Lane, Vec<(i64, Bytes)>> = BTreeMap::new();
        read(&config, stretches, |lane, offset, payload| {
            let block = match open.get_mut(lane) {
                Some(block) => block,
                None => open.entry(lane.clone()).or_default(),
            };
            block.push((offset, Bytes::copy_from_slice(payload)));
            // Nobody listens any more: enough is read.
            block.len() < most || to.blocking_send((lane.clone(), std::mem::take(block))).is_ok()
        })?;
        for (lane, block) in open.into_iter().filter(|(_, block)| !block.is_empty()) {
            if to.blocking_send((lane, block)).is_err() {
                break;
            }
        }
        Ok(())
    };
    Ok((blocks, tokio::spawn(blocking(work))))
}

/// Shows `see` every record of each stretch until it says false.
fn read(
    config: &ClientConfig,
    stretches: BTreeMap<Lane, Range<i64>>,
    mut see: impl FnMut(&Lane, i64, &[u8]) -> bool,
) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    let mut open = stretches;
    open.retain(|_, stretch| !stretch.is_empty());
    for (lane, stretch) in &open {
        list.add_partition_offset(&lane.topic, lane.partition, Offset::Offset(stretch.start))?;
    }
    consumer.assign(&list)?;
    while !open.is_empty() {
        match consumer.poll(SILENCE) {
            Some(Ok(message)) => {
                let lane = Lane::new(message.topic(), message.partition());
                let Some(until) = open.get(&lane).map(|stretch| stretch.end) else { continue };
                let payload = message.payload().unwrap_or_default();
                if message.offset() < until && !see(&lane, message.offset(), payload) {
                    return Ok(());
                }
                if message.offset() + 1 >= until {
                    open.remove(&lane);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                // Of one topic only this number: a lane that is shorter than its goal ends here.
                open.retain(|lane, stretch| {
                    lane.partition != partition
                        || consumer
                            .fetch_watermarks(&lane.topic, lane.partition, SILENCE)
                            .is_ok_and(|(_, high)| high >= stretch.end)
                });
            }
            Some(Err(error)) => return Err(error),
            None => {
                return Err(KafkaError::MessageConsumption(
                    rdkafka::error::RDKafkaErrorCode::OperationTimedOut,
                ));
            }
        }
    }
    Ok(())
}

/// Where to begin in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the first record that the log still has.
    Beginning,
    /// At this offset, or with the first record that the log still has.
    Offset(i64),
    /// With the first record that is not older than this (milliseconds since 1970, the log's own clock).
    Time(i64),
    /// With the last so many records before the end of the stretch.
    Last(i64),
}

/// The offset at which each stretch begins, at most its `until`. Errors: the log does not answer.
pub async fn stretches(
    args: &KafkaArgs,
    until: BTreeMap<Lane, i64>,
    at: StartAt,
) -> Result<BTreeMap<Lane, Range<i64>>, StartError> {
    let config = client(args)?;
    let work = move || -> Result<_, KafkaError> {
        let consumer: BaseConsumer = config.create()?;
        let mut found = BTreeMap::new();
        for (lane, until) in until {
            let (low, _) = consumer.fetch_watermarks(&lane.topic, lane.partition, SILENCE)?;
            let wanted = match at {
                StartAt::Beginning => low,
                StartAt::Offset(offset) => offset,
                StartAt::Last(records) => until.saturating_sub(records),
                StartAt::Time(ms) => {
                    let mut asked = TopicPartitionList::new();
                    asked.add_partition_offset(&lane.topic, lane.partition, Offset::Offset(ms))?;
                    let answered = consumer.offsets_for_times(asked, SILENCE)?;
                    match answered.find_partition(&lane.topic, lane.partition).map(|found| found.offset()) {
                        Some(Offset::Offset(offset)) => offset,
                        // Nothing is that young.
                        _ => until,
                    }
                }
            };
            let from = wanted.max(low).min(until);
            found.insert(lane, from..until);
        }
        Ok(found)
    };
    blocking(work).await
}

fn client(args: &KafkaArgs) -> Result<ClientConfig, StartError> {
    let mut config = args.client()?;
    // A name of those that tools may have (kafka-acls.sh): the client asks for its coordinator, but joins and commits nothing.
    config.set("group.id", format!("{}replay-scan", args.kafka_topic_prefix));
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    Ok(config)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, StartError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome
        .map_err(|error| StartError::unreachable("KAFKA_BROKERS", error))?
        .map_err(|error| StartError::unreachable("KAFKA_BROKERS", error))
}
