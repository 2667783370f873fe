//! Raffles and random rewards in the log itself: the close by position, a second reader, and the key that rewards need.

use std::time::{Duration, Instant};

use shared_domain::draw::{DrawRules, ListDigest};
use shared_domain::{
    AmountRange, ContactCollection, EntryStatus, EventDefinition, EventPeriod, EventType, OptionName, Reason,
    Reward, Rules, TargetRange, WrappedKeys,
};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic};
use shared_runtime::clock::SystemClock;
use shared_runtime::draw::{DrawRunner, Reached};
use shared_runtime::keys::{DecisionKey, EventSecrets, RewardKeys};
use shared_runtime::store::Store;
use tokio_util::sync::CancellationToken;

use crate::column::{Column, LANES};
use crate::log::{SALT, append_to, entry, id};
use crate::promises::{entries, same_digests, wait_for_entries};
use crate::rounds::BUDGET;
use crate::scenarios::InProcess;

/// The one event of these columns.
pub const EVENT: i64 = 40;

/// A raffle over all lanes as scheduling would have made it.
pub fn raffle(column: &Column, max_winners: i64, alternates: u32) -> EventDefinition {
    EventDefinition {
        max_winners: Some(max_winners),
        draw: Some(DrawRules { alternates, ..DrawRules::default() }),
        ..definition(column, EventType::Raffle, Reward::DEFAULT)
    }
}

/// Publishes a definition in each of its lanes.
pub async fn schedule(column: &Column, definition: &EventDefinition) {
    for lane in &definition.lanes {
        let scheduled = Kind::Scheduled(definition.to_record(id(EVENT, 1).try_into().expect("16 bytes")));
        publish(column, definition, *lane, scheduled).await;
    }
}

/// An event as scheduling would have made it, open from 1970 to 2100.
fn definition(column: &Column, event_type: EventType, reward: Reward) -> EventDefinition {
    let raffle = event_type == EventType::Raffle;
    let secrets = EventSecrets::new(&column.key(), EVENT).expect("secrets");
    EventDefinition {
        rules: Rules::NEWEST,
        event_type,
        title: format!("event {EVENT}"),
        content: String::new(),
        period: EventPeriod::new(0, 4_102_444_800_000).expect("period"),
        time_zone: "UTC".to_owned(),
        approval: None,
        internal_test: true,
        max_winners: raffle.then_some(3),
        target_condition: String::new(),
        duplicates_allowed: false,
        max_entries_per_member: None,
        options: if raffle { vec![] } else { vec![(OptionName::new("DEFAULT").expect("name"), 20)] },
        reward,
        missions: Vec::new(),
        contact_collection: ContactCollection::None,
        claim_until: 4_102_444_800_000,
        contact_key: None,
        topic: column.kafka.topics().name(if raffle { Topic::Raffle } else { Topic::Apply }),
        lanes: if raffle { (0..LANES).collect() } else { vec![0] },
        salt: SALT.to_vec(),
        draw: raffle.then(DrawRules::default),
        draw_commitment: raffle.then_some(secrets.commitment),
        wrapped_keys: WrappedKeys { reward_key: secrets.reward_key, seed: secrets.seed },
    }
}

async fn publish(column: &Column, definition: &EventDefinition, lane: i32, kind: Kind) -> i64 {
    append_to(column, Lane::new(definition.topic.clone(), lane), &shared_proto::encode(EVENT, kind)).await
}

