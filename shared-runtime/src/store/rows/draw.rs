//! Rows of draws, which admin-api writes.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::mysql::{Mysql, MysqlValue};
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::sql_types::Binary;
use diesel::sqlite::{Sqlite, SqliteValue};
use sha2::{Digest, Sha256};
use shared_domain::draw::{BeaconRound, DrawMethod, DrawPhase, Trust};
use shared_domain::{EntryId, EventDefinition, EventId, Hex32};

use crate::store::error_class::StoreError;
use crate::store::schema::{draw, draw_disqualified, draw_result};

/// `draw`: one raffle's draw, from scheduling on.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = draw, treat_none_as_default_value = false)]
pub struct DrawRow {
    /// Event.
    pub event_id: i64,
    /// Draw, 16 bytes.
    pub draw_id: Vec<u8>,
    /// Number of [`DrawPhase`].
    pub phase: i16,
    /// Staff want it run.
    pub requested: bool,
    /// And shown.
    pub publish: bool,
    /// Rules it follows.
    pub rules_version: i32,
    /// 0 RANDOM, 1 ARRIVAL.
    pub method: i16,
    /// W.
    pub max_winners: i64,
    /// A.
    pub max_alternates: i64,
    /// 32 bytes.
    pub commitment: Vec<u8>,
    /// Sealed by the decision key.
    pub wrapped_seed: Vec<u8>,
    /// In the open, once published.
    pub seed: Option<Vec<u8>>,
    /// 0 operator, 1 beacon.
    pub trust: i16,
    /// Chain of the named round.
    pub beacon_chain: Option<Vec<u8>>,
    /// The named round.
    pub beacon_round: Option<i64>,
    /// Its randomness, once posted.
    pub beacon_randomness: Option<Vec<u8>>,
    /// Its signature, once posted.
    pub beacon_signature: Option<Vec<u8>>,
    /// n.
    pub entrants: Option<i64>,
    /// Of the frozen list.
    pub list_digest: Option<Vec<u8>>,
    /// Winners drawn.
    pub winners: i64,
    /// Points that they get together.
    pub paid: i64,
    /// Rows of `draw_result` that are stored.
    pub stored_places: i64,
    /// Rows of `draw_result` whose entries have their outcome.
    pub applied_places: i64,
    /// Lane and place up to which all other entries have theirs.
    pub applied_lane: i32,
    /// See `applied_lane`.
    pub applied_seq: i64,
    /// ms.
    pub frozen_at: Option<i64>,
    /// ms.
    pub decided_at: Option<i64>,
    /// ms.
    pub published_at: Option<i64>,
}

impl DrawRow {
    /// A draw as scheduling makes it; `None` where the definition has none. The id follows from event and commitment, so
    /// that a restored or replayed database has the same.
    pub fn scheduled(event_id: EventId, definition: &EventDefinition) -> Option<Self> {
        let (rules, commitment) = (definition.draw?, definition.draw_commitment?);
        let hash = Sha256::new().chain_update(b"draw/v1").chain_update(event_id.to_be_bytes());
        let hash = hash.chain_update(commitment).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Some(Self {
            event_id,
            draw_id: uuid::Builder::from_custom_bytes(id).into_uuid().into_bytes().to_vec(),
            phase: Self::phase_code(DrawPhase::Scheduled),
            requested: false,
            publish: false,
            rules_version: i32::try_from(definition.rules.version()).unwrap_or(i32::MAX),
            method: i16::from(rules.method == DrawMethod::Arrival),
            max_winners: definition.max_winners.unwrap_or(0),
            max_alternates: rules.alternates.into(),
            commitment: commitment.to_vec(),
            wrapped_seed: definition.wrapped_keys.seed.clone(),
            seed: None,
            trust: Self::trust_code(if rules.beacon.is_some() { Trust::Beacon } else { Trust::Operator }),
            beacon_chain: rules.beacon.map(|b| b.chain_hash.0.to_vec()),
            beacon_round: rules.beacon.map(|b| i64::try_from(b.round).unwrap_or(i64::MAX)),
            beacon_randomness: None,
            beacon_signature: None,
            entrants: None,
            list_digest: None,
            winners: 0,
            paid: 0,
            stored_places: 0,
            applied_places: 0,
            applied_lane: -1,
            applied_seq: 0,
            frozen_at: None,
            decided_at: None,
            published_at: None,
        })
    }

