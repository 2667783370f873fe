//! Missions: progress and chances are the same however a log is cut into batches and whatever is repeated (DESIGN section 9).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use shared_domain::{
    ActivityReport, Completion, Counted, EntryId, EntryStatus, EventDefinition, EventInLane, Known, LogEntry,
    MarkKey, Mission, MissionType, MissionWeights, Progress, ProgressKey, StampError, Weighed, counts,
    decide, sort_counts, tally,
};
use shared_proto::v1::{self, log_record::Kind};

const EVENT: i64 = 7;
const START: i64 = 1_772_000_000_000;
const HOUR: i64 = 3_600_000;
const END: i64 = START + 10 * 24 * HOUR;

fn mission(mission_type: MissionType, goal_value: i64, weight: Option<u16>) -> Mission {
    Mission { title: "m".into(), mission_type, goal_value, self_reported: false, option: None, weight }
}

fn scheduled(missions: &[Mission]) -> v1::Scheduled {
    v1::Scheduled {
        command_id: vec![1; 16],
        rules_version: 1,
        r#type: v1::EventType::Raffle.into(),
        starts_at_ms: START,
        ends_at_ms: END,
        time_zone: "Asia/Seoul".into(),
        internal_test: true,
        max_winners: Some(1),
        lanes: vec![0],
        salt: vec![9; 32],
        draw: Some(v1::DrawMethod::default()),
        draw_commitment: vec![1; 32],
        wrapped_seed: vec![1],
        missions: missions.iter().map(Mission::to_record).collect(),
        ..Default::default()
    }
}

fn definition(missions: &[Mission]) -> Arc<EventDefinition> {
    Arc::new(EventDefinition::from_record(&scheduled(missions)).expect("a good definition"))
}

// ---- progress ----------------------------------------------------------------------------------------------------

/// A database in memory: what a store keeps between batches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    progress: HashMap<ProgressKey, Progress>,
    marks: HashSet<MarkKey>,
    completions: Vec<Completion>,
}

impl Rows {
    fn apply(&mut self, batch: &[v1::Activity], definition: &Arc<EventDefinition>) {
        let definitions = HashMap::from([(EVENT, Arc::clone(definition))]);
        let all: Vec<_> = batch.iter().flat_map(|a| counts(a, &definitions).expect("judged")).collect();
        let counts = sort_counts(all);
        for (key, value) in counts.latest {
            let progress = self.progress.get(&key).copied().unwrap_or_default();
            self.progress.insert(key, value.onto(progress));
        }
        let counted = tally(&counts.weighed, &self.progress, &self.marks);
        self.write(counted);
    }

    fn write(&mut self, counted: Counted) {
        self.progress.extend(counted.progress);
        self.marks.extend(counted.marks);
        self.completions.extend(counted.completions);
    }
}

fn activity(report: &ActivityReport, accepted_at: i64, missions: u16) -> v1::Activity {
    let stamp: Vec<_> = (0..missions).map(|index| (EVENT, index)).collect();
    report.to_record([1; 16], accepted_at, &stamp)
}

#[derive(Debug, Clone)]
struct Report {
    member: i64,
    value: i64,
    friend: i64,
    occurred: i64,
    accepted: i64,
}

fn reports() -> impl Strategy<Value = Vec<Report>> {
    let one = (0..3i64, 0..12i64, 0..6i64, -2..12i64, -1..241i64).prop_map(
        |(member, value, friend, occurred, accepted)| Report {
            member,
            value,
            friend,
            occurred: START + occurred * 8 * HOUR,
            accepted: START + accepted * HOUR,
        },
    );
    proptest::collection::vec(one, 0..40)
}

fn log_of(kind: MissionType, reports: &[Report]) -> Vec<v1::Activity> {
    let report = |r: &Report| {
        let report = ActivityReport {
            member: r.member,
            mission_type: kind,
            value: Some(r.value),
            friend: Some(r.friend),
            occurred_at: r.occurred,
        };
        activity(&report, r.accepted, 2)
    };
    reports.iter().map(report).collect()
}

