//! Driving the log directly: what a gateway and the relay would have published.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use shared_domain::{EntryId, EventKeys};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, decode, encode};
use shared_runtime::log::producer::{Producer, ToProduce};
use tokio::task::JoinSet;

use crate::column::Column;

/// Salt of every event made here.
pub const SALT: [u8; 32] = [9; 32];

/// A `Scheduled` FCFS event with one option, open from 1970 to 2100.
pub fn scheduled(column: &Column, event: i64, stock: i64, lane: i32) -> Kind {
    Kind::Scheduled(v1::Scheduled {
        command_id: id(event, 1),
        rules_version: 1,
        r#type: v1::EventType::FirstCome.into(),
        title: format!("event {event}"),
        starts_at_ms: 0,
        ends_at_ms: 4_102_444_800_000,
        time_zone: "UTC".into(),
        internal_test: true,
        options: vec![v1::StockOption { name: "DEFAULT".into(), granted: stock }],
        topic: column.topic(),
        lanes: vec![lane],
        salt: SALT.to_vec(),
        ..Default::default()
    })
}

/// A 16-byte id from two numbers.
pub fn id(event: i64, n: i64) -> Vec<u8> {
    [event.to_be_bytes(), n.to_be_bytes()].concat()
}

/// The entry of a member.
pub fn entry(member: i64) -> Kind {
    Kind::Entry(v1::Entry {
        entry_id: entry_id(member).as_bytes().to_vec(),
        member_id: member,
        accepted_at_ms: 1_700_000_000_000,
        options: vec![0],
        sealed_contact: vec![],
    })
}

/// Id of a member's entry.
pub fn entry_id(member: i64) -> EntryId {
    EventKeys::new(&SALT).entry_id(member, None)
}

/// Appends one record and gives its offset.
pub async fn append(column: &Column, lane: i32, event: i64, kind: Kind) -> i64 {
    append_bytes(column, lane, &encode(event, kind)).await
}

/// Appends bytes as they are.
pub async fn append_bytes(column: &Column, lane: i32, value: &[u8]) -> i64 {
    append_to(column, Lane::new(column.topic(), lane), value).await
}

/// Appends bytes to any lane.
pub async fn append_to(column: &Column, lane: Lane, value: &[u8]) -> i64 {
    produce(&*column.producer, lane, value).await
}

/// The same by a producer that a task can hold.
pub async fn produce<P: Producer>(producer: &P, lane: Lane, value: &[u8]) -> i64 {
    let record = ToProduce { lane: &lane, key: b"k", value, headers: &[] };
    producer.produce(record).await.expect("acknowledged")
}

/// Appends many entries of one event; gives (offset, member) in log order.
pub async fn append_entries(column: &Column, lane: i32, event: i64, members: Vec<i64>) -> Vec<(i64, i64)> {
    let mut sends = JoinSet::new();
    let lane = Lane::new(column.topic(), lane);
    let mut log = Vec::with_capacity(members.len());
    for member in members {
        let (producer, lane) = (column.producer.clone(), lane.clone());
        sends.spawn(async move {
            let value = encode(event, entry(member));
            let record = ToProduce { lane: &lane, key: b"k", value: &value, headers: &[] };
            (producer.produce(record).await.expect("acknowledged"), member)
        });
        if sends.len() >= 2_000 {
            log.push(sends.join_next().await.expect("one").expect("no panic"));
        }
    }
    while let Some(sent) = sends.join_next().await {
        log.push(sent.expect("no panic"));
    }
    log.sort_unstable();
    log
}

/// Reads a lane back from the log itself: (offset, member) of every entry, by offset.
pub async fn read_entries(column: &Column, lane: i32) -> Vec<(i64, i64)> {
    let messages = read(column, column.topic(), lane).await;
    let entries = messages.iter().filter_map(|m| match decode(m.payload().unwrap_or_default()) {
        Ok((_, Kind::Entry(entry))) => Some((m.offset(), entry.member_id)),
        _ => None,
    });
    entries.collect()
}

/// Offset, event and kind of every record of a lane, by offset; what does not decode is left out.
pub async fn read_records(column: &Column, lane: i32) -> Vec<(i64, i64, Kind)> {
    let messages = read(column, column.topic(), lane).await;
    let decoded = messages.iter().filter_map(|m| {
        let (event, kind) = decode(m.payload().unwrap_or_default()).ok()?;
        Some((m.offset(), event, kind))
    });
    decoded.collect()
}

/// Every record of a partition, by a plain consumer that shares no code with the worker.
pub async fn read(column: &Column, topic: String, lane: i32) -> Vec<OwnedMessage> {
    let kafka = column.kafka.clone();
    let read = move || {
        let mut config = kafka.client().expect("settings");
        config.set("group.id", "read-back").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("consumer");
        let (low, high) =
            consumer.fetch_watermarks(&topic, lane, Duration::from_secs(10)).expect("watermarks");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, lane, Offset::Offset(low)).expect("offset");
        consumer.assign(&list).expect("assign");
        let until = Instant::now() + Duration::from_secs(60);
        let (mut next, mut log) = (low, Vec::new());
        while next < high {
            assert!(Instant::now() < until, "read back {next} of {high}");
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
            next = message.offset() + 1;
            log.push(message.detach());
        }
        log
    };
    tokio::task::spawn_blocking(read).await.expect("no panic")
}
