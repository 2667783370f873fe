//! (e) The export of winners as CSV, beside the bare SELECT of the same rows; and what it takes of memory.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use serde_json::Value;
use shared_runtime::store::desk::WinnerRow;
use shared_runtime::store::schema::event_entry as e;

use super::{Bar, Meter, Runs, Sample, Series, Table, memory_mib};
use crate::column::Column;
use crate::log::{append, append_entries, scheduled};
use crate::process::Process;
use crate::staff::AdminApi;

const FEW: (i64, i64) = (7, 1_000);
const MANY: i64 = 8;
const WIN: i16 = 1;

/// Two events whose entrants all won.
async fn won(winners: i64) -> Column {
    let column = Column::real("bench_winners").await;
    for (event, count) in [FEW, (MANY, winners)] {
        append(&column, 0, event, scheduled(&column, event, count, 0)).await;
        append_entries(&column, 0, event, (1..=count).collect()).await;
    }
    let worker = Process::apply_worker(&column, &column.database_url, "bench");
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let rows = column.store.lane_rows().await.expect("lanes");
        if rows.iter().any(|r| r.event_id == MANY && r.wins >= winners) {
            return column;
        }
        assert!(Instant::now() < until, "not all have won; the log: {}", worker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The export, read and thrown away; every winner is in it.
async fn export(admin: &AdminApi, event: i64, winners: i64) -> Sample {
    let path = format!("/admin/v1/events/{event}/winners");
    let meter = Meter::start(admin.process.pid());
    let request = admin.request("GET", &path, None, &Value::Null).header("Accept", "text/csv");
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let mut lines = 0;
    while let Some(chunk) = answer.chunk().await.expect("the whole export") {
        lines += chunk.iter().filter(|b| **b == b'\n').count();
    }
    assert_eq!(lines as i64, winners + 1, "the header and every winner");
    meter.stop(winners as u64)
}

/// The same columns in the same order in one statement.
async fn bare_select(column: &Column, winners: i64) -> Sample {
    let mut conn = AsyncMysqlConnection::establish(&column.database_url).await.expect("MySQL");
    let meter = Meter::start(std::process::id());
    let rows: Vec<WinnerRow> = e::table
        .filter(e::event_id.eq(MANY))
        .filter(e::lane.eq(0))
        .filter(e::status.eq(WIN))
        .order(e::seq)
        .select(WinnerRow::as_select())
        .load(&mut conn)
        .await
        .expect("rows");
    assert_eq!(rows.len() as i64, winners);
    meter.stop(winners as u64)
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, winners: i64) {
    let column = won(winners).await;
    let admin = AdminApi::start(&column, &column.database_url).await;
    export(&admin, FEW.0, FEW.1).await;
    let small = memory_mib(admin.process.pid(), "VmHWM");
    let (mut ours, mut bare) = (Runs::default(), Runs::default());
    for _ in 0..repetitions {
        bare.push(&bare_select(&column, winners).await);
        ours.push(&export(&admin, MANY, winners).await);
    }
    let large = memory_mib(admin.process.pid(), "VmHWM");
    println!("  admin-api: peak {small:.0} MiB behind {} winners, {large:.0} MiB behind {winners}", FEW.1);
    let one = |value: f64| {
        let mut series = Series::default();
        series.push(value);
        series
    };
    table.heading(&format!("(e) export of {winners} winners as CSV"));
    table.runs("bare SELECT, one statement", &bare);
    table.runs("export over HTTP", &ours);
    table.against("export / bare SELECT", &ours.rate.relative_to(&bare.rate), 2, "x", Bar::Least(0.5));
    table.figure(&format!("peak memory, {} winners", FEW.1), &one(small), 0, " MiB");
    table.figure(&format!("peak memory, {winners} winners"), &one(large), 0, " MiB");
    table.against("a hundred times the winners take", &one(large - small), 0, " MiB more", Bar::Most(16.0));
}
