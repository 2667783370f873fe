//! The fold's promises, over random logs, random splits and random redelivery (DESIGN sections 1 and 5).

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use shared_domain::{
    DecidedEntry, EntryId, EntryStatus, EventInLane, EventKeys, Known, LogEntry, Reason, decide,
};
use shared_proto::v1::{self, log_record::Kind};

const START: i64 = 1_000;
const END: i64 = 9_000;

/// A database in memory: what a store keeps between batches.
#[derive(Default)]
struct Rows {
    events: BTreeMap<i64, EventInLane>,
    known: Known,
    entries: Vec<DecidedEntry>,
}

impl Rows {
    fn apply(&mut self, batch: &[LogEntry]) {
        let fold = decide(&self.events, &self.known, batch).expect("decidable");
        self.events = fold.events;
        for e in &fold.decisions.entries {
            self.known.entries.insert((e.event_id, e.entry_id));
            if e.status != EntryStatus::Rejected {
                *self.known.member_entries.entry((e.event_id, e.member_id)).or_default() += 1;
            }
        }
        for c in &fold.decisions.commands {
            self.known.commands.insert(c.command_id);
        }
        self.entries.extend(fold.decisions.entries);
    }
}

fn scheduled(stock: &[i64], limit: Option<u32>) -> Kind {
    Kind::Scheduled(v1::Scheduled {
        command_id: vec![0xAA; 16],
        rules_version: 1,
        r#type: v1::EventType::FirstCome.into(),
        starts_at_ms: START,
        ends_at_ms: END,
        internal_test: true,
        duplicates_allowed: limit.is_some(),
        max_entries_per_member: limit.unwrap_or(0),
        options: stock
            .iter()
            .enumerate()
            .map(|(i, n)| v1::StockOption { name: format!("o{i}"), granted: *n })
            .collect(),
        reward: Some(v1::Reward { policy: Some(v1::reward::Policy::FixedAmount(3)) }),
        lanes: vec![0],
        salt: vec![9; 32],
        ..Default::default()
    })
}

#[derive(Debug, Clone)]
enum Step {
    Enter { event: i64, member: i64, key: u8, options: Vec<u32>, at: i64 },
    AddStock { event: i64, id: u8, option: u32, add: i64 },
    Approve { event: i64, id: u8, until: i64 },
    Close { event: i64, id: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (1..3i64, 0..40i64, 0..3u8, proptest::collection::vec(0..4u32, 0..3), 900..9_100i64)
            .prop_map(|(event, member, key, options, at)| Step::Enter { event, member, key, options, at }),
        2 => (1..3i64, 0..3u8, 0..4u32, -1..6i64)
            .prop_map(|(event, id, option, add)| Step::AddStock { event, id, option, add }),
        1 => (1..3i64, 10..12u8, 1_500..9_500i64).prop_map(|(event, id, until)| Step::Approve { event, id, until }),
        1 => (1..3i64, 20..21u8).prop_map(|(event, id)| Step::Close { event, id }),
    ]
}

fn id(event: i64, n: u8) -> Vec<u8> {
    let mut id = vec![n; 16];
    id[0] = event as u8;
    id
}

