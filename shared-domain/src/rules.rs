//! Which rules an event is decided by: the version in its `Scheduled` record says it, here and nowhere else.

use shared_proto::v1;

use crate::{EntryId, EventId, EventInLane, EventType, Reason, RewardError, RewardKey, RewardPlace};

/// The rules of one version. An event keeps those that it was scheduled under, whatever a build's newest are, so that a
/// lane which holds events of several versions decides each by its own, today and in every replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// README, "How an entry is judged", and DESIGN section 7.
    V1,
    /// For this crate's own tests of the dispatch: nobody wins.
    #[cfg(test)]
    NobodyWins,
}

impl Rules {
    /// What this build schedules new events under.
    pub const NEWEST: Self = Self::V1;

    /// The rules of a version; `None` where this build does not have them.
    pub fn of(version: u32) -> Option<Self> {
        match version {
            1 => Some(Self::V1),
            #[cfg(test)]
            2 => Some(Self::NobodyWins),
            _ => None,
        }
    }

    /// The version's number, as records and draws carry it.
    pub const fn version(self) -> u32 {
        match self {
            Self::V1 => 1,
            #[cfg(test)]
            Self::NobodyWins => 2,
        }
    }

    /// What becomes of an entry at its place. `earlier`: (limit, entries so far) where entries per member are limited.
    pub(crate) fn judge(
        self,
        event: &EventInLane,
        entry: &v1::Entry,
        earlier: Option<(u32, u32)>,
    ) -> Outcome {
        match self {
            Self::V1 => judge_v1(event, entry, earlier),
            #[cfg(test)]
            Self::NobodyWins => Outcome::Lose,
        }
    }

    /// Amount of the reward of the next winner, `entry`.
    pub(crate) fn next_reward(
        self,
        event: &EventInLane,
        id: EventId,
        entry: &EntryId,
        key: Option<&RewardKey>,
    ) -> Result<i64, RewardError> {
        match self {
            Self::V1 => next_reward_v1(event, id, entry, key),
            #[cfg(test)]
            Self::NobodyWins => Ok(0),
        }
    }
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In a raffle: the draw decides.
    Pending,
    /// With the option, by its index, where there are any.
    Win(Option<u16>),
    Lose,
    Rejected(Reason),
}

fn judge_v1(event: &EventInLane, entry: &v1::Entry, earlier: Option<(u32, u32)>) -> Outcome {
    let at = entry.accepted_at_ms;
    let period = &event.definition.period;
    let options = &entry.options;
    let reject = |reason| Outcome::Rejected(reason);
    if event.lane.deleted_at.is_some() {
        return reject(Reason::Deleted);
    }
    if event.lane.closed_at.is_some() || at >= period.ends_at() {
        return reject(Reason::Closed);
    }
    if at < period.starts_at() {
        return reject(Reason::NotStarted);
    }
    let approved = match &event.lane.approval {
        Some(approval) => approval.period().contains(at),
        None => event.definition.internal_test,
    };
    if !approved {
        return reject(Reason::ApprovalExpired);
    }
    let known = |index: &u32| (*index as usize) < event.stock.len();
    if !options.iter().all(known) || (options.is_empty() && event.stock.len() > 1) {
        return reject(Reason::UnknownOption);
    }
    if earlier.is_some_and(|(limit, so_far)| so_far >= limit) {
        return reject(Reason::EntryLimitReached);
    }
    if event.definition.event_type == EventType::Raffle {
        return Outcome::Pending;
    }
    if event.stock.is_empty() {
        return Outcome::Win(None);
    }
    let only = [0u32];
    let preferences = if options.is_empty() { &only[..] } else { &options[..] };
    preferences
        .iter()
        .find(|index| event.stock[**index as usize].left() > 0)
        .map_or(Outcome::Lose, |index| Outcome::Win(Some(*index as u16)))
}

fn next_reward_v1(
    event: &EventInLane,
    id: EventId,
    entry: &EntryId,
    key: Option<&RewardKey>,
) -> Result<i64, RewardError> {
    let place = if event.definition.lanes.len() == 1 {
        RewardPlace::Index(event.lane.wins, event.budget())
    } else {
        RewardPlace::Entry(entry)
    };
    event.definition.reward.amount(id, place, key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared_proto::v1::log_record::Kind;

    use super::*;
    use crate::{EntryId, EntryStatus, EventDefinition, Known, LogEntry, decide};

    fn scheduled(version: u32) -> v1::Scheduled {
        v1::Scheduled {
            command_id: vec![version as u8; 16],
            rules_version: version,
            r#type: v1::EventType::FirstCome.into(),
            ends_at_ms: 100,
            time_zone: "UTC".into(),
            internal_test: true,
            options: vec![v1::StockOption { name: "DEFAULT".into(), granted: 5 }],
            lanes: vec![0],
            ..Default::default()
        }
    }

    fn entry(member: u8) -> Kind {
        Kind::Entry(v1::Entry {
            entry_id: EntryId::from_bytes([member; 16]).as_bytes().to_vec(),
            member_id: member.into(),
            accepted_at_ms: 1,
            options: vec![0],
            sealed_contact: vec![],
        })
    }

    /// Two events side by side in one lane, the second one under newer rules: each is decided by its own, at once and when
    /// the lane is taken up again from its states.
    #[test]
    fn an_event_is_decided_by_the_rules_that_it_was_scheduled_under() {
        let record = |offset, event_id, kind| LogEntry { offset, event_id, kind };
        let log = [
            record(0, 1, Kind::Scheduled(scheduled(1))),
            record(1, 2, Kind::Scheduled(scheduled(2))),
            record(2, 1, entry(1)),
            record(3, 2, entry(1)),
            record(4, 1, entry(2)),
            record(5, 2, entry(2)),
        ];
        let known = Known::default();
        let first = decide(&BTreeMap::new(), &known, &log[..4]).expect("decided");
        let second = decide(&first.events, &known, &log[4..]).expect("decided");
        let both = first.decisions.entries.iter().chain(&second.decisions.entries);
        let outcomes: Vec<_> = both.map(|e| (e.event_id, e.status)).collect();
        use EntryStatus::{Lose, Win};
        assert_eq!(outcomes, [(1, Win), (2, Lose), (1, Win), (2, Lose)]);
        let rules = |event: i64| second.events[&event].definition.rules;
        assert_eq!((rules(1), rules(2)), (Rules::V1, Rules::NobodyWins));
    }

    #[test]
    fn a_version_comes_back_from_its_record_and_an_unknown_one_is_refused() {
        for version in [1, 2] {
            let definition = EventDefinition::from_record(&scheduled(version)).expect("known");
            assert_eq!(definition.rules.version(), version);
            assert_eq!(definition.to_record([0; 16]).rules_version, version);
        }
        let error = EventDefinition::from_record(&scheduled(3)).expect_err("unknown");
        assert!(error.to_string().contains("rules version 3 is not known"), "{error}");
        assert_eq!(Rules::of(Rules::NEWEST.version()), Some(Rules::NEWEST));
        assert_eq!(Rules::of(0), None);
    }
}