proptest! {
    /// What is set apart counts as if it had been weighed with everything known.
    #[test]
    fn values_below_the_goal_need_nothing_of_the_past(
        first in reports(),
        second in reports(),
        goals in (1..12i64, 1..12i64),
    ) {
        let kind = MissionType::StepCount;
        let definition = definition(&[mission(kind, goals.0, None), mission(kind, goals.1, None)]);
        let definitions = HashMap::from([(EVENT, Arc::clone(&definition))]);
        let (mut rows, mut weighed) = (Rows::default(), Rows::default());
        for reports in [first, second] {
            let log = log_of(kind, &reports);
            rows.apply(&log, &definition);
            let all: Vec<_> = log.iter().flat_map(|a| counts(a, &definitions).expect("judged")).collect();
            weighed.write(tally(&all, &weighed.progress, &weighed.marks));
        }
        prop_assert_eq!(rows, weighed);
    }

    #[test]
    fn any_split_with_any_repeat_ends_in_the_same_progress(
        kind in 0..3usize,
        reports in reports(),
        cuts in proptest::collection::vec(0..40usize, 0..6),
        again in proptest::collection::vec(0..40usize, 0..6),
    ) {
        let kind = MissionType::ALL[kind];
        let definition = definition(&[mission(kind, 3, None), mission(kind, 6, None)]);
        let log = log_of(kind, &reports);
        let mut whole = Rows::default();
        whole.apply(&log, &definition);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= log.len()).collect();
        cuts.sort_unstable();
        let mut parts = Rows::default();
        let mut from = 0;
        for to in cuts.into_iter().chain([log.len()]) {
            parts.apply(&log[from..to], &definition);
            from = to;
        }
        prop_assert_eq!(&parts, &whole);
        // Reported again, and in another order: no value moves, and nothing is completed twice.
        for n in again.into_iter().filter(|n| *n < log.len()) {
            parts.apply(&log[n..=n], &definition);
        }
        prop_assert_eq!(&parts, &whole);
        let mut backwards = Rows::default();
        for one in log.iter().rev() {
            backwards.apply(std::slice::from_ref(one), &definition);
        }
        let values = |rows: &Rows| -> BTreeMap<ProgressKey, (i64, Option<i64>)> {
            rows.progress.iter().map(|(key, p)| (*key, (p.current_value, p.latest_at))).collect()
        };
        prop_assert_eq!(values(&backwards), values(&whole));
        prop_assert_eq!(&backwards.marks, &whole.marks);
        let once: BTreeSet<ProgressKey> = whole.completions.iter().map(|c| c.key).collect();
        prop_assert_eq!(once.len(), whole.completions.len());
    }
}

#[test]
fn the_latest_value_by_device_time_stands_then_the_larger_and_completion_stays() {
    let definition = definition(&[mission(MissionType::StepCount, 10_000, None)]);
    let steps = |value, minutes: i64| {
        let report = ActivityReport {
            member: 1,
            mission_type: MissionType::StepCount,
            value: Some(value),
            friend: None,
            occurred_at: START + minutes * 60_000,
        };
        activity(&report, START + HOUR, 1)
    };
    let mut rows = Rows::default();
    let mut value = |reports: &[v1::Activity]| {
        rows.apply(reports, &definition);
        let progress = rows.progress[&(1, EVENT, 0)];
        (progress.current_value, progress.completed_at.is_some(), rows.completions.len())
    };
    assert_eq!(value(&[steps(4_000, 10)]), (4_000, false, 0));
    assert_eq!(value(&[steps(9_000, 5)]), (4_000, false, 0), "an older report comes late");
    assert_eq!(value(&[steps(5_000, 10), steps(4_500, 10)]), (5_000, false, 0), "of two the larger");
    assert_eq!(value(&[steps(10_000, 20)]), (10_000, true, 1));
    assert_eq!(value(&[steps(12_000, 30)]), (12_000, true, 1), "it goes on behind the goal");
    assert_eq!(value(&[steps(300, 40)]), (300, true, 1), "a new day's counter takes nothing back");
}