fn log_of(stock: &[i64], limit: Option<u32>, steps: &[Step]) -> Vec<LogEntry> {
    let keys = EventKeys::new(&[9; 32]);
    let mut log = Vec::new();
    for event in 1..3 {
        let Kind::Scheduled(mut s) = scheduled(stock, limit) else { unreachable!() };
        s.command_id = id(event, 0xAA);
        log.push((event, Kind::Scheduled(s)));
    }
    for s in steps {
        log.push(match s.clone() {
            Step::Enter { event, member, key, options, at } => {
                let key = limit.map(|_| format!("k{key}"));
                let entry_id = keys.entry_id(member, key.as_deref());
                (
                    event,
                    Kind::Entry(v1::Entry {
                        entry_id: entry_id.as_bytes().to_vec(),
                        member_id: member,
                        accepted_at_ms: at,
                        options,
                        sealed_contact: vec![],
                    }),
                )
            }
            Step::AddStock { event, id: n, option, add } => {
                (event, Kind::StockAdded(v1::StockAdded { command_id: id(event, n), option, add }))
            }
            Step::Approve { event, id: n, until } => (
                event,
                Kind::ApprovalChanged(v1::ApprovalChanged {
                    command_id: id(event, n),
                    approval: Some(v1::Approval { review_number: "R".into(), from_ms: 0, until_ms: until }),
                }),
            ),
            Step::Close { event, id: n } => (event, Kind::Closed(v1::Closed { command_id: id(event, n) })),
        });
    }
    log.into_iter()
        .enumerate()
        .map(|(i, (event_id, kind))| LogEntry { offset: i as i64, event_id, kind })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any split of one log into batches, with any redelivery, gives the same rows and digests.
    #[test]
    fn splits_and_redelivery_change_nothing(
        stock in proptest::collection::vec(0..12i64, 1..4),
        limit in proptest::option::of(1..4u32),
        steps in proptest::collection::vec(step(), 0..200),
        cuts in proptest::collection::vec((1..40usize, 0..60usize), 1..60),
    ) {
        let log = log_of(&stock, limit, &steps);
        let mut whole = Rows::default();
        whole.apply(&log);

        let mut split = Rows::default();
        let (mut at, mut cut) = (0, cuts.iter().cycle());
        while at < log.len() {
            let (take, back) = cut.next().expect("cycle");
            let end = (at + take).min(log.len());
            // Redelivery: this batch starts up to `back` records before the first new one.
            split.apply(&log[at.saturating_sub(*back)..end]);
            at = end;
        }

        prop_assert_eq!(&whole.entries, &split.entries);
        for (id, event) in &whole.events {
            prop_assert_eq!(&event.lane, &split.events[id].lane);
            prop_assert_eq!(&event.stock, &split.events[id].stock);
        }
    }

    /// Never more winners than stock, never fewer while valid entries lose; ranks and seqs have no holes.
    #[test]
    fn wins_and_stock_add_up(
        stock in proptest::collection::vec(0..12i64, 1..4),
        limit in proptest::option::of(1..4u32),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let log = log_of(&stock, limit, &steps);
        let mut rows = Rows::default();
        rows.apply(&log);
        for (event_id, event) in &rows.events {
            let mine: Vec<_> = rows.entries.iter().filter(|e| e.event_id == *event_id).collect();
            let wins: Vec<_> = mine.iter().filter(|e| e.status == EntryStatus::Win).collect();
            let granted: i64 = event.stock.iter().map(|s| s.granted()).sum();
            let left: i64 = event.stock.iter().map(|s| s.left()).sum();
            prop_assert_eq!(wins.len() as i64 + left, granted);
            prop_assert_eq!(event.lane.paid, 3 * wins.len() as i64);
            prop_assert!(mine.iter().enumerate().all(|(i, e)| e.seq == i as i64 + 1));
            prop_assert!(wins.iter().enumerate().all(|(i, e)| e.rank == Some(i as i64 + 1)));
            prop_assert_eq!(event.lane.exhausted_at.is_some(), left == 0);
            let mut ids: HashMap<EntryId, usize> = HashMap::new();
            mine.iter().for_each(|e| *ids.entry(e.entry_id).or_default() += 1);
            prop_assert!(ids.values().all(|n| *n == 1));
        }
    }
}

fn entry(offset: i64, member: i64, at: i64, options: &[u32]) -> LogEntry {
    let entry_id = EventKeys::new(&[9; 32]).entry_id(member, None);
    LogEntry {
        offset,
        event_id: 1,
        kind: Kind::Entry(v1::Entry {
            entry_id: entry_id.as_bytes().to_vec(),
            member_id: member,
            accepted_at_ms: at,
            options: options.to_vec(),
            sealed_contact: vec![],
        }),
    }
}

fn record(offset: i64, kind: Kind) -> LogEntry {
    LogEntry { offset, event_id: 1, kind }
}