    /// The number of a phase.
    pub fn phase_code(phase: DrawPhase) -> i16 {
        DrawPhase::ALL.iter().position(|p| *p == phase).map_or(0, |i| i as i16)
    }

    /// The number of a trust.
    pub fn trust_code(trust: Trust) -> i16 {
        i16::from(trust == Trust::Beacon)
    }

    /// How far it is.
    pub fn phase(&self) -> Result<DrawPhase, StoreError> {
        let found = usize::try_from(self.phase).ok().and_then(|i| DrawPhase::ALL.get(i)).copied();
        found.ok_or_else(|| self.bad("phase"))
    }

    /// How winners are found.
    pub fn method(&self) -> DrawMethod {
        if self.method == 1 { DrawMethod::Arrival } else { DrawMethod::Random }
    }

    /// Whom one has to trust.
    pub fn trust(&self) -> Trust {
        if self.trust == 1 { Trust::Beacon } else { Trust::Operator }
    }

    /// A.
    pub fn alternates(&self) -> u32 {
        u32::try_from(self.max_alternates).unwrap_or(u32::MAX)
    }

    /// The named round.
    pub fn beacon(&self) -> Result<Option<BeaconRound>, StoreError> {
        let (Some(chain), Some(round)) = (&self.beacon_chain, self.beacon_round) else { return Ok(None) };
        let round = u64::try_from(round).map_err(|_| self.bad("round"))?;
        Ok(Some(BeaconRound { chain_hash: self.hex(chain, "beacon chain")?, round }))
    }

    /// 32 bytes of one of its columns.
    pub fn hex(&self, bytes: &[u8], what: &str) -> Result<Hex32, StoreError> {
        bytes.try_into().map(Hex32).map_err(|_| self.bad(what))
    }

    fn bad(&self, what: &str) -> StoreError {
        StoreError::fatal(format!("draw of event {}: bad {what}", self.event_id))
    }
}

/// `event_entry.entry_id`, without a buffer of its own for each: lists of entrants are read by the million.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub struct EntryIdColumn(pub EntryId);

impl EntryIdColumn {
    fn of(bytes: &[u8]) -> deserialize::Result<Self> {
        Ok(Self(EntryId::from_slice(bytes).ok_or("event_entry: bad entry id")?))
    }
}

impl FromSql<Binary, Mysql> for EntryIdColumn {
    fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
        Self::of(value.as_bytes())
    }
}

impl FromSql<Binary, Sqlite> for EntryIdColumn {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Self::of(&<Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?)
    }
}

/// `draw_result`: a winner or an alternate, in the order in which they were drawn.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = draw_result, treat_none_as_default_value = false)]
pub struct DrawResultRow {
    /// Event.
    pub event_id: i64,
    /// From 1: winners by rank, then alternates in their order.
    pub place: i64,
    /// Entry, 16 bytes.
    pub entry_id: Vec<u8>,
    /// The rank that it has, or had when it was disqualified.
    pub entry_rank: Option<i64>,
    /// Its number among the alternates, from 1, as drawn.
    pub alternate: Option<i64>,
    /// Points.
    pub reward_amount: i64,
    /// Taken out.
    pub disqualified: bool,
}

impl DrawResultRow {
    /// The entry's id.
    pub fn id(&self) -> Result<EntryId, StoreError> {
        let bad = || StoreError::fatal(format!("draw_result of event {}: bad entry id", self.event_id));
        EntryId::from_slice(&self.entry_id).ok_or_else(bad)
    }

    /// Whether it stands among the alternates that may still move up.
    pub fn is_waiting(&self) -> bool {
        self.entry_rank.is_none() && !self.disqualified
    }
}

/// `draw_disqualified`: the history of a published draw.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = draw_disqualified, treat_none_as_default_value = false)]
pub struct DisqualifiedRow {
    /// Event.
    pub event_id: i64,
    /// The command's place among the event's.
    pub ordinal: i64,
    /// Who was taken out, 16 bytes.
    pub entry_id: Vec<u8>,
    /// Who moved up, 16 bytes.
    pub replaced_by: Option<Vec<u8>>,
    /// Staff's reason.
    pub reason: String,
    /// ms.
    pub at: i64,
}
