//! The event aggregate as it was scheduled: what decides outcomes, and never changes afterwards.

use shared_proto::v1;

use crate::{Approval, ContactCollection, EventPeriod, EventType, Millis, OptionName, Reward, RuleError};

/// The rules that this build decides by. An event keeps the version it was scheduled under.
pub const RULES_VERSION: u32 = 1;

/// Why a `Scheduled` record cannot be judged by this build. Its event parks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Scheduled under rules that this build does not have.
    #[error("rules version {0} is not known here (this build knows {RULES_VERSION})")]
    RulesVersion(u32),
    /// A part that this build does not support.
    #[error("{0} is not supported by this build")]
    Unsupported(&'static str),
    /// A value breaks its rule.
    #[error("{field} {error}")]
    Rule {
        /// Which field.
        field: &'static str,
        /// Which rule.
        error: RuleError,
    },
}

/// An event's full definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDefinition {
    /// Rules it is decided by.
    pub rules_version: u32,
    /// Kind of event.
    pub event_type: EventType,
    /// Shown to members; staff may change it later without a record.
    pub title: String,
    /// Shown to members; likewise.
    pub content: String,
    /// When entries may be accepted.
    pub period: EventPeriod,
    /// IANA name.
    pub time_zone: String,
    /// Absent only for internal test events.
    pub approval: Option<Approval>,
    /// An event for staff's own tests.
    pub internal_test: bool,
    /// Winners of a raffle.
    pub max_winners: Option<i64>,
    /// Free text for staff.
    pub target_condition: String,
    /// Whether a member may enter more than once (with an Idempotency-Key each).
    pub duplicates_allowed: bool,
    /// Most entries of one member where duplicates are allowed; `None`: no limit.
    pub max_entries_per_member: Option<u32>,
    /// Options with the stock granted at scheduling. Empty: no stock, everyone valid wins.
    pub options: Vec<(OptionName, i64)>,
    /// What a winner gets.
    pub reward: Reward,
    /// Contact data.
    pub contact_collection: ContactCollection,
    /// Until when a winner may claim.
    pub claim_until: Millis,
    /// Full name of the topic that carries it.
    pub topic: String,
    /// Partitions of that topic, fixed for ever.
    pub lanes: Vec<i32>,
    /// 32 random bytes behind entry ids and receipts.
    pub salt: Vec<u8>,
}

impl EventDefinition {
    /// Index of a named option.
    pub fn option_index(&self, name: &str) -> Option<u16> {
        self.options
            .iter()
            .position(|(option, _)| option.as_str() == name)
            .and_then(|i| u16::try_from(i).ok())
    }

