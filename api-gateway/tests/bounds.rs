//! What one gateway takes on at once, how long it waits, and how it ends.

mod support;

use std::sync::Arc;
use std::time::Duration;

use api_gateway::GatewayArgs;
use shared_proto::{Lane, Topic, TopicNames};
use shared_runtime::embedded::BacklogGuard;
use shared_runtime::http::{Drained, HttpLimits};
use support::{Answer, Edge, definition};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn limited(limits: HttpLimits) -> GatewayArgs {
    GatewayArgs { limits, member_rate_limit_per_second: 1_000, ..GatewayArgs::default() }
}

async fn open(args: GatewayArgs) -> Edge {
    Edge::start(vec![(1, definition(1, &[("DEFAULT", 5)]))], args).await
}

#[tokio::test]
async fn a_client_that_hangs_up_has_entered_all_the_same() {
    let edge = open(limited(HttpLimits::default())).await;
    edge.log.hold(true);
    let client = edge.press(1, 1).await;
    edge.log.waiting(1).await;
    drop(client);
    // Another request is answered in between, so the hang-up has been seen.
    edge.ask("GET", "/v1/events/1", "", "").await.is(200, "OPEN");
    edge.log.hold(false);
    edge.log.waiting(0).await;
    edge.until("POST", "/v1/events/1/entries", &edge.token(1), 200, "ALREADY_APPLIED").await;
    assert_eq!(edge.log.len(1), 2, "once");
}

#[tokio::test]
async fn one_request_too_many_at_once_is_shed_before_it_is_looked_at() {
    let edge = open(limited(HttpLimits { max_in_flight: 2, ..HttpLimits::default() })).await;
    edge.log.hold(true);
    let mut inside = [edge.press(1, 1).await, edge.press(1, 2).await];
    edge.log.waiting(2).await;
    edge.enter(1, &edge.token(3), "").await.is(503, "UNAVAILABLE");
    edge.ask("GET", "/v1/events/1", "", "").await.is(503, "UNAVAILABLE");
    edge.log.hold(false);
    for client in &mut inside {
        Answer::read(client).await.is(202, "APPLIED");
    }
    edge.enter(1, &edge.token(3), "").await.is(202, "APPLIED");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let edge = open(limited(HttpLimits { max_connections: 2, ..HttpLimits::default() })).await;
    let open = [TcpStream::connect(edge.addr).await.unwrap(), TcpStream::connect(edge.addr).await.unwrap()];
    edge.until("GET", "/v1/events/1", "", 503, "UNAVAILABLE").await;
    drop(open);
    edge.until("GET", "/v1/events/1", "", 200, "OPEN").await;
}

#[tokio::test]
async fn an_entry_that_takes_too_long_has_an_unknown_outcome() {
    let limits = HttpLimits { request_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let edge = open(limited(limits)).await;
    edge.log.hold(true);
    // It is on its way to the log: nobody may be told that nothing was written.
    edge.enter(1, &edge.token(1), "").await.is(503, "OUTCOME_UNKNOWN");
    edge.log.hold(false);
    edge.log.waiting(0).await;
    edge.until("POST", "/v1/events/1/entries", &edge.token(1), 200, "ALREADY_APPLIED").await;
    assert_eq!(edge.log.len(1), 2);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_timeout_and_no_entry() {
    let limits = HttpLimits { body_read_timeout: Duration::from_millis(200), ..HttpLimits::default() };
    let edge = open(limited(limits)).await;
    let mut client = TcpStream::connect(edge.addr).await.unwrap();
    let token = edge.token(1);
    let head = format!(
        "POST /v1/events/1/entries HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token}\
         content-type: application/json\r\ncontent-length: 20\r\n\r\n{{"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    Answer::read(&mut client).await.is(408, "REQUEST_TIMEOUT");
    assert_eq!(edge.log.len(1), 1);
}

#[tokio::test]
async fn heads_that_drip_are_cut_while_others_are_served() {
    let limits = HttpLimits { header_read_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let edge = Arc::new(open(limited(limits)).await);
    let mut dripping = Vec::new();
    for _ in 0..50 {
        let mut client = TcpStream::connect(edge.addr).await.unwrap();
        dripping.push(tokio::spawn(async move {
            client.write_all(b"POST /v1/events/1/entries HTTP/1.1\r\nhost: x\r\n").await.unwrap();
            let (mut read, mut write) = client.split();
            let drip = async {
                // Each byte is news; together they are one head.
                while write.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let mut answer = Vec::new();
            tokio::select! {
                // A reset is an end as well.
                _ = read.read_to_end(&mut answer) => {}
                () = drip => {}
            }
            answer
        }));
    }
    edge.ask("GET", "/v1/events/1", "", "").await.is(200, "OPEN");
    for client in dripping {
        let ended = tokio::time::timeout(Duration::from_secs(10), client).await.expect("cut");
        assert_eq!(ended.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_drain_answers_what_is_in_flight() {
    let edge = open(limited(HttpLimits::default())).await;
    edge.log.hold(true);
    let mut inside = edge.press(1, 1).await;
    edge.log.waiting(1).await;
    edge.stop.cancel();
    while TcpStream::connect(edge.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    edge.log.hold(false);
    Answer::read(&mut inside).await.is(202, "APPLIED");
    assert_eq!(edge.drained.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_full_embedded_log_says_try_again_until_it_is_read() {
    let guard = Arc::new(BacklogGuard::new());
    let lane = Lane::new(TopicNames::default().name(Topic::Apply), 1);
    let reader = guard.reader(&lane);
    let events = vec![(1, definition(1, &[("DEFAULT", 5)]))];
    let edge = Edge::bounded(events, limited(HttpLimits::default()), Some(Arc::clone(&guard))).await;
    guard.acked(&lane, 0, 4 * 1024 * 1024);
    edge.enter(1, &edge.token(1), "").await.is(429, "TRY_AGAIN");
    assert_eq!(edge.log.len(1), 1);
    reader.advance(1);
    edge.enter(1, &edge.token(1), "").await.is(202, "APPLIED");
    assert_eq!(guard.backlog(&lane).0, 1, "an entry counts until it is read");
}

#[tokio::test]
async fn live_limits_hold_and_an_emptied_redis_gives_the_database_its_word() {
    use shared_domain::LimitsDraft;
    use shared_runtime::store::commands::Change;

    let edge = open(limited(HttpLimits::default())).await;
    let limits = |per_second| LimitsDraft { per_second, ..LimitsDraft::default() };
    edge.staff(Change::Limits(1, limits(Some(0)))).await;
    new_members_hear(&edge, 429).await;
    // An operator's word in Redis goes before the database's.
    edge.redis.write_limit(1, Some(1_000)).await.unwrap();
    new_members_hear(&edge, 202).await;
    edge.redis.write_limit(1, None).await.unwrap();
    new_members_hear(&edge, 429).await;
    edge.staff(Change::Limits(1, limits(None))).await;
    new_members_hear(&edge, 202).await;
}

/// Waits until a member who has not asked before is answered so.
async fn new_members_hear(edge: &Edge, status: u16) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    for member in edge.log.len(1) as i64 * 1_000.. {
        let answer = edge.enter(1, &edge.token(member), "").await;
        if answer.status == status {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "wanted {status}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
