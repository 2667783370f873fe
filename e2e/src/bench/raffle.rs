//! (f) Raffles on the real stack: entries a second over four lanes, a whole draw, and the marking of its rows.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use futures::TryStreamExt;
use serde_json::json;
use shared_domain::EntryId;
use shared_domain::draw::DrawPhase;
use shared_proto::Topic;
use shared_proto::{Lane, lane_of_member};
use shared_runtime::store::rows::EntryRow;
use shared_runtime::store::schema::event_entry as e;
use shared_runtime::store::{Store, insert_entry_rows};
use tokio::task::JoinSet;

use super::decide::{batch_size, raw_insert};
use super::{Bar, Meter, Runs, Sample, Series, Table, memory_mib};
use crate::column::{Column, LANES};
use crate::log::produce;
use crate::process::Process;
use crate::promises;
use crate::raffle_log::{EVENT, one, raffle, schedule};
use crate::scenarios::InProcess;
use crate::sql::execute;
use crate::staff::AdminApi;

const WINNERS: i64 = 10_000;
const ALTERNATES: u32 = 100;
/// Rows an INSERT that fills a raffle.
const ROWS: usize = 2_000;
/// Rows a block, as the draw marks them.
const BLOCK: i64 = 1_000;

/// Raffle entries in the log, spread over the lanes by member.
async fn preloaded(entries: i64) -> Column {
    let column = Column::real("bench_raffle").await;
    let event = raffle(&column, WINNERS, ALTERNATES);
    schedule(&column, &event).await;
    let (mut members, mut sends) = (1..=entries, JoinSet::new());
    loop {
        for member in members.by_ref().take(5_000) {
            let lane = lane_of_member(member, &event.lanes).expect("a lane");
            let lane = Lane::new(column.kafka.topics().name(Topic::Raffle), lane);
            let (producer, value) = (column.producer.clone(), shared_proto::encode(EVENT, one(member)));
            sends.spawn(async move { produce(&*producer, lane, &value).await });
        }
        if sends.is_empty() {
            return column;
        }
        while let Some(sent) = sends.join_next().await {
            sent.expect("acknowledged");
        }
    }
}

async fn decided(store: &Store) -> i64 {
    store.lane_rows().await.expect("lanes").iter().filter(|r| r.event_id == EVENT).map(|r| r.seq).sum()
}

