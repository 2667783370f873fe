//! The mission types: for each its name, what a report of it must hold, and one pure function that says what a report
//! measures. A further type is added here and nowhere else.

use chrono::{DateTime, Datelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::MemberId;
use crate::mission::ActivityReport;

/// More steps than anybody walks in a day.
const STEPS_MAX: i64 = 200_000;
/// More friends than anybody invites.
const FRIENDS_MAX: i64 = 10_000;
/// Days of ten years.
const DAYS_MAX: i64 = 3_660;

/// What a mission counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MissionType {
    /// A counter of the member's device: the latest value stands.
    StepCount,
    /// Days on which the member came, in the event's time zone.
    Attendance,
    /// Friends whom the member invited.
    FriendInvite,
}

/// What one report says. Both forms are idempotent and do not ask for the order in which reports arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A value at a time of the device: the latest counts; of two at the same time the larger.
    Latest(i64),
    /// A member of a set: the set's size counts.
    Mark(i64),
}

impl MissionType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::StepCount, Self::Attendance, Self::FriendInvite];

    /// Its name in JSON, in the log and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::StepCount => "STEP_COUNT",
            Self::Attendance => "ATTENDANCE",
            Self::FriendInvite => "FRIEND_INVITE",
        }
    }

    /// The type of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The largest goal that can be reached at all.
    pub fn goal_max(self) -> i64 {
        match self {
            Self::StepCount => STEPS_MAX,
            Self::Attendance => DAYS_MAX,
            Self::FriendInvite => FRIENDS_MAX,
        }
    }

    /// What is wrong with a report: a field of the body and the rule that it breaks.
    pub(super) fn check(self, report: &ActivityReport) -> Result<(), (&'static str, String)> {
        let value_is_foreign =
            || report.value.is_some().then(|| ("value", "is only for STEP_COUNT".to_owned()));
        let friend_is_foreign =
            || report.friend.is_some().then(|| ("friend_id", "is only for FRIEND_INVITE".to_owned()));
        let wrong = match self {
            Self::StepCount => match report.value {
                None => Some(("value", "is required for STEP_COUNT".to_owned())),
                Some(steps) if !(0..=STEPS_MAX).contains(&steps) => {
                    Some(("value", format!("must be between 0 and {STEPS_MAX}")))
                }
                Some(_) => friend_is_foreign(),
            },
            Self::Attendance => value_is_foreign().or_else(friend_is_foreign),
            Self::FriendInvite => match report.friend {
                None => Some(("friend_id", "is required for FRIEND_INVITE".to_owned())),
                Some(friend) if friend == report.member => {
                    Some(("friend_id", "must be somebody else".to_owned()))
                }
                Some(_) => value_is_foreign(),
            },
        };
        wrong.map_or(Ok(()), Err)
    }

    /// What a report measures, in an event of this time zone, which is asked for where it matters.
    pub fn measure(self, report: &ActivityReport, zone: impl FnOnce() -> Option<Tz>) -> Option<Measure> {
        match self {
            Self::StepCount => steps(report.value),
            Self::Attendance => day(report.occurred_at, zone()?),
            Self::FriendInvite => friend(report.member, report.friend),
        }
    }
}

fn steps(value: Option<i64>) -> Option<Measure> {
    value.map(Measure::Latest)
}

/// The local day, counted from 0001-01-01.
fn day(at: i64, zone: Tz) -> Option<Measure> {
    let local = DateTime::from_timestamp_millis(at)?.with_timezone(&zone);
    Some(Measure::Mark(local.num_days_from_ce().into()))
}

fn friend(member: MemberId, friend: Option<MemberId>) -> Option<Measure> {
    friend.filter(|friend| *friend != member).map(Measure::Mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> ActivityReport {
        let time: DateTime<chrono::Utc> = time.parse().expect("a time");
        ActivityReport {
            member: 1,
            mission_type: MissionType::Attendance,
            value: None,
            friend: None,
            occurred_at: time.timestamp_millis(),
        }
    }

    #[test]
    fn names_are_those_of_json() {
        for kind in MissionType::ALL {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
            assert_eq!(MissionType::parse(kind.name()), Some(kind));
        }
        assert_eq!(MissionType::parse("step_count"), None);
    }

    #[test]
    fn a_day_begins_at_midnight_in_the_events_own_time_zone() {
        let seoul = chrono_tz::Asia::Seoul;
        let day = |time, zone| MissionType::Attendance.measure(&at(time), || Some(zone));
        // 15:00 UTC is midnight in Seoul.
        assert_ne!(day("2026-03-01T14:59:59Z", seoul), day("2026-03-01T15:00:00Z", seoul));
        assert_eq!(day("2026-03-01T15:00:00Z", seoul), day("2026-03-02T14:59:59Z", seoul));
        assert_eq!(day("2026-03-01T14:59:59Z", Tz::UTC), day("2026-03-01T15:00:00Z", Tz::UTC));
        // The night on which New York's clocks go back has 25 hours and is one day.
        let york = chrono_tz::America::New_York;
        assert_eq!(day("2026-11-01T04:00:00Z", york), day("2026-11-02T04:59:59Z", york));
        assert_ne!(day("2026-11-01T04:00:00Z", york), day("2026-11-02T05:00:00Z", york));
    }
}
