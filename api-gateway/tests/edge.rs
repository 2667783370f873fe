//! The public listener from outside: what each route answers to what can go wrong, and an entry's whole way.

mod support;

use api_gateway::GatewayArgs;
use shared_domain::EventPeriod;
use shared_proto::v1::{self, log_record::Kind};
use shared_runtime::log::producer::ProduceError;
use support::{Edge, HOUR, approval, definition, now};

fn args() -> GatewayArgs {
    GatewayArgs { member_rate_limit_per_second: 1_000, ..GatewayArgs::default() }
}

#[tokio::test]
async fn each_failure_has_its_status_and_code() {
    let mut future = definition(2, &[]);
    future.period = EventPeriod::new(now() + HOUR, now() + 2 * HOUR).unwrap();
    let mut past = definition(3, &[]);
    past.period = EventPeriod::new(now() - 2 * HOUR, now() - HOUR).unwrap();
    let mut expired = definition(4, &[]);
    (expired.internal_test, expired.approval) = (false, approval(-HOUR, -1));
    let mut many = definition(6, &[]);
    many.duplicates_allowed = true;
    let events = vec![
        (1, definition(1, &[("DEFAULT", 1)])),
        (2, future),
        (3, past),
        (4, expired),
        (5, definition(5, &[("A", 5), ("B", 5)])),
        (6, many),
    ];
    let edge = Edge::start(events, args()).await;
    let token = edge.token(42);
    let keyed = |key: &str| format!("{token}idempotency-key: {key}\r\n");

    for (event, headers, body, status, code) in [
        (9, "", "", 404, "EVENT_NOT_FOUND"),
        (2, "", "", 409, "EVENT_NOT_STARTED"),
        (3, "", "", 409, "EVENT_CLOSED"),
        (4, "", "", 409, "APPROVAL_EXPIRED"),
        (1, "", "", 401, "UNAUTHENTICATED"),
        (1, "authorization: Bearer x\r\n", "{", 401, "UNAUTHENTICATED"),
        (1, &*token, "{", 400, "INVALID_JSON"),
        (1, &*token, r#"{"option":["A"]}"#, 422, "INVALID_REQUEST"),
        (1, &*token, r#"{"contact":{"email":"a@b.example"}}"#, 422, "CONTACT_NOT_ALLOWED"),
        (1, &*token, r#"{"options":["X"]}"#, 422, "UNKNOWN_OPTION"),
        (5, &*token, "", 422, "OPTION_REQUIRED"),
        (5, &*token, r#"{"options":["A","A"]}"#, 422, "INVALID_REQUEST"),
        (6, &*token, "", 422, "IDEMPOTENCY_KEY_REQUIRED"),
        (6, &*keyed(&"k".repeat(65)), "", 422, "header:Idempotency-Key"),
    ] {
        edge.enter(event, headers, body).await.is(status, code);
    }
    assert_eq!((edge.log.len(1), edge.log.len(5), edge.log.len(6)), (1, 1, 1), "nothing was published");
    let entries = "/v1/events/1/entries";
    edge.ask("POST", entries, &format!("{token}content-type: text/plain\r\n"), "x")
        .await
        .is(415, "UNSUPPORTED");
    edge.enter(1, &token, &"x".repeat(20_000)).await.is(413, "BODY_TOO_LARGE");
    let wait = edge.enter(2, "", "").await;
    assert!(wait.head.contains("retry-after: 3"), "{wait:?}");

    let unknown = "/v1/entries/0191d0e6-8f6a-8abc-8def-0123456789ab";
    for (method, path, headers, status, code) in [
        ("GET", "/nowhere", "", 404, "NOT_FOUND"),
        ("DELETE", "/v1/events/1", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/events/x", "", 404, "EVENT_NOT_FOUND"),
        ("GET", "/v1/events?limit=0", "", 422, "query:limit"),
        ("GET", "/v1/events?cursor=x", "", 422, "query:cursor"),
        ("GET", "/v1/entries/x", "", 404, "ENTRY_NOT_FOUND"),
        ("GET", unknown, "", 401, "UNAUTHENTICATED"),
        ("GET", unknown, &*token, 404, "ENTRY_NOT_FOUND"),
        ("GET", unknown, "x-entry-receipt: AAAA\r\n", 401, "INVALID_RECEIPT"),
        ("GET", &*format!("{unknown}/stream?receipt=AAAA"), "", 401, "INVALID_RECEIPT"),
        ("GET", "/v1/events?limit=2", "", 200, r#""next_cursor":"2""#),
        ("GET", "/v1/events?limit=2&cursor=2", "", 200, r#""event_id":5"#),
        ("GET", "/v1/events/3", "", 200, r#""status":"CLOSED""#),
        (
            "GET",
            "/v1/events/5",
            "",
            200,
            r#""options":[{"name":"A","remaining":5},{"name":"B","remaining":5}]"#,
        ),
    ] {
        edge.ask(method, path, headers, "").await.is(status, code);
    }

    for (error, status, code) in [
        (ProduceError::QueueFull, 429, "TRY_AGAIN"),
        (ProduceError::Refused("no".to_owned()), 503, "UNAVAILABLE"),
        (ProduceError::Unknown("late".to_owned()), 503, "OUTCOME_UNKNOWN"),
    ] {
        *edge.log.fail.lock().unwrap() = Some(error);
        edge.enter(1, &token, "").await.is(status, code);
    }
    *edge.log.fail.lock().unwrap() = None;

    let first = edge.enter(5, &keyed("k"), r#"{"options":["A"]}"#).await;
    first.is(202, r#""status":"QUEUED""#);
    edge.enter(5, &keyed("k"), r#"{"options":["B"]}"#).await.is(422, "IDEMPOTENCY_KEY_REUSED");
    edge.enter(5, &keyed("k"), r#"{"options":["A"]}"#).await.is(200, "ALREADY_APPLIED");
    edge.enter(6, &keyed("one"), "").await.is(202, "APPLIED");
    edge.enter(6, &keyed("two"), "").await.is(202, "APPLIED");
    // A good receipt, of another entry.
    let receipt = format!("x-entry-receipt: {}\r\n", first.text("receipt"));
    edge.ask("GET", unknown, &receipt, "").await.is(401, "INVALID_RECEIPT");
}

#[tokio::test]
async fn limits_refuse_with_try_again() {
    for args in [
        GatewayArgs { rate_limit_per_second: 0, ..args() },
        GatewayArgs { member_rate_limit_per_second: 0, ..args() },
    ] {
        let edge = Edge::start(vec![(1, definition(1, &[]))], args).await;
        edge.enter(1, &edge.token(1), "").await.is(429, "TRY_AGAIN");
    }
    let edge = Edge::start(vec![(1, definition(1, &[]))], GatewayArgs { max_streams: 0, ..args() }).await;
    let stream = "/v1/entries/0191d0e6-8f6a-8abc-8def-0123456789ab/stream";
    edge.ask("GET", stream, "", "").await.is(503, "UNAVAILABLE");
}

#[tokio::test]
async fn an_entry_from_the_queue_to_its_result() {
    let edge = Edge::start(vec![(1, definition(1, &[("DEFAULT", 1)]))], args()).await;
    let (winner, loser) = (edge.token(1), edge.token(2));
    let won = edge.enter(1, &winner, "").await;
    won.is(202, r#""code":"APPLIED""#);
    let lost = edge.enter(1, &loser, "").await;
    lost.is(202, r#""ahead":1"#);
    edge.enter(1, &winner, "").await.is(200, r#""status":"QUEUED""#);
    let path = |answer: &support::Answer| format!("/v1/entries/{}", answer.text("entry_id"));
    let receipt = |answer: &support::Answer| format!("x-entry-receipt: {}\r\n", answer.text("receipt"));
    edge.ask("GET", &path(&won), &receipt(&won), "").await.is(200, r#""status":"QUEUED""#);
    edge.ask("GET", &path(&won), &winner, "").await.is(404, "ENTRY_NOT_FOUND");

    let stream = format!("{}/stream?receipt={}", path(&won), won.text("receipt"));
    let (streamed, ()) = tokio::join!(edge.ask("GET", &stream, "", ""), edge.decide(1, 1));
    streamed
        .is(200, "event: result\n")
        .is(200, r#""status":"WIN","option":"DEFAULT","reward_amount":7,"seq":1"#);

    edge.until("GET", &path(&won), &receipt(&won), 200, r#""status":"WIN""#).await;
    edge.until("GET", &path(&lost), &receipt(&lost), 200, r#""status":"LOSE""#).await;
    edge.ask("GET", &path(&won), &winner, "").await.is(200, r#""decided_at""#);
    edge.ask("GET", &path(&won), &loser, "").await.is(404, "ENTRY_NOT_FOUND");
    let again = edge.ask("GET", &stream, "last-event-id: result\r\n", "").await;
    assert_eq!(again.status, 204);

    // Sold out: from memory, and nothing more reaches the log.
    let entries = "/v1/events/1/entries";
    edge.until("POST", entries, &edge.token(3), 409, "LOSE").await;
    edge.enter(1, &winner, "").await.is(200, r#""status":"WIN""#);
    let length = edge.log.len(1);
    // A snapshot that is no longer renewed proves nothing after a second.
    edge.life.begin_shutdown();
    edge.until("POST", entries, &edge.token(3), 429, "TRY_AGAIN").await;
    assert_eq!(edge.log.len(1), length);
    edge.ask("GET", "/v1/events/1", "", "").await.is(200, "SOLD_OUT");
}

#[tokio::test]
async fn a_lapsed_approval_refuses_at_the_gateway_and_another_opens_it_again() {
    let mut event = definition(1, &[("DEFAULT", 5)]);
    (event.internal_test, event.approval) = (false, approval(-HOUR, HOUR));
    let edge = Edge::start(vec![(1, event)], args()).await;
    edge.enter(1, &edge.token(1), "").await.is(202, "APPLIED");
    let change = |n: u8, until_ms: i64| {
        let approval = v1::Approval { review_number: format!("R-{n}"), from_ms: now() - HOUR, until_ms };
        let record = v1::ApprovalChanged { command_id: vec![n; 16], approval: Some(approval) };
        edge.log.append(1, &shared_proto::encode(1, Kind::ApprovalChanged(record)))
    };
    change(2, now() - 1);
    edge.decide(1, 1).await;
    let path = "/v1/events/1/entries";
    edge.until("POST", path, &edge.token(2), 409, "APPROVAL_EXPIRED").await;
    let next = change(3, now() + HOUR);
    // What was admitted before the snapshot showed the lapse lies in between.
    let from = edge.store.lane_rows().await.unwrap();
    assert_eq!((from[0].review_number.as_deref(), from[0].wins), (Some("R-2"), 1));
    assert!(next >= 3);
    edge.decide(1, 3).await;
    edge.until("POST", path, &edge.token(3), 202, "APPLIED").await;
    edge.until("GET", "/v1/events/1", "", 200, "R-3").await;
}

#[tokio::test]
async fn a_process_that_does_not_trace_makes_up_no_context_and_passes_a_clients_on() {
    let edge = Edge::start(vec![(1, definition(1, &[("DEFAULT", 9)]))], args()).await;
    let recorded = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let zero = recorded.replace("00f067aa0ba902b7", "0000000000000000");
    for (member, sent) in [(1, None), (2, Some(recorded)), (3, Some(&*zero)), (4, Some("x"))] {
        let header = sent.map(|sent| format!("traceparent: {sent}\r\n")).unwrap_or_default();
        edge.enter(1, &format!("{}{header}", edge.token(member)), "").await.is(202, "APPLIED");
    }
    let found = edge.log.traceparents.lock().unwrap().clone();
    assert_eq!(found, [None, Some(recorded.to_owned()), None, None]);
}
