//! A lane of Kafka is read from the offset that it is given, and on from there.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared_proto::Lane;
use shared_runtime::embedded::MockLog;
use shared_runtime::log::reader::{LaneLog, LogEvent};
use shared_runtime::log::{KafkaArgs, KafkaLaneLog};
use tokio::time::{Instant, timeout};

const SLOW: Duration = Duration::from_millis(200);
/// librdkafka asks half a second later once more, if it asked for an offset and does not take the answer.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// A member of the group that has just been given the lane.
async fn assigned(log: &MockLog, lane: &Lane) -> KafkaLaneLog {
    let args = KafkaArgs::for_brokers(log.bootstrap_servers());
    let mut reader = KafkaLaneLog::join(&args, std::slice::from_ref(&lane.topic), "g").await.unwrap();
    let event = timeout(Duration::from_secs(20), reader.next()).await.unwrap();
    assert!(matches!(&event, LogEvent::Assigned(lanes) if lanes == std::slice::from_ref(lane)), "{event:?}");
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_just_dropped_holds_nobody_up() {
    let lane = Lane::new("t", 0);
    let log = MockLog::start(&[(lane.topic.clone(), 1)]).unwrap();
    let mut reader = assigned(&log, &lane).await;
    reader.accept();
    reader.read_from(&lane, 0);
    let (dropped, ended) = std::sync::mpsc::channel();
    // As in a loop that panics. On a thread that nobody waits for, should it never end.
    std::thread::spawn(move || {
        drop(reader);
        dropped.send(())
    });
    let heard =
        tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(20))).await.unwrap();
    assert_eq!(heard, Ok(()), "the client waits for an answer that nobody gives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_was_just_assigned_never_jumps() {
    let lane = Lane::new("t", 0);
    let log = MockLog::start(&[(lane.topic.clone(), 1)]).unwrap();
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", log.bootstrap_servers()).create().unwrap();
    let produce = async |n: i64| {
        let payload = n.to_string();
        let record = FutureRecord::<(), _>::to("t").partition(0).payload(&payload);
        producer.send(record, Duration::ZERO).await.map_err(|(error, _)| error).unwrap();
    };
    for n in 0..10 {
        produce(n).await;
    }
    let mut reader = assigned(&log, &lane).await;
    // From now on answers come late, also to a question that is void by then.
    log.with_cluster(|cluster| cluster.broker_round_trip_time(1, SLOW)).unwrap().unwrap();
    reader.accept();
    reader.read_from(&lane, 3);

    let reads = async {
        let (until, mut next) = (Instant::now() + ASKED_AGAIN, 3);
        while Instant::now() < until || next < 12 {
            match timeout(Duration::from_secs(20), reader.next()).await.unwrap() {
                LogEvent::Record(record) => {
                    assert_eq!(record.offset, next);
                    assert_eq!(record.payload, next.to_string());
                    next += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let writes = async {
        for n in 10.. {
            produce(n).await;
        }
    };
    tokio::select! {
        () = reads => {}
        () = writes => {}
    }
    // Given back and never read: both are let go without a word of the client.
    reader.stop(std::slice::from_ref(&lane));
    reader.stop(&[lane]);
    reader.close().await;
}
