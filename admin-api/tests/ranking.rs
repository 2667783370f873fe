//! The ranking in Redis follows what is committed.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use admin_api::Ranking;
use serde_json::Value;
use shared_runtime::clock::SeededRandom;
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{RedisArgs, RedisClient};
use support::{GRACE_MS, NOW, draft, open_to_all, world};

#[tokio::test]
async fn it_is_rebuilt_from_committed_totals_and_forgets_what_is_deleted() {
    let w = world(None).await;
    let server = FakeRedis::start().unwrap();
    let client =
        || RedisClient::new(&RedisArgs::for_url(server.url()), Arc::new(SeededRandom::new(2))).unwrap();
    let redis = client();
    let mirror = |redis: RedisClient| Ranking::new(w.store.clone(), redis, w.clock.clone());
    let (one, other) = (mirror(redis.clone()), mirror(client()));

    let (few, many) = (w.scheduled(&draft()).await, w.scheduled(&open_to_all()).await);
    let (_without_entries, unseen) = (w.scheduled(&draft()).await, w.created(&draft()).await);
    w.decide().await;
    for member in 0..7 {
        let lanes = w.get(&format!("/admin/v1/events/{many}")).await["lanes"].clone();
        let lane = lanes[member as usize % lanes.as_array().unwrap().len()].as_i64().unwrap() as i32;
        w.log.enter(many, lane, member, NOW, &[]);
    }
    let lane = w.get(&format!("/admin/v1/events/{few}")).await["lanes"][0].as_i64().unwrap() as i32;
    // A repeat is one entry, and a rejected one was accepted too.
    for member in [1, 1, 2] {
        w.log.enter(few, lane, member, NOW, &[0]);
    }
    w.log.enter(few, lane, 3, NOW + 2 * 24 * 3_600_000, &[0]);
    assert_eq!(one.put_right().await.unwrap(), 0, "accepted is not committed");
    w.decide().await;

    let whole = vec![(many, 7), (few, 3)];
    assert_eq!(one.put_right().await.unwrap(), 2);
    assert_eq!(redis.ranking(10).await.unwrap(), whole);
    assert_eq!(redis.ranking(1).await.unwrap(), whole[..1]);
    assert_eq!((one.put_right().await.unwrap(), other.put_right().await.unwrap()), (0, 0), "nothing differs");

    // Emptied, wrong, with strangers: right again with the next look, whoever looks.
    assert!(redis.del("event:ranking").await.unwrap());
    assert_eq!(other.put_right().await.unwrap(), 2);
    assert_eq!(redis.ranking(10).await.unwrap(), whole);
    let wrong = BTreeMap::from([(many, 1), (few, 3), (unseen, 8), (4_000, 9)]);
    redis.mirror_ranking(&wrong).await.unwrap();
    let (first, second) = tokio::join!(one.put_right(), other.put_right());
    assert!(first.unwrap().max(second.unwrap()) == 3, "one is mended, two go");
    assert_eq!(redis.ranking(10).await.unwrap(), whole);

    let (status, _) = w.call("DELETE", &format!("/admin/v1/events/{many}"), &Value::Null).await;
    assert_eq!(status, 202);
    w.admin.eraser().pass().await.unwrap();
    assert_eq!(one.put_right().await.unwrap(), 1);
    assert_eq!(redis.ranking(10).await.unwrap(), [(few, 3)]);

    // Long after its end it is nobody's favourite.
    w.clock.advance(100 * 24 * 3_600_000);
    // It is closing, then closed.
    for _ in 0..3 {
        w.decide().await;
        w.clock.advance(GRACE_MS);
    }
    assert_eq!(one.put_right().await.unwrap(), 1);
    assert_eq!(redis.ranking(10).await.unwrap(), []);
}
