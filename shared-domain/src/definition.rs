//! The event aggregate as it was scheduled: what decides outcomes, and never changes afterwards.

use shared_proto::v1;

use crate::draw::{BeaconRound, DrawMethod, DrawRules, WEIGHT_MAX};
use crate::mission::MISSIONS_MAX;
use crate::{
    AmountRange, Approval, BLOCK_PRIZES, ContactCollection, Digest, EventKeys, EventPeriod, EventType, Hex32,
    Millis, Mission, OptionName, Reward, RuleError, Rules, TargetRange,
};

/// Why a `Scheduled` record cannot be judged by this build. Its event parks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Scheduled under rules that this build does not have.
    #[error("rules version {0} is not known here (this build's newest is {newest})", newest = Rules::NEWEST.version())]
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
    pub rules: Rules,
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
    /// What earns entries, or chances in a raffle; at most [`MISSIONS_MAX`](crate::MISSIONS_MAX).
    pub missions: Vec<Mission>,
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
    /// How winners are drawn; raffles only.
    pub draw: Option<DrawRules>,
    /// Raffles: `SHA-256("seed/v1" | event | seed)`, public from scheduling on.
    pub draw_commitment: Option<Digest>,
    /// Secrets behind the event's outcomes, wrapped by `DECISION_KEY_FILE`.
    pub wrapped_keys: WrappedKeys,
    /// Public key (X25519) that contacts are sealed to; none where none are collected.
    pub contact_key: Option<[u8; 32]>,
}

/// Secrets as the log carries them; only holders of the decision key can unwrap them. Empty where the event needs none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrappedKeys {
    /// The reward key, for RANDOM and AVERAGE_RANDOM.
    pub reward_key: Vec<u8>,
    /// The draw's seed, for raffles.
    pub seed: Vec<u8>,
}

/// What an event may give at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Winners; `None`: as many as there are.
    pub winners: Option<i64>,
    /// Points.
    pub points: i64,
}

impl Ceiling {
    /// Whether more was given: more winners than prizes, or more points than the policy has for them (DESIGN section 7).
    pub fn is_exceeded(self, winners: i64, points: i64) -> bool {
        self.winners.is_some_and(|most| winners > most) || points > self.points
    }
}

impl EventDefinition {
    /// What this event may give with `prizes` granted over all options (of no meaning in a raffle or without stock) and
    /// `winners` so far, by which the budget of an event without stock grows.
    pub fn ceiling(&self, prizes: i64, winners: i64) -> Ceiling {
        let most = match self.event_type {
            EventType::Raffle => self.max_winners,
            _ => (!self.options.is_empty()).then_some(prizes),
        };
        let blocks = winners.max(0).saturating_add(BLOCK_PRIZES - 1) / BLOCK_PRIZES;
        let paid_for = most.unwrap_or(blocks.saturating_mul(BLOCK_PRIZES));
        // What does not fit was refused when it was scheduled or granted.
        Ceiling { winners: most, points: self.reward.budget(paid_for).unwrap_or(i64::MAX) }
    }

    /// Index of a named option.
    pub fn option_index(&self, name: &str) -> Option<u16> {
        self.options
            .iter()
            .position(|(option, _)| option.as_str() == name)
            .and_then(|i| u16::try_from(i).ok())
    }

    /// The keyed functions of its entry ids and receipts.
    pub fn keys(&self) -> EventKeys {
        EventKeys::new(&self.salt)
    }

    /// Whether all entries must go through one lane: something is decided by their order (DESIGN section 4).
    pub fn needs_one_lane(&self) -> bool {
        match self.event_type {
            EventType::FirstCome => true,
            EventType::General => !self.options.is_empty() || matches!(self.reward, Reward::AverageRandom(_)),
            EventType::Raffle => self.draw.is_some_and(|draw| draw.method == DrawMethod::Arrival),
        }
    }