/// Of two entries in a lane the one before `Closed` is in the list, and the one behind it is REJECTED(CLOSED), late clicks
/// included; a second reader agrees on every lane, and so does a replay; and the draw's list is what the log says.
pub async fn closed_by_position(column: &Column) {
    let (_url, other) = column.second_database().await;
    let first = InProcess::start_role(column, &column.store, &raffle_worker::ROLE);
    let second = InProcess::start_role(
        column,
        &other,
        &shared_runtime::worker::Role { group: "second-reader".into(), ..raffle_worker::ROLE },
    );
    let raffle = raffle(column, 3, 0);
    schedule(column, &raffle).await;
    let member_of = |lane: i32, n: i64| i64::from(lane) * 1_000 + n;
    for lane in 0..LANES {
        for n in 0..10 {
            publish(column, &raffle, lane, one(member_of(lane, n))).await;
        }
        // A double click.
        publish(column, &raffle, lane, one(member_of(lane, 9))).await;
        let closed = Kind::Closed(v1::Closed { command_id: id(EVENT, 2) });
        publish(column, &raffle, lane, closed).await;
        publish(column, &raffle, lane, one(member_of(lane, 10))).await;
        publish(column, &raffle, lane, one(member_of(lane, 9))).await;
    }
    let mut digest = ListDigest::new(EVENT, 10 * LANES as u64);
    for lane in 0..LANES {
        for store in [&column.store, &other] {
            wait_for_entries(store, EVENT, lane, 11, BUDGET).await;
        }
        let rows = entries(&column.store, EVENT, lane).await;
        for (n, row) in (0..).zip(&rows) {
            assert_eq!(row.member_id, member_of(lane, n));
            let (status, reason) = if n < 10 {
                (EntryStatus::Pending, None)
            } else {
                (EntryStatus::Rejected, Some(i16::from(Reason::Closed.code())))
            };
            assert_eq!((row.status, row.reason), (i16::from(status.code()), reason), "{row:?}");
            if n < 10 {
                let entrant = shared_domain::draw::Entrant::new(row.id().expect("id"), 1).expect("a weight");
                digest.push(&entrant);
            }
        }
    }
    same_digests(&column.store, &other).await;
    first.stop().await;
    second.stop().await;

    let closed = format!("UPDATE events SET lifecycle = 3 WHERE event_id = {EVENT}");
    let mut drawn = Vec::new();
    // Whatever database draws, the winners are the same: the one of the events, or one made from the log.
    for store in [&column.store, &other] {
        let url = if std::ptr::eq(store, &column.store) { &column.database_url } else { &_url };
        crate::sql::execute(url, &closed).await;
        let wanted = format!("UPDATE draw SET requested = 1, publish = 1 WHERE event_id = {EVENT}");
        crate::sql::execute(url, &wanted).await;
        let reached = runner(store, column.key()).advance(EVENT, &CancellationToken::new()).await;
        assert_eq!(reached.expect("drawn"), Reached::Done(shared_domain::draw::DrawPhase::Published));
        let parts = store.draw_parts(EVENT).await.expect("parts").expect("a draw");
        let record = shared_runtime::draw::public_record(&parts).expect("a record");
        drawn.push((record.draw_id, record.list_digest, record.winners));
    }
    assert_eq!(drawn[0], drawn[1]);
    assert_eq!(drawn[0].1.map(|hex| hex.0), digest.finish().ok());
    assert_eq!(drawn[0].2.len(), 3);

    // Decided again after the draw, which is not in the log, the lanes are the same.
    let (_url, third) = column.second_database().await;
    let again = InProcess::replay(column, &third).await;
    for lane in 0..LANES {
        wait_for_entries(&third, EVENT, lane, 11, BUDGET).await;
    }
    again.stop().await;
    same_digests(&column.store, &third).await;

    // A key that is not the one of the scheduling opens nothing, and decides nothing.
    crate::sql::execute(&_url, &closed).await;
    crate::sql::execute(&_url, &format!("UPDATE draw SET requested = 1 WHERE event_id = {EVENT}")).await;
    let wrong = std::sync::Arc::new(DecisionKey::new(&[1; 32]));
    let refused = runner(&third, wrong).advance(EVENT, &CancellationToken::new()).await;
    let refused = refused.expect_err("the seed does not open").to_string();
    assert!(refused.contains("DECISION_KEY_FILE"), "{refused}");
}