#[test]
fn outside_the_period_nothing_counts_and_a_stamp_that_cannot_be_is_told() {
    let definition = definition(&[mission(MissionType::Attendance, 1, None)]);
    let known = HashMap::from([(EVENT, Arc::clone(&definition))]);
    let came = |occurred_at, accepted_at, mission_type| {
        let report = ActivityReport { member: 1, mission_type, value: None, friend: Some(2), occurred_at };
        counts(&activity(&report, accepted_at, 1), &known).map(|counts| counts.len())
    };
    use MissionType::Attendance;
    assert_eq!(came(START, START, Attendance), Ok(1));
    assert_eq!(came(END - 1, END - 1, Attendance), Ok(1));
    assert_eq!(came(END - 1, END, Attendance), Ok(0), "accepted when the event had ended");
    assert_eq!(came(START - 1, START, Attendance), Ok(0), "it happened before");
    assert!(matches!(came(START, START, MissionType::FriendInvite), Err(StampError::NoSuchMission { .. })));
    let report =
        ActivityReport { member: 1, mission_type: Attendance, value: None, friend: None, occurred_at: START };
    let unknown = report.to_record([1; 16], START, &[(EVENT + 1, 0)]);
    assert_eq!(counts(&unknown, &known), Err(StampError::UnknownEvent(EVENT + 1)));
}

#[test]
fn what_a_mission_earns_is_named_once_and_goes_to_the_members_lane() {
    let definition =
        definition(&[mission(MissionType::Attendance, 1, None), mission(MissionType::StepCount, 1, Some(3))]);
    let own = definition.keys().entry_id(42, None);
    let (lane, Kind::Entry(entry)) = definition.earned_by(0, 42, START).expect("earned") else {
        panic!("an entry")
    };
    assert_eq!((lane, entry.entry_id.as_slice(), entry.accepted_at_ms), (0, &own.as_bytes()[..], START));
    let (_, Kind::WeightAdded(added)) = definition.earned_by(1, 42, START).expect("earned") else {
        panic!("chances")
    };
    assert_eq!((added.entry_id, added.mission, added.weight), (entry.entry_id, 1, 3));
    assert_eq!(definition.earned_by(2, 42, START), None);
    let deleted = EventDefinition { salt: vec![], ..(*definition).clone() };
    assert_eq!(deleted.earned_by(0, 42, START), None, "nobody can name an entry of a deleted event");
}

// ---- chances -----------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Lane {
    events: BTreeMap<i64, EventInLane>,
    known: Known,
    missions: BTreeMap<EntryId, (EntryStatus, i64)>,
}

impl Lane {
    fn apply(&mut self, batch: &[LogEntry]) -> u64 {
        self.known.weighed = self
            .missions
            .iter()
            .map(|(id, (status, missions))| {
                let row = Weighed { rejected: *status == EntryStatus::Rejected, missions: *missions };
                ((EVENT, *id), row)
            })
            .collect();
        let fold = decide(&self.events, &self.known, batch).expect("decidable");
        self.events = fold.events;
        for e in &fold.decisions.entries {
            self.known.entries.insert((e.event_id, e.entry_id));
            self.missions.insert(e.entry_id, (e.status, e.missions));
        }
        for ((_, id), missions) in &fold.decisions.weights {
            self.missions.get_mut(id).expect("a row").1 = *missions;
        }
        self.known.commands.extend(fold.decisions.commands.iter().map(|c| c.command_id));
        fold.decisions.repeats
    }

    fn digest(&self) -> [u8; 32] {
        self.events[&EVENT].lane.digest
    }
}

fn entry_id(member: i64) -> EntryId {
    EntryId::from_bytes([member as u8; 16])
}

fn enter(member: i64, at: i64) -> Kind {
    Kind::Entry(v1::Entry {
        entry_id: entry_id(member).as_bytes().to_vec(),
        member_id: member,
        accepted_at_ms: at,
        options: vec![],
        sealed_contact: vec![],
    })
}

fn weigh(member: i64, mission: u32, at: i64) -> Kind {
    Kind::WeightAdded(v1::WeightAdded {
        entry_id: entry_id(member).as_bytes().to_vec(),
        member_id: member,
        mission,
        weight: [5, 0, 7][mission as usize],
        accepted_at_ms: at,
    })
}

