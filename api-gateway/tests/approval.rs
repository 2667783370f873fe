//! An approval that lapses while the event runs.
#![allow(missing_docs)]

mod support;

use api_gateway::GatewayArgs;
use shared_proto::v1::{self, log_record::Kind};
use support::{Edge, HOUR, approval, definition, now};

#[tokio::test]
async fn a_lapsed_approval_refuses_at_the_gateway_and_another_opens_it_again() {
    let mut event = definition(1, &[("DEFAULT", 5)]);
    (event.internal_test, event.approval) = (false, approval(-HOUR, HOUR));
    let args = GatewayArgs { member_rate_limit_per_second: 1_000, ..GatewayArgs::default() };
    let edge = Edge::start(vec![(1, event)], args).await;
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
