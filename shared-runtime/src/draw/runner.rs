//! Carries a draw from phase to phase, as far as staff asked (DESIGN section 7). It may be killed anywhere, and several
//! may work on one draw: each step is one transaction that finds the draw where it left it, or changes nothing.

use std::panic::resume_unwind;
use std::sync::Arc;

use shared_domain::draw::{
    Chains, DrawMethod, DrawPhase, Entrant, ListDigest, ListError, NO_BEACON, Selected, Selection, Trust,
    needed, trust,
};
use shared_domain::{Digest, EventId, Hex32, RewardError};
use tokio_util::sync::CancellationToken;

use super::list::whole_list;
use crate::clock::SharedClock;
use crate::keys::{DecisionKey, UnwrapError};
use crate::store::Store;
use crate::store::draw::{Decided, DrawLane, Frozen, LoserRange};
use crate::store::error_class::StoreError;
use crate::store::rows::{DrawResultRow, DrawRow};
use crate::worker::apply::definition_of;

/// Rows changed in one transaction.
const BLOCK: i64 = 1_000;
/// Places a transaction while they are stored, which nobody sees yet: each commit waits for the disk.
const STORED_AT_ONCE: usize = 2_500;
/// A list up to this long is kept between freezing and deciding (18 bytes each); a longer one is read again.
const KEPT: usize = 1_500_000;

/// How far a draw went, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// As far as staff asked.
    Done(DrawPhase),
    /// The event is not closed in every lane.
    NotClosed,
    /// Records of the event wait for an operator.
    Parked,
    /// The named round is not posted.
    BeaconPending,
    /// The process ends.
    Stopped,
}

