//! A connection that ends in the middle, on the client's side of the way and on the server's.

use deadpool_redis::redis;
use shared_runtime::clock::SystemRandom;
use shared_runtime::redis::{RedisArgs, RedisClient, RedisUnavailable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ask, pool};

/// Host and port, and the number of the database.
fn parts(url: &str) -> (&str, &str) {
    let server = url.strip_prefix("redis://").unwrap();
    server.split_once('/').unwrap_or((server, "0"))
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

/// A client that is cut in the middle of a pipeline: what came whole is done, the rest is not, and a transaction without
/// its EXEC never was.
pub async fn requests(url: &str) {
    let (server, database) = parts(url);
    let mut watcher = pool(url).get().await.unwrap();
    let select = format!("SELECT {database}");
    let pipeline = wire(&[&select, "INCR cut:n", "ZADD cut:z 1 a", "INCR cut:n", "SET cut:late v"]);
    let transaction = wire(&[&select, "MULTI", "SET cut:t v", "ZADD cut:z 2 b", "EXEC"]);
    let last = |bytes: &[u8], command: &str| bytes.len() - wire(&[command]).len();
    let pipelined = "+OK\r\n:1\r\n:1\r\n:2\r\n".len();
    let queued = "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n".len();
    for (bytes, cut, answers) in [
        (&pipeline, pipeline.len() - 1, pipelined),
        (&transaction, transaction.len() - 1, queued),
        (&transaction, last(&transaction, "EXEC"), queued),
    ] {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(&bytes[..cut]).await.unwrap();
        // Its answers say that the whole part was read.
        stream.read_exact(&mut vec![0; answers]).await.unwrap();
    }
    for (line, wanted) in
        [("GET cut:n", "2"), ("ZRANGE cut:z 0 -1 WITHSCORES", "[a, 1]"), ("EXISTS cut:late cut:t", "0")]
    {
        assert_eq!(ask(&mut watcher, line).await, wanted, "{line}");
    }
}

/// A way to the server that ends in the middle of a pipeline's answers: the caller hears of a failure at once, not half an
/// answer, and the next call has a connection of its own.
pub async fn answers(url: &str) {
    let (server, database) = parts(url);
    let server = server.to_owned();
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = format!("redis://{}/{database}", way.local_addr().unwrap());
    let cutting = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (mut client, _) = way.accept().await.unwrap();
            let mut server = TcpStream::connect(&server).await.unwrap();
            connections += 1;
            let first = connections == 1;
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = tokio::io::copy(&mut from_client, &mut to_server);
                let down = async {
                    let mut block = [0; 4_096];
                    let mut seen = Vec::new();
                    while let Ok(n @ 1..) = from_server.read(&mut block).await {
                        seen.extend_from_slice(&block[..n]);
                        // The middle of the answer to the second ECHO.
                        let cut = seen.windows(6).position(|part| part == b"second").filter(|_| first);
                        let pass = cut.map_or(n, |at| (at + 3).saturating_sub(seen.len() - n).min(n));
                        if to_client.write_all(&block[..pass]).await.is_err() || cut.is_some() {
                            break;
                        }
                    }
                };
                tokio::select! { _ = up => {}, () = down => {} }
            });
        }
    });
    let args = RedisArgs { redis_pool_size: 1, ..RedisArgs::for_url(&through) };
    let client = RedisClient::new(&args, std::sync::Arc::new(SystemRandom)).unwrap();
    let mut pipeline = redis::pipe();
    pipeline.cmd("INCR").arg("cut:m").cmd("ECHO").arg("first").cmd("INCR").arg("cut:m");
    pipeline.cmd("ECHO").arg("second").cmd("INCR").arg("cut:m");
    type Answers = (i64, String, i64, String, i64);
    let cut = client.pipeline::<Answers>(&pipeline).await;
    assert!(matches!(cut, Err(RedisUnavailable::Failed(_))), "{cut:?}");
    let mut watcher = pool(url).get().await.unwrap();
    assert_eq!(ask(&mut watcher, "GET cut:m").await, "3", "it was done all the same");
    let again = client.pipeline::<Answers>(&pipeline).await.unwrap();
    assert_eq!(again, (4, "first".to_owned(), 5, "second".to_owned(), 6));
    cutting.abort();
}
