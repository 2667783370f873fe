//! The event as staff write it.

mod check;
mod draw;
mod mission;
mod reward;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ComplianceDraft, ContactCollection, EventType, OptionName, RuleError};

pub use check::check_draft;
pub(crate) use check::check_text;
pub use draw::{BeaconDraft, DrawDraft};
pub use mission::MissionDraft;
pub use reward::RewardDraft;

/// Body of `POST /admin/v1/events` (API "EventDraft").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventDraft {
    /// Shown to members.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Shown to members.
    #[serde(default)]
    #[schema(max_length = 20_000)]
    pub content: String,
    /// Kind of event.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// First instant.
    pub starts_at: DateTime<Utc>,
    /// First instant behind.
    pub ends_at: DateTime<Utc>,
    /// IANA name.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Required unless `internal_test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<ComplianceDraft>,
    /// FIRST_COME: the sum of its stock, where given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub max_winners: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_condition: Option<String>,
    /// Whether a member may enter more than once.
    #[serde(default)]
    pub duplicate_participation_allowed: bool,
    /// Only where duplicates are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_entries_per_member: Option<u32>,
    /// Stock; an option without a name is `DEFAULT`.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    pub stock: Vec<StockDraft>,
    /// Without it: 1 point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardDraft>,
    /// Missions that earn entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 63)]
    pub missions: Vec<MissionDraft>,
    /// Defaults to AFTER_WIN.
    #[serde(default)]
    pub contact_collection: ContactCollection,
    /// Defaults to 30 days after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_until: Option<DateTime<Utc>>,
    /// Raffles only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<DrawDraft>,
    /// A lane that an operator names for a one-lane event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub lane: Option<i32>,
    /// Rate limits of this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsDraft>,
    /// An event for staff's own tests: needs no compliance data.
    #[serde(default)]
    pub internal_test: bool,
}

/// One option of a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockDraft {
    /// Name.
    #[serde(default = "default_option")]
    #[schema(min_length = 1, max_length = 100)]
    pub option: String,
    /// Prizes.
    #[schema(minimum = 0)]
    pub count: i64,
}

/// Rate limits; `None` means the default of the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsDraft {
    /// Entries a second.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub per_second: Option<i64>,
    /// Raffle entries a second.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub raffle_per_second: Option<i64>,
    /// Requests a second of one member.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub per_member_per_second: Option<i64>,
}

impl LimitsDraft {
    /// Limits below zero, with pointers under `base`.
    pub fn violations(&self, base: &str) -> Vec<Violation> {
        [
            ("per_second", self.per_second),
            ("raffle_per_second", self.raffle_per_second),
            ("per_member_per_second", self.per_member_per_second),
        ]
        .into_iter()
        .filter(|(_, limit)| limit.is_some_and(|l| l < 0))
        .map(|(name, _)| Violation::new(format!("{base}/{name}"), RuleError::Negative))
        .collect()
    }
}

/// A rule that a part of a body breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the body, or `header:NAME`, `query:NAME`.
    pub pointer: String,
    /// What must hold, for people.
    pub detail: String,
}

impl Violation {
    /// A violation at a place.
    pub fn new(pointer: impl Into<String>, detail: impl ToString) -> Self {
        Self { pointer: pointer.into(), detail: detail.to_string() }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn default_option() -> String {
    OptionName::DEFAULT.to_owned()
}