/// Why a draw cannot go on. It stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret does not open.
    #[error("DECISION_KEY_FILE: {0}")]
    Key(#[from] UnwrapError),
    /// The seed is not the one that was committed to.
    #[error("the seed does not fit the commitment that the event was scheduled with")]
    Commitment,
    /// Entries appeared or went while the list was read.
    #[error(transparent)]
    List(#[from] ListError),
    /// The list is not the frozen one.
    #[error("the entries are not those of the frozen list any more: it was {frozen}, now it is {now}")]
    ListChanged {
        /// Digest at FROZEN.
        frozen: Hex32,
        /// Digest now.
        now: Hex32,
    },
    /// The policy does not fit.
    #[error(transparent)]
    Reward(#[from] RewardError),
}

/// Runs draws. Cheap to clone.
#[derive(Clone)]
pub struct DrawRunner {
    store: Store,
    key: Arc<DecisionKey>,
    chains: Arc<Chains>,
    clock: SharedClock,
}

/// The list as it was read.
struct List {
    entrants: u64,
    digest: Digest,
    /// All of it, where it is not too long.
    kept: Option<Vec<Entrant>>,
}

impl DrawRunner {
    /// A runner over a database.
    pub fn new(store: Store, key: Arc<DecisionKey>, chains: Arc<Chains>, clock: SharedClock) -> Self {
        Self { store, key, chains, clock }
    }

    /// Carries the draw of an event on until it has reached what staff asked for, has to wait, or `stop`.
    pub async fn advance(&self, event: EventId, stop: &CancellationToken) -> Result<Reached, DrawError> {
        let mut list = None;
        loop {
            if stop.is_cancelled() {
                return Ok(Reached::Stopped);
            }
            let missing = || StoreError::fatal(format!("event {event} has no draw"));
            let row = self.store.draw(event).await?.ok_or_else(missing)?;
            let phase = row.phase()?;
            match phase {
                DrawPhase::Scheduled => {
                    let lanes = self.store.draw_lanes(event).await?;
                    if lanes.is_empty() || !lanes.iter().all(|lane| lane.closed) {
                        return Ok(Reached::NotClosed);
                    }
                    if self.store.is_parked(event).await? {
                        return Ok(Reached::Parked);
                    }
                    list = Some(self.read(event, &lanes).await?);
                    self.freeze(&row, list.as_ref()).await?;
                }
                DrawPhase::Frozen if !row.requested => return Ok(Reached::Done(phase)),
                DrawPhase::Frozen => {
                    let Some(beacon) = self.beacon(&row)? else { return Ok(Reached::BeaconPending) };
                    self.decide(&row, &beacon, list.take()).await?;
                }
                DrawPhase::Decided if !row.publish => return Ok(Reached::Done(phase)),
                DrawPhase::Decided => self.publish(row, stop).await?,
                DrawPhase::Published => return Ok(Reached::Done(phase)),
            }
        }
    }

    /// Reads the list once: its digest, and the list itself where it fits.
    async fn read(&self, event: EventId, lanes: &[DrawLane]) -> Result<List, DrawError> {
        let n: i64 = lanes.iter().map(|lane| lane.pending).sum();
        let n = u64::try_from(n).map_err(|_| StoreError::fatal("event_lane: bad counters"))?;
        let mut digest = ListDigest::new(event, n);
        let keeps = usize::try_from(n).is_ok_and(|n| n <= KEPT);
        let mut kept = Vec::with_capacity(if keeps { n as usize } else { 0 });
        let mut walk = whole_list(&self.store, event, lanes);
        while let Some(block) = walk.next().await? {
            block.iter().for_each(|entrant| digest.push(entrant));
            if keeps {
                kept.extend(block);
            }
        }
        Ok(List { entrants: n, digest: digest.finish()?, kept: keeps.then_some(kept) })
    }

    async fn freeze(&self, row: &DrawRow, list: Option<&List>) -> Result<(), DrawError> {
        let Some(list) = list else { return Ok(()) };
        // To the millisecond that the record shows.
        let at = self.clock.now_ms();
        let frozen_at = chrono::DateTime::from_timestamp_millis(at);
        let trust = trust(&self.chains, row.beacon()?.as_ref(), frozen_at)
            .map_err(|error| StoreError::fatal(format!("draw of event {}: {error}", row.event_id)))?;
        let entrants = i64::try_from(list.entrants).unwrap_or(i64::MAX);
        let frozen = Frozen { entrants, list_digest: list.digest, trust, at };
        if self.store.freeze_draw(row.event_id, &frozen).await? {
            tracing::info!(event_id = row.event_id, entrants, ?trust, "the list of entrants is frozen");
        }
        Ok(())
    }

    /// What the draw key takes of the beacon; `None` while the round is awaited.
    fn beacon(&self, row: &DrawRow) -> Result<Option<Digest>, DrawError> {
        match row.trust() {
            Trust::Operator => Ok(Some(NO_BEACON)),
            Trust::Beacon => {
                let value = row.beacon_randomness.as_deref();
                Ok(value.map(|bytes| row.hex(bytes, "randomness")).transpose()?.map(|hex| hex.0))
            }
        }
    }

    async fn decide(&self, row: &DrawRow, beacon: &Digest, list: Option<List>) -> Result<(), DrawError> {
        let event = row.event_id;
        let list = match list {
            Some(list) => list,
            None => self.read(event, &self.store.draw_lanes(event).await?).await?,
        };
        let frozen = row.list_digest.as_deref().map(|bytes| row.hex(bytes, "list digest")).transpose()?;
        let (frozen, now) = (frozen.unwrap_or(Hex32([0; 32])), Hex32(list.digest));
        if frozen != now {
            return Err(DrawError::ListChanged { frozen, now });
        }
        let seed = self.key.seed(event, &row.wrapped_seed)?;
        if seed.commitment(event).as_slice() != row.commitment {
            return Err(DrawError::Commitment);
        }
        let winners = needed(row.max_winners, row.winners);
        let selection = match row.method() {
            DrawMethod::Random => {
                Selection::random(seed.draw_key(event, &list.digest, beacon), winners, row.alternates())
            }
            DrawMethod::Arrival => Selection::arrival(winners, row.alternates()),
        };
        let expected = list.entrants;
        let selected = self.select(event, selection, list).await?;
        if selected.entrants != expected {
            return Err(ListError { expected, seen: selected.entrants }.into());
        }
        let rows = self.results(event, &selected).await?;
        let mut stored = row.stored_places;
        for block in rows[usize::try_from(stored).unwrap_or(0).min(rows.len())..].chunks(STORED_AT_ONCE) {
            if !self.store.store_draw_results(event, stored, block).await? {
                return Ok(());
            }
            stored += block.len() as i64;
        }
        let decided = Decided {
            places: rows.len() as i64,
            winners: selected.winners.len() as i64,
            paid: rows.iter().map(|row| row.reward_amount).sum(),
            at: self.clock.now_ms(),
        };
        if self.store.decide_draw(event, &decided).await? {
            tracing::info!(event_id = event, winners = decided.winners, "the draw is decided");
        }
        Ok(())
    }

    async fn select(
        &self,
        event: EventId,
        mut selection: Selection,
        list: List,
    ) -> Result<Selected, DrawError> {
        match list.kept {
            // A million HMACs: not on a thread that answers requests.
            Some(kept) => tokio::task::spawn_blocking(move || side_by_side(&selection, &kept).finish())
                .await
                .map_err(|died| StoreError::fatal(format!("the selection died: {died}")).into()),
            None => {
                let lanes = self.store.draw_lanes(event).await?;
                let mut walk = whole_list(&self.store, event, &lanes);
                while let Some(block) = walk.next().await? {
                    block.iter().for_each(|entrant| selection.push(entrant));
                    tokio::task::yield_now().await;
                }
                Ok(selection.finish())
            }
        }
    }

    /// Winners with their amounts by rank, then alternates.
    async fn results(&self, event: EventId, selected: &Selected) -> Result<Vec<DrawResultRow>, DrawError> {
        let missing = || StoreError::fatal(format!("event {event} has no definition"));
        let row = self.store.event(event).await?.ok_or_else(missing)?;
        let definition = definition_of(event, row.scheduled.as_deref().ok_or_else(missing)?)?;
        let wrapped = &definition.wrapped_keys.reward_key;
        let needs = definition.reward.needs_key();
        let key = needs.then(|| self.key.reward_key(event, wrapped)).transpose()?;
        let amounts = definition.reward.by_rank(event, selected.winners.len() as i64, key.as_ref());
        let mut rows = Vec::with_capacity(selected.winners.len() + selected.alternates.len());
        for ((id, amount), rank) in selected.winners.iter().zip(amounts).zip(1..) {
            rows.push(DrawResultRow {
                event_id: event,
                place: rank,
                entry_id: id.as_bytes().to_vec(),
                entry_rank: Some(rank),
                alternate: None,
                reward_amount: amount?,
                disqualified: false,
            });
        }
        let winners = rows.len() as i64;
        rows.extend(selected.alternates.iter().zip(1..).map(|(id, number)| DrawResultRow {
            event_id: event,
            place: winners + number,
            entry_id: id.as_bytes().to_vec(),
            entry_rank: None,
            alternate: Some(number),
            reward_amount: 0,
            disqualified: false,
        }));
        Ok(rows)
    }

    /// Gives every entry its outcome, block by block, and then shows all of them at once.
    async fn publish(&self, mut row: DrawRow, stop: &CancellationToken) -> Result<(), DrawError> {
        let event = row.event_id;
        while row.applied_places < row.stored_places {
            let now = self.clock.now_ms();
            if stop.is_cancelled()
                || !self.store.apply_draw_places(event, row.applied_places, BLOCK, now).await?
            {
                return Ok(());
            }
            row.applied_places = (row.applied_places + BLOCK).min(row.stored_places);
        }
        let begun = row.applied_lane;
        for lane in self.store.draw_lanes(event).await?.iter().filter(|lane| lane.lane >= begun) {
            let mut from = if lane.lane == row.applied_lane { row.applied_seq } else { 0 };
            while from < lane.last_seq {
                let to = (from + BLOCK).min(lane.last_seq);
                let range =
                    LoserRange { was: (row.applied_lane, row.applied_seq), lane: lane.lane, from, to };
                if stop.is_cancelled()
                    || !self.store.apply_draw_losers(event, &range, self.clock.now_ms()).await?
                {
                    return Ok(());
                }
                (row.applied_lane, row.applied_seq, from) = (lane.lane, to, to);
            }
        }
        let seed = self.key.seed(event, &row.wrapped_seed)?;
        if self.store.publish_draw(event, seed.as_bytes(), self.clock.now_ms()).await? {
            tracing::info!(event_id = event, "the draw is published");
        }
        Ok(())
    }
}

/// Selects from a list with all processors: a part each, joined in the list's order.
fn side_by_side(selection: &Selection, list: &[Entrant]) -> Selection {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |part: &[Entrant]| {
        let mut selection = selection.clone();
        part.iter().for_each(|entrant| selection.push(entrant));
        selection
    };
    std::thread::scope(|scope| {
        let parts = list.chunks(list.len().div_ceil(processors).max(1));
        let parts: Vec<_> = parts.map(|entrants| scope.spawn(move || part(entrants))).collect();
        let found = parts.into_iter().map(|part| part.join().unwrap_or_else(|died| resume_unwind(died)));
        found.reduce(Selection::join).unwrap_or_else(|| selection.clone())
    })
}
