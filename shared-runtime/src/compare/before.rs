//! The state of an event before a stretch of its lane, from the rows of what lies before it.

use std::sync::Arc;

use shared_domain::{EventDefinition, Stock};

use super::difference::{Difference, Witness};
use super::rows::{Counted, count};
use crate::store::error_class::StoreError;
use crate::store::reading::Reading;
use crate::store::rows::{CommandStatus, LaneRow, StockRow};
use crate::worker::plan::Addition;

/// The lane and stock rows of an event as they were before `offset`; `row` and `stock` are those of now, `additions` the
/// stock that records of the stretch add. Where the rows add up to no state: why.
pub async fn state_before(
    live: &mut Reading,
    row: &LaneRow,
    stock: &[StockRow],
    definition: &Arc<EventDefinition>,
    additions: &[&Addition],
    offset: i64,
) -> Result<Result<(LaneRow, Vec<StockRow>), Vec<Difference>>, StoreError> {
    let (event, lane) = (row.event_id, row.lane);
    let Counted { mut state, won, faults } = count(live, event, lane, definition, offset).await?;
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    // Where the next entry changes the approval, no entry lies in between.
    let changed = live.approvals(event, lane).await?;
    let mut before = row.clone();
    if let Some(last) = changed.iter().rev().find(|approval| approval.from_seq <= state.seq + 1) {
        before.review_number = Some(last.review_number.clone());
        (before.approved_from, before.approved_until) = (Some(last.approved_from), Some(last.approved_until));
        state.approval = before.state()?.approval;
    }
    let ids: Vec<Vec<u8>> = additions.iter().map(|addition| addition.command_id.clone()).collect();
    let applied = live.commands(lane, &ids).await?;
    let mut options = Vec::with_capacity(stock.len());
    for (stock, won) in stock.iter().zip(&won) {
        let in_stretch = |addition: &&&Addition| {
            i64::from(addition.option) == i64::from(stock.option_index)
                && applied.iter().any(|command| {
                    (command.log_offset, command.status) == (addition.offset, CommandStatus::Applied.code())
                })
        };
        let added: i64 = additions.iter().filter(in_stretch).map(|addition| addition.add).sum();
        let granted = stock.granted - added;
        if Stock::restore(granted, granted - won).is_err() {
            let what = format!("event_stock of option {}", stock.option_index);
            let found = format!("{} left of {}", stock.stock_count, stock.granted);
            let expected = format!("more than that: {won} were won before offset {offset}");
            let place = (event, lane);
            return Ok(Err(vec![Difference::in_lane(place, &what, found, expected, Witness::Rows)]));
        }
        options.push(StockRow { granted, stock_count: granted - won, ..stock.clone() });
    }
    let earlier = |at: Option<i64>| at.filter(|at| *at < offset);
    state.closed_at = earlier(row.closed_offset);
    state.deleted_at = earlier(row.deleted_offset);
    let sold_out = !options.is_empty() && options.iter().all(|option| option.stock_count == 0);
    // Sold out again within the stretch: when it was before, nothing depends on.
    state.exhausted_at = sold_out.then(|| earlier(row.exhausted_offset).unwrap_or(-1));
    before.set_state(&state, row.exhausted_log_id.as_deref().unwrap_or_default());
    before.parked_offset = None;
    Ok(Ok((before, options)))
}