    /// The record that schedules the event.
    pub fn to_record(&self, command_id: [u8; 16]) -> v1::Scheduled {
        v1::Scheduled {
            command_id: command_id.to_vec(),
            rules_version: self.rules.version(),
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
                    Reward::Random(range) => {
                        v1::reward::Policy::Random(v1::RandomReward { min: range.min(), max: range.max() })
                    }
                    Reward::AverageRandom(aim) => {
                        v1::reward::Policy::AverageRandom(v1::AverageRandomReward {
                            min: aim.range().min(),
                            max: aim.range().max(),
                            target: aim.target(),
                        })
                    }
                }),
            }),
            missions: self.missions.iter().map(Mission::to_record).collect(),
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
            draw_commitment: self.draw_commitment.map(|c| c.to_vec()).unwrap_or_default(),
            draw: self.draw.map(draw_record),
            wrapped_reward_key: self.wrapped_keys.reward_key.clone(),
            wrapped_seed: self.wrapped_keys.seed.clone(),
            contact_key: self.contact_key.map(|key| key.to_vec()).unwrap_or_default(),
        }
    }

    /// The definition in a record; refuses what this build cannot decide.
    pub fn from_record(record: &v1::Scheduled) -> Result<Self, DefinitionError> {
        let rules =
            Rules::of(record.rules_version).ok_or(DefinitionError::RulesVersion(record.rules_version))?;
        let event_type = match record.r#type() {
            v1::EventType::General => EventType::General,
            v1::EventType::FirstCome => EventType::FirstCome,
            v1::EventType::Raffle => EventType::Raffle,
            v1::EventType::Unspecified => return Err(DefinitionError::Unsupported("this type")),
        };
        let reward = match record.reward.and_then(|r| r.policy) {
            None => Reward::DEFAULT,
            Some(policy) => reward_of(policy).map_err(rule("reward"))?,
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
        let definition = Self {
            rules,
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
            missions: record.missions.iter().map(Mission::from_record).collect::<Result<_, _>>()?,
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
            draw: record.draw.as_ref().map(draw_of).transpose()?,
            draw_commitment: match record.draw_commitment.as_slice() {
                [] => None,
                bytes => {
                    Some(bytes.try_into().map_err(|_| DefinitionError::Unsupported("this draw commitment"))?)
                }
            },
            wrapped_keys: WrappedKeys {
                reward_key: record.wrapped_reward_key.clone(),
                seed: record.wrapped_seed.clone(),
            },
            contact_key: match record.contact_key.as_slice() {
                [] => None,
                bytes => {
                    Some(bytes.try_into().map_err(|_| DefinitionError::Unsupported("this contact key"))?)
                }
            },
        };
        definition.check_parts()?;
        Ok(definition)
    }

    /// Chances of an entry with every mission completed.
    fn heaviest_entry(&self) -> u64 {
        1 + self.missions.iter().filter_map(|mission| mission.weight).map(u64::from).sum::<u64>()
    }

    /// What must go together.
    fn check_parts(&self) -> Result<(), DefinitionError> {
        let raffle = self.event_type == EventType::Raffle;
        let wrong = if self.lanes.is_empty() || (self.needs_one_lane() && self.lanes.len() != 1) {
            "this number of lanes"
        } else if self.reward.needs_key() && self.wrapped_keys.reward_key.is_empty() {
            "a random reward without its key"
        } else if self.contact_collection == ContactCollection::AtApply && self.contact_key.is_none() {
            "AT_APPLY without a contact key"
        } else if raffle && !self.options.is_empty() {
            "RAFFLE with stock"
        } else if raffle && self.max_winners.is_none_or(|winners| winners < 0) {
            "RAFFLE without max_winners"
        } else if raffle
            && (self.draw.is_none() || self.draw_commitment.is_none() || self.wrapped_keys.seed.is_empty())
        {
            "RAFFLE without its draw"
        } else if self.missions.len() > MISSIONS_MAX || self.heaviest_entry() > u64::from(WEIGHT_MAX) {
            "this many missions"
        } else if !self.missions.is_empty() && self.time_zone.parse::<chrono_tz::Tz>().is_err() {
            "this time zone with missions"
        } else if self.missions.iter().any(|m| m.option.is_some_and(|o| usize::from(o) >= self.options.len()))
        {
            "a mission for an option that there is not"
        } else {
            return Ok(());
        };
        Err(DefinitionError::Unsupported(wrong))
    }
}

fn reward_of(policy: v1::reward::Policy) -> Result<Reward, RuleError> {
    match policy {
        v1::reward::Policy::FixedAmount(amount) => Reward::fixed(amount),
        v1::reward::Policy::Random(r) => AmountRange::new(r.min, r.max).map(Reward::Random),
        v1::reward::Policy::AverageRandom(r) => {
            TargetRange::new(AmountRange::new(r.min, r.max)?, r.target).map(Reward::AverageRandom)
        }
    }
}

