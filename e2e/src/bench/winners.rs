//! (e) The export of winners as CSV, beside the bare SELECT of the same rows; the same with everybody's contact opened;
//! and what both take of memory.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use serde_json::Value;
use shared_domain::Contact;
use shared_runtime::clock::SystemRandom;
use shared_runtime::contact::seal;
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::store::desk::WinnerRow;
use shared_runtime::store::rows::ContactRow;
use shared_runtime::store::schema::{contact, event_entry as e};
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs};

use super::{Bar, Meter, Runs, Sample, Series, Table, memory_mib};
use crate::column::Column;
use crate::log::{append, append_entries, entry_id, scheduled};
use crate::process::Process;
use crate::staff::AdminApi;

const FEW: (i64, i64) = (7, 1_000);
const MANY: i64 = 8;
const WIN: i16 = 1;
const MORE: &str = "a hundred times the winners take";
const FLAT: Bar = Bar::Most(16.0);

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

/// Every winner of an event has handed a contact in.
async fn hand_in(column: &Column, event: i64, winners: i64) {
    const BLOCK: usize = 1_000;
    let args = KeyStoreArgs { key_store_url: Some(column.database_url.clone()) };
    let keys = KeyStore::of(&args, &DatabaseArgs::default()).expect("key store");
    let wrapping = KeyEncryptionKey::read(&column.key_encryption_key).expect("key");
    let key = keys.public_key(event, &wrapping, &SystemRandom, 0).await.expect("a key");
    let mut conn = AsyncMysqlConnection::establish(&column.database_url).await.expect("MySQL");
    let members: Vec<i64> = (1..=winners).collect();
    for block in members.chunks(BLOCK) {
        let rows = block.iter().map(|member| {
            let given = Contact {
                phone_number: Some(format!("+8210{member:08}")),
                email: Some(format!("member-{member}@mail.example")),
                address: Some(format!("{member} Sejong-daero, Jung-gu, Seoul")),
            };
            let entry = entry_id(*member);
            let sealed = seal(&key, event, entry, &given).expect("sealed");
            ContactRow { event_id: event, entry_id: entry.as_bytes().to_vec(), sealed, at: 0 }
        });
        let rows: Vec<ContactRow> = rows.collect();
        diesel::insert_into(contact::table).values(rows).execute(&mut conn).await.expect("rows");
    }
}

/// The export, read and thrown away; every winner is in it, and each with a contact or nobody.
async fn export(admin: &AdminApi, event: i64, winners: i64, contacts: i64) -> Sample {
    let path = format!("/admin/v1/events/{event}/winners");
    let meter = Meter::start(admin.process.pid());
    let request = admin.request("GET", &path, None, &Value::Null).header("Accept", "text/csv");
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let (mut lines, mut emails) = (0, 0);
    while let Some(chunk) = answer.chunk().await.expect("the whole export") {
        lines += chunk.iter().filter(|b| **b == b'\n').count();
        emails += chunk.iter().filter(|b| **b == b'@').count();
    }
    assert_eq!(emails as i64, contacts, "each contact opens");
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
    export(&admin, FEW.0, FEW.1, 0).await;
    let small = peak(&admin);
    let (mut ours, mut bare) = (Runs::default(), Runs::default());
    for _ in 0..repetitions {
        bare.push(&bare_select(&column, winners).await);
        ours.push(&export(&admin, MANY, winners, 0).await);
    }
    let large = peak(&admin);
    println!("  admin-api: peak {small:.0} MiB behind {} winners, {large:.0} MiB behind {winners}", FEW.1);

    // A process of its own: a peak is for ever.
    drop(admin);
    for (event, count) in [FEW, (MANY, winners)] {
        hand_in(&column, event, count).await;
    }
    let admin = AdminApi::start(&column, &column.database_url).await;
    export(&admin, FEW.0, FEW.1, FEW.1).await;
    let small_opened = peak(&admin);
    let mut opened = Runs::default();
    for _ in 0..repetitions {
        opened.push(&export(&admin, MANY, winners, winners).await);
    }
    let large_opened = peak(&admin);
    println!("  with contacts: {small_opened:.0} MiB, {large_opened:.0} MiB");

    table.heading(&format!("(e) export of {winners} winners as CSV"));
    table.runs("bare SELECT, one statement", &bare);
    table.runs("export over HTTP", &ours);
    table.against("export / bare SELECT", &ours.rate.relative_to(&bare.rate), 2, "x", Bar::Least(0.5));
    table.figure(&format!("peak memory, {} winners", FEW.1), &one(small), 0, " MiB");
    table.figure(&format!("peak memory, {winners} winners"), &one(large), 0, " MiB");
    table.against(MORE, &one(large - small), 0, " MiB more", FLAT);
    // X25519 sets the pace, so the rate has no bar.
    table.runs("export with contacts, each opened", &opened);
    table.figure(&format!("peak memory, {} contacts", FEW.1), &one(small_opened), 0, " MiB");
    table.figure(&format!("peak memory, {winners} contacts"), &one(large_opened), 0, " MiB");
    table.against(MORE, &one(large_opened - small_opened), 0, " MiB more", FLAT);
}

fn peak(admin: &AdminApi) -> f64 {
    memory_mib(admin.process.pid(), "VmHWM")
}

fn one(value: f64) -> Series {
    let mut series = Series::default();
    series.push(value);
    series
}
