//! Rows of missions and of members' progress.

use diesel::prelude::*;
use sha2::{Digest, Sha256};
use shared_domain::{MarkKey, Mission, Progress, ProgressKey};

use crate::store::error_class::StoreError;
use crate::store::schema::{member_mission, mission, mission_mark, mission_outbox};

/// `mission`: one mission as it was scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = mission, treat_none_as_default_value = false)]
pub struct MissionRow {
    /// Event.
    pub event_id: i64,
    /// Its place in the event, from 0.
    pub mission_index: i16,
    /// Shown to members.
    pub title: String,
    /// Name of `MissionType`.
    pub mission_type: String,
    /// Completed when it is reached.
    pub goal_value: i64,
    /// Members may report for themselves.
    pub self_reported: bool,
    /// Option that its entry asks for.
    pub option_index: Option<i16>,
    /// Chances that it adds.
    pub weight: Option<i16>,
}

impl MissionRow {
    /// A row for a mission.
    pub fn new(event_id: i64, mission_index: i16, mission: &Mission) -> Self {
        Self {
            event_id,
            mission_index,
            title: mission.title.clone(),
            mission_type: mission.mission_type.name().to_owned(),
            goal_value: mission.goal_value,
            self_reported: mission.self_reported,
            option_index: mission.option.map(|option| option as i16),
            weight: mission.weight.map(|weight| weight as i16),
        }
    }
}

/// `member_mission`: how far a member is.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = member_mission)]
pub struct MemberMissionRow {
    /// Member.
    pub member_id: i64,
    /// Event.
    pub event_id: i64,
    /// Mission in it.
    pub mission_index: i16,
    /// Value so far.
    pub current_value: i64,
    /// Device time of a latest value, ms.
    pub latest_at: Option<i64>,
    /// The goal was reached once.
    pub is_completed: bool,
    /// When the activity was accepted that reached it, ms.
    pub completed_at: Option<i64>,
}

impl MemberMissionRow {
    /// Whose progress in what.
    pub fn key(&self) -> Result<ProgressKey, StoreError> {
        Ok((self.member_id, self.event_id, index_of(self.mission_index)?))
    }

    /// The progress.
    pub fn progress(&self) -> Progress {
        Progress {
            current_value: self.current_value,
            latest_at: self.latest_at,
            completed_at: self.completed_at,
        }
    }
}

/// What all members did in one mission: two databases that counted the same activities agree on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MissionTotal {
    /// Event.
    pub event_id: i64,
    /// Mission in it.
    pub mission_index: i16,
    /// Members who have begun.
    pub members: u64,
    /// Members who have reached the goal.
    pub completed: u64,
    /// SHA-256 chain over member, value, device time and completion, by member.
    pub digest: [u8; 32],
}

impl MissionTotal {
    /// The next member's row, by member.
    pub fn add(&mut self, row: &MemberMissionRow) {
        (self.event_id, self.mission_index) = (row.event_id, row.mission_index);
        self.members += 1;
        self.completed += u64::from(row.is_completed);
        let hash = Sha256::new().chain_update(self.digest).chain_update(row.member_id.to_be_bytes());
        let hash = hash.chain_update(row.current_value.to_be_bytes());
        let hash = hash.chain_update(row.latest_at.unwrap_or(i64::MIN).to_be_bytes());
        self.digest = hash.chain_update(row.completed_at.unwrap_or(i64::MIN).to_be_bytes()).finalize().into();
    }
}

/// `mission_mark`: a day on which the member came, or a friend whom it invited.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = mission_mark, treat_none_as_default_value = false)]
pub struct MissionMarkRow {
    /// Member.
    pub member_id: i64,
    /// Event.
    pub event_id: i64,
    /// Mission in it.
    pub mission_index: i16,
    /// Day since 0001-01-01, or member id of the friend.
    pub mark: i64,
}

impl MissionMarkRow {
    /// A row for a mark.
    pub fn new(((member_id, event_id, mission), mark): &MarkKey) -> Self {
        Self { member_id: *member_id, event_id: *event_id, mission_index: *mission as i16, mark: *mark }
    }

    /// The mark.
    pub fn key(&self) -> Result<MarkKey, StoreError> {
        Ok(((self.member_id, self.event_id, index_of(self.mission_index)?), self.mark))
    }
}

/// `mission_outbox`: what a completed mission earns, to be published.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = mission_outbox, treat_none_as_default_value = false)]
pub struct MissionOutboxRow {
    /// Event.
    pub event_id: i64,
    /// Mission in it.
    pub mission_index: i16,
    /// Who completed it.
    pub member_id: i64,
    /// Topic of the event's lanes.
    pub topic: String,
    /// Lane of the member.
    pub lane: i32,
    /// The record, encoded.
    pub record: Vec<u8>,
    /// Worker clock, ms.
    pub created_at: i64,
    /// When the broker had it, ms.
    pub published_at: Option<i64>,
}

/// `mission_outbox`, as the relay reads it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = mission_outbox)]
pub struct EarnedRow {
    /// In the order of their making.
    pub outbox_id: i64,
    /// Event.
    pub event_id: i64,
    /// Topic of the event's lanes.
    pub topic: String,
    /// Lane of the member.
    pub lane: i32,
    /// The record, encoded.
    pub record: Vec<u8>,
}

fn index_of(index: i16) -> Result<u16, StoreError> {
    u16::try_from(index).map_err(|_| StoreError::fatal("mission_index is negative"))
}
