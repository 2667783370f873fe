//! Reading lanes once from their beginning, beside any group.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use shared_proto::Lane;

use super::args::KafkaArgs;
use crate::config::StartError;

/// Without a record or an end of a lane for so long, the log counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// What `pick` makes of the records of each lane before the offset given for it. Errors: the log does not answer.
pub async fn scan<T: Send + 'static>(
    args: &KafkaArgs,
    until: BTreeMap<Lane, i64>,
    mut pick: impl FnMut(&[u8]) -> Option<T> + Send + 'static,
) -> Result<Vec<(Lane, T)>, StartError> {
    let mut config = args.client()?;
    // A name that is never used: nothing is committed and no group is joined.
    config.set("group.id", "scan").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let work = move || -> Result<Vec<(Lane, T)>, KafkaError> {
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        let mut open = until;
        open.retain(|_, until| *until > 0);
        for lane in open.keys() {
            list.add_partition_offset(&lane.topic, lane.partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let mut picked = Vec::new();
        while !open.is_empty() {
            match consumer.poll(SILENCE) {
                Some(Ok(message)) => {
                    let lane = Lane::new(message.topic(), message.partition());
                    let Some(until) = open.get(&lane).copied() else { continue };
                    if message.offset() < until
                        && let Some(found) = pick(message.payload().unwrap_or_default())
                    {
                        picked.push((lane.clone(), found));
                    }
                    if message.offset() + 1 >= until {
                        open.remove(&lane);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    // Of one topic only this number: a lane that is shorter than its goal ends here.
                    open.retain(|lane, until| {
                        lane.partition != partition
                            || consumer
                                .fetch_watermarks(&lane.topic, lane.partition, SILENCE)
                                .is_ok_and(|(_, high)| high >= *until)
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
        Ok(picked)
    };
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome
        .map_err(|error| StartError::unreachable("KAFKA_BROKERS", error))?
        .map_err(|error| StartError::unreachable("KAFKA_BROKERS", error))
}
