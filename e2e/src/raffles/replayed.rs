//! A raffle's log decided again: the same lanes, the same list, the same winners.

use serde_json::json;
use shared_domain::draw::DrawPhase;
use shared_runtime::draw::Reached;
use shared_runtime::store::Store;
use tokio_util::sync::CancellationToken;

use super::Raffle;
use crate::promises::{replay, same_digests};
use crate::raffle_log::runner;
use crate::sql::execute;
use crate::system::System;

/// Of a drawn place: place, entry, rank, number of the alternate, amount.
type Place = (i64, Vec<u8>, Option<i64>, Option<i64>, i64);

/// A drawn raffle and an event of first come, first served, decided again by `event-system replay`: it agrees on every
/// lane of both topics, and a database that knows nothing but the log draws what the live one drew. A lane that was
/// changed is named.
pub async fn replayed(system: &System) {
    let column = system.column().expect("a log that another process can read");
    let mugs = system.open_event(9).await;
    let reward =
        json!({"reward_type": "AVERAGE_RANDOM", "min_amount": 10, "max_amount": 90, "target_average": 40});
    let raffle = Raffle::open(system, 7, json!({"reward": reward, "draw": {"alternates": 3}})).await;
    for member in 1..=5 {
        let answer = system.enter(mugs, member).await;
        system.outcome(&answer).await;
    }
    raffle.enter(1..=60).await;
    let record = raffle.close_and_draw().await;
    let drawn = places(&system.store, raffle.event).await;
    assert_eq!((drawn.len(), record.entrants), (10, Some(60)));
    let first = record.winners[0].expect("a winner");
    assert_eq!(raffle.disqualify(&first).await.status, 202);

    let (code, text, (url, other)) = replay(column, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    let lanes = system.store.lane_rows().await.expect("lanes").len();
    assert!(lanes > 1 && text.contains(&format!("{lanes} lanes equal, 0 different, 0 parked")), "{text}");
    same_digests(&system.store, &other).await;

    let event = raffle.event;
    execute(&url, &format!("UPDATE events SET lifecycle = 3 WHERE event_id = {event}")).await;
    execute(&url, &format!("UPDATE draw SET requested = 1, publish = 1 WHERE event_id = {event}")).await;
    let reached = runner(&other, column.key()).advance(event, &CancellationToken::new()).await;
    assert_eq!(reached.expect("drawn"), Reached::Done(DrawPhase::Published));
    assert_eq!(places(&other, event).await, drawn, "the same winners, alternates and amounts");
    let parts = other.draw_parts(event).await.expect("parts").expect("a draw");
    let again = shared_runtime::draw::public_record(&parts).expect("a record");
    assert_eq!(
        (again.draw_id, again.commitment, again.seed, again.list_digest),
        (record.draw_id, record.commitment, record.seed, record.list_digest)
    );

    let changed = "UPDATE event_lane SET digest = UNHEX(REPEAT('00', LENGTH(digest))) WHERE lane = 1";
    execute(&system.database_url, &format!("{changed} AND event_id = {event}")).await;
    let (code, text, _) = replay(column, &[]).await;
    let named = text.contains(&format!("event {event} lane 1: DIFFERS"));
    assert!(code == Some(1) && named && text.contains(" 1 different, 0 parked"), "{text}");
}

async fn places(store: &Store, event: i64) -> Vec<Place> {
    let parts = store.draw_parts(event).await.expect("parts").expect("a draw");
    let place = |row: &shared_runtime::store::rows::DrawResultRow| {
        (row.place, row.entry_id.clone(), row.entry_rank, row.alternate, row.reward_amount)
    };
    parts.results.iter().map(place).collect()
}
