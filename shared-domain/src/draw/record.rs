//! The public draw record, field for field as in the HTTP contract (`GET /v1/events/{event_id}/draw`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{BeaconRound, DrawMethod, NO_BEACON};
use crate::{Digest, EntryId, EventId, Hex32, HexBytes};

/// How far a draw has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DrawPhase {
    /// Commitment and beacon are named.
    Scheduled,
    /// The list is fixed.
    Frozen,
    /// Winners are found, and hidden.
    Decided,
    /// Everything is shown.
    Published,
}

impl DrawPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Frozen, Self::Decided, Self::Published];

    /// As staff read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Frozen => "FROZEN",
            Self::Decided => "DECIDED",
            Self::Published => "PUBLISHED",
        }
    }
}

/// Whom one has to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// The operator, who knew the seed before the list was frozen.
    Operator,
    /// A beacon that was not known when the list was frozen.
    Beacon,
}

/// A draw as the public sees it; it grows with its phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrawRecord {
    /// Event.
    #[schema(value_type = i64)]
    pub event_id: EventId,
    /// Draw.
    pub draw_id: Uuid,
    /// How far it is.
    pub phase: DrawPhase,
    /// Rules it follows.
    pub rules_version: u32,
    /// How winners are found.
    pub method: DrawMethod,
    /// [`super::Seed::commitment`], from scheduling on.
    #[schema(value_type = String)]
    pub commitment: Hex32,
    /// Null until PUBLISHED.
    #[schema(value_type = Option<String>, required)]
    pub seed: Option<Hex32>,
    /// Null where none was named.
    #[schema(required)]
    pub beacon: Option<BeaconRecord>,
    /// BEACON where the named round counts: until FROZEN in prospect, then for good.
    pub trust: Trust,
    /// n; null until FROZEN.
    #[schema(required)]
    pub entrants: Option<u64>,
    /// Null until FROZEN.
    #[schema(value_type = Option<String>, required)]
    pub list_digest: Option<Hex32>,
    /// W.
    pub max_winners: i64,
    /// A: how many alternates the definition asks for, so that nobody can drop the last ones unseen.
    pub max_alternates: u32,
    /// In rank order, as they stand now: null where a place stays empty. Empty until PUBLISHED.
    pub winners: Vec<Option<EntryId>>,
    /// Those who may still move up, in order. Empty until PUBLISHED.
    pub alternates: Vec<EntryId>,
    /// The history, oldest first.
    pub disqualified: Vec<DisqualifiedRecord>,
    /// When the list was fixed.
    #[schema(required)]
    pub frozen_at: Option<DateTime<Utc>>,
    /// When everything was shown.
    #[schema(required)]
    pub published_at: Option<DateTime<Utc>>,
}

/// The named round; its value is there once it was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BeaconRecord {
    /// Chain.
    #[schema(value_type = String)]
    pub chain_hash: Hex32,
    /// Round.
    pub round: u64,
    /// SHA-256 of the signature.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub randomness: Option<Hex32>,
    /// The chain's signature of the round.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub signature: Option<HexBytes>,
}

/// One disqualification after the list was frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisqualifiedRecord {
    /// Who was taken out.
    pub entry_id: EntryId,
    /// Who moved up to its rank; null where nobody was left, or where it had none.
    #[schema(required)]
    pub replaced_by: Option<EntryId>,
    /// Staff's reason.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl BeaconRecord {
    /// The round alone.
    pub fn round(&self) -> BeaconRound {
        BeaconRound { chain_hash: self.chain_hash, round: self.round }
    }
}

impl DrawRecord {
    /// What goes into the draw key: the round's randomness, or [`NO_BEACON`] where the operator is trusted. `None` while
    /// the round is awaited.
    pub fn beacon_value(&self) -> Option<Digest> {
        match self.trust {
            Trust::Operator => Some(NO_BEACON),
            Trust::Beacon => self.beacon.as_ref()?.randomness.map(|r| r.0),
        }
    }
}
