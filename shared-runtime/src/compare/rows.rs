//! The rows of a lane counted up once more: places without a gap, totals, stock and the digest chain.

use std::sync::Arc;

use shared_domain::{
    EntryId, EntryStatus, EventDefinition, EventId, EventInLane, EventType, Judged, LaneState, Reason, Stock,
};

use super::BLOCK;
use super::difference::{Difference, Witness, hex};
use super::lane::TOLD;
use crate::store::error_class::StoreError;
use crate::store::reading::Reading;
use crate::store::rows::{EntryRow, LaneRow, StockRow};

/// More than any event grants: rows say how much was won of it.
const PLENTY: i64 = 1 << 60;

/// What the rows of an event in a lane add up to, up to some offset.
pub(super) struct Counted {
    pub state: LaneState,
    /// Won of each option.
    pub won: Vec<i64>,
    /// Rows that cannot be counted, or stand at a place that they should not.
    pub faults: Vec<Difference>,
}

/// Counts the rows of records before `until`. A lane's places and offsets grow together.
pub(super) async fn count(
    live: &mut Reading,
    event: EventId,
    lane: i32,
    definition: &Arc<EventDefinition>,
    until: i64,
) -> Result<Counted, StoreError> {
    let state = LaneState::new(definition.approval.clone());
    let plenty = || Stock::new(PLENTY).map_err(|_| StoreError::fatal("a stock of plenty"));
    let stock = definition.options.iter().map(|_| plenty()).collect::<Result<Vec<_>, _>>()?;
    let mut counted = EventInLane { definition: Arc::clone(definition), lane: state, stock };
    let mut faults: Vec<Difference> = Vec::new();
    let (mut offset, mut ranked) = (-1, 0);
    'rows: loop {
        let rows = live.entries_of_lane(event, lane, counted.lane.seq, BLOCK).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if row.log_offset >= until {
                break 'rows;
            }
            let mut fault = |what: &str, found: String, expected: String| {
                if faults.len() < TOLD {
                    faults.push(Difference::of_entry(&row, what, found, expected, Witness::Rows));
                }
            };
            let expected = counted.lane.seq + 1;
            if row.seq != expected {
                let missing = format!("the next behind {}", expected - 1);
                fault("event_entry.seq", missing, format!("{expected} has no row"));
                counted.lane.seq = row.seq - 1;
            }
            if row.log_offset <= offset {
                fault("event_entry.log_offset", row.log_offset.to_string(), format!("above {offset}"));
            }
            offset = row.log_offset;
            let judged = match judged(&row, definition) {
                Ok(judged) => judged,
                Err(what) => {
                    fault(what, "unreadable".to_owned(), "one of its values".to_owned());
                    counted.lane.seq = row.seq;
                    continue;
                }
            };
            if let Err(why) = counted.count(&judged) {
                fault("event_entry", "not countable".to_owned(), why);
                counted.lane.seq = row.seq;
            }
            let won = judged.status == EntryStatus::Win;
            if definition.event_type != EventType::Raffle {
                let rank = (won && definition.lanes.len() == 1).then_some(ranked + 1);
                if row.entry_rank != rank {
                    fault("event_entry.entry_rank", shown(row.entry_rank), shown(rank));
                }
                // Those behind go on from here: what shifts them all is told once.
                ranked = if won { row.entry_rank.unwrap_or(ranked + 1) } else { ranked };
            }
        }
    }
    let won = counted.stock.iter().map(|stock| PLENTY - stock.left()).collect();
    Ok(Counted { state: counted.lane, won, faults })
}

fn shown(rank: Option<i64>) -> String {
    rank.map_or_else(|| "none".to_owned(), |rank| rank.to_string())
}

/// An entry as the log judged it: what a draw or staff made of it since is taken back. Errors: the column that says nothing.
fn judged(row: &EntryRow, definition: &EventDefinition) -> Result<Judged, &'static str> {
    let entry_id = EntryId::from_slice(&row.entry_id).ok_or("event_entry.entry_id")?;
    let status = EntryStatus::from_code(row.status).ok_or("event_entry.status")?;
    let reason = match row.reason {
        None => None,
        Some(code) => Some(Reason::from_code(code).ok_or("event_entry.reason")?),
    };
    let rejected = status == EntryStatus::Rejected && reason != Some(Reason::Disqualified);
    if definition.event_type == EventType::Raffle && !rejected {
        return Ok(Judged { entry_id, status: EntryStatus::Pending, reason: None, option: None, amount: 0 });
    }
    let option = match row.option_index {
        None => None,
        Some(index) => Some(u16::try_from(index).map_err(|_| "event_entry.option_index")?),
    };
    Ok(Judged { entry_id, status, reason, option, amount: row.reward_amount })
}

/// Whether missions add chances to the event's entries: their steps in the digest stand in the log alone.
pub(super) fn is_weighed(definition: &EventDefinition) -> bool {
    definition.missions.iter().any(|mission| mission.weight.is_some())
}

/// What of a lane's totals and stock its rows do not bear out.
pub async fn check_rows(
    live: &mut Reading,
    row: &LaneRow,
    stock: &[StockRow],
    definition: &Arc<EventDefinition>,
) -> Result<Vec<Difference>, StoreError> {
    let place = (row.event_id, row.lane);
    let Counted { state, won, faults } = count(live, row.event_id, row.lane, definition, i64::MAX).await?;
    let mut differences = faults;
    let mut total = |what: &str, found: String, expected: String| {
        if found != expected {
            differences.push(Difference::in_lane(place, what, found, expected, Witness::Rows));
        }
    };
    total("event_lane.seq", row.seq.to_string(), state.seq.to_string());
    total("event_lane.wins", row.wins.to_string(), state.wins.to_string());
    total("event_lane.losses", row.losses.to_string(), state.losses.to_string());
    total("event_lane.rejections", row.rejections.to_string(), state.rejections.to_string());
    total("event_lane.paid", row.paid.to_string(), state.paid.to_string());
    total("event_lane.block_paid", row.block_paid.to_string(), state.block_paid.to_string());
    if !is_weighed(definition) {
        total("event_lane.digest", hex(&row.digest), hex(&state.digest));
    }
    for (option, won) in won.iter().enumerate() {
        let there = stock.iter().find(|stock| usize::try_from(stock.option_index) == Ok(option));
        let what = format!("event_stock.stock_count of option {option}");
        match there {
            None => total(&what, "missing".to_owned(), format!("granted - {won}")),
            Some(stock) => total(&what, stock.stock_count.to_string(), (stock.granted - won).to_string()),
        }
    }
    Ok(differences)
}
