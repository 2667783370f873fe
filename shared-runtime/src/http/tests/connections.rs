//! Connections: caps, clocks, memory and the drain.

use super::*;

#[tokio::test]
async fn one_connection_too_many_is_answered_and_closed() {
    let server = start(HttpLimits { max_connections: 1, ..limits() }).await;
    let first = server.connect().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    check(
        &server.raw("GET /things/1 HTTP/1.1\r\nhost: x\r\n\r\n").await,
        503,
        &["UNAVAILABLE", "retry-after: 1\r\n"],
    );
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    check(&server.ask("GET /things/1", "", "").await, 200, &[]);
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let (header_read_timeout, keep_alive_timeout) = (Duration::from_millis(150), Duration::from_millis(600));
    let server = start(HttpLimits { header_read_timeout, keep_alive_timeout, ..limits() }).await;
    let begun = std::time::Instant::now();
    assert_eq!(server.raw("GET /things/1 HTTP/1.1\r\nhost").await, "");
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());

    // An idle connection lives longer than a head may take, and still answers.
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET /things/1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        check(&until(&mut stream, "\"id\":1").await, 200, &[]);
        tokio::time::sleep(Duration::from_millis(350)).await;
    }
    assert_eq!(rest(&mut stream).await, "");
    // A request that takes longer than both is left alone.
    let short = HttpLimits { header_read_timeout, keep_alive_timeout: header_read_timeout, ..limits() };
    check(&start(short).await.ask("GET /slow", "", "").await, 200, &["slow"]);
}

#[tokio::test]
async fn a_drain_finishes_answers_and_ends_streams() {
    let server = start(limits()).await;
    let mut events = server.connect().await;
    events.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&mut events, "\"ahead\":2").await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let idle = server.connect().await;
    while server.state.running.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.shutdown.cancel();
    assert!(rest(&mut events).await.ends_with("0\r\n\r\n"), "the stream ends cleanly");
    check(&rest(&mut slow).await, 200, &["slow", "connection: close"]);
    assert_eq!(server.done.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(server.addr).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_drain_answers_what_was_on_its_way() {
    let server = start(limits()).await;
    let ask = b"GET /things/1 HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut open = Vec::new();
    // New ones, ones that have asked, and ones whose buffers were given back.
    for n in 0..60 {
        let mut stream = server.connect().await;
        if n % 3 > 0 {
            stream.write_all(ask).await.unwrap();
            check(&until(&mut stream, "\"id\":1").await, 200, &[]);
        }
        if n == 29 {
            tokio::time::sleep(Duration::from_millis(3200)).await;
        }
        open.push(stream);
    }
    let unused = server.connect().await;
    // Half a head, on a connection that was used before.
    let (mut half, middle) = (server.connect().await, 9);
    half.write_all(ask).await.unwrap();
    check(&until(&mut half, "\"id\":1").await, 200, &[]);
    half.write_all(&ask[..middle]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    for stream in &mut open {
        stream.write_all(ask).await.unwrap();
    }
    half.write_all(&ask[middle..]).await.unwrap();
    open.push(half);
    open.push(server.connect().await);
    open.last_mut().unwrap().write_all(ask).await.unwrap();
    for stream in &mut open {
        check(&rest(stream).await, 200, &["\"id\":1", "connection: close"]);
    }
    assert_eq!(server.done.await.unwrap(), Drained { cut: 0 }, "one that asks nothing is just closed");
    drop(unused);
}

#[tokio::test]
async fn a_drain_gives_up_after_its_budget() {
    let server = start(HttpLimits { body_read_timeout: Duration::from_secs(60), ..limits() }).await;
    let mut stuck = server.connect().await;
    let text =
        "POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stuck.write_all(text.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    assert_eq!(server.done.await.unwrap(), Drained { cut: 1 });
}

/// What 5,000 open connections cost, having asked once each. By hand: it needs 10,100 file descriptors, and a process to
/// itself to read the memory of.
#[tokio::test]
#[ignore = "measures the process's memory: run alone"]
async fn idle_connections_are_cheap() {
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    let server = start(limits()).await;
    let before = resident_kib();
    let mut open = Vec::new();
    for _ in 0..5_000 {
        open.push(server.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let silent = resident_kib() - before;
    for stream in &mut open {
        stream.write_all(b"GET /things/1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until(stream, "\"id\":1").await;
    }
    let asked = resident_kib() - before;
    // Some time later they have given their buffers back, and still answer.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for stream in &mut open {
        stream.write_all(b"GET /things/2 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until(stream, "\"id\":2").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked_again = resident_kib() - before;
    let seen = format!("{silent} KiB silent, {asked} KiB after a request, {asked_again} KiB after another");
    assert!(silent < 40 << 10 && asked_again < 100 << 10, "{seen}");
}

#[tokio::test]
async fn a_connection_that_gave_its_buffers_back_goes_on_where_it_was() {
    let server = start(limits()).await;
    let mut stream = server.connect().await;
    let ask = "GET /things/1 HTTP/1.1\r\nhost: x\r\n\r\n";
    // One whole request and the beginning of the next in one packet.
    stream.write_all(format!("{ask}{}", &ask[..9]).as_bytes()).await.unwrap();
    check(&until(&mut stream, "\"id\":1").await, 200, &[]);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(3200)).await;
        stream.write_all(format!("{}{}", &ask[9..], &ask[..9]).as_bytes()).await.unwrap();
        check(&until(&mut stream, "\"id\":1").await, 200, &[]);
    }
}