#[test]
fn the_first_n_distinct_valid_entries_win() {
    let mut log = vec![record(0, scheduled(&[3], None))];
    for (i, member) in [7, 7, 8, 7, 9, 8, 10, 11].into_iter().enumerate() {
        log.push(entry(i as i64 + 1, member, START, &[]));
    }
    let mut rows = Rows::default();
    rows.apply(&log);
    let outcome: Vec<_> = rows.entries.iter().map(|e| (e.member_id, e.status, e.rank)).collect();
    use EntryStatus::{Lose, Win};
    assert_eq!(
        outcome,
        [(7, Win, Some(1)), (8, Win, Some(2)), (9, Win, Some(3)), (10, Lose, None), (11, Lose, None)]
    );
    assert_eq!(rows.events[&1].lane.exhausted_at, Some(5));
}

#[test]
fn preferences_are_tried_in_order() {
    let log = [
        record(0, scheduled(&[1, 1], None)),
        entry(1, 1, START, &[0, 1]),
        entry(2, 2, START, &[0, 1]),
        entry(3, 3, START, &[0]),
    ];
    let mut rows = Rows::default();
    rows.apply(&log);
    assert_eq!(rows.entries.iter().map(|e| e.option).collect::<Vec<_>>(), [Some(0), Some(1), None]);
}

#[test]
fn each_reason_for_rejection() {
    let approval = |until_ms| {
        Kind::ApprovalChanged(v1::ApprovalChanged {
            command_id: id(1, 50 + (until_ms % 7) as u8),
            approval: Some(v1::Approval { review_number: "R".into(), from_ms: 0, until_ms }),
        })
    };
    let log = [
        record(0, scheduled(&[5, 5], None)),
        entry(1, 1, START - 1, &[0]),
        entry(2, 2, END, &[0]),
        entry(3, 3, START, &[2]),
        entry(4, 4, START, &[]),
        record(5, approval(2_000)),
        entry(6, 5, 2_000, &[0]),
        entry(7, 6, 1_999, &[0]),
        record(8, Kind::Closed(v1::Closed { command_id: id(1, 60) })),
        entry(9, 7, START, &[0]),
        record(10, Kind::Deleted(v1::Deleted { command_id: id(1, 61) })),
        entry(11, 8, START, &[0]),
        entry(12, 9, START, &[0]),
    ];
    let mut rows = Rows::default();
    rows.known.rejected_offsets.insert(12);
    rows.apply(&log);
    let reasons: Vec<_> = rows.entries.iter().map(|e| e.reason).collect();
    use Reason::{ApprovalExpired, Closed, Deleted, NotStarted, Undecidable, UnknownOption};
    assert_eq!(
        reasons,
        [
            Some(NotStarted),
            Some(Closed),
            Some(UnknownOption),
            Some(UnknownOption),
            Some(ApprovalExpired),
            None,
            Some(Closed),
            Some(Deleted),
            Some(Undecidable)
        ]
    );
}

#[test]
fn entry_limits_count_only_what_counts() {
    let keys = EventKeys::new(&[9; 32]);
    let with_key = |offset, key: &str, at| {
        let mut e = entry(offset, 1, at, &[0]);
        if let Kind::Entry(inner) = &mut e.kind {
            inner.entry_id = keys.entry_id(1, Some(key)).as_bytes().to_vec();
        }
        e
    };
    let log = [
        record(0, scheduled(&[9], Some(2))),
        with_key(1, "a", START - 1),
        with_key(2, "b", START),
        with_key(3, "c", START),
        with_key(4, "d", START),
    ];
    let mut rows = Rows::default();
    rows.apply(&log);
    let reasons: Vec<_> = rows.entries.iter().map(|e| e.reason).collect();
    assert_eq!(reasons, [Some(Reason::NotStarted), None, None, Some(Reason::EntryLimitReached)]);
}

#[test]
fn what_cannot_be_decided_names_its_record() {
    let unknown = decide(&BTreeMap::new(), &Known::default(), &[entry(4, 1, START, &[])]);
    let error = unknown.expect_err("no such event");
    assert_eq!((error.event_id, error.offset), (1, 4));
    let Kind::Scheduled(mut future) = scheduled(&[1], None) else { unreachable!() };
    future.rules_version = 99;
    let error = decide(&BTreeMap::new(), &Known::default(), &[record(0, Kind::Scheduled(future))])
        .expect_err("newer rules");
    assert!(error.why.contains("rules version 99"), "{error}");
}
