//! The missions of a draft.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventDraft, Violation};
use crate::draw::{DrawMethod, WEIGHT_MAX};
use crate::mission::MISSIONS_MAX;
use crate::{EventPeriod, EventType, Mission, MissionType, OptionName, RuleError};

const TITLE_MAX: usize = 200;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// One mission: what a member does to earn an entry, or chances in a raffle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MissionDraft {
    /// Shown to members.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// What is counted.
    pub mission_type: MissionType,
    /// Completed when a member's value reaches it.
    #[schema(minimum = 1, maximum = 200_000)]
    pub goal_value: i64,
    /// Whether members may report for themselves.
    #[serde(default)]
    pub self_reported: bool,
    /// The option that its entry asks for; required where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// RAFFLE drawn by RANDOM: chances that it adds to the member's entry. Without it the mission earns an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 999)]
    pub weight: Option<i64>,
}

impl MissionDraft {
    /// The draft of a mission that was scheduled, by the event's options.
    pub fn of(mission: &Mission, options: &[(OptionName, i64)]) -> Self {
        let option = mission.option.and_then(|index| options.get(usize::from(index)));
        Self {
            title: mission.title.clone(),
            mission_type: mission.mission_type,
            goal_value: mission.goal_value,
            self_reported: mission.self_reported,
            option: option.map(|(name, _)| name.as_str().to_owned()),
            weight: mission.weight.map(i64::from),
        }
    }
}

/// The missions of a draft that breaks no rule; what is wrong goes to `violations`.
pub(super) fn check(
    draft: &EventDraft,
    period: Option<&EventPeriod>,
    options: &[(OptionName, i64)],
    violations: &mut Vec<Violation>,
) -> Vec<Mission> {
    if draft.missions.len() > MISSIONS_MAX {
        let most = format!("must be at most {MISSIONS_MAX}");
        violations.push(Violation::new("/missions", most));
        return Vec::new();
    }
    let mut total = 1;
    let mut missions = Vec::with_capacity(draft.missions.len());
    for (index, mission) in draft.missions.iter().enumerate() {
        let mut fail = |field: &str, rule: String| {
            violations.push(Violation::new(format!("/missions/{index}/{field}"), rule));
        };
        if mission.title.trim().is_empty() {
            fail("title", RuleError::Blank.to_string());
        } else if mission.title.chars().count() > TITLE_MAX {
            fail("title", RuleError::TooLong(TITLE_MAX).to_string());
        }
        let most = goal_max(mission.mission_type, period);
        if !(1..=most).contains(&mission.goal_value) {
            fail("goal_value", RuleError::OutOfRange(1, most).to_string());
        }
        let option = match &mission.option {
            None => {
                if options.len() > 1 {
                    fail("option", "is required where there are several".to_owned());
                }
                None
            }
            Some(name) => {
                let index = options.iter().position(|(known, _)| known.as_str() == name);
                if index.is_none() {
                    fail("option", "is not an option of the event".to_owned());
                }
                index.and_then(|index| u16::try_from(index).ok())
            }
        };
        let mut weight = None;
        if let Some(asked) = mission.weight {
            let random = draft.draw.as_ref().is_none_or(|draw| draw.method == DrawMethod::Random);
            weight = u16::try_from(asked).ok().filter(|weight| (1..WEIGHT_MAX).contains(weight));
            if draft.event_type != EventType::Raffle || !random {
                fail("weight", "is only for RAFFLE drawn by RANDOM".to_owned());
            } else if draft.duplicate_participation_allowed {
                fail("weight", "must be left out where a member may enter more than once".to_owned());
            } else if weight.is_none() {
                fail("weight", RuleError::OutOfRange(1, i64::from(WEIGHT_MAX) - 1).to_string());
            }
        }
        total += u32::from(weight.unwrap_or(0));
        if total > u32::from(WEIGHT_MAX) && weight.is_some() {
            fail("weight", format!("makes an entry's chances more than {WEIGHT_MAX}"));
        }
        missions.push(Mission {
            title: mission.title.trim().to_owned(),
            mission_type: mission.mission_type,
            goal_value: mission.goal_value,
            self_reported: mission.self_reported,
            option,
            weight,
        });
    }
    missions
}

/// The largest goal that a member can reach in the period: nobody comes on more days than it touches.
fn goal_max(mission_type: MissionType, period: Option<&EventPeriod>) -> i64 {
    let most = mission_type.goal_max();
    match (mission_type, period) {
        (MissionType::Attendance, Some(period)) => {
            let days = period.ends_at().saturating_sub(period.starts_at()).div_euclid(DAY_MS);
            most.min(days.saturating_add(2))
        }
        _ => most,
    }
}
