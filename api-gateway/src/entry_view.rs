//! `GET /v1/entries/{entry_id}`: what became of an entry, by receipt or by its member's token.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use http::HeaderMap;
use serde::Serialize;
use shared_domain::{EntryId, EntryStatus, EventId, MemberId, Millis, Reason, Receipt};
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::log::producer::Producer;
use shared_runtime::store::rows::EntryRow;
use utoipa::ToSchema;

use crate::Edge;
use crate::snapshot::{EventView, Snapshot};

const RECEIPT: &str = "x-entry-receipt";

/// An entry as its member sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryJson {
    pub entry_id: EntryId,
    #[schema(value_type = i64)]
    event_id: EventId,
    status: EntryState,
    /// Why it does not count; of REJECTED ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<Reason>,
    /// What it won.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    option: Option<String>,
    /// Points won.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reward_amount: Option<i64>,
    /// Place in the lane, so in the event where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seq: Option<i64>,
    /// Among the winners, 1..N.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rank: Option<i64>,
    /// Of a raffle's entry that lost: its number among those who may still move up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    alternate: Option<i64>,
    /// Records before it; only while queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ahead: Option<i64>,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    decided_at: Option<String>,
}

/// By what right somebody asks.
#[derive(Debug)]
pub(crate) enum Claim {
    /// A receipt of this entry.
    Receipt(Receipt),
    /// A token.
    Member(MemberId),
}

/// The handler.
pub(crate) async fn get<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    request.only_query(&[])?;
    let entry_id = EntryId::parse(params.get("entry_id")).ok_or_else(Problem::entry_not_found)?;
    let shown = Shown::new(&request.headers, request.bearer(), None);
    let claim = claim(&edge, shown, entry_id).await?;
    Ok(Response::ok(&look(&edge, entry_id, &claim).await?))
}

/// What a request shows of its right to ask.
#[derive(Debug)]
pub(crate) struct Shown<'r> {
    /// Whether a receipt came, and its text unless that is no text at all.
    receipt: Option<Option<&'r str>>,
    bearer: Option<&'r str>,
}

impl<'r> Shown<'r> {
    /// The receipt in the header goes before the one in the query. (The request itself cannot be held while waiting:
    /// its body is not `Sync`.)
    pub(crate) fn new(headers: &'r HeaderMap, bearer: Option<&'r str>, in_query: Option<&'r str>) -> Self {
        let receipt = headers.get(RECEIPT).map(|value| value.to_str().ok());
        Self { receipt: receipt.or(in_query.map(Some)), bearer }
    }
}

/// Who asks for this entry. Errors: 401 for a bad receipt, or no token.
pub(crate) async fn claim<P: Producer>(
    edge: &Edge<P>,
    shown: Shown<'_>,
    entry_id: EntryId,
) -> Result<Claim, Problem> {
    let Some(text) = shown.receipt else {
        let member = edge.verifier.verify_member(shown.bearer).await?;
        return Ok(Claim::Member(member.member_id));
    };
    let snapshot = edge.snapshots.get()?;
    Receipt::open(text.unwrap_or_default(), |id| snapshot.event(id).map(|event| &event.facts.keys))
        .ok()
        .filter(|receipt| receipt.entry_id == entry_id)
        .map(Claim::Receipt)
        .ok_or_else(Problem::invalid_receipt)
}

/// The entry as it stands now. Errors: 404; 503 when the database does not answer and is needed.
pub(crate) async fn look<P: Producer>(
    edge: &Edge<P>,
    entry_id: EntryId,
    claim: &Claim,
) -> Result<EntryJson, Problem> {
    let snapshot = edge.snapshots.get()?;
    let receipt = match claim {
        Claim::Receipt(receipt) => receipt,
        Claim::Member(member) => {
            let row = edge.results.by_member(*member, entry_id).await?;
            let row = row.ok_or_else(Problem::entry_not_found)?;
            // Deleted events are not in the snapshot, and their entries are nobody's to see.
            let event = snapshot.event(row.event_id).ok_or_else(Problem::entry_not_found)?;
            return Ok(of_row(event, entry_id, &row, edge.clock.now_ms()));
        }
    };
    let event = snapshot.event(receipt.event_id).ok_or_else(Problem::entry_not_found)?;
    let now = edge.clock.now_ms();
    if let Some(row) = known_row(edge, event, entry_id) {
        return Ok(of_row(event, entry_id, &row, now));
    }
    let this_log = receipt.log_id == edge.producer.log_id();
    if this_log {
        if lost_for_sure(edge, &snapshot, event, receipt) {
            return Ok(of_receipt(receipt, EntryState::Lose, None));
        }
        let cursor = event.lane_index(receipt.lane).and_then(|lane| event.cursors[lane]);
        if cursor.is_none_or(|next| next <= receipt.offset) {
            return Ok(of_receipt(
                receipt,
                EntryState::Queued,
                Some(ahead(event, receipt.lane, receipt.offset)),
            ));
        }
    }
    match edge.results.by_event(receipt.event_id, entry_id).await? {
        Some(row) => Ok(of_row(event, entry_id, &row, now)),
        // Behind the cursor without a row: parked, and still to be decided.
        None if this_log => Ok(of_receipt(receipt, EntryState::Queued, Some(0))),
        None => Err(Problem::entry_not_found()),
    }
}