fn draw_record(draw: DrawRules) -> v1::DrawMethod {
    v1::DrawMethod {
        arrival: draw.method == DrawMethod::Arrival,
        alternates: draw.alternates,
        beacon_chain_hash: draw.beacon.map(|b| b.chain_hash.to_string()).unwrap_or_default(),
        beacon_round: draw.beacon.map_or(0, |b| b.round),
    }
}

fn draw_of(record: &v1::DrawMethod) -> Result<DrawRules, DefinitionError> {
    let beacon = if record.beacon_chain_hash.is_empty() {
        None
    } else {
        let chain_hash: Hex32 =
            record.beacon_chain_hash.parse().map_err(|_| DefinitionError::Unsupported("this beacon"))?;
        Some(BeaconRound { chain_hash, round: record.beacon_round })
    };
    let method = if record.arrival { DrawMethod::Arrival } else { DrawMethod::Random };
    Ok(DrawRules { method, alternates: record.alternates, beacon })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MissionType;

    fn raffle() -> EventDefinition {
        let hash = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
        let beacon = BeaconRound { chain_hash: hash.parse().expect("hex"), round: 9 };
        let range = AmountRange::new(1, 9).expect("range");
        EventDefinition {
            rules: Rules::NEWEST,
            event_type: EventType::Raffle,
            title: "t".into(),
            content: String::new(),
            period: EventPeriod::new(0, 1).expect("period"),
            time_zone: "UTC".into(),
            approval: None,
            internal_test: true,
            max_winners: Some(3),
            target_condition: String::new(),
            duplicates_allowed: false,
            max_entries_per_member: None,
            options: vec![],
            reward: Reward::AverageRandom(TargetRange::new(range, 4).expect("target")),
            missions: vec![Mission {
                title: "Bring friends".into(),
                mission_type: MissionType::FriendInvite,
                goal_value: 3,
                self_reported: true,
                option: None,
                weight: Some(5),
            }],
            contact_collection: ContactCollection::AfterWin,
            claim_until: 5,
            topic: "event-raffle-topic".into(),
            lanes: vec![0, 1],
            salt: vec![1; 32],
            draw: Some(DrawRules { method: DrawMethod::Random, alternates: 2, beacon: Some(beacon) }),
            draw_commitment: Some([5; 32]),
            wrapped_keys: WrappedKeys { reward_key: vec![1], seed: vec![2] },
            contact_key: Some([7; 32]),
        }
    }

    #[test]
    fn a_raffle_comes_back_from_its_record() {
        let definition = raffle();
        let record = definition.to_record([1; 16]);
        assert_eq!(EventDefinition::from_record(&record), Ok(definition));
    }

    #[test]
    fn records_that_lack_a_part_are_refused() {
        type Change = fn(&mut EventDefinition);
        let changes: [(&str, Change); 12] = [
            ("AT_APPLY without a contact key", |d| {
                (d.contact_collection, d.contact_key) = (ContactCollection::AtApply, None)
            }),
            ("RAFFLE without its draw", |d| d.draw = None),
            ("RAFFLE without its draw", |d| d.draw_commitment = None),
            ("RAFFLE without its draw", |d| d.wrapped_keys.seed.clear()),
            ("RAFFLE without max_winners", |d| d.max_winners = None),
            ("RAFFLE with stock", |d| d.options.push((OptionName::new("A").expect("name"), 1))),
            ("a random reward without its key", |d| d.wrapped_keys.reward_key.clear()),
            ("this many missions", |d| d.missions = vec![d.missions[0].clone(); 64]),
            ("this many missions", |d| d.missions[0].weight = Some(1_000)),
            ("this time zone with missions", |d| d.time_zone = "Mars/Olympus".into()),
            ("a mission for an option that there is not", |d| d.missions[0].option = Some(0)),
            ("this number of lanes", |d| {
                d.draw = Some(DrawRules { method: DrawMethod::Arrival, ..Default::default() })
            }),
        ];
        for (why, change) in changes {
            let mut definition = raffle();
            change(&mut definition);
            let read = EventDefinition::from_record(&definition.to_record([1; 16]));
            assert_eq!(read, Err(DefinitionError::Unsupported(why)));
        }
    }
}
