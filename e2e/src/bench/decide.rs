//! (a) Decided entries a second of one event, topic to row; beside raw INSERT and one transaction a message.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use shared_proto::decode;
use shared_proto::v1::log_record::Kind;
use shared_runtime::store::rows::EntryRow;
use shared_runtime::store::schema::{event_entry, event_stock};
use shared_runtime::store::{Store, insert_entry_rows};
use shared_runtime::worker::Batching;

use super::{Bar, Meter, Runs, Sample, Table};
use crate::column::Column;
use crate::log::{append, append_entries, scheduled};
use crate::process::Process;
use crate::promises;

pub(super) const EVENT: i64 = 7;
pub(super) const LANE: i32 = 0;
/// The worker's default.
pub(super) fn batch_size() -> usize {
    Batching::default().records as usize
}

/// A topic with one event and its entries, each member once.
pub(super) async fn preloaded(name: &str, entries: i64, stock: i64) -> Column {
    let column = Column::real(name).await;
    append(&column, LANE, EVENT, scheduled(&column, EVENT, stock, LANE)).await;
    let since = Instant::now();
    append_entries(&column, LANE, EVENT, (1..=entries).collect()).await;
    println!("  {entries} entries preloaded for stock {stock} in {:.1} s", since.elapsed().as_secs_f64());
    column
}

/// Decides the whole topic into a fresh database with the shipped worker. Gives the rows too.
async fn worker(column: &Column, entries: i64) -> (Sample, Vec<EntryRow>) {
    let (url, store) = column.second_database().await;
    let sample = first_application(column, (&url, &store), entries).await;
    let rows = promises::entries(&store, EVENT, LANE).await;
    assert_eq!(rows.len() as i64, entries);
    (sample, rows)
}

/// Decides the whole topic into a database with the shipped worker.
pub(super) async fn first_application(column: &Column, (url, store): (&str, &Store), entries: i64) -> Sample {
    let process = Process::apply_worker_with(column, url, "bench", &[]);
    decided(&process, store, entries).await
}