/// A decided row that needs no query: read before, or a winner's.
pub(crate) fn known_row<P>(edge: &Edge<P>, event: &EventView, entry_id: EntryId) -> Option<Arc<EntryRow>> {
    let id = event.facts.event_id;
    edge.results
        .known(entry_id)
        .filter(|row| row.event_id == id)
        .or_else(|| edge.winners.of(id, event.exhausted.as_ref()?)?.get(entry_id).cloned())
}

/// Whether an entry that is still queued can only lose: it stands behind the last prize in the same lane of the same
/// log, no stock is on its way, and it is not among the winners (its first record may stand before that prize).
pub(crate) fn lost_for_sure<P: Producer>(
    edge: &Edge<P>,
    snapshot: &Snapshot,
    event: &EventView,
    receipt: &Receipt,
) -> bool {
    let Some(at) = &event.exhausted else { return false };
    // Where entries are counted a member, it may be REJECTED instead: the worker says.
    event.facts.definition.max_entries_per_member.is_none()
        && receipt.log_id == at.log_id
        && receipt.lane == at.lane
        && receipt.offset > at.offset
        && !event.stock_pending
        && snapshot.is_fresh()
        && edge
            .winners
            .of(event.facts.event_id, at)
            .is_some_and(|winners| winners.get(receipt.entry_id).is_none())
}

/// Records before a place that are not applied yet.
pub(crate) fn ahead(event: &EventView, lane: i32, offset: i64) -> i64 {
    let cursor = event.lane_index(lane).and_then(|lane| event.cursors[lane]).unwrap_or(0);
    (offset - cursor).max(0)
}

fn of_receipt(receipt: &Receipt, status: EntryState, ahead: Option<i64>) -> EntryJson {
    EntryJson {
        entry_id: receipt.entry_id,
        event_id: receipt.event_id,
        status,
        reason: None,
        option: None,
        reward_amount: None,
        seq: None,
        rank: None,
        alternate: None,
        ahead,
        accepted_at: time(receipt.accepted_at),
        decided_at: None,
    }
}

/// An entry with a row.
pub(crate) fn of_row(event: &EventView, entry_id: EntryId, row: &EntryRow, now: Millis) -> EntryJson {
    let definition = &event.facts.definition;
    let options = &definition.options;
    let option = row.option_index.and_then(|index| options.get(usize::try_from(index).ok()?));
    let mut json = of_past(entry_id, row, option.map(|(name, _)| name.as_str()));
    if row.status == i16::from(EntryStatus::Lose.code()) && now < definition.claim_until {
        // Beside a LOSE the row keeps the number among the alternates as drawn.
        json.alternate = row.entry_rank.map(|drawn| event.facts.alternate(drawn));
    }
    json
}

/// The same of an event that is watched no more: nobody moves up there.
pub(crate) fn of_past(entry_id: EntryId, row: &EntryRow, option: Option<&str>) -> EntryJson {
    let status = EntryStatus::from_code(row.status);
    let won = status == Some(EntryStatus::Win);
    let lost = status == Some(EntryStatus::Lose);
    EntryJson {
        entry_id,
        event_id: row.event_id,
        status: state_of(row.status),
        reason: row.reason.and_then(Reason::from_code),
        option: option.map(str::to_owned),
        reward_amount: won.then_some(row.reward_amount),
        seq: Some(row.seq),
        rank: row.entry_rank.filter(|_| !lost),
        alternate: None,
        ahead: None,
        accepted_at: time(row.accepted_at),
        decided_at: (status != Some(EntryStatus::Pending)).then(|| time(row.decided_at)),
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum EntryState {
    /// In the log, not decided.
    Queued,
    /// In a raffle that is not drawn.
    Pending,
    /// Won.
    Win,
    /// Did not win; final.
    Lose,
    /// Accepted, but does not count.
    Rejected,
}

/// A row's status in answers.
pub(crate) fn state_of(code: i16) -> EntryState {
    match EntryStatus::from_code(code) {
        Some(EntryStatus::Win) => EntryState::Win,
        Some(EntryStatus::Lose) => EntryState::Lose,
        Some(EntryStatus::Rejected) => EntryState::Rejected,
        // A code of a newer build: not decided as far as this one can tell.
        Some(EntryStatus::Pending) | None => EntryState::Pending,
    }
}

/// RFC 3339 in UTC.
pub(crate) fn time(at: Millis) -> String {
    DateTime::from_timestamp_millis(at)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        let names = serde_json::to_value([0, 1, 2, 3].map(state_of)).unwrap();
        assert_eq!(names, serde_json::json!(["PENDING", "WIN", "LOSE", "REJECTED"]));
    }

    #[test]
    fn a_queued_entry_has_no_outcome() {
        let receipt = Receipt {
            log_id: "log".to_owned(),
            event_id: 7,
            lane: 0,
            offset: 5,
            entry_id: EntryId::from_bytes([1; 16]),
            accepted_at: 0,
        };
        let json = serde_json::to_value(of_receipt(&receipt, EntryState::Queued, Some(3))).unwrap();
        let expected = serde_json::json!({
            "entry_id": "01010101-0101-0101-0101-010101010101", "event_id": 7, "status": "QUEUED",
            "ahead": 3, "accepted_at": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(json, expected);
    }
}
