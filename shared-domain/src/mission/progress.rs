//! Progress: a pure fold over activities. Whatever the split into batches and whatever is repeated, the same activities
//! end in the same values, and a mission is completed once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono_tz::Tz;
use shared_proto::v1;

use super::{ActivityReport, Measure};
use crate::{EventDefinition, EventId, MemberId, Millis};

/// Member, event, and index of the mission in it.
pub type ProgressKey = (MemberId, EventId, u16);

/// A member of the set that a mission counts: of whose progress, and which.
pub type MarkKey = (ProgressKey, i64);

/// How far a member is with a mission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Latest value, or size of the set; goes on behind the goal.
    pub current_value: i64,
    /// Device time of the latest value; none for sets.
    pub latest_at: Option<Millis>,
    /// When the activity was accepted that completed it first; it stays.
    pub completed_at: Option<Millis>,
}

/// What one activity counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Whose progress, in which mission.
    pub key: ProgressKey,
    /// What it measures there.
    pub measure: Measure,
    /// Goal of the mission.
    pub goal: i64,
    /// Device time.
    pub occurred_at: Millis,
    /// Gateway clock.
    pub accepted_at: Millis,
}

/// A value at a time of the device, in the order in which values count: the latest, of two at the same time the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatestValue {
    /// Device time.
    pub occurred_at: Millis,
    /// Value.
    pub value: i64,
}

impl LatestValue {
    /// Progress with this value, where it counts. Stores do the same in the row (`KEEP_LATEST_PROGRESS`).
    pub fn onto(self, mut progress: Progress) -> Progress {
        let seen = progress.latest_at.map(|at| Self { occurred_at: at, value: progress.current_value });
        if seen.is_none_or(|seen| seen < self) {
            progress.latest_at = Some(self.occurred_at);
            progress.current_value = self.value;
        }
        progress
    }
}

/// Counts of a batch, by what has to be known of the past. Together they count as in log order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SortedCounts {
    /// For [`tally`]: they may complete a mission, or count a set. In log order.
    pub weighed: Vec<Count>,
    /// Of every other key the value that counts: it completes nothing, whatever is known.
    pub latest: BTreeMap<ProgressKey, LatestValue>,
}

/// A mission that was completed for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// By whom, and which.
    pub key: ProgressKey,
    /// When the activity was accepted that did it.
    pub accepted_at: Millis,
}

/// What counts that were weighed change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows that changed, whole.
    pub progress: BTreeMap<ProgressKey, Progress>,
    /// Members of sets that are new.
    pub marks: BTreeSet<MarkKey>,
    /// Missions completed, in log order.
    pub completions: Vec<Completion>,
}

/// A stamp that cannot be judged here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Its event was not scheduled yet as far as this database knows: a restored one has to catch up first.
    #[error("event {0} is not known yet")]
    UnknownEvent(EventId),
    /// The event has no such mission of this type.
    #[error("event {event} has no mission {mission} of type {mission_type}")]
    NoSuchMission {
        /// Event.
        event: EventId,
        /// Index.
        mission: u32,
        /// Type that the activity names.
        mission_type: String,
    },
}

/// What an activity counts for: every mission of its stamp whose event was running when the gateway accepted it.
pub fn counts(
    activity: &v1::Activity,
    definitions: &HashMap<EventId, Arc<EventDefinition>>,
) -> Result<Vec<Count>, StampError> {
    let mut counts = Vec::with_capacity(activity.counts_for.len());
    let no_such_mission = |stamp: &v1::CountsFor| StampError::NoSuchMission {
        event: stamp.event_id,
        mission: stamp.mission,
        mission_type: activity.mission_type.clone(),
    };
    for stamp in &activity.counts_for {
        let event = stamp.event_id;
        let definition = definitions.get(&event).ok_or(StampError::UnknownEvent(event))?;
        let report = ActivityReport::from_record(activity).ok_or_else(|| no_such_mission(stamp))?;
        let mission = definition
            .missions
            .get(stamp.mission as usize)
            .filter(|mission| mission.mission_type == report.mission_type)
            .ok_or_else(|| no_such_mission(stamp))?;
        let period = &definition.period;
        if !period.contains(activity.accepted_at_ms) || !period.contains(activity.occurred_at_ms) {
            continue;
        }
        // No definition with missions has a zone that does not parse.
        let zone = || definition.time_zone.parse::<Tz>().ok();
        let Some(measure) = mission.mission_type.measure(&report, zone) else { continue };
        counts.push(Count {
            key: (activity.member_id, event, stamp.mission as u16),
            measure,
            goal: mission.goal_value,
            occurred_at: activity.occurred_at_ms,
            accepted_at: activity.accepted_at_ms,
        });
    }
    Ok(counts)
}

/// Parts the counts that need the past from those that do not, so that only the former are read: most reports of steps are
/// below the goal.
pub fn sort_counts(counts: Vec<Count>) -> SortedCounts {
    let below = |count: &Count| match count.measure {
        Measure::Latest(value) if value < count.goal => {
            Some(LatestValue { occurred_at: count.occurred_at, value })
        }
        _ => None,
    };
    let weighed: HashSet<ProgressKey> =
        counts.iter().filter(|count| below(count).is_none()).map(|count| count.key).collect();
    let mut sorted = SortedCounts::default();
    for count in counts {
        match below(&count) {
            Some(value) if !weighed.contains(&count.key) => {
                sorted.latest.entry(count.key).and_modify(|held| *held = value.max(*held)).or_insert(value);
            }
            _ => sorted.weighed.push(count),
        }
    }
    sorted
}

/// Counts in log order, from the progress and the marks that the database knows: all that the counts touch.
pub fn tally(
    counts: &[Count],
    known: &HashMap<ProgressKey, Progress>,
    known_marks: &HashSet<MarkKey>,
) -> Counted {
    let mut counted = Counted::default();
    for count in counts {
        let before = counted.progress.get(&count.key).or_else(|| known.get(&count.key)).copied();
        let mut now = before.unwrap_or_default();
        match count.measure {
            Measure::Latest(value) => {
                now = LatestValue { occurred_at: count.occurred_at, value }.onto(now);
            }
            Measure::Mark(mark) => {
                let mark = (count.key, mark);
                if !known_marks.contains(&mark) && counted.marks.insert(mark) {
                    now.current_value += 1;
                }
            }
        }
        if now.completed_at.is_none() && now.current_value >= count.goal {
            now.completed_at = Some(count.accepted_at);
            counted.completions.push(Completion { key: count.key, accepted_at: count.accepted_at });
        }
        if before != Some(now) {
            counted.progress.insert(count.key, now);
        }
    }
    counted
}