/// 10,000 winners of 100,000 entrants, drawn twice at once: as many winners as asked for, each with a rank of its own, and
/// record and list recompute.
pub async fn ten_thousand_of_a_hundred_thousand(column: &Column) {
    const ENTRANTS: i64 = 100_000;
    const WINNERS: i64 = 10_000;
    const ROWS: usize = 2_000;
    let event = raffle(column, WINNERS, 100);
    schedule(column, &event).await;
    let worker = InProcess::start_role(column, &column.store, &raffle_worker::ROLE);
    let until = Instant::now() + BUDGET;
    while column.store.draw_lanes(EVENT).await.expect("lanes").len() < event.lanes.len() {
        assert!(Instant::now() < until, "not scheduled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await;
    let (url, lanes) = (&column.database_url, i64::from(LANES));
    for from in (0..ENTRANTS).step_by(ROWS) {
        let rows: Vec<String> = (from..from + ROWS as i64)
            .map(|i| {
                let spread = (i as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
                format!("({EVENT},{},{},x'{spread:032x}',{i},0,0,{i},1,1)", i % lanes, i / lanes + 1)
            })
            .collect();
        let sql = format!(
            "INSERT INTO event_entry (event_id, lane, seq, entry_id, member_id, status, reward_amount, log_offset, \
             accepted_at, decided_at) VALUES {}",
            rows.join(",")
        );
        crate::sql::execute(url, &sql).await;
    }
    for change in [
        format!("event_lane SET seq = {}, closed_offset = 1", ENTRANTS / lanes),
        "events SET lifecycle = 3".to_owned(),
        "draw SET requested = 1, publish = 1".to_owned(),
    ] {
        crate::sql::execute(url, &format!("UPDATE {change} WHERE event_id = {EVENT}")).await;
    }
    let (one, other) = (runner(&column.store, column.key()), runner(&column.store, column.key()));
    let stop = CancellationToken::new();
    let carried = async |runner: DrawRunner| loop {
        // Of two at once one may meet the other's lock.
        match runner.advance(EVENT, &stop).await {
            Ok(reached) => break reached,
            Err(shared_runtime::draw::DrawError::Store(error)) if error.class.is_retried(0) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let both = tokio::join!(carried(one), carried(other));
    let published = Reached::Done(shared_domain::draw::DrawPhase::Published);
    assert_eq!(both, (published, published));
    let parts = column.store.draw_parts(EVENT).await.expect("parts").expect("a draw");
    let record = shared_runtime::draw::public_record(&parts).expect("a record");
    let chains = Default::default();
    let mut verifier = shared_domain::draw::Verifier::new(&record, &chains);
    let lanes = column.store.draw_lanes(EVENT).await.expect("lanes");
    let mut walk = shared_runtime::draw::entrants(&column.store, EVENT, &lanes);
    while let Some(block) = walk.next().await.expect("a block") {
        block.iter().for_each(|entrant| verifier.push(entrant));
    }
    let report = verifier.finish();
    assert_eq!((report.failed().count(), report.not_checked().count()), (0, 0), "{report:?}");
    let count = async |what: &str| {
        let sql =
            format!("SELECT COUNT({what}) AS n FROM event_entry WHERE event_id = {EVENT} AND status = 1");
        crate::sql::number(url, &sql).await
    };
    assert_eq!((count("*").await, count("DISTINCT entry_rank").await), (WINNERS, WINNERS));
    let pending = format!("SELECT COUNT(*) AS n FROM event_entry WHERE event_id = {EVENT} AND status = 0");
    assert_eq!(crate::sql::number(url, &pending).await, 0);
}

/// A member's entry of an event without options.
pub fn one(member: i64) -> Kind {
    match entry(member) {
        Kind::Entry(entry) => Kind::Entry(v1::Entry { options: vec![], ..entry }),
        other => other,
    }
}

/// What carries draws on, on any store.
pub(crate) fn runner(store: &Store, key: std::sync::Arc<DecisionKey>) -> DrawRunner {
    DrawRunner::new(store.clone(), key, Default::default(), std::sync::Arc::new(SystemClock))
}

/// Without the right decision key a lane halts under its name and decides nothing; with it, it goes on where it stood, and
/// the budget is spent to the point.
pub async fn rewards_need_their_key(column: &Column) {
    let range = AmountRange::new(1, 90).expect("range");
    let reward = Reward::AverageRandom(TargetRange::new(range, 40).expect("target"));
    let event = definition(column, EventType::FirstCome, reward);
    schedule(column, &event).await;
    for member in 0..30 {
        publish(column, &event, 0, entry(member)).await;
    }
    let wrong = RewardKeys::new(Some(std::sync::Arc::new(DecisionKey::new(&[1; 32]))));
    for (keys, says) in
        [(RewardKeys::default(), "is not set"), (wrong, "DECISION_KEY_FILE: the secret does not open")]
    {
        let worker = InProcess::start_with_keys(column, &column.store, keys);
        let until = Instant::now() + BUDGET;
        loop {
            let halted = worker.halted();
            if let Some(why) = halted.iter().find(|why| why.starts_with("decision_key: ")) {
                assert!(why.contains(says) && why.contains(&format!("event {EVENT}")), "{why}");
                break;
            }
            assert!(Instant::now() < until, "no alarm: {halted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worker.stop().await;
        assert!(column.store.lane_rows().await.expect("lanes").is_empty(), "nothing was decided");
        assert!(column.store.parked_events().await.expect("parked").is_empty(), "nothing was parked");
    }
    let worker = InProcess::start(column, &column.store, "apply-worker");
    wait_for_entries(&column.store, EVENT, 0, 30, BUDGET).await;
    worker.stop().await;
    let rows = entries(&column.store, EVENT, 0).await;
    let paid: i64 = rows.iter().map(|row| row.reward_amount).sum();
    assert_eq!((paid, rows[0].reward_amount), (20 * 40, 40));
    let (_url, other) = column.second_database().await;
    let again = InProcess::replay(column, &other).await;
    wait_for_entries(&other, EVENT, 0, 30, BUDGET).await;
    same_digests(&column.store, &other).await;
    again.stop().await;
}
