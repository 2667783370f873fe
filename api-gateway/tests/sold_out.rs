//! Who may hear LOSE, and who not yet (DESIGN section 6, "Sold out").

mod support;

use api_gateway::GatewayArgs;
use shared_domain::{EventKeys, Receipt};
use shared_proto::v1::{self, log_record::Kind};
use shared_runtime::store::commands::Change;
use support::{Answer, Edge, LOG_ID, definition, now};

fn args() -> GatewayArgs {
    GatewayArgs { member_rate_limit_per_second: 1_000, ..GatewayArgs::default() }
}

async fn one_prize() -> Edge {
    Edge::start(vec![(1, definition(1, &[("DEFAULT", 1)]))], args()).await
}

fn keys() -> EventKeys {
    EventKeys::new(&[1; 32])
}

fn path(member: i64) -> String {
    format!("/v1/entries/{}", keys().entry_id(member, None))
}

/// The header of a good receipt: a member's entry at a place of a log.
fn receipt(log_id: &str, member: i64, offset: i64) -> String {
    let receipt = Receipt {
        log_id: log_id.to_owned(),
        event_id: 1,
        lane: 1,
        offset,
        entry_id: keys().entry_id(member, None),
        accepted_at: now(),
    };
    format!("x-entry-receipt: {}\r\n", receipt.seal(&keys()))
}

fn entry(member: i64) -> Kind {
    Kind::Entry(v1::Entry {
        entry_id: keys().entry_id(member, None).as_bytes().to_vec(),
        member_id: member,
        accepted_at_ms: now(),
        options: vec![0],
        sealed_contact: Vec::new(),
    })
}

fn own_receipt(answer: &Answer) -> String {
    format!("x-entry-receipt: {}\r\n", answer.text("receipt"))
}

