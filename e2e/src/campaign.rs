//! What fault tests of the worker share: the load's events, their progress, and what must hold at the end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::column::{Column, LANES};
use crate::load::{Acked, event_of, schedule};
use crate::log::read_entries;
use crate::promises::{entries, first_come_first_served, same_digests, wait_for_entries};
use crate::rounds::{BUDGET, Figures};
use crate::scenarios::InProcess;
use crate::sql::number;

/// A column with the load's events, and their stock.
pub async fn set_up(name: &str, seed: u64) -> (Column, StdRng, i64) {
    let column = Column::real(name).await;
    let mut random = StdRng::seed_from_u64(seed);
    let stock = random.random_range(200..3_000);
    schedule(&column, stock).await;
    (column, random, stock)
}

/// Entries decided so far in each lane; `None` while the database does not answer.
pub async fn decided(column: &Column) -> Option<Vec<i64>> {
    let rows = column.store.lane_rows().await.ok()?;
    let of = |lane| rows.iter().find(|r| r.event_id == event_of(lane)).map_or(0, |r| r.seq);
    Some((0..LANES).map(of).collect())
}

/// Waits until every lane has decided `more` entries from now on.
pub async fn wait_for_progress(column: &Column, more: i64) {
    let until = Instant::now() + BUDGET;
    let mut before = None;
    loop {
        let now = decided(column).await;
        if before.is_none() {
            before.clone_from(&now);
        }
        if let (Some(before), Some(now)) = (&before, &now)
            && before.iter().zip(now).all(|(b, n)| n - b >= more)
        {
            return;
        }
        assert!(Instant::now() < until, "no progress: {before:?} to {now:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The promises, lane by lane, and a second reader of the whole log.
pub async fn check(column: &Column, stock: i64, acked: &[Acked]) -> Figures {
    let mut logs = Vec::new();
    for lane in 0..LANES {
        let log = read_entries(column, lane).await;
        for entry in acked.iter().filter(|a| a.lane == lane) {
            let at = log.binary_search_by_key(&entry.offset, |(offset, _)| *offset);
            assert_eq!(log[at.expect("an acknowledged entry is in the log")].1, entry.member);
        }
        logs.push(log);
    }
    let (_url, other) = column.second_database().await;
    let second = InProcess::start(column, &other, "second-reader");
    let (mut judged, mut won) = (0, 0);
    for (lane, log) in (0..LANES).zip(&logs) {
        let event = event_of(lane);
        let members: HashSet<i64> = log.iter().map(|(_, member)| *member).collect();
        for store in [&column.store, &other] {
            wait_for_entries(store, event, lane, members.len() as i64, BUDGET).await;
        }
        let rows = entries(&column.store, event, lane).await;
        first_come_first_served(&rows, log, stock as usize);
        let left = format!("SELECT stock_count AS n FROM event_stock WHERE event_id = {event}");
        let wins = rows.iter().filter(|r| r.status == 1).count() as i64;
        assert_eq!(wins + number(&column.database_url, &left).await, stock, "wins + stock = granted");
        judged += rows.len();
        won += wins;
    }
    same_digests(&column.store, &other).await;
    second.stop().await;
    let records: usize = logs.iter().map(Vec::len).sum();
    Figures::default()
        .with("acked", acked.len() as i64)
        .with("in_log", records as i64)
        .with("decided", judged as i64)
        .with("won", won)
}