/// Missions 0 and 2 add chances, 1 earns an entry.
fn start() -> Kind {
    let kind = MissionType::Attendance;
    Kind::Scheduled(scheduled(&[
        mission(kind, 1, Some(5)),
        mission(kind, 2, None),
        mission(kind, 3, Some(7)),
    ]))
}

fn log(kinds: Vec<Kind>) -> Vec<LogEntry> {
    let entry = |(kind, offset)| LogEntry { offset, event_id: EVENT, kind };
    kinds.into_iter().zip(0..).map(entry).collect()
}

#[test]
fn chances_are_added_once_make_the_entry_and_come_too_late_behind_the_close() {
    let close = Kind::Closed(v1::Closed { command_id: vec![2; 16] });
    let mut lane = Lane::default();
    let records = log(vec![
        start(),
        enter(1, START),
        weigh(1, 0, START),
        weigh(1, 0, START),     // a repeat
        weigh(2, 2, START),     // makes the entry
        enter(2, START),        // which is a repeat then
        enter(3, START - 1),    // too early: rejected
        weigh(3, 0, START),     // adds nothing to it
        weigh(4, 0, START - 1), // makes a rejected one
        close,
        weigh(1, 2, START), // too late
        weigh(5, 0, START), // likewise
    ]);
    assert_eq!(lane.apply(&records), 4, "records that changed nothing");
    let of = |member| lane.missions[&entry_id(member)];
    assert_eq!(of(1), (EntryStatus::Pending, 0b001));
    assert_eq!(of(2), (EntryStatus::Pending, 0b100));
    assert_eq!(of(3), (EntryStatus::Rejected, 0));
    assert_eq!(of(4), (EntryStatus::Rejected, 0));
    assert_eq!(of(5), (EntryStatus::Rejected, 0));
    let weights = MissionWeights::new(vec![(0, 5), (2, 7)]);
    assert_eq!([0b000, 0b001, 0b100, 0b101, 0b010].map(|m| weights.chances(m)), [1, 6, 8, 13, 1]);
    // Chances are in the digest: without the one that counted it is another.
    let mut without = Lane::default();
    without.apply(&log(vec![start(), enter(1, START)]));
    let mut with = Lane::default();
    with.apply(&log(vec![start(), enter(1, START), weigh(1, 0, START)]));
    assert_ne!(with.digest(), without.digest());
}

#[test]
fn a_weight_that_the_definition_does_not_know_cannot_be_decided() {
    let mut wrong = weigh(1, 0, START);
    let Kind::WeightAdded(added) = &mut wrong else { unreachable!() };
    added.weight = 6;
    for record in [wrong, weigh(1, 1, START)] {
        let mut lane = Lane::default();
        lane.apply(&log(vec![start()]));
        let batch = [LogEntry { offset: 1, event_id: EVENT, kind: record.clone() }];
        assert!(decide(&lane.events, &lane.known, &batch).is_err());
        // An operator may let it go: then it does nothing.
        lane.known.rejected_offsets.insert(1);
        let fold = decide(&lane.events, &lane.known, &batch).expect("given up");
        assert!(fold.decisions.entries.is_empty() && fold.decisions.weights.is_empty());
    }
}

proptest! {
    #[test]
    fn any_split_of_entries_and_chances_ends_in_the_same_digest(
        steps in proptest::collection::vec((0..6i64, 0..4u32, 0..20i64), 0..60),
        cuts in proptest::collection::vec(0..60usize, 0..8),
    ) {
        let kinds = steps.iter().map(|(member, what, at)| {
            let at = if *at == 0 { START - 1 } else { START + at };
            match what {
                0 => weigh(*member, 0, at),
                2 => weigh(*member, 2, at),
                _ => enter(*member, at),
            }
        });
        let records = log(std::iter::once(start()).chain(kinds).collect());
        let mut whole = Lane::default();
        whole.apply(&records);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= records.len()).collect();
        cuts.sort_unstable();
        let mut parts = Lane::default();
        let mut from = 0;
        for to in cuts.into_iter().chain([records.len()]) {
            parts.apply(&records[from..to]);
            from = to;
        }
        prop_assert_eq!(parts.digest(), whole.digest());
        prop_assert_eq!(&parts.missions, &whole.missions);
    }
}