    /// The record that schedules the event.
    pub fn to_record(&self, command_id: [u8; 16]) -> v1::Scheduled {
        v1::Scheduled {
            command_id: command_id.to_vec(),
            rules_version: self.rules_version,
            r#type: match self.event_type {
                EventType::General => v1::EventType::General,
                EventType::FirstCome => v1::EventType::FirstCome,
                EventType::Raffle => v1::EventType::Raffle,
            }
            .into(),
            title: self.title.clone(),
            content: self.content.clone(),
            starts_at_ms: self.period.starts_at(),
            ends_at_ms: self.period.ends_at(),
            time_zone: self.time_zone.clone(),
            approval: self.approval.as_ref().map(Approval::to_record),
            internal_test: self.internal_test,
            max_winners: self.max_winners,
            target_condition: self.target_condition.clone(),
            duplicates_allowed: self.duplicates_allowed,
            max_entries_per_member: self.max_entries_per_member.unwrap_or(0),
            options: self
                .options
                .iter()
                .map(|(name, granted)| v1::StockOption { name: name.as_str().to_owned(), granted: *granted })
                .collect(),
            reward: Some(v1::Reward {
                policy: Some(match self.reward {
                    Reward::Fixed(amount) => v1::reward::Policy::FixedAmount(amount),
                }),
            }),
            missions: Vec::new(),
            contact_collection: match self.contact_collection {
                ContactCollection::None => v1::ContactCollection::None,
                ContactCollection::AfterWin => v1::ContactCollection::AfterWin,
                ContactCollection::AtApply => v1::ContactCollection::AtApply,
            }
            .into(),
            claim_until_ms: self.claim_until,
            topic: self.topic.clone(),
            lanes: self.lanes.clone(),
            salt: self.salt.clone(),
            draw_commitment: Vec::new(),
            draw: None,
        }
    }

    /// The definition in a record; refuses what this build cannot decide.
    pub fn from_record(record: &v1::Scheduled) -> Result<Self, DefinitionError> {
        if record.rules_version != RULES_VERSION {
            return Err(DefinitionError::RulesVersion(record.rules_version));
        }
        if !record.missions.is_empty() {
            return Err(DefinitionError::Unsupported("missions"));
        }
        let event_type = match record.r#type() {
            v1::EventType::General => EventType::General,
            v1::EventType::FirstCome => EventType::FirstCome,
            v1::EventType::Raffle => return Err(DefinitionError::Unsupported("type RAFFLE")),
            v1::EventType::Unspecified => return Err(DefinitionError::Unsupported("this type")),
        };
        let reward = match record.reward.and_then(|r| r.policy) {
            None => Reward::DEFAULT,
            Some(v1::reward::Policy::FixedAmount(amount)) => Reward::Fixed(amount),
            Some(_) => return Err(DefinitionError::Unsupported("this reward policy")),
        };
        let options = record
            .options
            .iter()
            .map(|o| {
                let name = OptionName::new(&o.name).map_err(rule("option"))?;
                crate::Stock::new(o.granted).map_err(rule("stock"))?;
                Ok((name, o.granted))
            })
            .collect::<Result<Vec<_>, DefinitionError>>()?;
        if event_type == EventType::FirstCome && options.is_empty() {
            return Err(DefinitionError::Unsupported("FIRST_COME without stock"));
        }
        if record.lanes.is_empty() || (!options.is_empty() && record.lanes.len() != 1) {
            return Err(DefinitionError::Unsupported("this number of lanes"));
        }
        Ok(Self {
            rules_version: record.rules_version,
            event_type,
            title: record.title.clone(),
            content: record.content.clone(),
            period: EventPeriod::new(record.starts_at_ms, record.ends_at_ms).map_err(rule("period"))?,
            time_zone: record.time_zone.clone(),
            approval: record.approval.as_ref().map(approval_of).transpose()?,
            internal_test: record.internal_test,
            max_winners: record.max_winners,
            target_condition: record.target_condition.clone(),
            duplicates_allowed: record.duplicates_allowed,
            max_entries_per_member: (record.max_entries_per_member > 0)
                .then_some(record.max_entries_per_member),
            options,
            reward,
            contact_collection: match record.contact_collection() {
                v1::ContactCollection::None => ContactCollection::None,
                v1::ContactCollection::AtApply => ContactCollection::AtApply,
                v1::ContactCollection::AfterWin | v1::ContactCollection::Unspecified => {
                    ContactCollection::AfterWin
                }
            },
            claim_until: record.claim_until_ms,
            topic: record.topic.clone(),
            lanes: record.lanes.clone(),
            salt: record.salt.clone(),
        })
    }
}

fn rule(field: &'static str) -> impl Fn(RuleError) -> DefinitionError {
    move |error| DefinitionError::Rule { field, error }
}

impl Approval {
    /// As it stands in a record.
    pub fn to_record(&self) -> v1::Approval {
        v1::Approval {
            review_number: self.review_number().to_owned(),
            from_ms: self.period().starts_at(),
            until_ms: self.period().ends_at(),
        }
    }
}

/// The approval in a record.
pub(crate) fn approval_of(record: &v1::Approval) -> Result<Approval, DefinitionError> {
    let period = EventPeriod::new(record.from_ms, record.until_ms).map_err(rule("approval"))?;
    Approval::new(&record.review_number, period).map_err(rule("review number"))
}
