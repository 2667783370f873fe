//! One table of commands, run through the real client against the embedded Redis and (feature `real-stack`, with
//! `REDIS_URL`) against a real one, so that the fake cannot drift from what it stands for.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "redis_suite/cut.rs"]
mod cut;

use deadpool_redis::redis::{self, Value};
use deadpool_redis::{Connection, Manager, Pool};
use shared_runtime::clock::SystemRandom;
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{Decision, LeasedRateLimit, Presence, RedisArgs, RedisClient};

/// Command lines and the answers to them, as `show` writes them. The database is emptied before.
const TABLE: &[(&str, &str)] = &[
    ("PING", "PONG"),
    ("PING hello", "hello"),
    ("PING a b", "ERR wrong number of arguments for 'ping' command"),
    ("ECHO hi", "hi"),
    ("CLIENT SETNAME suite", "OK"),
    ("UNWATCH", "OK"),
    ("SELECT 99999", "ERR DB index is out of range"),
    ("SELECT x", "ERR value is not an integer or out of range"),
    ("HELLO x", "ERR Protocol version is not an integer or out of range"),
    // Strings.
    ("GET k", "nil"),
    ("SET k v", "OK"),
    ("get k", "v"),
    ("GET", "ERR wrong number of arguments for 'get' command"),
    ("GET a b", "ERR wrong number of arguments for 'get' command"),
    ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
    ("SET k w NX", "nil"),
    ("SET new 1 XX", "nil"),
    ("SET k w XX GET", "v"),
    ("SET k x NX GET", "w"),
    ("SET k v NX XX", "ERR syntax error"),
    ("SET k v EX", "ERR syntax error"),
    ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
    ("SET k v EX x", "ERR value is not an integer or out of range"),
    ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
    ("SET k v EX 1 PX 1", "ERR syntax error"),
    ("SET k v KEEPTTL EX 1", "ERR syntax error"),
    ("SET k v BOGUS", "ERR syntax error"),
    ("SET k v EX 100", "OK"),
    ("TTL k", "100"),
    ("SET k v KEEPTTL", "OK"),
    ("TTL k", "100"),
    ("SET k v", "OK"),
    ("TTL k", "-1"),
    ("TTL none", "-2"),
    ("PTTL none", "-2"),
    ("SETEX s 50 v", "OK"),
    ("TTL s", "50"),
    ("SETEX s 0 v", "ERR invalid expire time in 'setex' command"),
    ("EXPIRE s 60", "1"),
    ("EXPIRE none 60", "0"),
    ("EXPIRE s x", "ERR value is not an integer or out of range"),
    ("EXPIRE s 9223372036854775807", "ERR invalid expire time in 'expire' command"),
    ("PEXPIRE s 70000", "1"),
    ("TTL s", "70"),
    ("EXPIREAT s 33177117420", "1"),
    ("PERSIST s", "1"),
    ("PERSIST s", "0"),
    ("EXPIRE s -1", "1"),
    ("GET s", "nil"),
    ("SET k v PX 60000", "OK"),
    ("TTL k", "60"),
    ("MSET a 1 b 2 c 3", "OK"),
    ("MSET a", "ERR wrong number of arguments for 'mset' command"),
    ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
    ("MGET a b none c", "[1, 2, nil, 3]"),
    ("EXISTS a b none a", "3"),
    ("DEL a b none", "2"),
    ("UNLINK c c", "1"),
    // Counters.
    ("INCR n", "1"),
    ("INCRBY n 41", "42"),
    ("EXPIRE n 30", "1"),
    ("DECR n", "41"),
    ("DECRBY n 50", "-9"),
    ("TTL n", "30"),
    ("GET n", "-9"),
    ("INCRBY n x", "ERR value is not an integer or out of range"),
    ("INCRBY n 1.5", "ERR value is not an integer or out of range"),
    ("INCR k", "ERR value is not an integer or out of range"),
    ("SET big 9223372036854775807", "OK"),
    ("INCR big", "ERR increment or decrement would overflow"),
    ("GET big", "9223372036854775807"),
    ("DECRBY big -9223372036854775808", "ERR decrement would overflow"),
    ("SET lead 007", "OK"),
    ("INCR lead", "ERR value is not an integer or out of range"),
    // Sorted sets.
    ("ZADD z 1 a 2 b 3 c", "3"),
    ("ZADD z 1.5 a 4 d", "1"),
    ("ZADD z CH 1 a 5 e", "2"),
    ("ZADD z NX 9 a", "0"),
    ("ZADD z XX 9 zz", "0"),
    ("ZADD z GT CH 0 a", "0"),
    ("ZADD z LT CH 0 a", "1"),
    ("ZADD z INCR 1.5 a", "1.5"),
    ("ZADD z NX INCR 1 a", "nil"),
    ("ZADD z GT INCR -1 a", "nil"),
    ("ZADD z NX XX 1 a", "ERR XX and NX options at the same time are not compatible"),
    ("ZADD z GT LT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
    ("ZADD z NX GT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
    ("ZADD z INCR 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
    ("ZADD z x a", "ERR value is not a valid float"),
    ("ZADD z nan a", "ERR value is not a valid float"),
    ("ZADD z 1 a 2", "ERR syntax error"),
    ("ZADD z 1", "ERR wrong number of arguments for 'zadd' command"),
    ("ZADD z 7 ok x bad", "ERR value is not a valid float"),
    ("ZSCORE z ok", "nil"),
    ("ZSCORE z a", "1.5"),
    ("ZSCORE none a", "nil"),
    ("ZINCRBY z 2 b", "4"),
    ("ZINCRBY fresh 1 m", "1"),
    ("ZCARD z", "5"),
    ("ZCARD none", "0"),
    ("ZRANGE z 0 -1 WITHSCORES", "[a, 1.5, c, 3, b, 4, d, 4, e, 5]"),
    ("ZRANGE z 0 1 REV", "[e, d]"),
    ("ZRANGE z -2 100", "[d, e]"),
    ("ZRANGE z -100 0", "[a]"),
    ("ZRANGE z 3 1", "[]"),
    ("ZRANGE z 0 -100", "[]"),
    ("ZRANGE z 9223372036854775807 -1", "[]"),
    ("ZRANGE z 0 -9223372036854775808", "[]"),
    ("ZREVRANGE z 0 1 WITHSCORES", "[e, 5, d, 4]"),
    ("ZREVRANGE z 0 1 REV", "ERR syntax error"),
    ("ZRANGE z 0 1 BOGUS", "ERR syntax error"),
    (
        "ZRANGE z 0 1 LIMIT 0 1",
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    ),
    ("ZRANGE z 3 (5 BYSCORE", "[c, b, d]"),
    ("ZRANGE z 3 5 BYSCORE LIMIT 1 2", "[b, d]"),
    ("ZRANGE z 3 5 BYSCORE LIMIT 1 -1", "[b, d, e]"),
    ("ZRANGE z 3 5 BYSCORE LIMIT -1 2", "[]"),
    ("ZRANGE z +inf -inf BYSCORE REV LIMIT 0 2 WITHSCORES", "[e, 5, d, 4]"),
    ("ZRANGEBYSCORE z -inf (3", "[a]"),
    ("ZRANGEBYSCORE z 3 4 WITHSCORES LIMIT 1 1", "[b, 4]"),
    ("ZRANGEBYSCORE z x 4", "ERR min or max is not a float"),
    ("ZCOUNT z (1.5 4", "3"),
    ("ZCOUNT z -inf +inf", "5"),
    ("ZCOUNT z ( 4", "4"),
    ("ZCOUNT z (x 4", "ERR min or max is not a float"),
    ("ZREM z a none", "1"),
    ("ZREMRANGEBYSCORE z 4 (5", "2"),
    ("ZRANGE z 0 -1", "[c, e]"),
    ("ZREMRANGEBYSCORE z -inf +inf", "2"),
    ("EXISTS z", "0"),
    ("ZADD inf inf a -inf b", "2"),
    ("ZINCRBY inf -inf a", "ERR resulting score is not a number (NaN)"),
    ("ZRANGE inf 0 -1 WITHSCORES", "[b, -inf, a, inf]"),
    // One key, one type.
    ("INCR inf", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("GET inf", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("SET inf x GET", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZADD k 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZCARD k", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("MGET inf k", "[nil, v]"),
    ("SET inf x", "OK"),
    ("GET inf", "x"),
    // Keyspace.
    ("DBSIZE", "6"),
    ("KEYS n*", "[n]"),
    ("KEYS nothing*", "[]"),
    ("SCAN 0 MATCH fr?sh COUNT 1000", "[0, [fresh]]"),
    ("SCAN x", "ERR invalid cursor"),
    ("SCAN 0 COUNT 0", "ERR syntax error"),
    // Transactions.
    ("EXEC", "ERR EXEC without MULTI"),
    ("DISCARD", "ERR DISCARD without MULTI"),
    ("MULTI", "OK"),
    ("MULTI", "ERR MULTI calls can not be nested"),
    ("SET t 1", "QUEUED"),
    ("INCRBY t 5", "QUEUED"),
    ("PING", "QUEUED"),
    ("GET t", "QUEUED"),
    ("EXEC", "[OK, 6, PONG, 6]"),
    ("MULTI", "OK"),
    ("INCR t", "QUEUED"),
    ("DISCARD", "OK"),
    ("GET t", "6"),
    ("MULTI", "OK"),
    ("INCR t", "QUEUED"),
    ("NOSUCH", "ERR unknown command 'NOSUCH', with args beginning with: "),
    ("EXEC", "EXECABORT Transaction discarded because of previous errors."),
    ("GET t", "6"),
    ("MULTI", "OK"),
    ("INCR k", "QUEUED"),
    ("INCR t", "QUEUED"),
    ("EXEC", "[ERR value is not an integer or out of range, 7]"),
    ("FLUSHDB BOGUS", "ERR syntax error"),
    ("FLUSHDB", "OK"),
    ("DBSIZE", "0"),
];

fn show(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::Okay => "OK".to_owned(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        other => format!("{other:?}"),
    }
}

async fn ask(connection: &mut Connection, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    match redis::aio::ConnectionLike::req_packed_command(&mut **connection, &command).await {
        Ok(value) => show(&value),
        Err(error) => format!("{} {}", error.code().unwrap_or("?"), error.detail().unwrap_or_default()),
    }
}

fn pool(url: &str) -> Pool {
    Pool::builder(Manager::new(url).unwrap()).max_size(4).build().unwrap()
}

/// Four gateways share one limit: all of it is admitted, and no more.
async fn limits(url: &str) {
    let gateways: Vec<_> = (0..4)
        .map(|_| {
            let random = std::sync::Arc::new(SystemRandom);
            let redis = RedisClient::new(&RedisArgs::for_url(url), random.clone()).unwrap();
            let limit = LeasedRateLimit::new(redis, Presence::default(), random);
            tokio::spawn(async move {
                let mut allowed = 0;
                for _ in 0..300 {
                    allowed += i64::from(limit.acquire(1, 250, 1_000).await == Decision::Allowed);
                }
                allowed
            })
        })
        .collect();
    let mut allowed = 0;
    for gateway in gateways {
        allowed += gateway.await.unwrap();
    }
    assert_eq!(allowed, 250);
}

/// The whole suite against the server and database of `url`, which it empties.
pub async fn suite(url: &str) {
    let pool = pool(url);
    let mut connection = pool.get().await.unwrap();
    assert_eq!(ask(&mut connection, "FLUSHDB").await, "OK");
    let wrong: Vec<String> = {
        let mut wrong = Vec::new();
        for (line, wanted) in TABLE {
            let answer = ask(&mut connection, line).await;
            if answer.trim_end() != wanted.trim_end() {
                wrong.push(format!("{line}\n    wanted {wanted}\n    heard  {answer}"));
            }
        }
        wrong
    };
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));

    // Pipelines answer in order, errors included, and do not disturb each other over several connections.
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut connection = pool.get().await.unwrap();
                for round in 0..50_i64 {
                    let (total, echo, _): (i64, i64, i64) = redis::pipe()
                        .atomic()
                        .cmd("INCR")
                        .arg("shared")
                        .cmd("ECHO")
                        .arg(task * 1000 + round)
                        .cmd("INCR")
                        .arg("shared")
                        .query_async(&mut *connection)
                        .await
                        .unwrap();
                    assert_eq!(total % 2, 1, "nobody came between the two increments");
                    assert_eq!(echo, task * 1000 + round);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(ask(&mut connection, "GET shared").await, "800");

    // Expiry by time, at the first look.
    assert_eq!(ask(&mut connection, "SET soon 1 PX 30").await, "OK");
    assert_eq!(ask(&mut connection, "GET soon").await, "1");
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert_eq!(ask(&mut connection, "GET soon").await, "nil");

    limits(url).await;
    cut::requests(url).await;
    cut::answers(url).await;
    assert_eq!(ask(&mut connection, "FLUSHDB").await, "OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_redis_answers_like_redis() {
    let server = FakeRedis::start().unwrap();
    suite(&server.url()).await;
    // A client that asks for RESP3 is told no, and clients that fall back do so.
    let mut connection = pool(&server.url()).get().await.unwrap();
    assert_eq!(ask(&mut connection, "HELLO 3").await, "NOPROTO unsupported protocol version");
    assert!(ask(&mut connection, "HELLO 2").await.starts_with("[server, redis, version, 7"));
    server.shutdown().await;
}

#[cfg(feature = "real-stack")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_redis_answers_like_redis() {
    let url = std::env::var("REDIS_URL").unwrap_or_default();
    // A database of its own, for it is emptied.
    let (server, _) =
        url.rsplit_once('/').expect("the feature real-stack needs REDIS_URL with a database's number");
    suite(&format!("{server}/14")).await;
}
