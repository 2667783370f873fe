//! Missions: what a member does earns an entry, or chances in a raffle (DESIGN section 9).

mod activity;
mod kind;
mod progress;

use shared_proto::lane_of_member;
use shared_proto::v1::{self, log_record::Kind};

use crate::{DefinitionError, EventDefinition, MemberId, Millis};

pub use activity::{ActivityReport, MAX_AGE_MS, SELF_REPORTED_MAX_AGE_MS};
pub use kind::{Measure, MissionType};
pub use progress::{
    Completion, Count, Counted, LatestValue, MarkKey, Progress, ProgressKey, SortedCounts, StampError,
    counts, sort_counts, tally,
};

/// Most missions of an event: they are bits of `event_entry.missions`.
pub const MISSIONS_MAX: usize = 63;

/// A mission of an event, fixed when the event is scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mission {
    /// Shown to members.
    pub title: String,
    /// What is counted.
    pub mission_type: MissionType,
    /// Completed when the member's value reaches it; from 1.
    pub goal_value: i64,
    /// Whether members may report for themselves.
    pub self_reported: bool,
    /// Index of the option that its entry asks for; none: the only one.
    pub option: Option<u16>,
    /// Raffles: chances that it adds to the member's entry (1..=999). None: it earns an entry.
    pub weight: Option<u16>,
}

impl Mission {
    /// As it stands in a `Scheduled` record.
    pub fn to_record(&self) -> v1::Mission {
        v1::Mission {
            title: self.title.clone(),
            mission_type: self.mission_type.name().to_owned(),
            goal_value: self.goal_value,
            self_reported: self.self_reported,
            option: self.option.map(u32::from),
            weight: self.weight.map_or(0, u32::from),
        }
    }

    /// The mission in a record. Errors: a type that this build does not know, or a number out of its range.
    pub fn from_record(record: &v1::Mission) -> Result<Self, DefinitionError> {
        const ODD: DefinitionError = DefinitionError::Unsupported("this mission");
        let number = |n: u32| u16::try_from(n).map_err(|_| ODD);
        Ok(Self {
            title: record.title.clone(),
            mission_type: MissionType::parse(&record.mission_type)
                .ok_or(DefinitionError::Unsupported("this mission type"))?,
            goal_value: Some(record.goal_value).filter(|goal| *goal > 0).ok_or(ODD)?,
            self_reported: record.self_reported,
            option: record.option.map(number).transpose()?,
            weight: Some(number(record.weight)?).filter(|weight| *weight > 0),
        })
    }
}

impl EventDefinition {
    /// The record that a member's completion of a mission earns, and its partition. `None` once the event's salt is gone
    /// with the event: nobody could name the entry then, and it would count for nothing.
    pub fn earned_by(&self, mission: u16, member: MemberId, accepted_at: Millis) -> Option<(i32, Kind)> {
        let earning = self.missions.get(usize::from(mission))?;
        let lane = lane_of_member(member, &self.lanes)?;
        if self.salt.is_empty() {
            return None;
        }
        let entry_id = self.keys().mission_entry_id(member, mission, self.duplicates_allowed);
        let entry_id = entry_id.as_bytes().to_vec();
        let kind = match earning.weight {
            None => Kind::Entry(v1::Entry {
                entry_id,
                member_id: member,
                accepted_at_ms: accepted_at,
                options: earning.option.map(u32::from).into_iter().collect(),
                sealed_contact: Vec::new(),
            }),
            Some(weight) => Kind::WeightAdded(v1::WeightAdded {
                entry_id,
                member_id: member,
                mission: mission.into(),
                weight: weight.into(),
                accepted_at_ms: accepted_at,
            }),
        };
        Some((lane, kind))
    }
}

/// What the missions of an event add to an entry's chances, by their index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissionWeights(Vec<(u16, u16)>);

impl MissionWeights {
    /// From the index and the weight of each mission that has one.
    pub fn new(weights: Vec<(u16, u16)>) -> Self {
        Self(weights)
    }

    /// Whether every entry has one chance.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Chances of an entry with these mission bits: 1 and what they add.
    pub fn chances(&self, missions: i64) -> u16 {
        let set = |index: u16| usize::from(index) < MISSIONS_MAX && missions & (1 << index) != 0;
        let added = self.0.iter().filter(|(index, _)| set(*index));
        added.fold(1, |sum, (_, weight)| sum.saturating_add(*weight))
    }
}
