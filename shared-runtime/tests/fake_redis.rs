//! What the embedded Redis promises beyond the commands: databases, time, broken clients and a clean end.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use shared_runtime::clock::ManualClock;
use shared_runtime::embedded::FakeRedis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(server: &FakeRedis) -> TcpStream {
    let url = server.url();
    TcpStream::connect(url.trim_start_matches("redis://").trim_end_matches("/0")).await.unwrap()
}

fn wire(commands: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        bytes.extend(format!("*{}\r\n", words.len()).bytes());
        words.iter().for_each(|word| bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes()));
    }
    bytes
}

/// Sends, half-closes, and returns everything the server said.
async fn talk(server: &FakeRedis, bytes: &[u8]) -> String {
    let mut stream = connect(server).await;
    // A server that refuses early may close before all of it is sent.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut heard = Vec::new();
    drop(stream.read_to_end(&mut heard).await);
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn databases_are_apart() {
    let server = FakeRedis::start().unwrap();
    let script =
        ["SET k 0", "SELECT 3", "GET k", "SET k 3", "SELECT 0", "GET k", "FLUSHDB", "SELECT 3", "GET k"];
    let heard = talk(&server, &wire(&script)).await;
    assert_eq!(heard, "+OK\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n$1\r\n0\r\n+OK\r\n+OK\r\n$1\r\n3\r\n");
    assert_eq!(talk(&server, &wire(&["FLUSHALL", "SELECT 3", "DBSIZE"])).await, "+OK\r\n+OK\r\n:0\r\n");
}

#[tokio::test]
async fn keys_die_by_the_clock_and_are_swept() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let server = FakeRedis::start_with_clock(clock.clone()).unwrap();
    talk(&server, &wire(&["SET k v EX 10", "SET stays v"])).await;
    clock.advance(9_999);
    assert_eq!(talk(&server, &wire(&["PTTL k", "DBSIZE"])).await, ":1\r\n:2\r\n");
    clock.advance(1);
    assert_eq!(talk(&server, &wire(&["GET k", "TTL k", "DBSIZE"])).await, "$-1\r\n:-2\r\n:1\r\n");
    assert_eq!(talk(&server, &wire(&["TIME"])).await, "*2\r\n$4\r\n1010\r\n$1\r\n0\r\n");
}

#[tokio::test]
async fn a_cut_command_does_nothing() {
    let server = FakeRedis::start().unwrap();
    let whole = wire(&["SET k v"]);
    for cut in 1..whole.len() {
        assert_eq!(talk(&server, &whole[..cut]).await, "", "{cut}");
    }
    // Cut within a transaction: what was queued is forgotten.
    talk(&server, &wire(&["MULTI", "SET k v", "SET l v"])).await;
    assert_eq!(talk(&server, &wire(&["DBSIZE"])).await, ":0\r\n");
}

#[tokio::test]
async fn garbage_closes_that_connection_only() {
    let server = FakeRedis::start().unwrap();
    let mut good = connect(&server).await;
    for bad in ["GET / HTTP/1.1\r\n\r\n", "*1000000000\r\n", "*1\r\n$1000000000\r\n", "\0\0\0\0"] {
        let heard = talk(&server, bad.as_bytes()).await;
        assert!(heard.starts_with("-ERR Protocol error") && heard.ends_with("\r\n"), "{bad:?}: {heard:?}");
    }
    assert!(talk(&server, "*1\r\n".repeat(100_000).as_bytes()).await.starts_with("-ERR Protocol error"));
    // What came whole before the garbage was done and answered.
    let mut mixed = wire(&["SET k v"]);
    mixed.extend(b"oops\r\n");
    assert!(talk(&server, &mixed).await.starts_with("+OK\r\n-ERR Protocol error"));
    assert_eq!(talk(&server, &wire(&["QUIT", "SET k w"])).await, "+OK\r\n");

    good.write_all(&wire(&["GET k"])).await.unwrap();
    let mut heard = [0; 7];
    good.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"$1\r\nv\r\n");
}

#[tokio::test]
async fn many_commands_in_one_packet() {
    let server = FakeRedis::start().unwrap();
    let commands: Vec<String> = (0..20_000).map(|n| format!("INCRBY total {n}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let mut stream = connect(&server).await;
    let (mut reader, mut writer) = stream.split();
    let bytes = wire(&commands);
    let send = async {
        writer.write_all(&bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut heard = String::new();
    let ((), read) = tokio::join!(send, reader.read_to_string(&mut heard));
    read.unwrap();
    assert_eq!(heard.lines().count(), 20_000);
    assert_eq!(heard.lines().next_back(), Some(":199990000"));
}

#[tokio::test]
async fn it_ends_with_its_connections() {
    let server = FakeRedis::start().unwrap();
    let mut stream = connect(&server).await;
    stream.write_all(&wire(&["PING"])).await.unwrap();
    stream.read_exact(&mut [0; 7]).await.unwrap();
    let address = stream.peer_addr().unwrap();
    tokio::time::timeout(Duration::from_secs(1), server.shutdown()).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());

    let dropped = FakeRedis::start().unwrap();
    let mut stream = connect(&dropped).await;
    drop(dropped);
    let end = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
}