/// Everything is gone and that is known: the marker member hears LOSE.
async fn is_known(edge: &Edge) {
    edge.until("GET", "/v1/events/1", "", 200, r#""status":"SOLD_OUT""#).await;
    // From here on nobody enters: TRY_AGAIN while the winners are being read.
    edge.until("POST", "/v1/events/1/entries", &edge.token(999_999), 409, "LOSE").await;
}

#[tokio::test]
async fn while_stock_is_on_its_way_nobody_hears_lose() {
    let edge = one_prize().await;
    edge.enter(1, &edge.token(1), "").await.is(202, "APPLIED");
    let behind = edge.enter(1, &edge.token(2), "").await;
    edge.decide_some(1, 1, 2, false).await;
    is_known(&edge).await;
    edge.ask("GET", &path(2), &own_receipt(&behind), "").await.is(200, r#""status":"LOSE""#);

    edge.staff(Change::AddStock { event: 1, option: "DEFAULT".to_owned(), add: 1 }).await;
    edge.until("GET", &path(2), &own_receipt(&behind), 200, r#""status":"QUEUED""#).await;
    edge.enter(1, &edge.token(2), "").await.is(200, r#""status":"QUEUED""#);
    // A new member goes into the log: by its order the stock may be theirs.
    edge.enter(1, &edge.token(3), "").await.is(202, "APPLIED");
    assert_eq!(edge.log.len(1), 4);
}

#[tokio::test]
async fn lose_by_receipt_comes_before_the_rows_and_never_to_a_winner() {
    let edge = one_prize().await;
    edge.enter(1, &edge.token(1), "").await.is(202, "APPLIED");
    let behind = edge.enter(1, &edge.token(2), "").await;
    edge.enter(1, &edge.token(3), "").await.is(202, "APPLIED");
    edge.ask("GET", &path(2), &own_receipt(&behind), "").await.is(200, r#""status":"QUEUED""#);
    // The first record is decided, the rows of the others drain still.
    edge.decide_some(1, 1, 2, false).await;
    is_known(&edge).await;
    let lost = edge.ask("GET", &path(2), &own_receipt(&behind), "").await;
    lost.is(200, r#""status":"LOSE""#);
    assert!(!lost.body.contains("ahead") && !lost.body.contains("seq"), "{lost:?}");
    edge.enter(1, &edge.token(3), "").await.is(200, r#""status":"LOSE""#);
    edge.ask("GET", &path(2), &edge.token(2), "").await.is(404, "ENTRY_NOT_FOUND");
    // The winner's second click stands behind the last prize, too.
    edge.ask("GET", &path(1), &receipt(LOG_ID, 1, 9), "").await.is(200, r#""status":"WIN""#);
    // A place before the last prize is the worker's to decide, and so is one in another log.
    edge.ask("GET", &path(4), &receipt(LOG_ID, 4, 0), "").await.is(200, r#""status":"QUEUED""#);
    edge.ask("GET", &path(4), &receipt("old-log", 4, 9), "").await.is(404, "ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn a_receipt_of_another_log_shows_the_row_and_nothing_else() {
    let edge = one_prize().await;
    // Its offset says nothing in this log, where the cursor stands at 1.
    for offset in [0, 50] {
        let header = receipt("old-log", 1, offset);
        edge.ask("GET", &path(1), &header, "").await.is(404, "ENTRY_NOT_FOUND");
    }
    edge.enter(1, &edge.token(1), "").await.is(202, "APPLIED");
    edge.decide(1, 1).await;
    edge.ask("GET", &path(1), &receipt("old-log", 1, 50), "").await.is(200, r#""status":"WIN""#);
    // Of this log, but of an event or a member that it is not for.
    edge.ask("GET", &path(2), &receipt(LOG_ID, 1, 1), "").await.is(401, "INVALID_RECEIPT");
}

#[tokio::test]
async fn a_pause_stops_admission_and_not_results() {
    let edge = one_prize().await;
    let won = edge.enter(1, &edge.token(1), "").await;
    edge.staff(Change::Pause(1, true)).await;
    edge.until("GET", "/v1/events/1", "", 200, r#""status":"PAUSED""#).await;
    let refused = edge.enter(1, &edge.token(2), "").await;
    refused.is(409, "EVENT_PAUSED");
    assert!(refused.head.contains("retry-after: 5"), "{refused:?}");
    assert_eq!(edge.log.len(1), 2);
    edge.decide(1, 1).await;
    edge.until("GET", &path(1), &own_receipt(&won), 200, r#""status":"WIN""#).await;
    edge.staff(Change::Pause(1, false)).await;
    is_known(&edge).await;
}

#[tokio::test]
async fn a_parked_entry_stays_queued_behind_the_cursor() {
    let edge = Edge::start(vec![(1, definition(1, &[("DEFAULT", 2)]))], args()).await;
    let (won, parked) = (edge.enter(1, &edge.token(1), "").await, edge.enter(1, &edge.token(2), "").await);
    edge.decide_some(1, 1, 2, false).await;
    edge.decide_some(1, 2, 3, true).await;
    edge.until("GET", &path(1), &own_receipt(&won), 200, r#""status":"WIN""#).await;
    assert_eq!(edge.store.parked_events().await.unwrap()[0].records, 1);
    edge.until("GET", &path(2), &own_receipt(&parked), 200, r#""status":"QUEUED","ahead":0"#).await;
    edge.enter(1, &edge.token(2), "").await.is(200, r#""status":"QUEUED""#);
    edge.ask("GET", &path(2), &edge.token(2), "").await.is(404, "ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn a_winner_set_of_several_blocks_is_whole() {
    const STOCK: i64 = 2_500;
    let edge = Edge::start(vec![(1, definition(1, &[("DEFAULT", STOCK)]))], args()).await;
    for member in 1..=STOCK + 10 {
        edge.append(1, entry(member));
    }
    edge.decide(1, 1).await;
    is_known(&edge).await;
    // Nobody of them is known here but by the set.
    for winner in [1, 1_000, 1_001, 2_000, 2_001, STOCK] {
        edge.enter(1, &edge.token(winner), "").await.is(200, r#""status":"WIN""#);
    }
    for loser in [STOCK + 1, STOCK + 10] {
        edge.enter(1, &edge.token(loser), "").await.is(409, "LOSE");
    }
    assert_eq!(edge.log.len(1) as i64, 1 + STOCK + 10);
}
