//! What must hold after every scenario (DESIGN section 1).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use shared_domain::EntryStatus;
use shared_runtime::store::Store;
use shared_runtime::store::rows::EntryRow;

use crate::column::Column;
use crate::process::{on_column, run};

/// Waits until an event has that many decided entries in a lane.
pub async fn wait_for_entries(store: &Store, event: i64, lane: i32, wanted: i64, budget: Duration) {
    let until = Instant::now() + budget;
    loop {
        // A database that is being restarted by the scenario may refuse for a while.
        let rows = store.lane_rows().await.unwrap_or_default();
        let seq = rows.iter().find(|r| (r.event_id, r.lane) == (event, lane)).map_or(0, |r| r.seq);
        if seq >= wanted {
            assert_eq!(seq, wanted, "more entries than distinct members");
            return;
        }
        assert!(Instant::now() < until, "only {seq} of {wanted} entries were decided within {budget:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All entries of an event's lane, by place.
pub async fn entries(store: &Store, event: i64, lane: i32) -> Vec<EntryRow> {
    let mut all: Vec<EntryRow> = Vec::new();
    loop {
        let after = all.last().map_or(0, |e| e.seq);
        let block = store.entries_of_lane(event, lane, None, after, 10_000).await.expect("entries");
        if block.is_empty() {
            return all;
        }
        all.extend(block);
    }
}

/// Every distinct member of the log has one outcome, in log order; the first `stock` of them win; nobody else does.
pub fn first_come_first_served(rows: &[EntryRow], log: &[(i64, i64)], stock: usize) {
    let mut seen = HashSet::new();
    let expected: Vec<i64> = log.iter().map(|(_, m)| *m).filter(|m| seen.insert(*m)).collect();
    let decided: Vec<i64> = rows.iter().map(|r| r.member_id).collect();
    assert_eq!(decided.len(), expected.len(), "one outcome for each distinct entry");
    assert!(decided == expected, "outcomes stand in the order of the log");
    for (i, row) in rows.iter().enumerate() {
        let won = row.status == i16::from(EntryStatus::Win.code());
        assert_eq!(won, i < stock, "place {} of {stock} prizes", i + 1);
        assert_eq!(row.seq, i as i64 + 1);
        assert_eq!(row.entry_rank, won.then_some(i as i64 + 1));
    }
}

/// Both databases have the same digest in every lane of every event.
pub async fn same_digests(one: &Store, other: &Store) {
    let key =
        |r: &shared_runtime::store::rows::LaneRow| (r.event_id, r.lane, r.seq, r.wins, r.digest.clone());
    let a: Vec<_> = one.lane_rows().await.expect("lanes").iter().map(key).collect();
    let b: Vec<_> = other.lane_rows().await.expect("lanes").iter().map(key).collect();
    assert!(!a.is_empty());
    assert_eq!(a, b);
}

/// `event-system replay` of the real column's log (the whole of it, unless `args` say otherwise) into an empty database:
/// exit code, what it printed, and the database.
pub async fn replay(column: &Column, args: &[&str]) -> (Option<i32>, String, (String, Store)) {
    let (into, store) = column.second_database().await;
    let mut command = on_column("event-system", column, &column.database_url);
    command.args(["replay", "--into", &into]).args(args);
    let (code, text) = run(command).await;
    (code, text, (into, store))
}
