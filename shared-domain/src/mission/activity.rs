//! One report of an activity: what it holds and what can be true.

use shared_proto::v1;

use super::MissionType;
use crate::{EventId, MemberId, Millis, Violation};

/// How far a device's clock may be ahead.
const FUTURE_MS: Millis = 5 * 60 * 1_000;
/// How late a trusted caller may report.
pub const MAX_AGE_MS: Millis = 7 * 24 * 3_600 * 1_000;
/// How late members may report for themselves: a night without a network, not a week of missed days.
pub const SELF_REPORTED_MAX_AGE_MS: Millis = 24 * 3_600 * 1_000;

/// What somebody says that a member did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityReport {
    /// Who did it.
    pub member: MemberId,
    /// What kind of thing.
    pub mission_type: MissionType,
    /// STEP_COUNT: steps so far.
    pub value: Option<i64>,
    /// FRIEND_INVITE: who was invited.
    pub friend: Option<MemberId>,
    /// When, by the device's clock.
    pub occurred_at: Millis,
}

impl ActivityReport {
    /// Every rule that it breaks when it arrives at `now`; `max_age` as the caller is trusted. Pointers are those of the
    /// body's own fields.
    pub fn check(&self, now: Millis, max_age: Millis) -> Vec<Violation> {
        let mut wrong = Vec::new();
        if let Err((field, rule)) = self.mission_type.check(self) {
            wrong.push(Violation::new(format!("/{field}"), rule));
        }
        if self.occurred_at > now.saturating_add(FUTURE_MS) {
            wrong.push(Violation::new("/occurred_at", "must not lie in the future"));
        } else if self.occurred_at < now.saturating_sub(max_age) {
            let hours = max_age / 3_600_000;
            wrong.push(Violation::new("/occurred_at", format!("must not be older than {hours} hours")));
        }
        wrong
    }

    /// The record that carries it.
    pub fn to_record(
        &self,
        activity_id: [u8; 16],
        accepted_at: Millis,
        counts_for: &[(EventId, u16)],
    ) -> v1::Activity {
        let counts_for = counts_for.iter();
        v1::Activity {
            activity_id: activity_id.to_vec(),
            member_id: self.member,
            mission_type: self.mission_type.name().to_owned(),
            value: self.value,
            friend_id: self.friend,
            occurred_at_ms: self.occurred_at,
            accepted_at_ms: accepted_at,
            counts_for: counts_for
                .map(|(event_id, mission)| v1::CountsFor { event_id: *event_id, mission: (*mission).into() })
                .collect(),
        }
    }

    /// The report in a record; `None` where this build does not know its type.
    pub fn from_record(record: &v1::Activity) -> Option<Self> {
        Some(Self {
            member: record.member_id,
            mission_type: MissionType::parse(&record.mission_type)?,
            value: record.value,
            friend: record.friend_id,
            occurred_at: record.occurred_at_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_000_000_000_000;

    fn report(mission_type: MissionType, value: Option<i64>, friend: Option<MemberId>) -> ActivityReport {
        ActivityReport { member: 7, mission_type, value, friend, occurred_at: NOW }
    }

    fn pointers(report: &ActivityReport) -> Vec<String> {
        report.check(NOW, MAX_AGE_MS).into_iter().map(|wrong| wrong.pointer).collect()
    }

    #[test]
    fn each_rule_names_its_field() {
        use MissionType::{Attendance, FriendInvite, StepCount};
        let none: [&str; 0] = [];
        for (kind, value, friend, wrong) in [
            (StepCount, Some(0), None, &none[..]),
            (StepCount, Some(200_000), None, &none),
            (StepCount, None, None, &["/value"]),
            (StepCount, Some(-1), None, &["/value"]),
            (StepCount, Some(200_001), None, &["/value"]),
            (StepCount, Some(1), Some(8), &["/friend_id"]),
            (Attendance, None, None, &none),
            (Attendance, Some(1), None, &["/value"]),
            (Attendance, None, Some(8), &["/friend_id"]),
            (FriendInvite, None, Some(8), &none),
            (FriendInvite, None, None, &["/friend_id"]),
            (FriendInvite, None, Some(7), &["/friend_id"]),
            (FriendInvite, Some(1), Some(8), &["/value"]),
        ] {
            assert_eq!(pointers(&report(kind, value, friend)), wrong, "{kind:?} {value:?} {friend:?}");
        }
    }

    #[test]
    fn a_device_may_be_a_little_ahead_and_only_so_late() {
        let mut day = report(MissionType::Attendance, None, None);
        for (offset, trusted, own) in [
            (FUTURE_MS, true, true),
            (FUTURE_MS + 1, false, false),
            (-SELF_REPORTED_MAX_AGE_MS, true, true),
            (-SELF_REPORTED_MAX_AGE_MS - 1, true, false),
            (-MAX_AGE_MS, true, false),
            (-MAX_AGE_MS - 1, false, false),
        ] {
            day.occurred_at = NOW + offset;
            assert_eq!(day.check(NOW, MAX_AGE_MS).is_empty(), trusted, "{offset}");
            assert_eq!(day.check(NOW, SELF_REPORTED_MAX_AGE_MS).is_empty(), own, "{offset}");
        }
    }

    #[test]
    fn a_report_survives_its_record() {
        let steps = report(MissionType::StepCount, Some(9_000), None);
        let record = steps.to_record([1; 16], NOW, &[(4, 2)]);
        let read = ActivityReport::from_record(&record).expect("known");
        assert_eq!(read, steps);
        assert_eq!(record.counts_for, [v1::CountsFor { event_id: 4, mission: 2 }]);
        let unknown = v1::Activity { mission_type: "SWIM".into(), ..record };
        assert_eq!(ActivityReport::from_record(&unknown), None);
    }
}