/// Measures a process that decides the topic into a database. Joining the group is not what is measured: the clock starts
/// with the first committed batch.
pub(super) async fn decided(process: &Process, store: &Store, entries: i64) -> Sample {
    let seq = || async {
        let rows = store.lane_rows().await.expect("lanes");
        rows.iter().find(|r| r.event_id == EVENT).map_or(0, |r| r.seq)
    };
    let until = Instant::now() + Duration::from_secs(300);
    let mut first = seq().await;
    while first == 0 {
        assert!(Instant::now() < until, "nothing is decided; the log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
        first = seq().await;
    }
    let meter = Meter::start(process.pid());
    while seq().await < entries {
        assert!(Instant::now() < until, "not all is decided; the log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    meter.stop((entries - first) as u64)
}

/// The same rows in the same batches by plain multi-row INSERT, on one connection: by Diesel, or with the worker's own
/// statement as `fastest`.
pub(super) async fn raw_insert(column: &Column, rows: &[EntryRow], fastest: bool) -> Sample {
    let (url, _store) = column.second_database().await;
    let mut conn = AsyncMysqlConnection::establish(&url).await.expect("MySQL");
    let batches: Vec<Vec<EntryRow>> = rows
        .chunks(batch_size())
        .map(|chunk| {
            let mut batch = chunk.to_vec();
            batch.sort_unstable_by(|a, b| a.entry_id.cmp(&b.entry_id));
            batch
        })
        .collect();
    let meter = Meter::start(std::process::id());
    for batch in &batches {
        if fastest {
            insert_entry_rows(&mut conn, batch).await.expect("rows");
        } else {
            diesel::insert_into(event_entry::table).values(batch).execute(&mut conn).await.expect("rows");
        }
    }
    meter.stop(rows.len() as u64)
}

/// A worker as many are written: one transaction a message, stock by an UPDATE, one INSERT.
async fn transaction_a_message(column: &Column, messages: u64) -> Sample {
    let (url, _store) = column.second_database().await;
    let mut conn = AsyncMysqlConnection::establish(&url).await.expect("MySQL");
    diesel::insert_into(event_stock::table)
        .values((
            event_stock::event_id.eq(EVENT),
            event_stock::lane.eq(LANE),
            event_stock::option_index.eq(0i16),
            event_stock::option_name.eq("DEFAULT"),
            event_stock::granted.eq(1_000_000_000i64),
            event_stock::stock_count.eq(1_000_000_000i64),
        ))
        .execute(&mut conn)
        .await
        .expect("stock");
    let (kafka, topic) = (column.kafka.clone(), column.topic());
    let (send, mut receive) = tokio::sync::mpsc::channel::<(i64, Vec<u8>)>(1_000);
    let reader = tokio::task::spawn_blocking(move || {
        let mut config = kafka.client().expect("settings");
        config.set("group.id", "bench-naive").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, LANE, Offset::Beginning).expect("offset");
        consumer.assign(&list).expect("assign");
        while !send.is_closed() {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let record = (message.offset(), message.payload().unwrap_or_default().to_vec());
            if send.blocking_send(record).is_err() {
                return;
            }
        }
    });
    let mut meter = None;
    let mut done = 0;
    while done < messages {
        let (offset, payload) = receive.recv().await.expect("enough messages");
        let Ok((event, Kind::Entry(entry))) = decode(&payload) else { continue };
        let meter = meter.get_or_insert_with(|| Meter::start(std::process::id()));
        let row = EntryRow {
            event_id: event,
            lane: LANE,
            seq: offset,
            entry_id: entry.entry_id,
            member_id: entry.member_id,
            status: 1,
            reason: None,
            option_index: Some(0),
            reward_amount: 1,
            entry_rank: Some(offset),
            log_offset: offset,
            accepted_at: entry.accepted_at_ms,
            decided_at: entry.accepted_at_ms,
            missions: 0,
        };
        conn.transaction(async |tx| {
            let stock = event_stock::table
                .filter(event_stock::event_id.eq(event))
                .filter(event_stock::stock_count.ge(1i64));
            let taken = diesel::update(stock).set(event_stock::stock_count.eq(event_stock::stock_count - 1));
            assert_eq!(taken.execute(tx).await?, 1);
            diesel::insert_into(event_entry::table).values(&row).execute(tx).await
        })
        .await
        .expect("a transaction");
        done += 1;
        if done == messages {
            let sample = meter.stop(messages);
            drop(receive);
            reader.await.expect("no panic");
            return sample;
        }
    }
    unreachable!("messages > 0")
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, entries: i64) {
    let plenty = preloaded("bench_plenty", entries, entries * 10).await;
    let scarce = preloaded("bench_scarce", entries, 1_000).await;
    let [mut win, mut raw, mut raw_diesel, mut lose, mut lose_raw, mut naive] =
        [(); 6].map(|()| Runs::default());
    for n in 1..=repetitions {
        let (sample, rows) = worker(&plenty, entries).await;
        win.push(&sample);
        raw.push(&raw_insert(&plenty, &rows, true).await);
        raw_diesel.push(&raw_insert(&plenty, &rows, false).await);
        let (sample, rows) = worker(&scarce, entries).await;
        lose.push(&sample);
        lose_raw.push(&raw_insert(&scarce, &rows, true).await);
        naive.push(&transaction_a_message(&plenty, 3_000).await);
        println!("  {n}/{repetitions}: {:.0}/s", sample.rate());
    }
    table.heading(&format!(
        "(a) decided entries of one event, {entries} preloaded, batches of {}",
        batch_size()
    ));
    table.runs("worker, stock for all", &win);
    table.runs("raw multi-row INSERT of these rows", &raw);
    table.runs("the same as Diesel writes it", &raw_diesel);
    table.runs("worker, stock 1,000", &lose);
    table.runs("raw multi-row INSERT of these rows", &lose_raw);
    table.runs("one transaction a message", &naive);
    let bar = Bar::Least(0.8);
    table.against("worker / raw, stock for all", &win.rate.relative_to(&raw.rate), 2, "x", bar);
    table.against("worker / raw, stock 1,000", &lose.rate.relative_to(&lose_raw.rate), 2, "x", bar);
    table.against("worker / raw as Diesel writes it", &win.rate.relative_to(&raw_diesel.rate), 2, "x", bar);
    let single = win.rate.relative_to(&naive.rate);
    table.against("worker / one transaction a message", &single, 1, "x", Bar::Least(30.0));
}
