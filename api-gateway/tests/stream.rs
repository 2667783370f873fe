//! Results by Server-Sent Events.
// Only what is itself a test is exempt by clippy.toml.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use api_gateway::GatewayArgs;
use support::{Answer, Edge, definition};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

async fn queued(args: GatewayArgs) -> (Edge, Answer, String) {
    let edge = Edge::start(vec![(1, definition(1, &[("DEFAULT", 2)]))], args).await;
    for member in [1, 2] {
        edge.enter(1, &edge.token(member), "").await.is(202, "APPLIED");
    }
    let answer = edge.enter(1, &edge.token(3), "").await;
    let path = format!("/v1/entries/{}/stream?receipt={}", answer.text("entry_id"), answer.text("receipt"));
    (edge, answer, path)
}

/// Reads until a text has come; all of it so far.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            assert_ne!(stream.read_buf(&mut all).await.unwrap(), 0, "the stream ended");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect(text);
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn positions_come_as_the_queue_moves_then_the_result_once() {
    let (edge, answer, path) = queued(GatewayArgs::default()).await;
    let id = answer.text("entry_id");
    let mut stream = edge.send("GET", &path, "", "").await;
    let first = until(&mut stream, "\n\n").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    assert!(first.contains("event: position\n") && first.contains("id: p2\n"), "{first}");
    assert!(first.contains(&format!(r#"data: {{"entry_id":"{id}","ahead":2}}"#)), "{first}");
    edge.decide_some(1, 1, 2, false).await;
    let second = until(&mut stream, "\n\n").await;
    assert!(second.contains("event: position\n") && second.contains("id: p1\n"), "{second}");
    edge.decide(1, 2).await;
    let rest = until(&mut stream, "event: result\n").await;
    let rest = format!("{rest}{}", Answer::read_rest(&mut stream).await);
    assert_eq!(rest.matches("event: result\n").count(), 1, "{rest}");
    assert!(rest.contains("id: result\n") && rest.contains(r#""status":"LOSE""#), "{rest}");
}

#[tokio::test]
async fn a_client_that_returns_hears_only_what_is_new() {
    let (edge, _, path) = queued(GatewayArgs::default()).await;
    let mut same = edge.send("GET", &path, "last-event-id: p2\r\n", "").await;
    // What is no id of ours is no reason to be silent.
    for last in ["p3", "px", "p", "-", "p99999999999999999999", "é"] {
        let mut stream = edge.send("GET", &path, &format!("last-event-id: {last}\r\n"), "").await;
        assert!(until(&mut stream, "\n\n").await.contains("id: p2\n"), "{last}");
    }
    edge.decide(1, 1).await;
    let told = Answer::read_rest(&mut same).await;
    assert!(!told.contains("id: p2\n") && told.contains("event: result\n"), "{told}");
    let again = edge.ask("GET", &path, "last-event-id: result\r\n", "").await;
    assert_eq!((again.status, &*again.body), (204, ""));
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives_and_ends_with_the_listener() {
    let args = GatewayArgs { stream_heartbeat: Duration::from_millis(300), ..GatewayArgs::default() };
    let (edge, _, path) = queued(args).await;
    let mut stream = edge.send("GET", &path, "last-event-id: p2\r\n", "").await;
    let beats = until(&mut stream, "heartbeat\n\n").await;
    assert!(!beats.contains("event:"), "{beats}");
    until(&mut stream, "heartbeat\n\n").await;
    edge.stop.cancel();
    let rest = Answer::read_rest(&mut stream).await;
    assert!(rest.ends_with("0\r\n\r\n"), "a clean end: {rest}");
}
