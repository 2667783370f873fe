//! What the demo checks, from the databases and from its own reading of the log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use shared_domain::{EntryId, EntryStatus};
use shared_proto::v1::log_record::Kind;
use shared_runtime::store::Store;
use shared_runtime::store::rows::{EntryRow, LaneRow};

use super::member::Crowd;
use crate::system::System;

/// What was found when everything was decided.
pub struct Facts {
    /// Decided entries, by place.
    pub rows: Vec<EntryRow>,
    /// Distinct entry ids, in the order of the log.
    pub log: Vec<EntryId>,
    /// The event's lane in the first database.
    pub lane: LaneRow,
    /// The same in the second one.
    pub second: Option<LaneRow>,
    /// Prizes left.
    pub left: i64,
}

/// Reads the log itself, and waits until both databases have decided it.
pub async fn gather(system: &System, second: &Store, event: i64) -> anyhow::Result<Facts> {
    let lane = lane_of(&system.store, event).await?.context("the event has no lane")?;
    let (kafka, partition) = (system.kafka.clone(), lane.lane);
    let log = tokio::task::spawn_blocking(move || read_log(&kafka, partition, event)).await??;
    let until = Instant::now() + Duration::from_secs(60);
    let done = |row: &LaneRow| row.seq >= log.len() as i64;
    let (lane, other) = loop {
        let lane = lane_of(&system.store, event).await?.context("the event has no lane")?;
        let other = lane_of(second, event).await?;
        if (done(&lane) && other.as_ref().is_some_and(done)) || Instant::now() > until {
            break (lane, other);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut rows: Vec<EntryRow> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |r| r.seq);
        let block = system.store.entries_of_lane(event, lane.lane, None, after, 5_000).await?;
        if block.is_empty() {
            break;
        }
        rows.extend(block);
    }
    let snapshot = system.store.snapshot("", i64::MIN, i64::MAX).await?;
    let left = snapshot.stock.iter().filter(|s| s.event_id == event).map(|s| s.stock_count).sum();
    Ok(Facts { rows, log, lane, second: other, left })
}

async fn lane_of(store: &Store, event: i64) -> anyhow::Result<Option<LaneRow>> {
    Ok(store.lane_rows().await?.into_iter().find(|row| row.event_id == event))
}

/// Distinct entry ids of an event in one partition, read by a plain consumer that shares no code with the worker.
fn read_log(
    kafka: &shared_runtime::log::KafkaArgs,
    partition: i32,
    event: i64,
) -> anyhow::Result<Vec<EntryId>> {
    let topic = kafka.topics().name(shared_proto::Topic::Apply);
    let consumer: BaseConsumer = kafka.client()?.set("group.id", "demo-check").create()?;
    let (low, high) = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(5))?;
    if low != 0 {
        bail!("the embedded log has dropped its first records");
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, Offset::Beginning)?;
    consumer.assign(&list)?;
    let (mut ids, mut seen, mut next) = (Vec::new(), HashSet::new(), 0);
    while next < high {
        let message = consumer.poll(Duration::from_secs(5)).context("the log ended early")??;
        next = message.offset() + 1;
        if let Ok((id, Kind::Entry(entry))) = shared_proto::decode(message.payload().unwrap_or_default())
            && id == event
            && let Some(entry_id) = EntryId::from_slice(&entry.entry_id)
            && seen.insert(entry_id)
        {
            ids.push(entry_id);
        }
    }
    Ok(ids)
}

/// Each promise with what breaks it.
pub fn promises(stock: u32, crowd: &Crowd, facts: &Facts) -> Vec<(String, Option<String>)> {
    let heard = crowd.heard();
    let ids: Vec<String> =
        facts.rows.iter().filter_map(|r| EntryId::from_slice(&r.entry_id)).map(|id| id.to_string()).collect();
    let distinct: HashSet<&String> = ids.iter().collect();
    let lost = heard.accepted.iter().filter(|id| !distinct.contains(id)).count();
    let doubled = facts.rows.len() - distinct.len();
    let win = i16::from(EntryStatus::Win.code());
    let winners: Vec<&EntryRow> = facts.rows.iter().filter(|r| r.status == win).collect();
    let expected = (stock as usize).min(facts.log.len());
    let first: Vec<&[u8]> = facts.log.iter().take(expected).map(|id| id.as_bytes().as_slice()).collect();
    let won: Vec<&[u8]> = winners.iter().map(|w| w.entry_id.as_slice()).collect();
    let misled = winners.iter().filter(|w| heard.told_lose.contains(&w.member_id)).count();
    let chain = |row: &LaneRow| (row.seq, row.digest.clone());
    let same = facts.second.as_ref().is_some_and(|s| chain(s) == chain(&facts.lane));
    let unless = |kept: bool, broken: String| (!kept).then_some(broken);
    vec![
        (
            format!("every one of {} accepted entries was decided, once", heard.accepted.len()),
            unless(lost == 0 && doubled == 0, format!("{lost} lost, {doubled} doubled")),
        ),
        (
            format!("exactly {expected} winners"),
            unless(winners.len() == expected, format!("{} winners", winners.len())),
        ),
        (
            format!("they are the first {expected} distinct entries of the log"),
            unless(won == first, "they are not".to_owned()),
        ),
        (
            "winners and remaining stock add up".to_owned(),
            unless(
                winners.len() as i64 + facts.left == i64::from(stock),
                format!("{} won, {} left", winners.len(), facts.left),
            ),
        ),
        ("nobody who won was told LOSE".to_owned(), unless(misled == 0, format!("{misled} were"))),
        (
            "every press got a final answer".to_owned(),
            unless(heard.unanswered == 0, format!("{} did not", heard.unanswered)),
        ),
        (
            "a second reader of the log ends with the same digest".to_owned(),
            unless(same, "it differs".to_owned()),
        ),
    ]
}
