//! A steady stream of entries that outlives any fault: what is not acknowledged is sent again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared_proto::{Lane, encode};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::column::{Column, LANES};
use crate::log::{append, entry, scheduled};

/// An acknowledged entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// Lane.
    pub lane: i32,
    /// Offset.
    pub offset: i64,
    /// Member.
    pub member: i64,
}

/// The event that the load enters in a lane.
pub fn event_of(lane: i32) -> i64 {
    100 + i64::from(lane)
}

/// Schedules the load's event in every lane.
pub async fn schedule(column: &Column, stock: i64) {
    for lane in 0..LANES {
        append(column, lane, event_of(lane), scheduled(column, event_of(lane), stock, lane)).await;
    }
}

/// A running load on all lanes.
pub struct Load {
    stop: CancellationToken,
    task: JoinHandle<Vec<Acked>>,
}

impl Load {
    /// Starts; `first` is the first member, one entry in twenty repeats an earlier member's.
    pub fn start(column: &Column, seed: u64, first: i64, per_second: u64) -> Self {
        const TICK: Duration = Duration::from_millis(20);
        let stop = CancellationToken::new();
        let (producer, topic, token) = (column.producer.clone(), column.topic(), stop.clone());
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            let mut sends = JoinSet::new();
            let mut acked: Vec<Acked> = Vec::new();
            let mut next = first;
            while token.run_until_cancelled(tick.tick()).await.is_some() {
                while let Some(sent) = sends.try_join_next() {
                    acked.push(sent.expect("no panic"));
                }
                for _ in 0..per_second / 50 {
                    if sends.len() >= 2_000 {
                        break;
                    }
                    let repeat = next > first && random.random_range(0..20) == 0;
                    let member = if repeat { random.random_range(first..next) } else { next };
                    next += i64::from(!repeat);
                    sends.spawn(send(producer.clone(), topic.clone(), member));
                }
            }
            while let Some(sent) = sends.join_next().await {
                acked.push(sent.expect("no panic"));
            }
            acked
        });
        Self { stop, task }
    }

    /// Stops, and gives every acknowledged entry once all are acknowledged.
    pub async fn stop(self) -> Vec<Acked> {
        self.stop.cancel();
        self.task.await.expect("no panic")
    }
}

async fn send<P: Producer>(producer: std::sync::Arc<P>, topic: String, member: i64) -> Acked {
    let partition = (member % i64::from(LANES)) as i32;
    let lane = Lane::new(topic, partition);
    let value = encode(event_of(partition), entry(member));
    loop {
        let record = ToProduce { lane: &lane, key: b"k", value: &value, headers: &[] };
        match producer.produce(record).await {
            Ok(offset) => return Acked { lane: partition, offset, member },
            Err(ProduceError::Refused(why)) => panic!("refused: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
