//! A round trip through the embedded log with the clients that the binaries use.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared_proto::Lane;
use shared_runtime::embedded::{BacklogGuard, MockLog};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_in_order_from_their_lane() {
    let topics = [("event-apply-topic".to_owned(), 3), ("event-apply-topic.DLT".to_owned(), 1)];
    let log = MockLog::start(&topics).unwrap();
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", log.bootstrap_servers())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "5000")
        .create()
        .unwrap();
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", log.bootstrap_servers())
        .set("group.id", "round-trip")
        .set("session.timeout.ms", "6000")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["event-apply-topic"]).unwrap();

    let lane = Lane::new("event-apply-topic", 2);
    let guard = BacklogGuard::new();
    let reader = guard.reader(&lane);
    for n in 0..100_i64 {
        let payload = n.to_string();
        let record = FutureRecord::<(), _>::to(&lane.topic).partition(lane.partition).payload(&payload);
        let delivery = producer.send(record, Duration::ZERO).await.map_err(|(error, _)| error).unwrap();
        assert_eq!((delivery.partition, delivery.offset), (lane.partition, n));
        guard.acked(&lane, delivery.offset, payload.len());
    }
    assert_eq!(guard.backlog(&lane).0, 100);
    for n in 0..100_i64 {
        let message = tokio::time::timeout(Duration::from_secs(20), consumer.recv()).await.unwrap().unwrap();
        assert_eq!((message.partition(), message.offset()), (lane.partition, n));
        assert_eq!(message.payload().unwrap(), n.to_string().as_bytes());
        reader.advance(message.offset() + 1);
    }
    assert_eq!(guard.backlog(&lane), (0, 0));

    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).unwrap();
    let mut made: Vec<_> =
        metadata.topics().iter().map(|t| (t.name().to_owned(), t.partitions().len())).collect();
    made.sort();
    assert_eq!(made, [("event-apply-topic".to_owned(), 3), ("event-apply-topic.DLT".to_owned(), 1)]);
}

#[test]
fn each_start_is_another_log() {
    let (one, two) = (MockLog::start(&[]).unwrap(), MockLog::start(&[]).unwrap());
    assert!(!one.log_id().is_empty());
    assert_ne!(one.log_id(), two.log_id());
    let brokers = one.bootstrap_servers().to_owned();
    assert_eq!(one.with_cluster(|cluster| cluster.bootstrap_servers()), Some(brokers));
    drop(one);
}