/// Takes the whole topic into a fresh database with the shipped worker, as so many processes.
async fn workers(column: &Column, entries: i64, processes: usize) -> (Sample, Store) {
    let (url, store) = column.second_database().await;
    let group: Vec<Process> =
        (0..processes).map(|_| Process::start("raffle-worker", column, &url, "bench", &[])).collect();
    let until = Instant::now() + Duration::from_secs(300);
    let mut first = 0;
    while first == 0 {
        assert!(Instant::now() < until, "nothing is decided; the log: {}", group[0].log());
        tokio::time::sleep(Duration::from_millis(5)).await;
        first = decided(&store).await;
    }
    let meter = Meter::start(group[0].pid());
    while decided(&store).await < entries {
        assert!(Instant::now() < until, "not all is decided; the log: {}", group[0].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (meter.stop((entries - first) as u64), store)
}

/// A closed raffle of so many entrants, with ids as evenly spread as real ones.
async fn filled(entrants: i64) -> Column {
    let column = Column::real("bench_draw").await;
    let event = raffle(&column, WINNERS, ALTERNATES);
    schedule(&column, &event).await;
    let worker = InProcess::start_role(&column, &column.store, &raffle_worker::ROLE);
    while column.store.draw_lanes(EVENT).await.expect("lanes").len() < event.lanes.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    let mut conn = AsyncMysqlConnection::establish(&column.database_url).await.expect("MySQL");
    let lanes = i64::from(LANES);
    for from in (0..entrants).step_by(ROWS) {
        let rows: Vec<EntryRow> = (from..entrants.min(from + ROWS as i64)).map(|i| row(i, lanes)).collect();
        insert_entry_rows(&mut conn, &rows).await.expect("rows");
    }
    for lane in 0..lanes {
        let seq = (entrants + lanes - 1 - lane) / lanes;
        let sql = format!(
            "UPDATE event_lane SET seq = {seq}, closed_offset = 1 WHERE event_id = {EVENT} AND lane = {lane}"
        );
        execute(&column.database_url, &sql).await;
    }
    execute(&column.database_url, &format!("UPDATE events SET lifecycle = 3 WHERE event_id = {EVENT}")).await;
    execute(&column.database_url, "ANALYZE TABLE event_entry").await;
    column
}

fn row(i: i64, lanes: i64) -> EntryRow {
    let spread = (i as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    EntryRow {
        event_id: EVENT,
        lane: (i % lanes) as i32,
        seq: i / lanes + 1,
        entry_id: EntryId::from_bytes(spread.to_be_bytes()).as_bytes().to_vec(),
        member_id: i,
        status: 0,
        reason: None,
        option_index: None,
        reward_amount: 0,
        entry_rank: None,
        log_offset: i / lanes,
        accepted_at: 1_700_000_000_000,
        decided_at: 1_700_000_000_000,
        missions: 0,
    }
}

/// A plain streaming SELECT of the ids, in the list's order.
async fn select(column: &Column, entrants: i64) -> Sample {
    let mut conn = AsyncMysqlConnection::establish(&column.database_url).await.expect("MySQL");
    let meter = Meter::start(std::process::id());
    let rows = e::table.filter(e::event_id.eq(EVENT)).order((e::lane, e::seq)).select(e::entry_id);
    let mut stream = rows.load_stream::<Vec<u8>>(&mut conn).await.expect("a stream");
    let mut n = 0;
    while let Some(id) = stream.try_next().await.expect("a row") {
        n += i64::from(id.len() == 16);
    }
    assert_eq!(n, entrants);
    meter.stop(n as u64)
}

/// The fastest UPDATE by blocks: ranges of the primary key, one statement and one transaction a block.
async fn raw_update(column: &Column, entrants: i64) -> Sample {
    let mut conn = AsyncMysqlConnection::establish(&column.database_url).await.expect("MySQL");
    let meter = Meter::start(std::process::id());
    for lane in 0..LANES {
        let last = (entrants + i64::from(LANES) - 1 - i64::from(lane)) / i64::from(LANES);
        for from in (0..last).step_by(BLOCK as usize) {
            let rows = e::table
                .filter(e::event_id.eq(EVENT))
                .filter(e::lane.eq(lane))
                .filter(e::seq.gt(from))
                .filter(e::seq.le(from + BLOCK));
            let marked = diesel::update(rows).set((e::status.eq(2i16), e::decided_at.eq(1i64)));
            marked.execute(&mut conn).await.expect("a block");
        }
    }
    meter.stop(entrants as u64)
}

struct Drawn {
    decided: Sample,
    marked: Sample,
    /// Peak above idle, MiB.
    memory: f64,
}

/// The whole draw by the shipped admin-api: asked for to DECIDED, then shown to PUBLISHED.
async fn draw(column: &Column, entrants: i64) -> Drawn {
    let admin = AdminApi::start(column, &column.database_url).await;
    let pid = admin.process.pid();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = memory_mib(pid, "VmRSS");
    let path = format!("/admin/v1/events/{EVENT}/draw");
    let reached = async |phase: DrawPhase| {
        let draw = column.store.draw(EVENT).await.expect("the database").expect("a draw");
        draw.phase().expect("a phase") >= phase
    };
    let carried = async |publish: bool, to: DrawPhase| {
        let meter = Meter::start(pid);
        let asked = admin.send("POST", &path, None, &json!({"publish": publish})).await.expect("an answer");
        assert_eq!(asked.0, 202, "{}", asked.1);
        let until = Instant::now() + Duration::from_secs(300);
        while !reached(to).await {
            assert!(Instant::now() < until, "not drawn; the log: {}", admin.process.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        meter.stop(entrants as u64)
    };
    let decided = carried(false, DrawPhase::Decided).await;
    let memory = memory_mib(pid, "VmHWM") - idle;
    let marked = carried(true, DrawPhase::Published).await;
    Drawn { decided, marked, memory }
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, entries: i64, entrants: i64) {
    let column = preloaded(entries).await;
    let [mut one, mut two, mut raw, mut select_ids, mut drawn, mut marked, mut raw_marked] =
        [(); 7].map(|()| Runs::default());
    let mut memory = Series::default();
    for n in 1..=repetitions {
        let (sample, store) = workers(&column, entries, 1).await;
        one.push(&sample);
        let mut rows = Vec::new();
        for lane in 0..LANES {
            rows.extend(promises::entries(&store, EVENT, lane).await);
        }
        assert_eq!(rows.len() as i64, entries);
        raw.push(&raw_insert(&column, &rows, true).await);
        drop(rows);
        two.push(&workers(&column, entries, 2).await.0);
        let filled = filled(entrants).await;
        select_ids.push(&select(&filled, entrants).await);
        let sample = draw(&filled, entrants).await;
        drawn.push(&sample.decided);
        marked.push(&sample.marked);
        memory.push(sample.memory);
        raw_marked.push(&raw_update(&filled, entrants).await);
        println!("  {n}/{repetitions}: {:.2} s a draw", sample.decided.wall.as_secs_f64());
    }
    table.heading(&format!("(f) raffle: {entries} entries over {LANES} lanes, batches of {}", batch_size()));
    table.runs("one worker", &one);
    table.runs("two workers (CPU of the first)", &two);
    table.runs("raw multi-row INSERT of these rows", &raw);
    table.figure("one worker / raw", &one.rate.relative_to(&raw.rate), 2, "x");
    table.figure("two workers / raw", &two.rate.relative_to(&raw.rate), 2, "x");
    table.heading(&format!("(f) whole draw: {WINNERS} winners of {entrants} rows"));
    table.runs("streaming SELECT of the ids", &select_ids);
    table.runs("draw, asked for to DECIDED", &drawn);
    let ratio = select_ids.rate.relative_to(&drawn.rate);
    table.against("time of draw / time of SELECT", &ratio, 2, "x", Bar::Most(2.0));
    table.against("peak memory above idle", &memory, 0, " MiB", Bar::Most(64.0));
    table.runs("fastest UPDATE by blocks", &raw_marked);
    table.runs("marking, DECIDED to PUBLISHED", &marked);
    let ratio = marked.rate.relative_to(&raw_marked.rate);
    if marked.rate.median() >= 50_000.0 {
        table.figure("marking / UPDATE", &ratio, 2, "x");
    } else {
        table.against("marking / UPDATE", &ratio, 2, "x", Bar::Least(0.5));
    }
}
